"""Episodes of AF from probabilities that are known beat by beat."""

from __future__ import annotations

import msgspec
import pytest

from edgeecg.decode.rhythm import RhythmDecoder, RhythmSettings, RhythmState
from edgeecg.errors import ConfigError
from edgeecg.specs import Rhythm

FS = 250
SHARP = RhythmSettings(smoothing=0.01, beats=3)  # no memory: the smoothed probability is the beat's own


def decode(probabilities, settings=SHARP):
    decoder = RhythmDecoder(settings, FS)
    state, events = decoder.initial(), []
    for i, probability in enumerate(probabilities):
        found, state = decoder.beat(i * 200, probability, state)
        events += found
    return events, state, decoder


def test_an_episode_is_told_at_its_onset_and_at_its_end():
    events, state, decoder = decode([0, 0, 1, 1, 1, 1, 0, 0])
    assert events == [Rhythm(400, None, "AFIB", 1.0), Rhythm(400, 1200, "AFIB", 1.0)]
    assert decoder.flush(state)[0] == []


def test_the_onset_comes_with_the_last_of_the_beats_it_needs():
    assert decode([0, 1, 1])[0] == []
    assert decode([0, 1, 1, 1])[0] == [Rhythm(200, None, "AFIB", 1.0)]


def test_fewer_beats_than_asked_are_never_told():
    events, state, decoder = decode([0, 1, 1, 0, 1, 1, 0])
    assert events == []
    assert decoder.flush(state)[0] == []


def test_between_the_two_thresholds_nothing_changes():
    assert decode([0.35] * 20)[0] == []
    assert len(decode([1, 1, 1, 0.35, 0.35, 0.35])[0]) == 1


def test_the_end_is_where_the_probability_began_to_fall():
    events, _, _ = decode([1, 1, 1, 0.35, 0.35, 0.1])
    assert events[-1].end == 3 * 200
    recovered, _, _ = decode([1, 1, 1, 0.35, 0.9, 0.1])
    assert recovered[-1].end == 5 * 200


def test_one_odd_beat_neither_makes_nor_cuts_an_episode():
    settings = RhythmSettings()
    assert decode([0.0] * 20 + [1.0] + [0.0] * 20, settings)[0] == []
    told = decode([0.0] * 5 + [1.0] * 20 + [0.0] + [1.0] * 20, settings)[0]
    assert [event.end for event in told] == [None]


def test_a_stream_that_ends_in_an_episode_closes_it_behind_the_last_beat():
    """Which is part of it, as all are that lie before an episode's end."""
    _, state, decoder = decode([1, 1, 1, 1])
    events, after = decoder.flush(state)
    assert events == [Rhythm(0, 601, "AFIB", 1.0)]
    assert after == decoder.initial()


def test_where_no_beat_comes_for_long_there_is_no_rhythm():
    """A lead that is off, a flat line, noise: told on the clock, or by the beat that comes at last."""
    _, state, decoder = decode([1, 1, 1, 1])
    soon, late = 600 + 30 * FS, 601 + 30 * FS
    ended = [Rhythm(0, 601, "AFIB", 1.0)]
    assert decoder.advance(soon, state) == ([], state)
    assert decoder.advance(late, state) == (ended, decoder.initial())
    assert decoder.beat(soon, 1.0, state)[0] == []
    events, after = decoder.beat(late, 1.0, state)
    assert events == ended
    assert (after.start, after.beats, after.told) == (late, 1, False)


def test_a_short_gap_is_survived_and_a_long_one_ends_the_episode_at_the_gap():
    _, state, decoder = decode([1, 1, 1, 1])
    assert decoder.gap(700, 5 * FS, state) == ([], state)
    events, after = decoder.gap(700, 31 * FS, state)
    assert events == [Rhythm(0, 700, "AFIB", 1.0)]
    assert after == decoder.initial()


def test_the_state_is_plain_and_survives_json():
    _, state, decoder = decode([0.2, 0.9, 0.8, 0.7], RhythmSettings())
    restored = msgspec.json.decode(msgspec.json.encode(state), type=RhythmState)
    assert restored == state
    assert decoder.beat(1000, 0.9, restored) == decoder.beat(1000, 0.9, state)


@pytest.mark.parametrize("wrong", [{"enter": 0.1}, {"smoothing": 0}, {"beats": 0}, {"leave": 0}])
def test_thresholds_out_of_order_are_refused(wrong):
    with pytest.raises(ConfigError, match="rhythm needs"):
        RhythmSettings(**wrong)
