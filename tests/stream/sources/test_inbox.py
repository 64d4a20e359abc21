"""A queue that is full by what it holds."""

from __future__ import annotations

import queue

import numpy as np
import pytest

from edgeecg.stream.sources.base import Packet
from edgeecg.stream.sources.inbox import PLACE, Inbox


def packet(values: int) -> Packet:
    return Packet(np.zeros((values, 1)))


def test_small_packets_take_a_place_each() -> None:
    inbox: Inbox[Packet | None] = Inbox(3)
    for _ in range(3):
        inbox.put_nowait(packet(PLACE - 1))
    assert inbox.full()
    with pytest.raises(queue.Full):
        inbox.put_nowait(None)
    inbox.get_nowait()
    inbox.put_nowait(None)


def test_large_packets_take_as_many_as_they_hold_and_give_them_back() -> None:
    inbox: Inbox[Packet] = Inbox(4)
    inbox.put_nowait(packet(100 * PLACE))  # one that finds room is taken whatever its size
    assert inbox.full()
    with pytest.raises(queue.Full):
        inbox.put_nowait(packet(1))
    assert len(inbox.get_nowait().samples) == 100 * PLACE
    assert inbox.empty()
    with pytest.raises(queue.Empty):
        inbox.get_nowait()
