"""What goes wrong in a gateway stays where it is: one patient, one sink, one disk."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeecg.errors import EdgeECGError, LinkError, MissingExtra, RecordError
from edgeecg.io import read_annotations
from edgeecg.runtime.engine import Engine
from edgeecg.specs import Beat, Event, Gap
from edgeecg.stream import gateway as room
from edgeecg.stream import link, outlet
from edgeecg.stream.address import build
from edgeecg.stream.feed import Feed
from edgeecg.stream.gateway import Gateway
from edgeecg.stream.session import Stream
from edgeecg.stream.sinks import open_sink
from edgeecg.stream.sinks.base import BaseSink, Header
from edgeecg.stream.sources import open_source
from edgeecg.stream.sources.base import BaseSource, Packet
from edgeecg.stream.sources.fake_polar import FRAME, FakeStrap
from edgeecg.stream.sources.polar import PolarSource
from edgeecg.stream.sources.wire import encode_binary
from tests.contract.engines import assert_same_events, heart
from tests.stream.peers import websocket_server
from tests.stream.test_gateway import events_of, eventually, gateway, headers_of, record

FS = 250.0
Script = Callable[["Scripted"], Iterator[Packet]]


class Scripted(BaseSource):
    """A source that does what a test says."""

    def __init__(self, fs: float, script: Script, opening: float = 0.0) -> None:
        super().__init__()
        self.fs, self.leads, self._script, self._opening = fs, ("I",), script, opening

    def _connect(self) -> None:
        time.sleep(self._opening)

    def _packets(self) -> Iterator[Packet]:
        return self._script(self)


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[], Scripted]]:
    """Sources by the name behind ``script:``."""
    known: dict[str, Callable[[], Scripted]] = {}

    def made(kind: str, text: str, forms: Any, options: Any) -> Any:
        return known[text]() if text in known else build(kind, text, forms, options)

    monkeypatch.setattr(link, "build", made)
    monkeypatch.setattr(link, "FIRST_PAUSE", 0.05)
    return known


def steady(seconds: float, pace: float = 0.0, stamp: float = 1.0) -> Script:
    """A heart in pieces of 0.2 s, counted, or stamped by a clock that runs ``stamp`` times as fast."""
    signal = heart(seconds, FS)

    def script(source: Scripted) -> Iterator[Packet]:
        for at in range(0, len(signal), 50):
            if source._stop.wait(pace):
                return
            stamped = {"sample": at} if stamp == 1.0 else {"stamp": round(at / FS * stamp * 1e9)}
            yield Packet(signal[at : at + 50], **stamped)

    return script


@contextlib.contextmanager
def running(made: Gateway) -> Iterator[list[BaseException]]:
    """The gateway in a thread, stopped at the end; gives what it raised."""
    stop, raised = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            made.run(stop)
        except EdgeECGError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield raised
    finally:
        stop.set()
        thread.join()


def beats(path: Path, name: str) -> list[Beat]:
    return [event for event in events_of(path).get(name, []) if isinstance(event, Beat)]


def marks(stem: Path) -> int:
    """Beats in an annotation file; none while it is being set aside."""
    try:
        return len(read_annotations(stem, "edg").beats())
    except RecordError:
        return 0


@pytest.mark.parametrize(
    "bad", [lambda: Scripted(2000.0, steady(20)), lambda: Scripted(FS, steady(40, stamp=0.5))]
)
def test_a_patient_whose_signal_cannot_be_used_stops_nobody(
    nano: Engine, tmp_path: Path, scripts: dict[str, Any], bad: Callable[[], Scripted]
) -> None:
    """A rate that no stage takes; stamps at another rate than the declared one."""
    scripts |= {"script:bad": bad, "script:good": lambda: Scripted(FS, steady(20))}
    made = gateway(nano, tmp_path, {"bad": "script:bad", "good": "script:good"}, snapshot="context")
    made.run(threading.Event())
    assert len(beats(tmp_path / "events.jsonl", "good")) > 15
    told = made.report()
    assert told["patients"]["bad"]["state"] == "failed"
    assert told["status"] == "degraded"


@pytest.mark.usefixtures("wants_unforeseen")
def test_a_source_with_a_fault_of_the_program_is_opened_again(
    nano: Engine, tmp_path: Path, scripts: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is given up for it; the log says what and where, and not what was read."""
    faults = iter([True, True])

    def odd(source: Scripted) -> Iterator[Packet]:
        if next(faults, False):
            raise KeyError("Jane Doe")
        return steady(8)(source)

    scripts["script:odd"] = lambda: Scripted(FS, odd)
    made = gateway(nano, tmp_path, {"a": "script:odd"})
    made.run(threading.Event())
    assert len(beats(tmp_path / "events.jsonl", "a")) > 3
    assert made.report()["patients"]["a"]["attempts"] == 3
    told = [
        line for line in caplog.messages if "please report it: KeyError in test_gateway_faults.py" in line
    ]
    assert len(told) == 2
    assert "Jane" not in caplog.text


