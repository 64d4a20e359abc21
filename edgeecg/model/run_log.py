"""What a run tells while it trains: TensorBoard's log, and whoever shows its progress."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from edgeecg.model.train import Trainer
from edgeecg.model.transformer import Network

__all__ = ["logged_run"]

LOG_EVERY = 10

log = logging.getLogger(__name__)


def logged_run(trainer: Trainer, folder: Path, show: Callable[[int, dict[str, float]], None]) -> Network:
    """Train, with TensorBoard logs of the first process."""
    if not trainer.team.leads:
        return trainer.run()
    with _quiet_writer():
        logged = _Log(folder, show, trainer.step)
        try:
            return trainer.run(logged)
        finally:
            logged.close()


@contextmanager
def _quiet_writer() -> Iterator[None]:
    """No traceback of what TensorBoard's own thread could not write: the next call to it raises the same."""
    usual = threading.excepthook

    def hear(what: threading.ExceptHookArgs) -> None:
        its_own = type(what.thread).__module__.startswith("tensorboard.")
        if not (its_own and issubclass(what.exc_type, OSError)):
            usual(what)

    threading.excepthook = hear
    try:
        yield
    finally:
        threading.excepthook = usual


class _Log:
    """Progress of a run to TensorBoard and to whoever shows it."""

    def __init__(self, folder: Path, show: Callable[[int, dict[str, float]], None], begun: int) -> None:
        # steps after the last checkpoint that a killed run had logged are done, and logged, again
        self.writer: SummaryWriter | None = None
        with self._spared():
            self.writer = SummaryWriter(str(folder), purge_step=begun + 1 if begun else None)
        self.show = show

    def step(self, step: int, values: dict[str, float]) -> None:
        """After every step."""
        self.show(step, values)
        for name, value in values.items():
            if self.writer is not None and ("/" in name or step % LOG_EVERY == 0):
                with self._spared():
                    self.writer.add_scalar(name if "/" in name else f"train/{name}", value, step)

    def close(self) -> None:
        """Write what is left."""
        if self.writer is not None:
            with self._spared():
                self.writer.close()

    @contextmanager
    def _spared(self) -> Iterator[None]:
        """Train on without logs where these cannot be written: whether there is room, the state decides."""
        try:
            yield
        except OSError as error:
            log.error("TensorBoard's log cannot be written (%s): training goes on without", error)
            self.writer = None
