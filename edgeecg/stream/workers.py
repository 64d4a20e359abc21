"""An archive on several processes: a job at a time each, so that it is known what a dead one did."""

from __future__ import annotations

import multiprocessing
import signal
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait

from edgeecg.runtime.engine import open_engine
from edgeecg.stream.archive import ArchiveSettings, Job, Outcome, annotate_job

__all__ = ["ATTEMPTS", "on_processes"]

ATTEMPTS = 3
"""Times that a record is begun before it is held to be what kills its workers."""


def on_processes(jobs: Sequence[Job], settings: ArchiveSettings, workers: int) -> Iterator[Outcome]:
    """Annotate records on so many processes; what a dead one had begun is done again by another."""
    waiting, begun = deque(jobs), Counter[Job]()
    crew = [Worker(settings) for _ in range(workers)]
    try:
        while waiting or any(worker.job for worker in crew):
            for worker in crew:
                if worker.job is None and waiting:
                    begun[waiting[0]] += 1
                    worker.give(waiting.popleft())
            at_work = {worker.line: worker for worker in crew if worker.job}
            for line in wait(list(at_work)):
                worker = at_work[line]  # type: ignore[index]
                job, outcome = worker.job, worker.take()
                if outcome is not None:
                    yield outcome
                elif job is not None and begun[job] < ATTEMPTS:
                    waiting.appendleft(job)
                elif job is not None:
                    why = f"its worker died {ATTEMPTS} times (is there enough memory?)"
                    yield Outcome(str(job.path), settings.key, error=f"{job.path}: {why}")
    finally:
        for worker in crew:
            worker.dismiss()


class Worker:
    """A process, and the line to it.

    Parameters
    ----------
    settings : ArchiveSettings

    Attributes
    ----------
    job : Job or None
        What it works on.
    """

    def __init__(self, settings: ArchiveSettings) -> None:
        self.settings = settings
        self.job: Job | None = None
        self.hire()

    def hire(self) -> None:
        """Start the process. It gets the settings by the line: a start with much to pass on can hang."""
        context = multiprocessing.get_context("spawn")  # forking a process with threads can hang it
        self.line, its_line = context.Pipe()
        self._process = context.Process(target=_work, args=(its_line,), daemon=True)
        self._process.start()
        its_line.close()
        self._send(self.settings)

    def give(self, job: Job) -> None:
        """Let it work on a job."""
        self.job = job
        self._send(job)

    def _send(self, item: ArchiveSettings | Job) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it has died: :meth:`take` will hear of it
            self.line.send(item)

    def take(self) -> Outcome | None:
        """What became of its job; ``None`` if it died over it: then another is hired in its place."""
        self.job = None
        try:
            outcome: Outcome = self.line.recv()
        except (EOFError, ConnectionResetError):
            self.dismiss()
            self.hire()
            return None
        return outcome

    def dismiss(self) -> None:
        """End the process."""
        self.line.close()
        self._process.terminate()
        self._process.join()


def _work(line: Connection) -> None:
    """Life of a worker: settings in, then jobs in and outcomes out, until the line is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the one who hired it
    settings = line.recv()
    with open_engine(settings.bundle, settings.backend, settings.precision) as engine:
        while True:
            try:
                job = line.recv()
            except EOFError:
                return
            line.send(annotate_job(engine, job, settings))
