"""``edgeecg stream``: one patient, live in the terminal."""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import Annotated, Any, Literal

import typer
from rich.live import Live

from edgeecg.cli.builder import DeviceErrorOption, builder_options
from edgeecg.cli.common import (
    RUNNING,
    STOPS,
    BackendOption,
    BundleOption,
    PrecisionOption,
    WithholdOption,
    human_console,
    progress_bar,
    warnings_on,
)
from edgeecg.cli.live import LiveView
from edgeecg.errors import EdgeECGError
from edgeecg.pipeline import step_tokens
from edgeecg.runtime.engine import Engine, open_engine
from edgeecg.specs import Event
from edgeecg.stream.clock_state import Piece
from edgeecg.stream.feed import Feed
from edgeecg.stream.member import plain_name
from edgeecg.stream.session import Stream
from edgeecg.stream.sinks import Fanout, Header, open_sink
from edgeecg.stream.sinks.base import KEEP, event_sample
from edgeecg.stream.sources import SOURCES, Packet, Source, open_source

__all__ = ["stream"]

PLAYING, SAMPLES = "Playing a recording", "What the samples are"
FORMS = "; ".join(f"`{form.shape}` {form.what}" for form in SOURCES)

log = logging.getLogger(__name__)


def stream(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=f"Where the signal comes from: {FORMS}.")],
    bundle: BundleOption = "small",
    sink: Annotated[
        list[str] | None,
        typer.Option(
            "--sink",
            "-s",
            metavar="SPEC",
            help="Where events go; may repeat: jsonl:FILE, `-` (standard output), wfdb:FOLDER, lsl:NAME, "
            "mqtt://HOST/TOPIC, ws:PORT, page:PORT, prometheus:PORT, fhir:FOLDER. Without one, JSON "
            "lines are written to standard output where that is not a terminal.",
        ),
    ] = None,
    patient: Annotated[str, typer.Option(metavar="NAME", help="What events call the patient.")] = "patient",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No live view.")] = False,
    speed: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Multiple of real pace, 1 by default; 0 is as fast as it can.",
            rich_help_panel=PLAYING,
        ),
    ] = None,
    start: Annotated[
        float | None,
        typer.Option(metavar="S", help="Seconds to skip; samples count from there.", rich_help_panel=PLAYING),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(metavar="S", help="Seconds to play.", rich_help_panel=PLAYING)
    ] = None,
    faults: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC",
            help="Spoil the signal on purpose, for example `drop=0.01,nan=2,reorder=0.05`.",
            rich_help_panel=PLAYING,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Seed of the faults.", rich_help_panel=PLAYING)
    ] = None,
    leads: Annotated[
        list[str] | None,
        typer.Option("--lead", metavar="NAME", help="Only this lead; may repeat.", rich_help_panel=SAMPLES),
    ] = None,
    fs: Annotated[
        float | None,
        typer.Option(metavar="HZ", help="Rate of a source that does not tell it.", rich_help_panel=SAMPLES),
    ] = None,
    units: Annotated[
        str | None,
        typer.Option(metavar="UNIT", help="V, mV or uV (nV).", rich_help_panel=SAMPLES),
    ] = None,
    gain: Annotated[
        float | None, typer.Option(metavar="N", help="Counts per unit.", rich_help_panel=SAMPLES)
    ] = None,
    hop: Annotated[
        float,
        typer.Option(metavar="S", help="Seconds that are computed together.", rich_help_panel=RUNNING),
    ] = 0.5,
    mode: Annotated[
        Literal["incremental", "window"],
        typer.Option(
            help="Every token once, or ten-second windows; both tell the same.", rich_help_panel=RUNNING
        ),
    ] = "incremental",
    lead_policy: Annotated[
        Literal["first", "best", "fused"] | None,
        typer.Option(
            help="What is done with several leads; else as the bundle says.", rich_help_panel=RUNNING
        ),
    ] = None,
    withhold: WithholdOption = True,
    backend: BackendOption = "auto",
    precision: PrecisionOption = None,
    on_device_error: DeviceErrorOption = "rebuild",
) -> None:
    """Beats, heart rate, rhythm, signal quality and alarms of one patient, as they happen.

    Plays a recording at real pace or faster, or reads a device, a network stream or standard input. Lost,
    doubled and late packets are put in order; what is missing is told as a gap. Options may also stand in
    the source's name, in quotes: `'serial:/dev/ttyUSB0?fs=250&board=ad8232'`. All of them:
    docs/sources-and-sinks.md.

    For example:

    - `edgeecg stream ~/ecg/mitdb/106`
    - `edgeecg stream ~/ecg/mitdb/106 --speed 0 --sink jsonl:106.jsonl --quiet`
    - `edgeecg stream polar:auto --sink page:8080` (then open http://127.0.0.1:8080)
    - `sensor | edgeecg stream - --fs 250 --units uV | grep alarm`
    - `edgeecg stream synthetic:7 --speed 8 --faults nan=3,drop=0.02`
    """
    asked: dict[str, Any] = {
        "speed": speed,
        "start": start,
        "seconds": seconds,
        "faults": faults,
        "seed": seed,
        "leads": tuple(leads) if leads else None,
        "fs": fs,
        "units": units,
        "gain": gain,
    }
    patient = str(plain_name(patient))
    piped = ["-"] if sys.stdout is not None and not sys.stdout.isatty() else []  # none: it was closed
    with ExitStack() as stack:
        halt = stack.enter_context(Halt().listening())
        with progress_bar() as bars:
            options = builder_options(bars, step_tokens(hop, mode), on_device_error=on_device_error)
            engine = stack.enter_context(open_engine(bundle, backend, precision, tensorrt=options))
        sinks = stack.enter_context(Fanout([open_sink(spec) for spec in (sink or piped)]))
        opened = stack.enter_context(open_source(source, **asked))
        live = Stream(
            engine,
            opened.fs,
            len(opened.leads),
            hop=hop,
            mode=mode,
            lead_policy=lead_policy,
            withhold=withhold,
        )
        session = Session(engine, opened, live, sinks, patient)
        with session.watched(quiet):
            session.run(halt)


