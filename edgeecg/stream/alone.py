"""One gateway to a snapshot: a second one would go on from the same context and tell every event twice."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from edgeecg.errors import ConfigError
from edgeecg.stream.cause import cause

__all__ = ["alone"]

log = logging.getLogger(__name__)


@contextmanager
def alone(snapshot: Path) -> Iterator[None]:
    """Keep other gateways from a snapshot, by a lock on ``NAME.lock`` beside it, which stays there.

    The lock goes with the process, also when that is killed. Where the folder cannot be written to, or its
    file system has no locks, the log says so and nothing is kept from anybody.

    Raises
    ------
    ConfigError
        Another gateway has it.
    """
    place = Path(os.path.realpath(snapshot))  # as another file may name it
    with ExitStack() as held:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            file = held.enter_context(place.with_name(f"{place.name}.lock").open("a"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"snapshot = {snapshot} is another gateway's that runs: stop that one, or name another file"
            ) from error
        except OSError as error:
            log.warning("the snapshot cannot be locked (%s): start no second gateway with it", cause(error))
        yield
