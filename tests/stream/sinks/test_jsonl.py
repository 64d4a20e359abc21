"""Events as lines of JSON, and the sink that writes them."""

from __future__ import annotations

import json
import os
import select
import sys
import threading
import tty
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeecg.errors import LinkError, RecordError
from edgeecg.specs import Alarm, Beat, Event, Gap, Quality, Rhythm
from edgeecg.stream.sinks import Header, Sink, jsonl, open_sink
from edgeecg.stream.sinks.lines import EventLine, event_line, header_line, parse_line, read_lines
from edgeecg.stream.wallclock import iso_time
from tests.io.test_atomic import room_for

HEADER = Header("bed-3", 250.0, ("II", "MLII"), "small", "9f2c", start=1.7e9)

whole = st.integers(0, 2**62)
part = st.floats(0, 1)
events = st.one_of(
    st.builds(Beat, whole, st.sampled_from("NSVFP"), part, part, st.none() | st.floats(0, 100)),
    st.builds(Rhythm, whole, st.none() | whole, st.sampled_from(["N", "AFIB"]), part),
    st.builds(Quality, whole, st.none() | whole, st.sampled_from(["noisy", "flat"])),
    st.builds(Gap, whole, whole),
    st.builds(Alarm, whole, st.none() | whole, st.sampled_from(["pause", "v-run"])),
)


@given(events, st.text(max_size=20), st.none() | st.floats(0, 4e9))
def test_a_line_says_all_of_an_event(event: Event, patient: str, time: float | None) -> None:
    line = event_line(event, patient, time)
    assert b"\n" not in line
    told = parse_line(line)
    assert isinstance(told, EventLine)
    assert (told.event, told.patient) == (event, patient)
    assert (told.time is None) == (time is None)
    if told.time is not None and time is not None:
        assert told.time.timestamp() == pytest.approx(time, abs=1e-3)


@given(st.binary(max_size=80))
def test_a_line_that_is_no_event_is_a_record_error(data: bytes) -> None:
    with pytest.raises(RecordError):
        parse_line(data)


def test_a_header_line_names_schema_and_model() -> None:
    told = json.loads(header_line(HEADER))
    assert (told["edgeecg"], told["schema"], told["model"], told["digest"]) == ("header", 1, "small", "9f2c")
    assert parse_line(header_line(HEADER)) == HEADER
    newer = header_line(HEADER).replace(b'"schema":1', b'"schema":2')
    with pytest.raises(RecordError, match="schema 1"):
        parse_line(newer)


def test_times_are_utc() -> None:
    assert iso_time(1.7e9 + 0.25) == "2023-11-14T22:13:20.250Z"


def test_a_file_of_events_is_continued_even_after_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(header_line(HEADER) + b'\n{"event":"be')  # the power went off
    with open_sink(f"jsonl:{path}") as sink:
        sink.open(HEADER)
        sink.write(Gap(3, 4), "bed-3")
    lines = path.read_bytes().splitlines()
    assert [parse_line(line) for line in (lines[0], *lines[2:])] == [
        HEADER,
        HEADER,
        EventLine("bed-3", Gap(3, 4)),
    ]
    with pytest.raises(RecordError, match="line 2"):
        list(read_lines(path))
    with pytest.raises(RecordError, match="cannot be read"):
        list(read_lines(tmp_path / "none"))


def test_each_event_can_be_read_before_the_sink_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with open_sink(f"jsonl:{path}") as sink:
        sink.open(HEADER)
        for i in range(5):
            sink.write(Gap(i, 1), "bed-3")
            assert len(list(read_lines(path))) == i + 2


def test_a_full_disk_is_a_link_error() -> None:
    sink = open_sink("jsonl:/dev/full")
    with pytest.raises(LinkError, match="No space"):
        sink.open(HEADER)
    with pytest.raises(LinkError, match="1 lines wait"):
        sink.close()


@pytest.mark.parametrize("size", [0, 40])
def test_a_disk_that_is_full_at_once_keeps_no_empty_file(tmp_path: Path, size: int) -> None:
    """Once there is room all events come, after the header that they need."""
    path = tmp_path / "deep" / "folder" / "events.jsonl"
    with open_sink(f"jsonl:{path}") as sink:
        with pytest.raises(LinkError, match=r"events\.jsonl"), room_for(size):
            sink.open(HEADER)
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(LinkError), room_for(size):
            sink.write(Gap(1, 1), "bed-3")
        assert list(tmp_path.iterdir()) == []
        sink.write(Gap(3, 4), "bed-3")
        sink.open(replace(HEADER, patient="bed-4"))
    events = [EventLine("bed-3", gap) for gap in (Gap(1, 1), Gap(3, 4))]
    assert list(read_lines(path)) == [HEADER, *events, replace(HEADER, patient="bed-4")]


