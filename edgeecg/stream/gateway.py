"""A gateway: many patients' sources into one pool, their events to sinks, and a context that outlives it."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack
from typing import Any

import edgeecg
from edgeecg.errors import DeviceError, EdgeECGError, LinkError, MissingExtra, StateError
from edgeecg.runtime.engine import Engine
from edgeecg.stream.alone import alone
from edgeecg.stream.bed import Bed
from edgeecg.stream.cause import cause
from edgeecg.stream.feed import Feed
from edgeecg.stream.gateway_config import GatewayConfig
from edgeecg.stream.health import HealthPage, notify
from edgeecg.stream.link import close_all, let_go
from edgeecg.stream.outlet import Outlet
from edgeecg.stream.pool import StreamPool
from edgeecg.stream.sinks import Header, open_sink
from edgeecg.stream.sinks.base import KEEP, event_sample
from edgeecg.stream.sinks.wfdb_files import file_key
from edgeecg.stream.snapshot import read, write
from edgeecg.stream.snapshot_file import SnapshotFile
from edgeecg.stream.wallclock import WallClock

__all__ = ["Gateway"]

QUIET = 10.0  # seconds without a packet after which a patient is not well
RESTLESS = 10.0  # seconds for which a snapshot waits for packets that are out of order
PATIENCE = 10.0  # seconds for which a stop waits for sources that are slow to close
LETTING_GO = 1.5  # seconds of them for sources that were never reached: nothing is on its way from these

log = logging.getLogger(__name__)


class Gateway:
    """Runs a configuration until it is told to stop, or until every source has ended.

    Parameters
    ----------
    config : GatewayConfig
    engine : Engine
        Of the bundle that the configuration names.

    Examples
    --------
    >>> gateway = Gateway(read_gateway_config("ward.toml"), engine)  # doctest: +SKIP
    >>> gateway.run(stop)  # doctest: +SKIP
    """

    def __init__(self, config: GatewayConfig, engine: Engine) -> None:
        self.config, self.engine = config, engine
        self._file = None if config.snapshot_path is None else SnapshotFile(config.snapshot_path)
        self.outlets = [
            Outlet(n, open_sink(spec), spec.partition(":")[0]) for n, spec in enumerate(config.sinks, 1)
        ]
        for outlet in self.outlets:
            outlet.expect({n: patient.name for n, patient in enumerate(config.patients, 1)})
        self._begin()
        self._begun = self._saved = self._kept = time.monotonic()
        self._savable = True  # whether the last snapshot could be written
        self.page: HealthPage | None = None

    def _begin(self) -> None:
        """Every stream at its beginning."""
        config = self.config
        self.pool = StreamPool(
            self.engine,
            hop=config.hop,
            queue=config.queue,
            lead_policy=config.lead_policy,
            withhold=config.withhold,
            alarms=config.alarms,
        )
        self.beds = [Bed(n, patient, self) for n, patient in enumerate(config.patients, 1)]
        self._names: dict[str, tuple[Bed, WallClock]] = {}  # of the patients in the pool

    def run(self, stop: threading.Event) -> None:
        """Serve until ``stop`` is set; then tell or keep all that has come, and close everything.

        Raises
        ------
        LinkError
            The health page's port cannot be used, no patient's source can, or a sink had no room at the end
            for what it still held.
        ConfigError
            The snapshot is another gateway's that runs, or another kind of file.
        """
        lost: list[Outlet] = []
        with ExitStack() as stack:
            if self._file is not None:
                stack.enter_context(alone(self._file.path))
            stack.callback(lambda: lost.extend(self._close_outlets()))
            self._restore()
            if self.config.health is not None:
                self.page = HealthPage(self.config.health, self.report)
                stack.callback(self.page.close)
            stack.callback(close_all, [bed.link for bed in self.beds])
            for bed in self.beds:
                bed.link.start()
            notify("READY=1")
            page = "" if self.page is None else f", health on port {self.page.port}"
            log.info("watching %d patients%s", len(self.beds), page)
            pause = self.config.poll
            while not stop.wait(pause) and not self._over():
                pause = 0.0 if self._turn() else self.config.poll
            notify("STOPPING=1")
            self._finish()
            log.info("stopped: %s", "as asked" if stop.is_set() else "every source has ended")
        if not stop.is_set() and all(bed.unusable for bed in self.beds):
            raise LinkError("no patient's source can be used: the log says why")
        if lost:
            names = ", ".join(f"{outlet.number} ({outlet.kind})" for outlet in lost)
            raise LinkError(f"not all that was told has arrived, in sink {names}: the log says why")

    def _turn(self) -> bool:
        """What has come in, to what comes out; whether more is waiting."""
        more = [self._drain(bed) for bed in self.beds]
        self._tell()
        for outlet in self.outlets:
            outlet.look()
        for bed in self.beds:
            bed.warn()
        notify("WATCHDOG=1")
        late = time.monotonic() - self._saved - self.config.snapshot_every
        settled = all(bed.feed is None or bed.feed.settled for bed in self.beds)
        if late > (0 if settled else RESTLESS):
            self._save_meanwhile()
        if time.monotonic() - self._kept > KEEP / len(self.beds):  # one patient's file at a time
            self._kept = time.monotonic()
            for outlet in self.outlets:
                outlet.keep()
        return any(more)

    def _drain(self, bed: Bed) -> bool:
        """Take what a bed's link has brought; a patient whose signal cannot be used stops nobody else."""
        try:
            return bed.drain()
        except (MissingExtra, DeviceError):  # of a sink, or of the engine: nobody's signal is to blame
            raise
        except EdgeECGError as error:
            log.error("source %d cannot be used any more: %s", bed.link.number, cause(error))
            bed.fail(error)
            return False

    def _tell(self) -> None:
        for name, event in self.pool.poll():
            if str(name) not in self._names:
                continue  # of a snapshot, and no longer in the file
            bed, clock = self._names[str(name)]
            bed.events += 1
            at = clock.time(event_sample(event))
            for outlet in self.outlets:
                outlet.write(event, str(name), at)

    def _over(self) -> bool:
        return all(bed.ended for bed in self.beds)

    def _finish(self) -> None:
        """Take what is still on its way; then keep the context, or end every stream."""
        over = all(bed.over for bed in self.beds)  # by themselves: then there is nothing to go on with
        let_go(bed.link for bed in self.beds)
        begun = time.monotonic()
        while (waited := time.monotonic() - begun) < PATIENCE and not self._empty(waited < LETTING_GO):
            self._tell()
            time.sleep(0.01)
        for bed in self.beds:
            bed.settle()
            bed.warn_of_rest()
        self._tell()
        if self._file is not None and not over:
            try:
                self._save()
            except EdgeECGError:
                self._end_streams()  # nobody else will tell what they still hold
                raise
            return
        self._end_streams()
        if self._file is not None:
            self._file.path.unlink(missing_ok=True)

    def _end_streams(self) -> None:
        for name in list(self.pool):
            self.pool.remove(name)
        self._tell()

    def _empty(self, every: bool) -> bool:
        """Take what the links still bring; whether that was all, of ``every`` link or of those at work."""
        links = [bed.link for bed in self.beds]
        busy = any(link.alive if every else link.reached for link in links)  # before the last look
        more = [self._drain(bed) for bed in self.beds]
        return not busy and not any(more)

    # ---- patients -------------------------------------------------------------------------------

    def admit(self, bed: Bed, feed: Feed, known: bool = False) -> None:
        """A bed's patient joins the pool, unless ``known`` there, and is announced to the sinks."""
        name, leads, fs = bed.name, bed.leads, feed.fs
        if not known:
            self.pool.add(fs, len(leads), name)
        self._names[name] = bed, feed.clock
        bundle, engine = self.engine.bundle, self.engine
        header = Header(
            name,
            fs,
            leads,
            bundle.name,
            bundle.digest,
            engine.backend,
            engine.precision,
            number=bed.link.number,
        )
        for outlet in self.outlets:
            outlet.open(header)

    def discharge(self, bed: Bed) -> None:
        """A bed's patient leaves the pool, if he ever joined it."""
        if bed.name in self.pool and self._names.get(bed.name, (None,))[0] is bed:
            self.pool.remove(bed.name)

    def make_room(self, name: str, count: int) -> None:
        """Compute what waits where the pool would drop so many samples: nobody else computes meanwhile."""
        if self.pool.room(name) < count:
            self._tell()

    def signal(self, start: int, samples: Any, name: str) -> None:
        """Pass samples to the sinks that want them."""
        for outlet in self.outlets:
            outlet.signal(start, samples, name)

    # ---- context --------------------------------------------------------------------------------

    def _save_meanwhile(self) -> None:
        """Save, and go on where that fails: the next attempt may find room."""
        try:
            self._save()
        except EdgeECGError as error:
            if self._savable:
                log.error("the snapshot cannot be kept: %s", cause(error))
            self._savable = False
        else:
            self._savable = True

    def _save(self) -> None:
        self._saved = time.monotonic()
        if self._file is None:
            return
        for bed in self.beds:
            bed.settle()
        beds = {bed.config.name: bed.snapshot() for bed in self.beds if bed.feed is not None}
        self._file.write(write("gateway", self.engine.bundle, {"pool": self.pool.snapshot(), "beds": beds}))

    def _restore(self) -> None:
        """Go on from the snapshot, if there is one; one that does not fit is set aside."""
        if self._file is None or (data := self._file.read()) is None:
            return
        try:
            self._go_on(data)
        except (MissingExtra, DeviceError):  # of a sink, or of the engine: the snapshot is not to blame
            raise
        except EdgeECGError as error:  # to watch nobody is worse than to have forgotten
            log.error("%s; %s", cause(error), self._file.set_aside())
            self._begin()
        else:
            log.info("went on with %d patients of the snapshot", sum(b.feed is not None for b in self.beds))

    def _go_on(self, data: bytes) -> None:
        """Take the pool and the beds from a snapshot.

        Raises
        ------
        StateError
            It does not fit; some of it may have been taken.
        """
        body = read("gateway", self.engine.bundle, data)
        known, restored = {bed.config.name: bed for bed in self.beds}, list[Bed]()
        try:
            patients = set(self.pool.restore(body["pool"]))
            for name, saved in body["beds"].items():
                free = saved["patient"] == name or saved["patient"] not in known  # else somebody else's now
                if name in known and saved["patient"] in patients and free:
                    known[name].restore(saved)
                    patients.discard(saved["patient"])
                    restored.append(known[name])
                elif name in known and not free:
                    number = known[name].link.number
                    log.warning("source %d begins anew: its name of before is another patient's now", number)
        except (LookupError, TypeError, AttributeError, ValueError, OverflowError) as error:
            if isinstance(error, EdgeECGError):
                raise
            plain = "this is not a gateway's snapshot"
            raise StateError(f"{plain} ({error!r})", public=plain) from error
        for bed in restored:  # not before all can be read: sinks would have been told of others
            if bed.feed is not None:
                self.admit(bed, bed.feed, known=True)
        for stranger in patients:  # no longer in the file
            self.pool.remove(stranger)
        self._tell()

    # ---- health ---------------------------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        """How everything is, as builtin values."""
        beds = {bed.config.name: bed.report() for bed in self.beds}
        sinks = [
            {"kind": outlet.kind, "failures": outlet.failures, "ok": outlet.ok, "error": outlet.error}
            for outlet in self.outlets
        ]
        well = all(bed["state"] in ("live", "ended") and bed["silent"] < QUIET for bed in beds.values())
        return {
            "status": "ok" if well and self._savable and all(o.ok for o in self.outlets) else "degraded",
            "version": edgeecg.__version__,
            "bundle": self.engine.bundle.name,
            "digest": self.engine.bundle.digest,
            "backend": self.engine.backend,
            "uptime": round(time.monotonic() - self._begun, 1),
            "snapshot": self._savable,
            "patients": beds,
            "sinks": sinks,
        }

    def free_name(self, wanted: str, number: int) -> tuple[str, int]:
        """``wanted-number``, or with a later number where a patient has that name already."""
        known = (*(bed.config.name for bed in self.beds), *self._names)
        taken = {file_key(name) for name in known}  # sinks that write files would refuse it else
        while file_key(f"{wanted}-{number}") in taken:
            number += 1
        return f"{wanted}-{number}", number

    def _close_outlets(self) -> list[Outlet]:
        """Let go of every sink; those that lose something."""
        return [outlet for outlet in self.outlets if not outlet.close()]