def test_who_comes_back_with_another_rate_takes_a_name_that_is_free(
    nano: Engine, tmp_path: Path, scripts: dict[str, Any]
) -> None:
    rates = iter([FS, 2 * FS])

    def twice() -> Scripted:
        return Scripted(next(rates), breaking)

    def breaking(source: Scripted) -> Iterator[Packet]:
        yield from steady(8)(source)
        if source.fs == FS:
            raise link.LinkError("it broke off")

    scripts |= {"script:twice": twice, "script:good": lambda: Scripted(FS, steady(8))}
    made = gateway(nano, tmp_path, {"bed": "script:twice", "bed-2": "script:good"})
    made.run(threading.Event())
    told = events_of(tmp_path / "events.jsonl")
    assert set(told) == {"bed", "bed-2", "bed-3"}
    assert all(len(beats(tmp_path / "events.jsonl", name)) > 3 for name in told)


def test_a_snapshot_takes_no_name_of_a_patient_of_the_file(
    nano: Engine, tmp_path: Path, scripts: dict[str, Any]
) -> None:
    """`bed` went on as `bed-2`; then the file gets a patient of that name."""
    rates = iter([FS, 2 * FS, FS])

    def twice() -> Scripted:
        return Scripted(next(rates), breaking)

    def breaking(source: Scripted) -> Iterator[Packet]:
        yield from steady(8 if source.fs == FS else 600, 0.0 if source.fs == FS else 0.005)(source)
        if source.fs == FS:
            raise link.LinkError("it broke off")

    scripts |= {"script:twice": twice, "script:good": lambda: Scripted(FS, steady(600, pace=0.005))}
    first = gateway(nano, tmp_path, {"bed": "script:twice"}, snapshot="context")
    with running(first) as raised:
        eventually(lambda: "bed-2" in first.pool)
    assert not raised
    second = gateway(nano, tmp_path, {"bed": "script:good", "bed-2": "script:good"}, snapshot="context")
    (tmp_path / "events.jsonl").unlink()
    with running(second) as raised:
        eventually(lambda: len(beats(tmp_path / "events.jsonl", "bed-2")) > 3)
        eventually(lambda: {bed["state"] for bed in second.report()["patients"].values()} == {"live"})
    assert not raised


