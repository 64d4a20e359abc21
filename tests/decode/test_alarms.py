"""Alarms from beats whose times and labels are written down here."""

from __future__ import annotations

import random
from dataclasses import asdict
from fractions import Fraction

import msgspec
import numpy as np
import pytest

from edgeecg.decode.alarms import AlarmFinder, AlarmSettings, AlarmState
from edgeecg.errors import ConfigError
from edgeecg.specs import Alarm

FS = 100
RATELESS = AlarmSettings(bradycardia=1, tachycardia=1000)  # the patterns alone


class Stream:
    """A finder with its state and what it has told."""

    def __init__(self, settings=None):
        self.finder = AlarmFinder(settings or AlarmSettings(), FS)
        self.state, self.events = self.finder.initial(), []

    def _take(self, answer):
        events, self.state = answer
        self.events += events
        return self

    def beats(self, samples, labels=None):
        for sample, label in zip(samples, labels or "N" * len(samples), strict=True):
            self._take(self.finder.beat(sample, label, self.state))
        return self

    def advance(self, to, readable=True, level=None, attached=True):
        return self._take(self.finder.advance(to, readable, level, self.state, attached=attached))

    def gap(self, start, length):
        return self._take(self.finder.gap(start, length, self.state))

    def flush(self):
        return self._take(self.finder.flush(self.state))

    def told(self, *labels):
        return [(e.start, e.end) for e in self.events if e.label in labels]


def pattern(labels):
    return Stream(RATELESS).beats(range(0, 80 * len(labels), 80), labels)


@pytest.mark.parametrize(
    ("labels", "label", "expected"),
    [
        ("NNVVNN", "couplet", [(160, None), (160, 240)]),
        ("NNVVNN", "v-run", []),
        ("NVVVN", "v-run", [(80, None), (80, 240)]),
        ("NVVVN", "couplet", []),
        ("NVVVVVVN", "v-run", [(80, None), (80, 480)]),
        ("NVVV", "v-run", [(80, None)]),
        ("NVV", "couplet", []),  # may still become a run
        ("NVNNVN", "couplet", []),
        ("NVSVNVN", "bigeminy", [(80, None)]),
        ("NVNVNVNN", "bigeminy", [(80, None), (80, 400)]),
        ("NVNVNVV", "bigeminy", [(80, None), (80, 400)]),
        ("NVNVNN", "bigeminy", []),
        ("NVNNVNVNN", "bigeminy", []),
        ("VVNVNVN", "bigeminy", [(80, None)]),
    ],
)
def test_patterns(labels, label, expected):
    assert pattern(labels).told(label) == expected


def test_a_gap_breaks_patterns_and_begins_none():
    stream = pattern("NVV").gap(300, 500).beats([900, 980], "VN")
    assert stream.events == []
    assert pattern("NVVV").gap(400, 500).told("v-run") == [(80, None), (80, 240)]


def test_a_pause_is_told_while_it_lasts_and_ends_with_the_next_beat():
    stream = Stream(RATELESS).beats([0, 80]).advance(280)
    assert stream.events == []
    stream.advance(281)
    assert stream.told("pause") == [(80, None)]
    assert stream.beats([300]).told("pause") == [(80, None), (80, 300)]


def test_a_pause_that_no_tick_saw_is_told_with_the_beat_that_ends_it():
    assert Stream(RATELESS).beats([0, 80, 300]).told("pause") == [(80, None), (80, 300)]


def test_asystole_when_the_signal_goes_quiet_and_no_beat_when_it_does_not():
    quiet = Stream(RATELESS).advance(10, level=0.2).beats([20, 100]).advance(501, level=0.03)
    assert quiet.told("asystole") == [(100, None)]
    assert quiet.told("no-beat") == []
    flutter = Stream(RATELESS).advance(10, level=0.2).beats([20, 100]).advance(501, level=0.4)
    assert flutter.told("no-beat") == [(100, None)]
    assert flutter.told("asystole") == []
    assert flutter.beats([700]).told("no-beat") == [(100, None), (100, 700)]


def waves(stream, begin, end, level):
    """A beat every 0.75 s, and the ticks between: those with it are at ``level``."""
    for tick in range(begin, end, 50):
        for sample in range(tick - 50, tick):
            if sample % 75 == 0:
                stream.beats([sample])
        stream.advance(tick, level=level)
    return stream


def test_p_waves_alone_end_no_silence():
    stand = waves(waves(Stream(RATELESS), 50, 3000, 0.1), 3000, 6000, 0.012)
    (pause, end), (asystole, still) = stand.told("pause", "asystole")
    assert end is still is None
    assert 2950 < pause == asystole < 3200
    assert waves(stand, 6000, 6300, 0.1).told("asystole")[1:] == [(asystole, 5925)]


