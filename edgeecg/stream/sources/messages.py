"""The common part of sources whose packets are messages (`wire`): WebSocket and MQTT."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from dataclasses import replace

from edgeecg.errors import ConfigError, LinkError, PacketError
from edgeecg.stream.sources.base import Packet, check_rate, default_leads, named_leads
from edgeecg.stream.sources.live import LiveSource
from edgeecg.stream.sources.wire import Message, decode_message

__all__ = ["End", "MessageSource"]


class End(Exception):
    """The peer has said that nothing more will come."""


class MessageSource(LiveSource):
    """Packets from messages.

    Parameters
    ----------
    peer : str
        The peer in messages to the user; without credentials.
    fs : float, optional
        Rate, where the messages do not tell it.
    leads : tuple of str
        Names of the columns, where the messages do not tell them.
    wait : float
        Seconds that opening waits for the first message, where rate or leads are not given.
    timeout : float or None
        Seconds without a message after which the link counts as broken.
    jitter : float
        Seconds by which the sender's stamps may stray, as those of the moment of sending do; 0 where they are
        those of a sample clock.

    Raises
    ------
    ConfigError
        If an option is out of range.
    """

    def __init__(
        self,
        peer: str,
        fs: float | None,
        leads: tuple[str, ...],
        wait: float,
        timeout: float | None,
        jitter: float = 0.0,
    ) -> None:
        super().__init__(timeout)
        if not 0 <= jitter < math.inf:
            raise ConfigError(f"jitter={jitter} must be 0 seconds or more")
        self.jitter = jitter
        self._peer, self._wait = peer, wait
        self._declared = None if fs is None else check_rate(fs, peer)
        self.leads = named_leads(leads)
        self._first: Message | None = None

    @abstractmethod
    def _link(self) -> None:
        """Connect; `LinkError` if that fails."""

    @abstractmethod
    def _receive(self) -> bytes | str | None:
        """The next message; ``None`` after a short time without one; `End` when the peer ends."""

    def _wrong(self, kind: type[LinkError | PacketError], what: str) -> LinkError | PacketError:
        """An error that tells what the peer did; its address, which may be a patient's, is for no log."""
        return kind(f"{self._peer} {what}", public=f"the peer {what}")

    def _connect(self) -> None:
        self._link()
        limit = time.monotonic() + self._wait
        while self._first is None and not (self._declared and self.leads):
            if time.monotonic() > limit or self._stop.is_set():
                raise self._wrong(
                    LinkError,
                    f"sent nothing readable for {self._wait:g} s: is the address right? "
                    "(or give fs= and leads=)",
                )
            self._first = self._attempt()
            if self._first is not None and (self._declared or self._first.fs) is None:
                raise self._wrong(
                    PacketError,
                    "does not tell its rate: give --fs HERTZ (?fs= in its text, fs= in Python)",
                )
        if self._first is not None:
            self._declared = self._declared or self._first.fs
            self.leads = self.leads or self._first.leads or default_leads(self._first.packet.samples.shape[1])
        self.fs = check_rate(self._declared, self._peer)

    def _attempt(self) -> Message | None:
        try:
            data = self._receive()
            if data is None:
                return None
            message = decode_message(data)
            if message.packet.samples.size or message.leads:
                return message
            self._declared = self._declared or message.fs  # how many leads there are it does not tell
            return None
        except End:
            raise self._wrong(LinkError, "ended before its first message") from None
        except PacketError as error:
            self._excuse(error)
            return None

    def _produce(self) -> None:
        if self._first is not None:
            self._put(self._checked(self._first))
        while not self._stop.is_set() and self._relay():
            pass

    def _relay(self) -> bool:
        """Pass one message on; whether there may be more."""
        try:
            data = self._receive()
            if data is not None:
                self._put(self._checked(decode_message(data)))
        except End:
            return False
        except PacketError as error:
            self._excuse(error)
        return True

    def _checked(self, message: Message) -> Packet:
        packet = message.packet
        if message.fs is not None and abs(message.fs - self.fs) > 1e-6 * self.fs:
            raise self._wrong(  # a gateway opens it anew
                LinkError, f"has changed its rate from {self.fs:g} to {message.fs:g} Hz: open it anew"
            )
        if packet.samples.shape[1] != len(self.leads):
            raise self._wrong(
                PacketError, f"sent {packet.samples.shape[1]} columns for {len(self.leads)} leads"
            )
        if packet.time is not None:  # the sender's own: a delay on the way is no gap
            return packet
        return replace(packet, time=time.time() - len(packet) / self.fs, heard=time.monotonic())
