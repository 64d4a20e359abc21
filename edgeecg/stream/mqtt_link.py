"""What the MQTT source and sink share: the address, and a client that is connected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from edgeecg.errors import ConfigError, LinkError

__all__ = ["MqttAddress", "connect"]

LONGEST_PAUSE = 60  # seconds before the library tries again to reach a broker that was lost


@dataclass(frozen=True)
class MqttAddress:
    """``mqtt://[user:password@]host[:port]/topic``; as text it leaves the credentials out."""

    host: str
    port: int
    topic: str
    tls: bool = False
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> MqttAddress:
        """The parts of a URL.

        Raises
        ------
        ConfigError
            If host or topic are missing, the port is no port or the host cannot be a machine's name.
        """
        shape = "write mqtt://[USER:PASSWORD@]HOST[:PORT]/TOPIC, and / # ? @ of a password as %2F %23 %3F %40"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:  # its text quotes parts of a password
            raise ConfigError(f"the MQTT address cannot be read: {shape}") from None
        topic = unquote(parts.path.lstrip("/")) + (f"#{parts.fragment}" if "#" in url else "")
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or not topic:
            raise ConfigError(f"the MQTT address lacks its host or topic: {shape}")
        try:
            parts.hostname.encode("idna")  # as the system would; in the library's thread nobody would hear
        except UnicodeError:
            raise ConfigError(f"the MQTT address: {parts.hostname!r} cannot be a machine's name") from None
        tls = parts.scheme == "mqtts"
        user = None if parts.username is None else unquote(parts.username)
        password = None if parts.password is None else unquote(parts.password)
        return cls(parts.hostname, port or (8883 if tls else 1883), topic, tls, user, password)

    def __str__(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}/{self.topic}"


def connect(paho: Any, address: MqttAddress, on_connect: Callable[..., None], *, later: bool = False) -> Any:
    """A client with a TCP connection; ``on_connect`` learns of the broker's answer in its loop.

    With ``later`` the loop makes the connection, again and again until there is one, and nobody waits for it.

    Raises
    ------
    LinkError
        If the broker cannot be reached.
    """
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    if address.user is not None:
        client.username_pw_set(address.user, address.password)
    if address.tls:
        client.tls_set()
    client.on_connect = on_connect
    client.reconnect_delay_set(max_delay=LONGEST_PAUSE)
    if later:
        client.connect_async(address.host, address.port, keepalive=30)
        return client
    try:
        client.connect(address.host, address.port, keepalive=30)
    except (OSError, ValueError) as error:
        raise LinkError(f"broker {address.host}:{address.port} cannot be reached: {error}") from error
    return client