@pytest.mark.parametrize(("before", "then"), [(0.012, 0.012), (0.03, 0.012), (0.4, 0.03), (0.1, 0.012)])
def test_a_small_signal_is_a_standstill_only_beside_a_larger_one(before, then):
    told = waves(waves(Stream(RATELESS), 50, 3000, before), 3000, 6000, then).told("asystole", "no-beat")
    assert bool(told) == ((before, then) == (0.1, 0.012))


SMALL = 0.028  # a heart of 0.4 mV


def test_a_small_heart_is_no_standstill_after_what_was_louder():
    """The first ticks, seconds of noise; and where another lead is put on, or packets were missing."""
    begun = waves(waves(Stream(RATELESS), 50, 100, 1.0), 100, 30000, SMALL)
    noisy = waves(waves(waves(Stream(RATELESS), 50, 3000, SMALL), 3000, 3500, 0.5), 3500, 30000, SMALL)
    off = waves(Stream(RATELESS), 50, 3000, 0.4).advance(9000, attached=False)
    gap = waves(Stream(RATELESS), 50, 3000, 0.4).gap(2950, 6050)
    for stream in (begun, noisy, waves(off, 9050, 30000, SMALL), waves(gap, 9050, 30000, SMALL)):
        assert stream.told("pause", "asystole") == []


def test_a_heart_that_has_become_small_is_believed_after_some_minutes():
    stream = waves(waves(Stream(RATELESS), 50, 3000, 0.2), 3000, 60000, SMALL)
    (start, _), (again, end) = stream.told("asystole")
    assert start == again < 3200
    assert end < 3000 + 5 * 6000


def test_what_is_missing_is_not_faint():
    """Nor may a beat before it count after it: one may have been lost."""
    stream = waves(Stream(RATELESS), 50, 3000, 0.1).advance(3000, level=0.012).advance(3150, level=0.012)
    assert stream.gap(3150, 90).beats([3260]).told("pause")[1:] == [(2925, 3260)]  # counts at once
    stream = waves(waves(Stream(RATELESS), 50, 3000, 0.1), 3000, 3400, 0.012).beats([3395])
    stream.gap(3399, 90).advance(3500, level=0.1)
    assert stream.state.silence.since < 3395


def test_an_escape_beat_among_p_waves_counts():
    stand = waves(waves(Stream(RATELESS), 50, 3000, 0.1), 3000, 4000, 0.012)
    start = stand.told("asystole")[0][0]
    stand.beats([3980]).advance(4000, level=0.1)
    assert stand.told("asystole") == [(start, None), (start, 3980)]


def test_noise_after_p_waves_makes_no_beats_of_them():
    stand = waves(waves(Stream(RATELESS), 50, 3000, 0.1), 3000, 4000, 0.012)
    told = stand.told("pause", "asystole")
    assert stand.advance(4050, level=0.012).advance(4100, level=0.1).told("pause", "asystole") == told


def test_fibrillation_that_follows_asystole_is_told_too():
    stream = Stream(RATELESS).advance(10, level=0.2).beats([20]).advance(500, level=0.03)
    assert stream.advance(600, level=0.3).told("no-beat") == [(20, None)]


def test_a_readable_stream_without_any_beat_speaks():
    assert Stream().advance(400).events == []
    assert Stream().advance(401).events == [Alarm(0, None, "no-beat")]


def test_missing_seconds_make_no_alarm():
    stream = Stream().beats(range(0, 1000, 80)).gap(1000, 6000).beats(range(7040, 8000, 80))
    assert stream.flush().events == []


def test_a_lead_that_is_off_makes_no_alarm_and_silence_counts_from_its_end():
    stream = Stream(RATELESS).advance(10, level=0.2).beats([20, 100]).advance(150)
    stream.advance(1000, readable=False, attached=False)
    assert stream.events == []
    assert stream.advance(1400, level=0.01).events == []
    assert stream.advance(1401, level=0.01).events == [Alarm(1000, None, "asystole")]
    assert stream.advance(1500, readable=False, attached=False).events[-1] == Alarm(1000, 1401, "asystole")


