"""RR intervals that a strap measures by itself, in a file beside the events."""

from __future__ import annotations

import itertools
import json
import resource
import signal
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from edgeecg.errors import LinkError
from edgeecg.stream.sources import pmd
from edgeecg.stream.sources.fake_polar import FRAME, FakeStrap
from edgeecg.stream.sources.interval_log import IntervalLog
from edgeecg.stream.sources.polar import PolarSource
from tests.stream.peers import waves


def play(rr: str, frames: int = 4) -> None:
    strap = FakeStrap(waves(FRAME * frames)[:, 0], pause=0.001)
    with PolarSource("AA:BB", transport=strap, rr=rr) as source:
        assert len(list(itertools.islice(source, frames))) == frames


def test_a_file_is_continued_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "strap.jsonl"
    file.write_text('{"bpm":59}\n')
    play(str(file))
    play(str(file))
    first, *lines = map(json.loads, file.read_text().splitlines())
    assert first == {"bpm": 59}
    assert len(lines) >= 6  # of the last of four the source may be closed before its interval comes
    for line in lines:
        at = datetime.fromisoformat(line.pop("time").replace("Z", "+00:00"))
        assert abs(datetime.now(timezone.utc) - at) < timedelta(minutes=5)
        assert line == {"bpm": 60, "contact": True, "rr": [1.0]}


def test_a_place_that_is_not_there_is_told_when_opened(tmp_path: Path) -> None:
    strap = FakeStrap(waves(FRAME)[:, 0])
    with pytest.raises(LinkError, match=r"rr=.*no/where cannot be written: No such file"):
        PolarSource("AA:BB", transport=strap, rr=str(tmp_path / "no/where")).open()
    assert not strap.connected


def test_a_full_disk_is_told_once_and_the_ecg_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    play("/dev/full")
    assert caplog.text.count("find no place in their file") == 1
    assert "No space left" in caplog.text


def test_half_a_line_does_not_stay(tmp_path: Path) -> None:
    """A disk that fills up takes a part of a line."""
    file = tmp_path / "rr"
    log = IntervalLog(str(file))
    log.write(pmd.HeartRate(60, True, None, (1.0,)))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 10, limits[1]))
        log.write(pmd.HeartRate(61, True, None, (1.0,)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert log.lost == 1
    log.write(pmd.HeartRate(62, None, None, ()))
    log.close()
    log.write(pmd.HeartRate(63, None, None, ()))  # late
    assert [json.loads(line)["bpm"] for line in file.read_text().splitlines()] == [60, 62]
