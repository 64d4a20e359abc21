"""An archive on a Dask cluster: its workers must see the same paths, and have EdgeECG installed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from edgeecg.errors import LinkError
from edgeecg.runtime.engine import Engine
from edgeecg.stream.address import need
from edgeecg.stream.archive import ArchiveSettings, Outcome, annotate_jobs
from edgeecg.stream.jobs import Job

distributed = need("distributed", "distributed", "cluster", "annotating on a Dask cluster")
WorkerPlugin: Any = distributed.WorkerPlugin

__all__ = ["EnginePlugin", "on_cluster"]

NAME = "edgeecg-engine"
PATIENCE = "20s"
SHARE = 16  # records in a task, at most: a worker annotates them side by side


class EnginePlugin(WorkerPlugin):  # type: ignore[misc]
    """Opens the bundle once on every worker, and again on those that come later."""

    name = NAME

    def __init__(self, settings: ArchiveSettings) -> None:
        self.settings = settings
        self.engine: Engine | None = None

    def setup(self, worker: object) -> None:
        """The worker has come."""
        self.engine = self.settings.open()

    def live(self) -> Engine:
        """The engine; raises ``LinkError`` where the worker has gone."""
        if self.engine is None:
            raise LinkError("this worker is closing: another one will do the record")
        return self.engine

    def teardown(self, worker: object) -> None:
        """The worker goes."""
        if self.engine is not None:
            self.engine.close()


def on_cluster(jobs: Sequence[Job], settings: ArchiveSettings, address: str) -> Iterator[Outcome]:
    """Annotate records on the workers of a scheduler; what a killed worker had begun is done again.

    Raises
    ------
    LinkError
        The scheduler cannot be reached.
    """
    if not re.search(r":\d+$", address):  # a half-made client would wait, and tell a traceback at its end
        raise LinkError(f"no port in {address}: write the scheduler's address as tcp://HOST:8786")
    try:
        client = distributed.Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise LinkError(
            f"no Dask scheduler at {address}: start one with `dask scheduler` ({error})"
        ) from error
    with client, client.as_current():
        client.register_plugin(EnginePlugin(settings))
        hands = max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
        size = max(1, min(SHARE, len(jobs) // (4 * hands)))
        shares = [list(jobs[start : start + size]) for start in range(0, len(jobs), size)]
        futures = {client.submit(_annotate, share, pure=False): share for share in shares}
        going = distributed.as_completed(list(futures))
        for future in going:
            share, failure = futures.pop(future), future.exception()
            if failure is None:
                yield from future.result()
            elif len(share) > 1:  # one of them may be the reason: each by itself
                again = {client.submit(_annotate, [job], pure=False): [job] for job in share}
                futures |= again
                going.update(list(again))
            else:
                path = share[0].path
                yield Outcome(str(path), settings.key, error=f"{path}: {failure!r}")
        client.unregister_worker_plugin(NAME)


def _annotate(jobs: Sequence[Job]) -> list[Outcome]:
    """A few records, on a worker."""
    plugin: EnginePlugin = distributed.get_worker().plugins[NAME]
    return list(annotate_jobs(plugin.live(), jobs, plugin.settings))
