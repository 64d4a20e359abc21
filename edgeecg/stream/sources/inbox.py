"""A queue between two threads that is full by what it holds, not by how many things that is."""

from __future__ import annotations

import queue
from typing import Generic, TypeVar

from edgeecg.stream.sources.base import Packet

__all__ = ["Inbox"]

Item = TypeVar("Item")

PLACE = 4096
"""Values of a packet that take one place (32 KiB); each more of as many takes another."""


class Inbox(queue.Queue[Item], Generic[Item]):
    """Of so many places; a packet that finds one free is taken however long it is."""

    @property
    def packets(self) -> int:
        """How many of the things that wait are packets."""
        with self.mutex:
            return sum(isinstance(item, Packet) for item in self.queue)

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self._taken = 0

    def _qsize(self) -> int:
        return self._taken

    def _put(self, item: Item) -> None:
        super()._put(item)
        self._taken += _places(item)

    def _get(self) -> Item:
        item: Item = super()._get()
        self._taken -= _places(item)
        return item


def _places(item: object) -> int:
    return 1 + item.samples.size // PLACE if isinstance(item, Packet) else 1
