from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from edgeecg.stream import link
from tests.contract.engines import nano, small

__all__ = ["nano", "no_unforeseen_error", "small"]


@pytest.fixture(autouse=True)
def no_unforeseen_error(request: pytest.FixtureRequest) -> Iterator[None]:
    """A link survives a fault of the program; a test does not, unless it is marked to want one."""
    seen = list[str]()
    watch = logging.Handler(logging.ERROR)
    watch.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]
    link.log.addHandler(watch)
    yield
    link.log.removeHandler(watch)
    if "wants_unforeseen" not in request.fixturenames:
        assert [line for line in seen if link.UNFORESEEN in line] == []


@pytest.fixture
def wants_unforeseen() -> None:
    """Whoever asks for it makes a fault of the program on purpose."""
