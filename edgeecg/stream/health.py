"""How a gateway is, for whoever watches over it: a page of JSON, and systemd's notifications."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

import msgspec

from edgeecg.stream.listener import Answer, Listener, answering

__all__ = ["HealthPage", "notify"]

Report = Callable[[], dict[str, Any]]


class HealthPage:
    """``GET /health``: 200 where ``report()["status"]`` is ``ok``, else 503; the report either way.

    Parameters
    ----------
    address : str
        ``PORT`` or ``HOST:PORT``; port 0 takes a free one.
    report : callable
        Gives builtin values; called from another thread.

    Attributes
    ----------
    port : int
        The port in use.

    Raises
    ------
    LinkError
        The port cannot be used.
    """

    def __init__(self, address: str, report: Report) -> None:
        self._report = report
        self._listener = Listener(address, "health", answering(self._answer))
        self.port = self._listener.port

    def _answer(self, path: str, query: dict[str, str]) -> Answer | None:
        if path not in ("/", "/health"):
            return None
        told = self._report()
        return Answer(msgspec.json.encode(told), status=200 if told["status"] == "ok" else 503)

    def close(self) -> None:
        """Let go of the port."""
        self._listener.close()


def notify(state: str) -> bool:
    """Tell systemd (``READY=1``, ``WATCHDOG=1``, ``STOPPING=1``) where it has started this process.

    Returns
    -------
    Whether somebody listens.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.connect("\0" + address[1:] if address.startswith("@") else address)
            line.sendall(state.encode())
    except OSError:  # nobody is there any more, which is no reason to end
        return False
    return True