def test_a_heart_that_stops_is_heard_though_nothing_can_be_read_any_more():
    stream = waves(Stream(RATELESS), 50, 3000, 0.2).beats([3020])
    assert stream.advance(3170, readable=False, level=0.02).events == []
    assert stream.advance(3221, readable=False, level=0.01).events == [Alarm(3020, None, "pause")]
    assert stream.advance(3421, readable=False, level=0.01).events[-1] == Alarm(3020, None, "asystole")
    assert not any(event.end for event in stream.beats([3900]).events)  # may be a P wave
    ended = [(e.label, e.end) for e in stream.advance(3950, level=0.2).events if e.end]
    assert ended == [("pause", 3900), ("asystole", 3900)]


def test_of_loud_signal_that_cannot_be_read_only_that_no_beat_is_found_is_said():
    stream = Stream(RATELESS).advance(10, level=0.2).beats([20, 100])
    assert stream.advance(400, readable=False, level=0.5).events == []
    assert stream.advance(450, level=0.2).events == []  # beats may have hidden: no pause is claimed
    assert stream.advance(501, readable=False, level=0.5).events == [Alarm(100, None, "no-beat")]
    assert stream.beats([900]).events[-1] == Alarm(100, 900, "no-beat")


def test_a_pause_that_noise_covers_ends_where_the_noise_begins():
    stream = Stream(RATELESS).advance(10, level=0.2).beats([20, 100]).advance(301, level=0.1)
    assert stream.advance(400, readable=False, level=0.5).told("pause") == [(100, None), (100, 301)]


@pytest.mark.parametrize(("spacing", "label"), [(130, "bradycardia"), (45, "tachycardia")])
def test_rate_alarms_begin_after_a_full_window_and_end_with_a_margin(spacing, label):
    usual = range(0, 800, 80)
    odd = range(720 + spacing, 720 + 20 * spacing, spacing)
    again = range(odd[-1] + 80, odd[-1] + 1600, 80)
    stream = Stream().beats([*usual, *odd])
    ((start, end),) = stream.told(label)
    assert end is None
    assert start < odd[8]
    assert [event.label for event in stream.beats(again).events] == [label, label]


def test_a_rate_just_inside_the_margin_does_not_end_the_alarm():
    stream = Stream().beats(range(0, 3000, 130)).beats(range(3105, 6000, 115))  # 46, then 52 a minute
    assert stream.told("bradycardia") == [(0, None)]


@pytest.mark.parametrize(
    ("intervals", "label", "begins"),
    [
        ((120, 120), "bradycardia", False),
        ((120, 121), "bradycardia", True),
        ((40, 40, 200), "bradycardia", False),  # at once from 150 a minute
        ((40, 40, 201), "bradycardia", True),
        ((50, 50), "tachycardia", False),
        ((50, 49), "tachycardia", True),
        ((220, 30, 70), "tachycardia", False),  # at once from 48 a minute
        ((220, 30, 69), "tachycardia", True),
    ],
)
def test_a_rate_at_its_limit_is_not_beyond_it(intervals, label, begins):
    """50 and 120 a minute over two intervals."""
    stream = Stream(AlarmSettings(rate_beats=2)).beats(np.cumsum((0, *intervals)).tolist())
    assert bool(stream.told(label)) == begins


@pytest.mark.parametrize(
    ("margin", "spacing", "label", "back"), [(10, 150, "bradycardia", 100), (20, 40, "tachycardia", 60)]
)
def test_a_rate_alarm_ends_at_the_margin_itself(margin, spacing, label, back):
    """60 a minute and 100 a minute."""
    stream = Stream(AlarmSettings(rate_margin=margin, rate_beats=2)).beats([0, spacing, 2 * spacing])
    assert stream.told(label) == [(0, None)]
    end = 2 * spacing + 2 * back
    assert stream.beats([end - back, end]).told(label)[1:] == [(0, end)]


def test_eight_intervals_are_needed():
    assert Stream().beats(range(0, 8 * 130, 130)).events == []
    assert len(Stream().beats(range(0, 9 * 130, 130)).events) == 1


def test_flush_ends_what_is_open():
    stream = Stream().beats(range(0, 900, 40), "V" * 23).advance(900).flush()
    assert sorted((e.label, e.end is None) for e in stream.events) == [
        ("tachycardia", False),
        ("tachycardia", True),
        ("v-run", False),
        ("v-run", True),
    ]
    assert stream.state._replace(silence=AlarmState().silence) == AlarmState()


@pytest.mark.parametrize("label", ["pause", "asystole", "no-beat"])
def test_no_silence_goes_on_over_a_flush(label):
    quiet = label == "asystole"
    stream = Stream().beats([0, 100, 200]).advance(200, level=0.1 if quiet else None)
    stream.beats([300]).advance(700 if label == "pause" else 1000, level=0.0 if quiet else None).flush()
    begun, end = stream.told(label)[0][0], stream.state.silence.clock
    assert stream.told(label)[-1] == (begun, end)
    told = len(stream.events)
    stream.advance(end + 250, level=None)
    assert stream.events[told:] == []
    assert all(event.start >= end for event in stream.advance(end + 2000).events[told:])


