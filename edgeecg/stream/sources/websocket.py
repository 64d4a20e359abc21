"""A WebSocket server that sends packets (websockets); see `wire` for the messages."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

from edgeecg.errors import ConfigError, LinkError
from edgeecg.stream.address import need
from edgeecg.stream.sources.live import TICK
from edgeecg.stream.sources.messages import End, MessageSource

__all__ = ["WebSocketSource", "quiet_logger"]

NORMAL = 1000  # the code of a close that says that all is told (RFC 6455, 7.4.1)
SHAPE = (
    "the WebSocket address cannot be read: write ws://[USER:PASSWORD@]HOST[:PORT]/PATH, and / # ? @ of a "
    "password as %2F %23 %3F %40"
)


def quiet_logger() -> logging.Logger:
    """A logger for the library that stays silent: it logs what is sent, and with each error what a peer said.

    What concerns us it raises too; what a stranger tries at our port is no matter of the log.
    """
    logger = logging.getLogger("edgeecg.websocket")
    logger.setLevel(logging.CRITICAL + 1)
    return logger


class WebSocketSource(MessageSource):
    """Packets from a WebSocket server. Its close with code 1000 ends the stream.

    Any other close is a link that broke off: a server that is stopped or started anew says 1001 (going away),
    and the signal goes on when it is there again.

    Parameters
    ----------
    url : str
        ``ws://`` or ``wss://`` address.
    fs, leads, wait, timeout, jitter
        See `MessageSource`.
    retry : float
        Seconds for which a broken connection is tried anew.

    Raises
    ------
    ConfigError
        If an option is out of range.
    """

    def __init__(
        self,
        url: str,
        *,
        fs: float | None = None,
        leads: tuple[str, ...] = (),
        wait: float = 10.0,
        timeout: float | None = 30.0,
        retry: float = 60.0,
        jitter: float = 0.0,
    ) -> None:
        public = _checked(url)  # neither tokens nor credentials in messages
        super().__init__(public, fs, leads, wait, timeout, jitter)
        self._url, self._retry = url, retry
        self._connection: Any = None
        self._held = ExitStack()

    def _link(self) -> None:
        client = need("websockets.sync.client", "websockets", "websocket", "reading a WebSocket")
        errors = need("websockets.exceptions", "websockets", "websocket", "reading a WebSocket")
        self._closed = errors.ConnectionClosed
        self._held.close()
        try:
            opened = client.connect(
                self._url, open_timeout=self._wait, close_timeout=2, logger=quiet_logger()
            )
            self._connection = self._held.enter_context(opened)
        except errors.InvalidURI:
            raise self._wrong(LinkError, f"cannot be reached: {SHAPE}") from None
        except errors.InvalidProxy:  # its text quotes the proxy, whose address may hold a password
            raise self._wrong(LinkError, "cannot be reached: correct the proxy in the environment") from None
        except (OSError, errors.WebSocketException) as error:  # also one that closes while it is asked
            raise LinkError(f"{self._peer} cannot be reached: {error}") from error
        except ValueError:  # its text quotes the address; a bad certificate, also one, is an OSError
            raise self._wrong(LinkError, f"cannot be reached: {SHAPE}") from None

    def _disconnect(self) -> None:
        self._held.close()

    def _receive(self) -> bytes | str | None:
        try:
            data: bytes | str = self._connection.recv(timeout=TICK)
        except TimeoutError:
            return None
        except self._closed as error:
            if error.rcvd is not None and error.rcvd.code == NORMAL:
                raise End from None
            self._reconnect()
            return None
        return data

    def _reconnect(self) -> None:
        """Try again with growing pauses; the time base sees what was lost meanwhile."""
        pause, limit = 0.5, time.monotonic() + self._retry
        while not self._stop.wait(pause):
            pause = min(2 * pause, 10.0)
            try:
                self._link()
            except LinkError:
                if time.monotonic() > limit:
                    raise
            else:
                return


def _checked(url: str) -> str:
    """The address without credentials and options; raises ``ConfigError`` where it is none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its text may quote a part of the password
        raise ConfigError(SHAPE) from None
    if parts.scheme not in ("ws", "wss") or not parts.hostname or parts.fragment:
        raise ConfigError(SHAPE)
    return f"{parts.hostname}{f':{port}' if port else ''}{parts.path}"