def test_a_disk_that_gets_full_keeps_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with open_sink(f"jsonl:{path}") as sink:
        sink.open(HEADER)
        before = path.read_bytes()
        with pytest.raises(LinkError), room_for(len(before) + 20):
            sink.write(Gap(1, 1), "bed-3")
        assert path.read_bytes() == before
        assert sink.behind
        sink.write(Gap(3, 4), "bed-3")
        assert not sink.behind
    assert list(read_lines(path)) == [HEADER, EventLine("bed-3", Gap(1, 1)), EventLine("bed-3", Gap(3, 4))]


def test_a_line_that_standard_output_took_in_part_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "out.jsonl").open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        with open_sink("-") as sink:
            with pytest.raises(LinkError), room_for(20):
                sink.open(HEADER)
            sink.write(Gap(1, 1), "bed-3")
    assert list(read_lines(tmp_path / "out.jsonl")) == [HEADER, EventLine("bed-3", Gap(1, 1))]


def test_a_line_that_is_being_written_is_not_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A health page is asked from another thread, at any moment."""
    seen: list[bool] = []
    with open_sink(f"jsonl:{tmp_path / 'events.jsonl'}") as sink:
        sink.open(HEADER)
        write = os.write
        monkeypatch.setattr(os, "write", lambda fd, data: seen.append(sink.behind) or write(fd, data))
        sink.write(Gap(1, 1), "bed-3")
        monkeypatch.undo()
    assert seen == [False]


def test_what_was_there_before_a_full_disk_stays(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"{}\n")
    with open_sink(f"jsonl:{path}") as sink:
        with pytest.raises(LinkError), room_for(3):
            sink.open(HEADER)
        assert path.read_bytes() == b"{}\n"


def into_pipe(folder: Path) -> tuple[Sink, int]:
    """A gateway's sink, open, and the other end of its pipe."""
    pipe = folder / "events"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    sink = open_sink(f"jsonl:{pipe}")
    sink.waits = False
    sink.open(HEADER)
    return sink, reader


def test_a_sink_that_may_not_wait_holds_lines_for_a_reader_that_is_slow(tmp_path: Path) -> None:
    """A gateway's: a pipe is full after some hundred lines, and nobody else's events wait for it."""
    sink, reader = into_pipe(tmp_path)
    told = 0
    while not sink.behind:
        with suppress(LinkError):
            sink.write(Beat(told, "N", 1.0, 1.0, None), HEADER.patient)
        told += 1
    sink.write(Beat(told, "N", 1.0, 1.0, None), HEADER.patient)  # it is kept, which is no failure
    assert sink.trouble is not None
    assert sink.trouble.public == "whoever reads it takes nothing, let it read on (2 lines wait)"
    got = os.read(reader, 1 << 20)
    sink.write(Beat(told + 1, "N", 1.0, 1.0, None), HEADER.patient)
    assert not sink.behind
    assert sink.trouble is None
    sink.close()
    lines = [parse_line(line) for line in (got + os.read(reader, 1 << 20)).splitlines()]
    os.close(reader)
    assert lines[0] == HEADER
    assert [line.event.sample for line in lines[1:] if isinstance(line, EventLine)] == list(range(told + 2))


@pytest.mark.parametrize("printed", [True, False])
def test_a_terminal_that_is_stopped_holds_up_nobody(monkeypatch: pytest.MonkeyPatch, printed: bool) -> None:
    """It says that it has room where that is for less than a line, and a write would wait."""
    name = "x" * 2 * select.PIPE_BUF
    near, far = os.openpty()
    tty.setraw(far)
    os.set_blocking(near, False)
    with os.fdopen(far, "w") as out, os.fdopen(near, "rb", buffering=0) as screen:
        monkeypatch.setattr(sys, "stdout", out)
        sink = open_sink("-" if printed else f"jsonl:{os.ttyname(far)}")
        sink.waits = False
        sink.open(replace(HEADER, patient=name))
        told, got = 100, bytearray()
        told_all = threading.Event()

        def tell() -> None:
            for at in range(told):
                sink.write(Gap(at, 1), name)
            told_all.set()

        threading.Thread(target=tell, daemon=True).start()
        assert told_all.wait(10)
        assert sink.behind
        assert os.get_blocking(far), "the terminal is others' too"
        while got.count(b"\n") <= told:
            got += screen.read(1 << 16) or b""
            with suppress(LinkError):
                sink.retry()
        assert not sink.behind
        sink.close()
    events = [parse_line(line) for line in got.splitlines()[1:]]
    assert events == [EventLine(name, Gap(at, 1)) for at in range(told)]


