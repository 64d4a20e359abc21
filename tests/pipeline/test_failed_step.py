"""A step that fails costs what was in it, and displaces nothing that comes after."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize
from edgeecg.decode.alarms import AlarmSettings
from edgeecg.errors import DeviceError
from edgeecg.pipeline.token_rows import TokenRows
from edgeecg.pipeline.tokens import Tokens
from edgeecg.runtime.engine import Engine, open_engine
from edgeecg.specs import Alarm, Beat, Event, Gap, Quality
from edgeecg.stream.pool import StreamPool
from edgeecg.stream.session import Stream

FS = 360


@pytest.fixture(scope="module")
def heart() -> NDArray[np.float64]:
    settings = SyntheticSettings(draw_patient("normal", 1), seconds=60, fs=FS, snr_db=25)
    return np.array(synthesize(settings, seed=1).record.signal[:, :1])


def streamed(
    engine: Engine, signal: NDArray[np.float64], failing: range, patch: pytest.MonkeyPatch, hop: float = 0.5
) -> list[Event]:
    """What is told where the graph fails in some steps and the caller goes on."""
    score, calls = TokenRows._score, [0]

    def fails(self: TokenRows, network: NDArray[np.float32], slots: NDArray[np.intp]) -> Tokens:
        calls[0] += 1
        if calls[0] in failing:
            raise DeviceError("lost")
        return score(self, network, slots)

    stream, told, lost = Stream(engine, float(FS), hop=hop), [], 0
    with patch.context() as patched:
        patched.setattr(TokenRows, "_score", fails)
        for start in range(0, len(signal), 36):
            try:
                told += stream.push(signal[start : start + 36])
            except DeviceError:  # noqa: PERF203 - who pushes goes on
                lost += 1
        told += stream.flush()
    assert lost == len(failing)
    return told


@pytest.mark.parametrize("fails", [1, 4, 12])
def test_quality_is_told_where_it_was(
    nano: Engine, heart: NDArray[np.float64], fails: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal = heart.copy()
    signal[40 * FS : 46 * FS] = signal[40 * FS]  # the lead stands still
    whole = streamed(nano, signal, range(0), monkeypatch)
    spoiled = streamed(nano, signal, range(21, 21 + fails), monkeypatch)
    begin = 30 * FS  # behind the last step that fails
    for kind in (Quality, Beat):
        expected = [e for e in whole if isinstance(e, kind) and _at(e) > begin]
        assert expected
        found = [e for e in spoiled if isinstance(e, kind) and _at(e) > begin]
        assert [_at(e) for e in found] == [_at(e) for e in expected]


def test_what_was_known_before_a_step_that_fails_is_told_by_the_next_call(
    nano: Engine, heart: NDArray[np.float64], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three blocks in one chunk, of which the last fails."""
    stream, score, calls = Stream(nano, float(FS)), TokenRows._score, [0]
    expected = Stream(nano, float(FS)).push(heart[: 12 * FS])
    assert len(expected) > 5

    def fails(self: TokenRows, network: NDArray[np.float32], slots: NDArray[np.intp]) -> Tokens:
        calls[0] += 1
        if calls[0] == 25:
            raise DeviceError("lost")
        return score(self, network, slots)

    with monkeypatch.context() as patched:
        patched.setattr(TokenRows, "_score", fails)
        with pytest.raises(DeviceError, match="lost"):
            stream.push(heart[: 13 * FS])
    told = stream.push(heart[13 * FS : 13 * FS + 1])
    told = [e for e in told if not isinstance(e, Alarm) or e in expected]  # which the failed step has ended
    assert told == expected
    assert stream.push(heart[:0]) == []


