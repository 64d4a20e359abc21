"""An archive on several processes: a few jobs at a time each, so that it is known what a dead one did."""

from __future__ import annotations

import logging
import multiprocessing
import signal
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait

from edgeecg.errors import DeviceError
from edgeecg.stream.archive import ArchiveSettings, Outcome, annotate_jobs
from edgeecg.stream.jobs import Job

__all__ = ["ATTEMPTS", "on_processes"]

ATTEMPTS = 3
"""Times that a record is begun before it is held to be what kills its workers."""

log = logging.getLogger(__name__)

SHARE = 32
"""Records that a worker gets at once, at most; fewer where they would not go round."""


def on_processes(jobs: Sequence[Job], settings: ArchiveSettings, workers: int) -> Iterator[Outcome]:
    """Annotate records on so many processes; what a dead one had begun is done again by another."""
    waiting, begun = deque(jobs), Counter[Job]()
    crew = [Worker(settings) for _ in range(workers)]
    try:
        while waiting or any(worker.jobs for worker in crew):
            for worker in crew:
                if waiting and not worker.jobs:
                    share = _share(waiting, begun, workers)
                    begun.update(share)
                    worker.give(share)
            at_work = {worker.line: worker for worker in crew if worker.jobs}
            for line in wait(list(at_work)):
                worker = at_work[line]  # type: ignore[index]
                outcome = worker.take()
                if outcome is not None:
                    yield outcome
                    continue
                for job in worker.leave():
                    if begun[job] < ATTEMPTS:
                        waiting.appendleft(job)
                        continue
                    why = f"its worker died {ATTEMPTS} times (is there enough memory?)"
                    yield Outcome(str(job.path), settings.key, error=f"{job.path}: {why}")
    finally:
        for worker in crew:
            worker.dismiss()


def _share(waiting: deque[Job], begun: Counter[Job], workers: int) -> list[Job]:
    """The next jobs for a worker; one that was begun by a dead one goes alone, for it may be the reason."""
    share = [waiting.popleft()]
    count = min(SHARE, len(waiting) // (4 * workers))
    while not begun[share[0]] and len(share) <= count and not begun[waiting[0]]:
        share.append(waiting.popleft())
    return share


class Worker:
    """A process, and the line to it.

    Parameters
    ----------
    settings : ArchiveSettings

    Attributes
    ----------
    jobs : dict of str to Job
        What it works on, by path.
    """

    def __init__(self, settings: ArchiveSettings) -> None:
        self.settings = settings
        self.jobs: dict[str, Job] = {}
        self.hire()

    def hire(self) -> None:
        """Start the process. It gets the settings by the line: a start with much to pass on can hang."""
        context = multiprocessing.get_context("spawn")  # forking a process with threads can hang it
        self.line, its_line = context.Pipe()
        self._process = context.Process(target=_work, args=(its_line,), daemon=True)
        self._process.start()
        its_line.close()
        self._send(self.settings)

    def give(self, jobs: list[Job]) -> None:
        """Let it work on some jobs."""
        self.jobs = {str(job.path): job for job in jobs}
        self._send(jobs)

    def _send(self, item: ArchiveSettings | list[Job]) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it has died: :meth:`take` will hear of it
            self.line.send(item)

    def take(self) -> Outcome | None:
        """What became of one of its jobs; ``None`` if it died over them."""
        try:
            outcome: Outcome = self.line.recv()
        except (EOFError, ConnectionResetError):
            return None
        del self.jobs[outcome.record]
        return outcome

    def leave(self) -> list[Job]:
        """Hire another in the place of one that died; gives the jobs that it leaves behind."""
        left = list(self.jobs.values())
        self.jobs.clear()
        self.dismiss()
        self.hire()
        return left

    def dismiss(self) -> None:
        """End the process."""
        self.line.close()
        self._process.terminate()
        self._process.join()


def _work(line: Connection) -> None:
    """Life of a worker: settings in, then jobs in and outcomes out, until the line is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the one who hired it
    settings = line.recv()
    with settings.open() as engine:
        while True:
            try:
                jobs = line.recv()
            except EOFError:
                return
            try:
                for outcome in annotate_jobs(engine, jobs, settings):
                    line.send(outcome)
            except DeviceError as error:
                log.error("the device of a worker failed (%s): another process goes on", error)
                return