def test_every_onset_has_one_end_whatever_happens():
    source = random.Random(5)
    stream, clock = Stream(), 0
    for turn in range(4000):
        pace = (30, 80, 150)[turn // 100 % 3]
        clock += source.choice([pace] * 12 + [80, 300, 700])
        act = source.random()
        if act < 0.9:
            stream.beats([clock], source.choice("NNNVVS"))
        elif act < 0.95:
            stream.advance(clock, source.random() < 0.5, source.random())
        else:
            stream.gap(clock, 500)
            clock += 500
    opened = {}
    for event in stream.flush().events:
        if event.end is None:
            assert event.label not in opened
            opened[event.label] = event.start
        else:
            assert opened.pop(event.label) == event.start <= event.end
    assert opened == {}
    assert {e.label for e in stream.events} == {
        "pause",
        "asystole",
        "no-beat",
        "bradycardia",
        "tachycardia",
        "couplet",
        "v-run",
        "bigeminy",
    }


def test_finer_ticks_change_nothing_but_the_time_of_telling():
    beats = {80: "N", 160: "N", 700: "V", 780: "V", 850: "N", 1400: "N"}
    whole, fine = Stream(RATELESS), Stream(RATELESS)
    whole.beats(beats, "".join(beats.values()))
    for clock in range(1, 1401):
        if clock in beats:
            fine.beats([clock], beats[clock])
        else:
            fine.advance(clock)
    assert fine.events == whole.events


def test_the_state_is_plain_and_survives_json():
    stream = Stream().advance(10, level=0.2).beats(range(20, 2000, 45), "NV" * 22)
    restored = msgspec.json.decode(msgspec.json.encode(stream.state), type=AlarmState)
    assert restored == stream.state


@pytest.mark.parametrize(
    "wrong",
    [
        {"pause_seconds": 0},
        {"pause_seconds": 5},
        {"tachycardia": 55},
        {"rate_beats": 1},
        {"activity": 2},
        {"faint": -1},
        {"faint": float("nan")},
        {"bradycardia": "45"},
        {"rate_beats": None},
        {"rate_beats": 2.5},
        {"bigeminy": 1},
        {"bigeminy": 10**9},
        {"pause_seconds": float("nan")},
        {"faint": 10**400},
        {"rate_beats": 10**400},
    ],
)
def test_thresholds_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ConfigError, match="alarms need"):
        AlarmSettings(**wrong)


def test_infinity_turns_an_alarm_of_silence_off_and_numbers_are_pythons_own():
    settings = AlarmSettings(
        asystole_seconds=float("inf"), pause_seconds=Fraction(5, 2), rate_beats=np.int8(6)
    )
    assert [type(value) for value in asdict(settings).values()].count(float) == 7
    assert (settings.pause_seconds, settings.rate_beats) == (2.5, 6)
    finder = AlarmFinder(settings, 250)
    told, _ = finder.advance(250 * 3600, True, 0.1, finder.beat(250, "N", finder.initial())[1])
    assert [alarm.label for alarm in told] == ["pause"]


def beating(until):
    """A beat every 0.8 s, at a level of 0.1."""
    stream = Stream(RATELESS)
    for sample in range(0, until, 80):
        stream.beats([sample]).advance(sample + 40, level=0.1)
    return stream


def test_a_short_gap_ends_no_silence_and_counts_for_none():
    stream = beating(2000).advance(2100, level=0.01).gap(2100, 90).advance(2390, level=0.01)
    assert stream.told("asystole", "no-beat", "pause") == []  # 1.8 + 2.0 s without a beat
    stream.advance(2400, level=0.01)
    assert [start for start, _ in stream.told("pause")] == [1920 + 90]  # a beat may be what is missing
    stream.advance(2500, level=0.01)
    assert [start for start, _ in stream.told("asystole")] == [1920 + 90]
    assert len(stream.gap(2500, 90).advance(2600, level=0.01).told("asystole")) == 1
    assert stream.gap(2600, 110).told("asystole")[-1][1] == 2600  # a longer one ends it


def test_an_asystole_outlasts_what_cannot_be_read():
    stream = beating(2000).advance(2600, level=0.01)
    assert len(stream.told("asystole")) == 1
    for start in range(2600, 3600, 200):
        stream.advance(start + 100, readable=False, level=0.2).advance(start + 200, level=0.01)
    assert len(stream.told("asystole")) == 1
    assert stream.beats([3700]).told("asystole")[-1][1] == 3700