def test_a_snapshot_that_cannot_be_written_stops_nobody(
    nano: Engine, tmp_path: Path, scripts: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    scripts["script:good"] = lambda: Scripted(FS, steady(600, pace=0.005))
    path = tmp_path / "folder" / "context"
    path.parent.write_text("in the way")
    made = gateway(nano, tmp_path, {"a": "script:good"}, snapshot=str(path), snapshot_every=0.05)
    with running(made) as raised:
        eventually(lambda: not made.report()["snapshot"])
        count = len(beats(tmp_path / "events.jsonl", "a"))
        eventually(lambda: len(beats(tmp_path / "events.jsonl", "a")) > count + 3)
        path.parent.unlink()
        eventually(lambda: made.report()["snapshot"] and path.is_file())
    assert not raised
    assert sum("snapshot cannot be kept" in line for line in caplog.messages) == 1


def test_a_sink_that_is_not_there_yet_is_reached_later(
    nano: Engine, tmp_path: Path, scripts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlet, "FIRST_PAUSE", 0.05)
    scripts["script:good"] = lambda: Scripted(FS, steady(600, pace=0.005))
    folder = tmp_path / "later"
    folder.write_text("in the way")
    made = gateway(nano, tmp_path, {"a": "script:good"}, sinks=(f"jsonl:{folder / 'events.jsonl'}",))
    with running(made) as raised:
        eventually(lambda: not made.report()["sinks"][0]["ok"])
        folder.unlink()
        eventually(lambda: len(beats(folder / "events.jsonl", "a")) > 3)
        assert made.report()["sinks"][0]["ok"]
    assert not raised


def test_files_that_cannot_be_written_are_told_until_they_can(caplog: pytest.LogCaptureFixture) -> None:
    """Events that a sink takes into its memory are no sign that its files come along."""

    class Full(BaseSink):
        full = True

        def _connect(self, header: Header) -> None: ...

        def _send(self, event: Event, header: Header, time: float | None) -> None: ...

        def keep(self) -> None:
            if self.full:
                raise LinkError("no room", public=True)

    held = outlet.Outlet(1, Full(), "full")
    held.open(Header("a", FS, ("I",), "small", "9f2c"))
    for _ in range(3):
        held.keep()
        held.write(Gap(1, 1), "a", None)
        assert not held.ok
    assert [record.message for record in caplog.records] == ["sink 1 (full) failed: no room"]
    held.sink.full = False  # type: ignore[attr-defined]
    held.keep()
    assert held.ok


def test_a_sink_that_loses_events_is_not_well_because_it_has_nothing_to_keep(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Deaf(BaseSink):
        def _connect(self, header: Header) -> None: ...

        def _send(self, event: Event, header: Header, time: float | None) -> None:
            raise LinkError("no answer", public=True)

    held = outlet.Outlet(1, Deaf(), "deaf")
    held.open(Header("a", FS, ("I",), "small", "9f2c"))
    for _ in range(3):
        held.write(Gap(1, 1), "a", None)
        held.keep()
        held.look()
        assert not held.ok
    assert [record.message for record in caplog.records] == ["sink 1 (deaf) failed: no answer"]
    assert held.failures == 3


@pytest.mark.parametrize("kind", ["jsonl", "wfdb", "fhir"])
def test_a_path_that_cannot_even_be_asked_for_stops_nobody(kind: str, tmp_path: Path) -> None:
    if kind == "fhir":
        pytest.importorskip("fhir.resources", reason="no fhir.resources: pip install fhir.resources")
    held = outlet.Outlet(1, open_sink(f"{kind}:{tmp_path / ('x' * 300) / 'events'}"), kind)
    held.open(Header("a", FS, ("I",), "small", "9f2c"))
    assert "File name too long" in held.error
    held.write(Gap(1, 1), "a", None)
    assert held.close()


def test_a_sink_that_raises_an_error_of_the_system_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    class Unforeseen(BaseSink):
        def _connect(self, header: Header) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/home/smith")

        def _send(self, event: Event, header: Header, time: float | None) -> None: ...

    held = outlet.Outlet(1, Unforeseen(), "own")
    held.open(Header("a", FS, ("I",), "small", "9f2c"))
    assert [record.message for record in caplog.records] == ["sink 1 (own) failed: Permission denied"]


def test_a_sink_that_falls_behind_by_itself_is_told_once_and_once_that_it_is_well(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where a library sends in a thread of its own: no call fails while the broker is away."""
    caplog.set_level("INFO")
    monkeypatch.setattr(outlet, "GRACE", 0.0)

    class Queueing(BaseSink):
        def _connect(self, header: Header) -> None: ...

        def _send(self, event: Event, header: Header, time: float | None) -> None: ...

        @property
        def trouble(self) -> LinkError | None:
            return LinkError("smith/ecg: away", public="the broker is away") if self.behind else None

    held = outlet.Outlet(1, Queueing(), "own")
    held.open(Header("a", FS, ("I",), "small", "9f2c"))
    for away in (False, True, True, False, False, True):
        held.sink.behind = away
        held.write(Gap(1, 1), "a", None)
        held.look()
        assert held.ok != away
        assert held.error == ("smith/ecg: away" if away else "")
    assert held.failures == 0
    away, well = "sink 1 (own) is behind: the broker is away", "sink 1 (own) is well again"
    assert caplog.messages == [away, well, away]


def test_what_waited_and_was_given_up_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    class Refusing(BaseSink):
        behind = True

        def _connect(self, header: Header) -> None: ...

        def _send(self, event: Event, header: Header, time: float | None) -> None: ...

        def retry(self) -> None:
            self.behind = False
            raise LinkError("1 findings are left out", public=True)

    held = outlet.Outlet(1, Refusing(), "own")
    held.look()
    assert (held.ok, held.failures, held.error) == (False, 1, "1 findings are left out")
    assert caplog.messages == ["sink 1 (own) failed: 1 findings are left out"]


def test_annotation_files_are_there_while_it_runs_and_outlive_a_restart(
    nano: Engine, tmp_path: Path, scripts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wfdb")
    monkeypatch.setattr(room, "KEEP", 0.1)  # as the gateway sees it
    scripts["script:good"] = lambda: Scripted(FS, steady(600, pace=0.005))
    given: dict[str, Any] = {"sinks": (f"wfdb:{tmp_path}",), "snapshot": "context"}
    with running(gateway(nano, tmp_path, {"a": "script:good"}, **given)):
        eventually(lambda: marks(tmp_path / "a") > 3)
    before = read_annotations(tmp_path / "a", "edg")
    second = gateway(nano, tmp_path, {"a": "script:good"}, **given)
    with running(second):
        eventually(lambda: (tmp_path / "earlier-1").is_dir() and marks(tmp_path / "a") > 3)
    kept, after = (read_annotations(tmp_path / name, "edg") for name in ("earlier-1/a", "a"))
    assert kept.sample[: len(before)].tolist() == before.sample.tolist()
    assert after.beats().sample[0] > kept.beats().sample[-1]


def test_a_stop_does_not_wait_for_a_source_that_opens(
    nano: Engine, tmp_path: Path, scripts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "PATIENCE", 0.3)

    def silent(source: Scripted) -> Iterator[Packet]:
        source._stop.wait()
        yield from ()

    scripts |= {
        "script:slow": lambda: Scripted(FS, silent, opening=4.0),
        "script:good": lambda: Scripted(FS, steady(600, pace=0.005)),
    }
    made = gateway(nano, tmp_path, {"slow": "script:slow", "good": "script:good"}, snapshot="context")
    with running(made) as raised:
        eventually(lambda: len(beats(tmp_path / "events.jsonl", "good")) > 3)
        begin = time.monotonic()
    assert time.monotonic() - begin < 3
    assert not raised
    assert (tmp_path / "context").is_file()


class Away(FakeStrap):
    """A strap that nobody hears: the search goes on, or ends at once where Bluetooth is off."""

    def __init__(self, off: bool) -> None:
        super().__init__(np.zeros(FRAME))
        self.off, self.searching = off, False

    async def connect(self, lost: Callable[[], None]) -> None:
        if self.off:
            raise LinkError("is Bluetooth switched on?")
        self.searching = True
        try:
            await asyncio.sleep(60)
        finally:
            self.searching = False


@pytest.mark.parametrize("off", [True, False])
def test_a_strap_that_is_away_is_told_at_once_and_holds_up_no_stop(
    nano: Engine, tmp_path: Path, scripts: dict[str, Any], off: bool
) -> None:
    strap = Away(off)
    scripts["script:strap"] = lambda: PolarSource("auto", transport=strap)
    made = gateway(nano, tmp_path, {"a": "script:strap"})
    with running(made) as raised:
        if off:
            eventually(lambda: made.report()["patients"]["a"]["error"] == "is Bluetooth switched on?", 5)
            assert made.report()["patients"]["a"]["state"] == "connecting"
        else:
            eventually(lambda: strap.searching, 5)
        begin = time.monotonic()
    assert time.monotonic() - begin < 2
    assert not raised
    eventually(lambda: not (strap.searching or made.beds[0].link.alive), 5)
    assert made.beds[0].link.state == "ended"


@pytest.mark.parametrize(("codes", "state"), [((1001,), "live"), ((), "ended")])
def test_a_peer_that_goes_away_is_watched_again_and_one_that_ends_is_told(
    nano: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture, codes: tuple[int, ...], state: str
) -> None:
    """A server that is started anew says 1001, and its patient is not at the end of his signal."""
    caplog.set_level("INFO")
    sent = [encode_binary(packet, FS) for packet in steady(10)(Scripted(FS, steady(10)))]
    with websocket_server(sent, end=not codes, codes=codes) as url:
        made = gateway(nano, tmp_path, {"a": url, "b": f"{record(tmp_path, 'r', 600)}?speed=1"})
        with running(made) as raised:
            eventually(lambda: made.report()["patients"]["a"]["events"] > 3)
            eventually(lambda: made.report()["patients"]["a"]["state"] == state)
            time.sleep(1.5)  # a peer that has ended is not asked again
            told = made.report()
            assert (told["patients"]["a"]["state"], told["patients"]["a"]["attempts"]) == (state, 1)
            assert told["status"] == "ok"
    assert not raised
    assert ("source 1 has ended by itself" in caplog.messages) == (state == "ended")


def test_a_source_that_opens_slowly_holds_up_a_stop_for_a_moment_only(
    nano: Engine, tmp_path: Path, scripts: dict[str, Any]
) -> None:
    """It would end after its own time limit; nothing is on its way from it."""
    scripts["script:slow"] = lambda: Scripted(FS, steady(1), opening=6.0)
    made = gateway(nano, tmp_path, {"a": "script:slow"})
    with running(made) as raised:
        eventually(lambda: made.beds[0].link.attempts == 1)
        begin = time.monotonic()
    assert time.monotonic() - begin < 2.5
    assert not raised


def test_what_a_stop_could_not_wait_for_is_counted_in_the_log(
    nano: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours of signal in a pipe, of which a stop has time for seconds."""
    monkeypatch.setattr(room, "PATIENCE", 0.5)
    near, far = os.pipe()

    def flood() -> None:
        with os.fdopen(far, "wb") as writer, contextlib.suppress(BrokenPipeError):
            writer.write(np.tile(heart(60, FS), (200, 1)).astype("<f4").tobytes())

    threading.Thread(target=flood, daemon=True).start()
    made = gateway(nano, tmp_path, {"a": f"-?fs={FS}&format=f32&fd={near}"})
    with running(made) as raised:
        eventually(lambda: getattr(made.beds[0].link._source, "waiting", 0) > 1000)
    os.close(near)
    assert not raised
    told = [
        found[1] for line in caplog.messages if (found := re.match(r"source 1: the last (\d+) packets", line))
    ]
    assert len(told) == 1
    assert int(told[0]) > 300  # also what the link, which holds 256, had not read yet


def test_a_closed_link_brings_all_that_its_source_has_got(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stop of a live source lost what waited between its threads, and the log said it had flooded."""
    monkeypatch.setattr(link, "DEPTH", 1)
    near, far = os.pipe()
    made = link.Link(1, f"-?fs={FS}&live=true&fd={near}")
    made.start()
    for number in range(20):  # a packet each
        os.write(far, b"%d\n" % number)
        time.sleep(0.01)
    eventually(lambda: made._source is not None and getattr(made._source, "waiting", 0) > 10)
    made.close()
    brought: list[Any] = []
    while made.alive or not made.inbox.empty():
        with contextlib.suppress(queue.Empty):
            brought.append(made.inbox.get(timeout=0.1))
    os.close(near)
    os.close(far)
    samples = np.concatenate([packet.samples[:, 0] for packet in brought if isinstance(packet, Packet)])
    np.testing.assert_array_equal(samples, np.arange(20))


@pytest.mark.parametrize("data", [b"", b"0.1\n0.2\ncut o"])
def test_standard_input_that_is_over_is_not_asked_again(nano: Engine, tmp_path: Path, data: bytes) -> None:
    """Else a gateway whose only sensor has died would look for it for ever, in a pipe without another end."""
    near, far = os.pipe()
    os.write(far, data)
    os.close(far)
    made = gateway(nano, tmp_path, {"a": f"-?fs={FS}&fd={near}"})
    with running(made) as raised:
        eventually(lambda: made.report()["patients"]["a"]["state"] == "failed", 20)
        eventually(lambda: raised, 20)  # by itself
    os.close(near)
    assert "no patient's source can be used" in str(raised[0])


class Clinging(Scripted):
    """A source that is let go of when ``free`` says so."""

    def __init__(self, script: Script, free: Callable[[], object]) -> None:
        super().__init__(FS, script)
        self._free = free

    def _disconnect(self) -> None:
        self._free()


def test_a_stop_lets_go_of_all_sources_at_once(nano: Engine, tmp_path: Path, scripts: dict[str, Any]) -> None:
    """Here each is free once the others are being let go of too."""
    together = threading.Barrier(3)
    scripts["script:slow"] = lambda: Clinging(steady(600, pace=0.01), lambda: together.wait(20))
    made = gateway(nano, tmp_path, dict.fromkeys("abc", "script:slow"), snapshot="context")
    with running(made) as raised:
        eventually(lambda: all(bed.events for bed in made.beds))
    assert not together.broken
    assert not raised
    assert (tmp_path / "context").is_file()


def test_nobody_waits_for_the_goodbye_of_one_who_has_failed(
    nano: Engine, tmp_path: Path, scripts: dict[str, Any]
) -> None:
    free = threading.Event()
    scripts |= {
        "script:bad": lambda: Clinging(steady(40, stamp=0.5), lambda: free.wait(60)),
        "script:good": lambda: Scripted(FS, steady(600, pace=0.01)),
    }
    made = gateway(nano, tmp_path, {"bad": "script:bad", "good": "script:good"})
    with running(made) as raised:
        eventually(lambda: made.beds[0].failed)
        events = made.beds[1].events
        eventually(lambda: made.beds[1].events > events + 3, 20)
        assert made.beds[0].link.alive
        free.set()
    assert not raised
    assert not made.beds[0].link.alive


def test_patients_have_the_numbers_of_the_file_whoever_comes_first(
    nano: Engine, tmp_path: Path, scripts: dict[str, Any]
) -> None:
    scripts |= {
        "script:slow": lambda: Scripted(FS, steady(2), opening=1.0),
        "script:good": lambda: Scripted(FS, steady(2)),
    }
    gateway(nano, tmp_path, {"a": "script:slow", "b": "script:good"}).run(threading.Event())
    told = [(header.patient, header.number) for header in headers_of(tmp_path / "events.jsonl")]
    assert told == [("b", 2), ("a", 1)]


def test_what_a_snapshot_still_held_is_told(nano: Engine, tmp_path: Path, scripts: dict[str, Any]) -> None:
    """Taken between a push and the poll that would have told: after a crash the next start tells it."""
    scripts["script:good"] = lambda: Scripted(FS, steady(600, pace=0.005))
    first = gateway(nano, tmp_path, {"a": "script:good"}, snapshot="context")
    bed = first.beds[0]
    bed._reached(link.Opened(Scripted(FS, steady(1))))
    for packet in steady(20)(Scripted(FS, steady(1))):
        bed._push(packet)
        if packet.sample is not None and packet.sample < 5 * FS:
            first._tell()
    first._save()
    waiting = [event for _, event in first.pool.poll() if isinstance(event, Beat)]
    assert len(waiting) > 8
    before = beats(tmp_path / "events.jsonl", "a")
    first._close_outlets()
    second = gateway(nano, tmp_path, {"a": "script:good"}, snapshot="context")
    second._restore()
    second._close_outlets()
    assert beats(tmp_path / "events.jsonl", "a")[len(before) :] == waiting


def test_lost_packets_are_gaps_as_in_a_stream(nano: Engine, tmp_path: Path) -> None:
    """Through the gateway the events are those of the same packets put in order by hand."""
    source = f"{record(tmp_path, 'r', 60)}?speed=0&packet=0.2&faults=drop=0.1"
    gateway(nano, tmp_path, {"a": source}).run(threading.Event())
    stream, expected = Stream(nano, FS), list[Any]()
    with open_source(source) as again:
        feed = Feed(again.fs, again.jitter)
        pieces = [piece for packet in again for piece in feed.step(packet)]
    for piece in [*pieces, *feed.flush()]:
        expected += stream.gap(piece.missing) + stream.push(piece.samples)
    expected += stream.flush()
    assert sum(isinstance(event, Gap) for event in expected) > 5
    assert_same_events(events_of(tmp_path / "events.jsonl")["a"], expected)
    assert np.isfinite([event.sample for event in expected if isinstance(event, Beat)]).all()


def test_a_sink_without_its_library_is_told_at_once(
    nano: Engine, tmp_path: Path, scripts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is nobody's signal that is to blame, and no later attempt would help."""

    def missing(purpose: str) -> None:
        raise MissingExtra("wfdb", "records", purpose)

    monkeypatch.setattr("edgeecg.stream.sinks.wfdb_files.load_wfdb", missing)
    scripts["script:good"] = lambda: Scripted(FS, steady(600, pace=0.005))
    made = gateway(nano, tmp_path, {"a": "script:good"}, sinks=(f"wfdb:{tmp_path}",))
    with pytest.raises(MissingExtra, match="records"):
        made.run(threading.Event())
    eventually(lambda: not made.beds[0].link.alive)


def test_a_gateway_that_nobody_feeds_keeps_its_snapshot(nano: Engine, tmp_path: Path) -> None:
    """A share that is not mounted: the next start goes on."""
    source = f"{record(tmp_path, 'r', 60)}?speed=20&packet=0.2"
    first = gateway(nano, tmp_path, {"a": source}, snapshot="context")
    with running(first):
        eventually(lambda: first.beds[0].events > 3)
    assert (tmp_path / "context").is_file()
    second = gateway(nano, tmp_path, {"a": f"{tmp_path / 'unmounted' / 'r'}?speed=20"}, snapshot="context")
    with pytest.raises(LinkError, match="no patient's source"):
        second.run(threading.Event())
    assert (tmp_path / "context").is_file()


@pytest.mark.parametrize("gone", [True, False])
def test_standard_output_that_nobody_reads_is_a_sink_that_fails(
    nano: Engine,
    tmp_path: Path,
    scripts: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    gone: bool,
) -> None:
    """Whoever read it has ended, or it was closed before: others get their events, the context is kept."""
    read, write = os.pipe()
    os.close(read)
    scripts["script:good"] = lambda: Scripted(FS, steady(600, pace=0.005))
    sinks = ("-", f"jsonl:{tmp_path / 'events.jsonl'}")
    made = gateway(nano, tmp_path, {"a": "script:good"}, sinks=sinks, snapshot="context")
    with os.fdopen(write, "w") as out:
        monkeypatch.setattr(sys, "stdout", out if gone else None)
        with running(made) as raised:
            eventually(lambda: len(beats(tmp_path / "events.jsonl", "a")) > 3)
            told = made.report()
        monkeypatch.undo()
    assert [sink["ok"] for sink in told["sinks"]] == [False, True]
    assert told["status"] == "degraded"
    assert sum("sink 1 (-) failed" in line for line in caplog.messages) == 1
    assert (tmp_path / "context").is_file()
    assert [str(error).partition(":")[0] for error in raised] == (
        ["not all that was told has arrived, in sink 1 (-)"] if gone else []
    )


def test_a_reader_that_does_not_read_delays_nobody(
    nano: Engine,
    tmp_path: Path,
    scripts: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A named pipe takes some hundred lines; behind it others get theirs, and so does its reader at last."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    monkeypatch.setattr(outlet, "GRACE", 0.0)
    scripts["script:good"] = lambda: Scripted(FS, steady(600, pace=0.002))
    made = gateway(nano, tmp_path, {"a": "script:good"}, sinks=(f"jsonl:{pipe}", f"jsonl:{tmp_path / 'b'}"))
    got = list[bytes]()

    def read() -> None:
        while more := os.read(reader, 1 << 16):
            got.append(more)

    reading = threading.Thread(target=read)
    with running(made) as raised:
        eventually(lambda: len(beats(tmp_path / "b", "a")) > 40)
        told = made.report()
        os.set_blocking(reader, True)
        reading.start()
    reading.join()
    os.close(reader)
    assert not raised
    assert [sink["ok"] for sink in told["sinks"]] == [False, True]
    assert told["sinks"][0]["failures"] == 0, "what waits is taken"
    assert "takes nothing, let it read on" in told["sinks"][0]["error"]
    assert sum("sink 1 (jsonl) is behind" in line for line in caplog.messages) == 1
    assert b"".join(got) == (tmp_path / "b").read_bytes()


def test_a_wrong_rate_is_on_the_page_and_once_in_the_log(
    nano: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a board that counts nothing and prints half as many lines as it should."""
    made = gateway(nano, tmp_path, {"a": "script:none"})
    bed = made.beds[0]
    bed._reached(link.Opened(Scripted(FS, steady(1))))
    for number in range(600):
        heard = 1000.0 + 0.4 * number
        bed._push(Packet(heart(0.2, FS), time=heard, heard=heard))
        made._tell()
    assert "about 125 samples come in a second" in made.report()["patients"]["a"]["doubt"]
    assert [line for line in caplog.messages if "Hz is declared" in line] == [
        f"source 1: {made.report()['patients']['a']['doubt']}"
    ]


def test_a_last_event_arrives_once_there_is_room(nano: Engine, tmp_path: Path) -> None:
    """A patient's last alarm may be followed by nothing for hours, and waits for no other event."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    made = gateway(nano, tmp_path, {"a": "synthetic:1"}, sinks=(f"jsonl:{pipe}", f"jsonl:{tmp_path / 'b'}"))
    made.beds[0]._reached(link.Opened(Scripted(FS, steady(1))))
    for packet in steady(60)(Scripted(FS, steady(1))):
        made.beds[0]._push(packet)
        made._tell()
    assert not made.outlets[0].ok
    told, got = made.beds[0].events, b""
    for _ in range(2 * told):  # a pipe of one page takes a line at a time
        with contextlib.suppress(BlockingIOError):
            got += os.read(reader, 4096)
        made._turn()
    assert made.beds[0].events == told
    assert made.outlets[0].ok
    assert got == (tmp_path / "b").read_bytes()
    made._close_outlets()
    os.close(reader)


def test_a_patient_who_comes_back_is_called_like_nobody_even_in_files(nano: Engine, tmp_path: Path) -> None:
    """Sinks that write a file for each patient take ``bed-2`` and ``BED-2`` for one, and would refuse him."""
    made = gateway(nano, tmp_path, {"bed 1": "synthetic:1", "BED_1-2": "synthetic:2"})
    assert made.free_name("bed 1", 2) == ("bed 1-3", 3)