class Halt:
    """What Ctrl-C, SIGTERM and a closed terminal ask for: an end between two packets, never within a push.

    A signal that comes while nothing is under way, as in the wait for a source, raises ``KeyboardInterrupt``
    at once; one that comes meanwhile is remembered until the next look. A second one does not wait.
    """

    def __init__(self) -> None:
        self._asked, self._idle = False, True

    @contextmanager
    def listening(self) -> Iterator[Halt]:
        """Be what the signals reach; one that is ignored, as in a background job, stays so."""
        before = {number: signal.getsignal(number) for number in STOPS}
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._asks)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler or signal.SIG_DFL)

    def packets(self, source: Source) -> Iterator[Packet]:
        """Packets of a source until it ends or a signal comes."""
        coming = iter(source)
        try:
            while (packet := self._next(coming)) is not None:
                yield packet
        except KeyboardInterrupt:
            return
        finally:
            self._idle = False

    def _next(self, coming: Iterator[Packet]) -> Packet | None:
        """The next packet, ``None`` at the end."""
        self._idle = True  # before the look: a signal after it must not wait for the source
        packet = None if self._asked else next(coming, None)
        self._idle = False
        return packet

    def _asks(self, _number: int, _frame: FrameType | None) -> None:
        again, self._asked = self._asked, True
        if self._idle or again:
            raise KeyboardInterrupt


class Session:
    """A source, a stream and sinks, joined.

    Parameters
    ----------
    engine : Engine
    source : Source
    stream : Stream
    sinks : Fanout
    patient : str
    """

    def __init__(self, engine: Engine, source: Source, stream: Stream, sinks: Fanout, patient: str) -> None:
        self.source, self.stream, self.sinks, self.patient = source, stream, sinks, patient
        self.feed = Feed(source.fs, source.jitter)
        self.kept = time.monotonic()
        self.doubted = ""  # what was said of the rate
        self.failure: EdgeECGError | None = None  # of the source
        bundle = engine.bundle
        self.view = LiveView(
            patient, source.leads, source.fs, f"{bundle.name} {engine.precision}", stream.latency
        )
        self.sinks.open(
            Header(
                patient,
                source.fs,
                source.leads,
                bundle.name,
                bundle.digest,
                engine.backend,
                engine.precision,
            )
        )

    def run(self, halt: Halt) -> None:
        """Every packet, until the source ends or fails or the user interrupts; all that came is told.

        Raises
        ------
        EdgeECGError
            What the source ended with, once the rest is told.
        """
        for packet in self._packets(halt):
            for piece in self.feed.step(packet):
                self.take(piece)
            if self.feed.doubt != self.doubted:
                self.doubted = self.feed.doubt
                log.warning("%s", self.doubted or "samples come at the declared rate again")
            if time.monotonic() - self.kept > KEEP:
                self.kept = time.monotonic()
                self.sinks.keep()
        for piece in self.feed.flush():
            self.take(piece)
        self.tell(self.stream.flush())
        if self.failure is not None:
            raise self.failure

    def _packets(self, halt: Halt) -> Iterator[Packet]:
        """What the source gives; the error that it ends with is kept for later."""
        try:
            yield from halt.packets(self.source)
        except EdgeECGError as error:
            self.failure = error

    def take(self, piece: Piece) -> None:
        """Push a piece and tell what became known."""
        if piece.missing:
            self.tell(self.stream.gap(piece.missing))
        self.sinks.signal(piece.start, piece.samples, self.patient)
        begin = time.perf_counter()
        events = self.stream.push(piece.samples)
        self.view.pushed(piece.samples, self.stream.samples, time.perf_counter() - begin)
        self.tell(events)

    def tell(self, events: list[Event]) -> None:
        """To sinks and view."""
        for event in events:
            self.sinks.write(event, self.patient, self.feed.clock.time(event_sample(event)))
            self.view.told(event)

    @contextmanager
    def watched(self, quiet: bool) -> Iterator[None]:
        """Show what happens while it does; then what there was."""
        console = human_console()
        with warnings_on(console):
            if quiet or not console.is_terminal:
                yield
                return
            live = Live(self.view, console=console, refresh_per_second=8)
            live.start()
            try:
                yield
            finally:
                with suppress(OSError):  # the terminal may be gone, which is why it ends
                    live.stop()