def test_the_rest_of_a_chunk_outlives_a_step_that_fails(
    nano: Engine, heart: NDArray[np.float64], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute in one chunk: its fifth step fails, and behind it five seconds are missing."""
    signal = heart.copy()
    signal[20 * FS : 25 * FS] = np.nan
    whole = Stream(nano, float(FS)).push(signal)
    score, calls = TokenRows._score, [0]

    def fails(self: TokenRows, network: NDArray[np.float32], slots: NDArray[np.intp]) -> Tokens:
        calls[0] += 1
        if calls[0] == 5:
            raise DeviceError("lost")
        return score(self, network, slots)

    stream = Stream(nano, float(FS))
    monkeypatch.setattr(TokenRows, "_score", fails)
    with pytest.raises(DeviceError, match="lost"):
        stream.push(signal)
    told = stream.push(signal[:0])
    assert [e for e in told if isinstance(e, Gap)] == [e for e in whole if isinstance(e, Gap)] != []
    later = [[_at(e) for e in some if isinstance(e, Beat) and _at(e) > 10 * FS] for some in (told, whole)]
    assert later[0] == later[1] != []


def test_a_step_that_fails_costs_no_other_group_of_patients_theirs(
    nano: Engine, heart: NDArray[np.float64], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeecg.pipeline.cohort.TOGETHER", 1)  # as of more patients than step at once
    score, calls, pool = TokenRows._score, [0], StreamPool(nano)
    first, second = pool.add(FS), pool.add(FS)

    def fails(self: TokenRows, network: NDArray[np.float32], slots: NDArray[np.intp]) -> Tokens:
        calls[0] += 1
        if calls[0] == 21:  # of the first
            raise DeviceError("lost")
        return score(self, network, slots)

    monkeypatch.setattr(TokenRows, "_score", fails)
    told = []
    for begin in range(0, len(heart), 180):
        for patient in (first, second):
            pool.push(patient, heart[begin : begin + 180])
        try:
            told += pool.poll()
        except DeviceError:
            assert calls[0] == 22  # the other's step was done
    found = [event for patient, event in told if patient == second]
    assert found == Stream(nano, float(FS)).push(heart)


@pytest.mark.parametrize("error", [DeviceError, KeyboardInterrupt])
def test_a_snapshot_behind_a_step_that_fails_goes_on_as_the_stream_does(
    nano: Engine, heart: NDArray[np.float64], error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: TokenRows, network: NDArray[np.float32], slots: NDArray[np.intp]) -> Tokens:
        raise error("lost")

    stream, other = Stream(nano, float(FS)), Stream(nano, float(FS))
    stream.push(heart[: 20 * FS])
    with monkeypatch.context() as patched:
        patched.setattr(TokenRows, "_score", fails)
        with pytest.raises(error, match="lost"):
            stream.push(heart[20 * FS : 20 * FS + FS // 2])
    other.restore(stream.snapshot())
    rest = heart[stream.samples :]
    assert other.push(rest) + other.flush() == stream.push(rest) + stream.flush()


def test_a_poll_that_is_interrupted_displaces_nothing_of_those_whose_turn_had_not_come(
    trained: Engine, heart: NDArray[np.float64], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: TokenRows, network: NDArray[np.float32], slots: NDArray[np.intp]) -> Tokens:
        raise KeyboardInterrupt

    pool, told = StreamPool(trained), []
    pool.add(float(FS), 1, "first")
    pool.add(float(FS), 2, "second")
    two = np.repeat(heart, 2, axis=1)
    for second in range(60):
        part = slice(second * FS, (second + 1) * FS)
        pool.push("first", heart[part])
        pool.push("second", two[part])
        with monkeypatch.context() as patched:
            if second == 20:
                patched.setattr(TokenRows, "_score", interrupted)
                with pytest.raises(KeyboardInterrupt):
                    pool.poll(1)
        told += pool.poll()
    whole = Stream(trained, float(FS), 2)
    expected = [event for event in whole.push(two) if isinstance(event, Beat)]
    found = [event for patient, event in told if patient == "second" and isinstance(event, Beat)]
    lost = range(18 * FS, 21 * FS)
    places = [event.sample for event in found]
    assert [e.sample for e in expected if e.sample not in lost] == [s for s in places if s not in lost]
    assert set(places) <= {event.sample for event in expected}


@pytest.fixture(scope="module")
def trained() -> Engine:
    return open_engine("nano", "onnxruntime")


@pytest.mark.parametrize("fails", [1, 4, 12])
def test_beats_that_a_failed_step_took_are_no_pause_and_no_interval(
    trained: Engine, heart: NDArray[np.float64], fails: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoiled = streamed(trained, heart, range(21, 21 + fails), monkeypatch)
    assert [event.label for event in spoiled if isinstance(event, Alarm)] == []
    intervals = [event.rr for event in spoiled if isinstance(event, Beat) and event.rr is not None]
    assert max(intervals) < 1.5


def test_a_flush_that_fails_ends_what_is_open(
    trained: Engine, heart: NDArray[np.float64], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Stream(trained, float(FS), alarms=AlarmSettings(bradycardia=90, tachycardia=130))
    told = stream.push(heart)
    assert [event.end for event in told if isinstance(event, Alarm)] == [None]

    def fails(self: TokenRows, network: NDArray[np.float32], slots: NDArray[np.intp]) -> Tokens:
        raise DeviceError("lost")

    with monkeypatch.context() as patched:
        patched.setattr(TokenRows, "_score", fails)
        with pytest.raises(DeviceError, match="lost"):
            stream.flush()
    told = stream.push(heart[:0])
    assert [event.end for event in told if isinstance(event, Alarm)] != [None]
    assert [event.label for event in told if isinstance(event, Alarm)] == ["bradycardia"]


@pytest.mark.parametrize("hop", [0.0625, 0.5])
def test_a_step_that_fails_before_a_segment_has_begun_makes_up_nothing(
    nano: Engine, heart: NDArray[np.float64], hop: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network begins behind what is held, and has failed just there."""
    signal = heart.copy()
    end = 15 * FS + 400
    signal[15 * FS : end] = np.nan
    whole = streamed(nano, signal, range(0), monkeypatch, hop)
    first = round(15 / hop) + 8  # calls of the graph up to the gap, and some of its tail
    for at in range(first, first + 6):
        spoiled = streamed(nano, signal, range(at, at + 1), monkeypatch, hop)
        places = np.array([_at(e) for e in whole if isinstance(e, Beat)])
        behind = [e.sample for e in spoiled if isinstance(e, Beat) and 0 <= e.sample - end < 0.3 * FS]
        assert all(np.abs(places - sample).min() < 0.1 * FS for sample in behind)


def _at(event: Event) -> int:
    return event.sample if isinstance(event, Beat) else event.start