@pytest.mark.parametrize(("spacing", "label"), [(150, "bradycardia"), (40, "tachycardia")])
def test_a_link_that_loses_packets_does_not_hide_the_rate(spacing, label):
    """A tenth of a second is lost every six beats: the interval over it does not count, the others do."""
    stream = Stream()
    for at, sample in enumerate(range(0, 60 * spacing, spacing)):
        if at % 6 == 5:
            stream.advance(sample - 20, level=0.2).gap(sample - 20, 10)
        stream.beats([sample])
    told = stream.told(label)
    assert len(told) == 1
    assert told[0] == (0, None)
    assert stream.flush().told(label)[-1] == (0, 59 * spacing)


def test_of_an_interval_over_a_gap_nothing_is_known():
    """Beats twice as far apart as they were, each interval with a gap in it: some may be missing."""
    stream = Stream().beats(range(0, 1000, 80))
    for sample in range(1080, 5000, 160):
        stream.gap(sample - 100, 10).beats([sample])
    assert stream.told("bradycardia") == []


def test_a_gap_of_more_than_a_second_ends_a_rate():
    stream = Stream().beats(range(0, 1000, 40))
    assert stream.told("tachycardia") == [(0, None)]
    stream.gap(1000, 90)
    assert stream.told("tachycardia") == [(0, None)]
    stream.gap(1090, 20)  # and no beat between the two
    assert stream.told("tachycardia") == [(0, None), (0, 960)]


def test_a_line_between_slow_beats_hides_none():
    """A ventricular escape of 20 a minute: flat between its beats, which cannot be read."""
    stream = Stream().advance(0, level=0.2).beats([0, 300], "VV").advance(310, level=0.2)
    for beat in range(600, 6000, 300):
        stream.advance(beat - 200, readable=False, level=0.001).advance(beat, level=0.2).beats([beat], "V")
    assert stream.told("bradycardia") == [(0, None)]
    assert stream.told("v-run") == [(0, None)]


def test_beats_with_seconds_of_nothing_between_them_are_no_run():
    stream = Stream()
    for beat in range(0, 6000, 1000):
        stream.beats([beat], "V").advance(beat + 900, level=0.2)
    assert len(stream.told("no-beat")) > 4
    assert stream.told("v-run", "couplet") == []


def test_in_bradycardia_waves_of_a_signal_that_never_rests_end_no_silence():
    """Fibrillation, of which a wave in every two seconds is taken for a beat."""
    stream = Stream().advance(0, level=0.2).beats(range(0, 800, 80))
    for wave in range(1000, 6000, 200):
        stream.advance(wave, level=0.2)
        stream._take(stream.finder.beat(wave, "N", stream.state, restless=True))
    assert stream.told("bradycardia") == [(320, None)]
    (start, end), *more = stream.told("no-beat")
    assert start < 2500
    assert end is None
    assert more == []
    stream._take(stream.finder.beat(6000, "N", stream.state))  # it has come to rest
    assert stream.told("no-beat")[1:] == [(start, 6000)]


def test_a_slow_heart_that_rests_between_its_beats_is_heard():
    stream = Stream().advance(0, level=0.2)
    for beat in range(0, 4000, 150):
        stream.advance(beat, level=0.2).beats([beat])
    assert stream.told("bradycardia") == [(0, None)]
    assert stream.told("no-beat", "asystole", "pause") == []


def test_a_rate_of_which_nothing_is_known_any_more_ends():
    """Tachycardia, and then a gap between every two beats: no interval counts."""
    stream = Stream().beats(range(0, 1000, 40))
    for beat in range(1000, 5000, 80):
        stream.gap(beat - 40, 5).beats([beat])
    (start, open_), (_, end) = stream.told("tachycardia")
    assert (start, open_) == (0, None)
    assert end < 2200, "ten seconds and a bit"


def test_two_short_gaps_are_not_one_long_one():
    stream = Stream().beats(range(0, 3200, 200))
    stream.gap(3010, 10).advance(3130, level=0.2).gap(3130, 10).beats(range(3200, 5000, 200))
    assert stream.told("bradycardia") == [(0, None)]


def test_asystole_ends_a_tachycardia():
    stream = Stream().advance(0, level=0.2).beats(range(0, 1000, 40)).advance(1010, level=0.2)
    stream.advance(1500, level=0.001)
    assert stream.told("asystole") == [(960, None)]
    assert stream.told("tachycardia") == [(0, None), (0, 960)]
