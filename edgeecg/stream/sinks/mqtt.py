"""Events to an MQTT broker (paho-mqtt), confirmed (QoS 1).

Events go to ``TOPIC``, each patient's header is kept by the broker under ``TOPIC/header/PATIENT``. While
the broker is away events wait in memory, up to a bound, and are sent when it is back; headers are sent again
then, since a broker that was restarted may have forgotten them. A gateway does not wait for a broker that is
not there yet either: events are kept for it, and ``trouble`` says why.
"""

from __future__ import annotations

import threading
import time as clock
from typing import Any
from urllib.parse import quote

from edgeecg.errors import ConfigError, LinkError
from edgeecg.specs import Event
from edgeecg.stream.address import need
from edgeecg.stream.mqtt_link import MqttAddress, connect
from edgeecg.stream.sinks.base import BaseSink, Header
from edgeecg.stream.sinks.lines import event_line, header_line

__all__ = ["MqttSink"]

MOST = 60_000
"""Messages that may wait: MQTT numbers them with 16 bits, of which headers that are sent again need some."""


class MqttSink(BaseSink):
    """Publishes events.

    Parameters
    ----------
    url : str
        ``mqtt://[user:password@]host[:port]/topic``, or ``mqtts://`` for TLS.
    patience : float
        Seconds that a flush waits for the broker's confirmations.
    waiting : int
        Most events that may wait for confirmation; 60,000 at most.

    Raises
    ------
    ConfigError
        If the address cannot be used, or a number is out of range.
    """

    def __init__(self, url: str, *, patience: float = 10.0, waiting: int = MOST) -> None:
        super().__init__()
        if patience <= 0 or not 1 <= waiting <= MOST:
            raise ConfigError(f"mqtt: patience must be more than 0 seconds and waiting 1 to {MOST} events")
        self._address = MqttAddress.parse(url)
        if {"+", "#"} & set(self._address.topic):
            raise ConfigError(f"topic {self._address.topic!r} has wildcards: events go to one topic")
        self._patience, self._most = patience, waiting
        self._client: Any = None
        self._full: Any = None  # the library's answer where it takes no more
        self._sent = self._confirmed = 0
        self._kept: dict[str, bytes] = {}  # headers by topic
        # these, like _confirmed and behind, change only in the library's thread
        self._trouble = ""  # why what is sent has to wait
        self._again = 0  # headers that were sent again
        self._going: dict[int, str] = {}  # topics of those that are not confirmed, by message number

    def _connect(self, header: Header) -> None:
        paho = need("paho.mqtt.client", "paho-mqtt", "mqtt", "writing to an MQTT topic")
        self._full = paho.MQTT_ERR_QUEUE_SIZE
        answered = threading.Event()

        def on_connect(client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
            if reason.is_failure:
                self._away(f"refuses: {reason}; are address, user and password right?")
            else:
                self._away("")
                if answered.is_set():
                    self._repeat_headers(client)
            answered.set()

        self._client = connect(paho, self._address, on_connect, later=not self.waits)
        self._client.on_publish = self._count
        self._client.on_disconnect = lambda *_: self._away(self._trouble or "is away")
        self._client.on_connect_fail = lambda *_: self._away("cannot be reached")
        if not self.waits:
            self._away("is not connected yet")
        self._client.loop_start()
        if self.waits and (not answered.wait(self._patience) or self._trouble):
            raise self._wrong(self._trouble or "does not answer; are address, user and password right?")

    @property
    def trouble(self) -> LinkError | None:
        """Why messages wait."""
        why = self._trouble
        return self._wrong(f"{why} ({self._unconfirmed} messages wait)") if why else None

    def _away(self, why: str) -> None:
        """The connection is as it is now."""
        self._trouble, self.behind = why, bool(why)

    def _wrong(self, what: str) -> LinkError:
        """An error that tells what the broker did; the topic, which may be a patient's, is for no log."""
        return LinkError(f"{self._address} {what}", public=f"the broker {what}")

    def _repeat_headers(self, client: Any) -> None:
        """Send the headers again, but those that wait from the last time."""
        waiting = set(self._going.values())
        for topic, line in list(self._kept.items()):
            if topic not in waiting:
                message = client.publish(topic, line, qos=1, retain=True)
                if message.rc != self._full:
                    self._again += 1
                    self._going[message.mid] = topic

    def _begin(self, header: Header) -> None:
        topic = f"{self._address.topic}/header/{quote(header.patient, safe='')}"
        self._kept[topic] = header_line(header)
        self._publish(topic, self._kept[topic], retain=True)

    def _send(self, event: Event, header: Header, time: float | None) -> None:
        self._publish(self._address.topic, event_line(event, header.patient, time))

    def _publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        if self._client._thread is None:  # it says so nowhere else
            raise self._wrong("is looked for no more: the MQTT library has ended; start this anew")
        if self._unconfirmed >= self._most:
            raise self._wrong(f"has confirmed none of the last {self._most} events: is it running?")
        message = self._client.publish(topic, payload, qos=1, retain=retain)  # queued while it is away
        if message.rc == self._full:  # its number is that of one that waits still
            raise self._wrong("has left an event unconfirmed for long: this one is lost")
        self._sent += 1

    @property
    def _unconfirmed(self) -> int:
        return self._sent + self._again - self._confirmed

    def _count(self, client: Any, data: Any, number: int, reason: Any, properties: Any) -> None:
        self._confirmed += 1
        self._going.pop(number, None)

    def flush(self) -> None:
        """Wait for the broker's confirmations."""
        limit = clock.monotonic() + self._patience
        while (missing := self._unconfirmed) > 0:
            if clock.monotonic() > limit:
                raise self._wrong(f"has not confirmed {missing} events: they may be lost")
            clock.sleep(0.005)

    def _disconnect(self) -> None:
        client, self._client = self._client, None  # once forgotten, it closes its sockets
        if client is not None:
            client.disconnect()
            client.loop_stop()
