"""A topic of an MQTT broker (paho-mqtt); see `wire` for the messages. An empty message ends the stream."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from edgeecg.errors import ConfigError, LinkError
from edgeecg.stream.address import need
from edgeecg.stream.mqtt_link import MqttAddress, connect
from edgeecg.stream.sources.live import TICK
from edgeecg.stream.sources.messages import End, MessageSource

__all__ = ["MqttSource"]


class MqttSource(MessageSource):
    """Packets from one topic.

    Parameters
    ----------
    url : str
        ``mqtt://[user:password@]host[:port]/topic``, or ``mqtts://`` for TLS.
    fs, leads, wait, timeout, jitter
        See `MessageSource`.
    retry : float
        Seconds for which a lost broker is tried anew.

    Raises
    ------
    ConfigError
        If the address has no host or no topic, or the topic has wildcards: one stream is one topic.
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
        self._address = MqttAddress.parse(url)
        if {"+", "#"} & set(self._address.topic):
            raise ConfigError(
                f"topic {self._address.topic!r} has wildcards: a stream is one topic; open one each"
            )
        super().__init__(str(self._address), fs, leads, wait, timeout, jitter)
        self._retry = retry
        self._client: Any = None
        self._arrived: deque[bytes] = deque()
        self._lost: float | None = None
        self._refused = ""

    def _link(self) -> None:
        self._paho = need("paho.mqtt.client", "paho-mqtt", "mqtt", "reading an MQTT topic")
        self._client = connect(self._paho, self._address, self._subscribe)
        self._client.on_message = lambda client, data, message: self._arrived.append(message.payload)

    def _subscribe(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        """Also after each reconnection: the broker forgets."""
        self._refused = str(reason) if reason.is_failure else ""
        if not reason.is_failure:
            client.subscribe(self._address.topic, qos=1)

    def _disconnect(self) -> None:
        client, self._client = self._client, None  # once forgotten, it closes its sockets
        if client is not None:
            client.disconnect()
            client.loop(timeout=TICK)  # says goodbye

    def _receive(self) -> bytes | None:
        if not self._arrived:
            status = self._client.loop(timeout=TICK)
            if self._refused:
                raise self._wrong(LinkError, f"refuses: {self._refused}; are user and password right?")
            if status != self._paho.MQTT_ERR_SUCCESS:
                self._reconnect()
            else:
                self._lost = None
        if not self._arrived:
            return None
        payload = self._arrived.popleft()
        if not payload:
            raise End
        return payload

    def _reconnect(self) -> None:
        if self._lost is None:
            self._lost = time.monotonic()
        if time.monotonic() - self._lost > self._retry:
            raise self._wrong(LinkError, f"has been away for {self._retry:g} s")
        self._stop.wait(0.5)
        try:
            self._client.reconnect()
        except OSError:
            return  # tried again at the next call, until retry is over
