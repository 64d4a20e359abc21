"""A small web server beside the stream: bounded in clients, silent about them, gone when it is closed.

One that serves this machine alone answers no request that names another host than its own address does: a
page of the web whose name is made to lead here would read the answers in a browser on this machine.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from edgeecg.errors import LinkError
from edgeecg.stream.sinks.base import port_of

__all__ = ["PATIENCE", "Answer", "Listener", "answering"]

PATIENCE = 5.0
"""Seconds for which a client may say nothing."""

CLIENTS = 32
"""Clients at a time, each a thread: whoever comes on top takes the place of who has held one for longest."""


class Answer(NamedTuple):
    """What a request gets; ``again``: seconds after which a browser asks once more, 0 for never."""

    body: bytes
    kind: str = "application/json"
    status: int = 200
    again: int = 0


class Listener:
    """Serves on a port, in threads of its own, until it is closed.

    Parameters
    ----------
    address : str
        ``PORT`` or ``HOST:PORT``; port 0 takes a free one.
    kind : str
        What it is for, in errors.
    handler : class
        Answers a request; its ``timeout`` bounds how long a client may say nothing.

    Attributes
    ----------
    port : int
        The port in use.

    Raises
    ------
    ConfigError
        There is no port in the address.
    LinkError
        The port cannot be used.
    """

    def __init__(self, address: str, kind: str, handler: Callable[..., BaseHTTPRequestHandler]) -> None:
        host, port = port_of(address, kind)
        try:
            self._server = _Server((host, port), _careful(handler, host))
        except OSError as error:
            raise LinkError(f"port {port} on {host} cannot be used for {kind}: {error.strerror}") from error
        self.port = self._server.server_port
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, name=f"edgeecg-{kind}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let go of the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """Serves pages to a bounded number of clients, and says nothing of what they do."""

    daemon_threads = True
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


def _careful(
    handler: Callable[..., BaseHTTPRequestHandler], named: str
) -> Callable[..., BaseHTTPRequestHandler]:
    """A handler that refuses what is meant for another host, where it serves this machine alone."""

    class Careful(handler):  # type: ignore[valid-type, misc]
        def parse_request(self) -> bool:
            if not super().parse_request():
                return False
            asked = self.headers.get("Host", "")
            if _is_ours(asked, named) or not ipaddress.ip_address(self.server.server_address[0]).is_loopback:
                return True
            self.send_error(
                403, explain="Served to this machine alone: ask for localhost, as a proxy has to."
            )
            return False

    return Careful


def _is_ours(asked: str, named: str) -> bool:
    """Whether a request's host is what we are named by, or no name that somebody could make lead anywhere."""
    try:
        host = urlsplit(f"//{asked}").hostname or "localhost"  # a program may name none
        return host in ("localhost", named.lower()) or bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def answering(
    answer: Callable[[str, dict[str, str]], Answer | None],
) -> type[BaseHTTPRequestHandler]:
    """A handler of GET: ``answer(path, query)`` gives the page, or ``None`` where there is none.

    It is called from the client's thread.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = PATIENCE  # for each read: a client that sends half a request would hold a thread for ever

        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            page = answer(asked.path, dict(parse_qsl(asked.query)))
            if page is None:
                self.send_error(404)
                return
            self.send_response(page.status)
            self.send_header("Content-Type", page.kind)
            self.send_header("Content-Length", str(len(page.body)))
            self.send_header("Cache-Control", "no-store")
            if page.again:
                self.send_header("Refresh", str(page.again))
            self.end_headers()
            self.wfile.write(page.body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Say nothing: a probe every second would fill the log."""

    return Handler
