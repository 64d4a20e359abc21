"""How a gateway is, for whoever watches over it: a page of JSON, and systemd's notifications."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from edgeecg.errors import LinkError
from edgeecg.stream.sinks.base import port_of

__all__ = ["PATIENCE", "HealthPage", "PageServer", "notify"]

PATIENCE = 5.0
"""Seconds for which a client may say nothing."""

CLIENTS = 32
"""Clients at a time, each a thread: whoever comes on top takes the place of who has held one for longest."""

Report = Callable[[], dict[str, Any]]


class PageServer(ThreadingHTTPServer):
    """Serves pages to a bounded number of clients, and says nothing of what they do.

    Parameters
    ----------
    address : tuple
        Host and port.
    handler : class
        Answers a request; its ``timeout`` bounds how long a client may say nothing.
    """

    request_queue_size = 128  # else many at once wait for the kernel to try again

    def __init__(self, address: tuple[str, int], handler: Callable[..., BaseHTTPRequestHandler]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self._clients: dict[Any, None] = {}  # in the order in which they came
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own."""
        with self._lock:
            if len(self._clients) >= CLIENTS:
                oldest = next(iter(self._clients))
                del self._clients[oldest]
                with suppress(OSError):  # gone by itself
                    oldest.shutdown(socket.SHUT_RDWR)
            self._clients[request] = None
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and make room."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._clients.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that breaks off: a traceback for each probe would fill the log."""


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
        host, port = port_of(address, "health")
        try:
            self._server = PageServer((host, port), _handler(report))
        except OSError as error:
            raise LinkError(f"port {port} on {host} cannot be used for health: {error.strerror}") from error
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="edgeecg-health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let go of the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(report: Report) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = PATIENCE  # for each read: a client that sends half a request would hold a thread for ever

        def do_GET(self) -> None:
            if self.path not in ("/", "/health"):
                self.send_error(404)
                return
            told = report()
            body = msgspec.json.encode(told)
            self.send_response(200 if told["status"] == "ok" else 503)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Say nothing: a probe every second would fill the log."""

    return Handler


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
