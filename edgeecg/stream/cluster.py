"""An archive on a Dask cluster: its workers must see the same paths, and have EdgeECG installed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from edgeecg.errors import LinkError
from edgeecg.runtime.engine import Engine, open_engine
from edgeecg.stream.address import need
from edgeecg.stream.archive import ArchiveSettings, Job, Outcome, annotate_job

distributed = need("distributed", "distributed", "cluster", "annotating on a Dask cluster")
WorkerPlugin: Any = distributed.WorkerPlugin

__all__ = ["EnginePlugin", "on_cluster"]

NAME = "edgeecg-engine"
PATIENCE = "20s"


class EnginePlugin(WorkerPlugin):  # type: ignore[misc]
    """Opens the bundle once on every worker, and again on those that come later."""

    name = NAME

    def __init__(self, settings: ArchiveSettings) -> None:
        self.settings = settings
        self.engine: Engine | None = None

    def setup(self, worker: object) -> None:
        """The worker has come."""
        self.engine = open_engine(self.settings.bundle, self.settings.backend, self.settings.precision)

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
    try:
        client = distributed.Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise LinkError(
            f"no Dask scheduler at {address}: start one with `dask scheduler` ({error})"
        ) from error
    with client, client.as_current():
        client.register_plugin(EnginePlugin(settings))
        futures = {client.submit(_annotate, job, pure=False): job for job in jobs}
        for future in distributed.as_completed(list(futures)):
            job, failure = futures.pop(future), future.exception()
            if failure is None:
                yield future.result()
            else:
                yield Outcome(str(job.path), settings.key, error=f"{job.path}: {failure!r}")
        client.unregister_worker_plugin(NAME)


def _annotate(job: Job) -> Outcome:
    """One record, on a worker."""
    plugin: EnginePlugin = distributed.get_worker().plugins[NAME]
    return annotate_job(plugin.live(), job, plugin.settings)
