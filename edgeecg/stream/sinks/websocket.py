"""A WebSocket server that tells its clients every event (websockets), for dashboards.

A client gets the headers of all patients first, then events as they come. Events are not kept for clients
that come later; a client that does not read is dropped when it no longer answers pings. What clients say is
read and forgotten. Whoever comes on top of a hundred takes the place of who has held one for longest.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Coroutine
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import Any

from edgeecg.errors import LinkError
from edgeecg.specs import Event
from edgeecg.stream.address import need
from edgeecg.stream.sinks.base import BaseSink, Header, port_of
from edgeecg.stream.sinks.lines import event_line, header_line
from edgeecg.stream.sources.websocket import quiet_logger

__all__ = ["WebSocketSink"]

LOCAL = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")  # any page could read events else
CLIENTS = 100  # at a time, those that have but connected too: no files could be opened any more
WAIT = 10.0  # seconds for the server to start, and for the last words at the end


class WebSocketSink(BaseSink):
    """Serves events.

    Parameters
    ----------
    port : str
        ``PORT`` or ``HOST:PORT``; port 0 takes a free one.
    origins : tuple of str
        Web pages that may read the events in a browser (``https://ward.example``), beside those of this
        machine; programs, which name no origin, always may.

    Attributes
    ----------
    port : int
        The port in use, once open.

    Raises
    ------
    ConfigError
        If there is no port in the text.
    """

    def __init__(self, port: str, *, origins: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._origins = origins
        self._host, self.port = port_of(port, "ws")
        self._loop: Any = None
        self._thread: threading.Thread | None = None
        self._server: Any = None
        self._told: list[str] = []

    def _connect(self, header: Header) -> None:
        self._lib = need("websockets.asyncio.server", "websockets", "websocket", "serving a WebSocket")
        errors = need("websockets.exceptions", "websockets", "websocket", "serving a WebSocket")
        self._closed = errors.ConnectionClosed
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="edgeecg-websocket", daemon=True)
        self._thread.start()
        try:
            self._server = self._do(self._serve())
        except OSError as error:
            raise LinkError(f"port {self.port} on {self._host} cannot be used: {error.strerror}") from error
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def _serve(self) -> Any:
        return await self._lib.serve(
            self._welcome,
            self._host,
            self.port,
            create_connection=self._bounded(),
            logger=quiet_logger(),
            origins=[None, LOCAL, *self._origins],
            ping_interval=10,
            ping_timeout=10,
            close_timeout=5,
        )

    def _bounded(self) -> Any:
        """The library's connection, of which there are so many at a time."""
        held: dict[Any, None] = {}  # in the order in which they came

        class Connection(self._lib.ServerConnection):  # type: ignore[name-defined, misc]
            def connection_made(self, transport: Any) -> None:
                if len(held) >= CLIENTS:
                    oldest = next(iter(held))
                    del held[oldest]
                    oldest.transport.abort()
                held[self] = None
                super().connection_made(transport)

            def connection_lost(self, error: Exception | None) -> None:
                held.pop(self, None)
                super().connection_lost(error)

        return Connection

    async def _welcome(self, client: Any) -> None:
        """Headers first; they and later events keep their order, since both are sent from this loop."""
        self._lib.broadcast([client], "\n".join(self._told))
        with suppress(self._closed):
            async for _ in client:  # nobody asked, but behind what is not taken pongs would not be seen
                pass

    def _begin(self, header: Header) -> None:
        self._call(self._tell, header_line(header).decode(), True)

    def _send(self, event: Event, header: Header, time: float | None) -> None:
        self._call(self._tell, event_line(event, header.patient, time).decode(), False)

    def _tell(self, text: str, keep: bool) -> None:
        if keep:
            self._told.append(text)
        self._lib.broadcast(self._server.connections, text)

    def _call(self, function: Any, *values: Any) -> None:
        self._loop.call_soon_threadsafe(function, *values)

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT)

    async def _quit(self) -> None:
        self._server.close()  # says goodbye to each client after all that was told to it
        await self._server.wait_closed()

    def _disconnect(self) -> None:
        if self._loop is None or self._thread is None:
            return
        try:
            if self._server is not None:
                self._do(self._quit())
        except (TimeoutError, FutureTimeout) as error:  # two until Python 3.11
            raise LinkError(
                "a client of the WebSocket takes nothing: its last events are lost", public=True
            ) from error
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(WAIT)
            self._loop.close()