def test_a_file_that_was_removed_is_made_again_by_the_next_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with open_sink(f"jsonl:{path}") as sink:
        sink.open(HEADER)
        path.unlink()
        sink.write(Beat(1, "N", 1.0, 1.0, None), HEADER.patient)
    first, second = (parse_line(line) for line in path.read_bytes().splitlines())
    assert first == HEADER
    assert isinstance(second, EventLine)


@pytest.mark.parametrize("read", [True, False])
def test_a_sink_that_may_not_wait_still_waits_for_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: bool
) -> None:
    sink, reader = into_pipe(tmp_path)
    with suppress(LinkError):
        while not sink.behind:
            sink.write(Beat(1, "N", 1.0, 1.0, None), HEADER.patient)
    if read:
        late = threading.Timer(0.2, os.read, (reader, 1 << 20))
        late.start()
        sink.close()
        late.join()
        assert not sink.behind
    else:
        monkeypatch.setattr(jsonl, "LAST_WORDS", 0.1)
        with pytest.raises(LinkError, match="takes nothing"):
            sink.close()
    os.close(reader)


def test_lines_that_are_lost_are_counted_and_spoil_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "MOST_WAITING", 3)
    pipe = tmp_path / "events"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    sink = open_sink(f"jsonl:{pipe}")
    sink.waits = False
    name = "x" * 2 * select.PIPE_BUF  # such a line may be written in part
    sink.open(replace(HEADER, patient=name))
    told = 0
    while not sink.behind:
        with suppress(LinkError):
            sink.write(Gap(told, 1), name)
        told += 1
    for _ in range(5):
        with suppress(LinkError):
            sink.write(Gap(told, 1), name)
        told += 1
    with pytest.raises(LinkError, match=r"takes nothing, let it read on \(3 lines wait, 4 are lost\)"):
        sink.write(Gap(told, 1), name)
    got = os.read(reader, 1 << 20)
    with pytest.raises(LinkError, match="4 lines are lost, the oldest of over 3"):
        sink.close()
    sink.close()
    lines = [parse_line(line) for line in (got + os.read(reader, 1 << 20)).splitlines()]
    os.close(reader)
    assert len(lines) == 1 + told + 1 - 4


@pytest.mark.parametrize("waits", [True, False])
def test_events_in_a_pipe_that_nobody_reads_have_not_arrived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    """The system forgets them when the last who has it open lets go."""
    monkeypatch.setattr(jsonl, "LAST_WORDS", 0.1)
    pipe = tmp_path / "events"
    os.mkfifo(pipe)
    sink = open_sink(f"jsonl:{pipe}")
    sink.waits = waits
    sink.open(HEADER)
    size = len(header_line(HEADER)) + 1
    with pytest.raises(LinkError, match=f"nobody has read the last {size} bytes") as caught:
        sink.close()
    assert "events" in caught.value.public
    assert str(pipe) not in caught.value.public


def test_a_reader_that_comes_at_the_end_gets_what_is_in_the_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "events"
    os.mkfifo(pipe)
    sink = open_sink(f"jsonl:{pipe}")
    sink.open(HEADER)
    got: list[bytes] = []
    late = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    late.start()
    sink.close()
    late.join()
    assert [parse_line(line) for line in got[0].splitlines()] == [HEADER]


@pytest.mark.parametrize("replaced", [True, False])
def test_a_file_that_was_rotated_is_made_anew_and_can_be_read_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    monkeypatch.setattr(jsonl, "LOOK", 0.0)
    path, old = tmp_path / "events.jsonl", tmp_path / "events.1"
    with open_sink(f"jsonl:{path}") as sink:
        sink.open(HEADER)
        sink.write(Gap(1, 1), "bed-3")
        path.rename(old)
        if replaced:
            path.touch()
        sink.write(Gap(2, 1), "bed-3")
        sink.open(replace(HEADER, patient="bed-4"))
        path.unlink()
        sink.open(replace(HEADER, patient="bed-5"))
    assert list(read_lines(old)) == [HEADER, EventLine("bed-3", Gap(1, 1))]
    assert [line.patient for line in read_lines(path)] == ["bed-3", "bed-4", "bed-5"]
