"""The seam to Bluetooth: four coroutines. `BleakTransport` is the real one; `fake_polar` has another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from edgeecg.errors import LinkError
from edgeecg.stream.address import need

__all__ = ["BleTransport", "BleakTransport"]

PATIENCE = 20.0  # seconds that a search or a connection may take


class BleTransport(Protocol):
    """One connection to one device, used from one asyncio loop. Failures are `LinkError`."""

    async def connect(self, lost: Callable[[], None]) -> None:
        """Connect; ``lost`` is called if the connection breaks later."""

    async def notify(self, characteristic: str, heard: Callable[[bytes], None]) -> None:
        """Subscribe to notifications or indications."""

    async def write(self, characteristic: str, data: bytes) -> None:
        """Write with response."""

    async def disconnect(self) -> None:
        """End the connection; does nothing if there is none."""


class BleakTransport:
    """Bluetooth by bleak: BlueZ on Linux, CoreBluetooth on macOS, WinRT on Windows.

    Parameters
    ----------
    address : str
        Bluetooth address (a UUID on macOS), or ``auto`` for the first device of this name.
    name : str
        How the names of such devices begin.
    """

    def __init__(self, address: str, name: str) -> None:
        self._bleak = need("bleak", "bleak", "ble", "reading a Bluetooth device")
        self._failure = need("bleak.exc", "bleak", "ble", "reading a Bluetooth device").BleakError
        self._address, self._name = address, name
        self._client: Any = None

    async def connect(self, lost: Callable[[], None]) -> None:
        """Connect; ``lost`` is called if the connection breaks later."""
        device = await self._find() if self._address == "auto" else self._address
        self._client = self._bleak.BleakClient(
            device, disconnected_callback=lambda _: lost(), timeout=PATIENCE
        )
        await self._guard(
            self._client.connect(), "cannot be reached; is it worn, near, and free of other links?"
        )

    async def notify(self, characteristic: str, heard: Callable[[bytes], None]) -> None:
        """Subscribe to notifications or indications."""
        await self._guard(
            self._client.start_notify(characteristic, lambda _, data: heard(bytes(data))),
            "does not offer this measurement; is it an H10?",
        )

    async def write(self, characteristic: str, data: bytes) -> None:
        """Write with response."""
        await self._guard(self._client.write_gatt_char(characteristic, data, response=True), "did not answer")

    async def disconnect(self) -> None:
        """End the connection; does nothing if there is none."""
        if self._client is not None:
            await self._guard(self._client.disconnect(), "did not let go")

    async def _find(self) -> Any:
        def fits(device: Any, advertisement: Any) -> bool:
            return (advertisement.local_name or device.name or "").startswith(self._name)

        search = self._bleak.BleakScanner.find_device_by_filter(fits, timeout=PATIENCE)
        device = await self._guard(search, "cannot be searched for; is Bluetooth switched on?")
        if device is None:
            heard = f"was heard in {PATIENCE:g} s: is it worn and near?"
            raise LinkError(f"no {self._name} {heard}", public=f"no such device {heard}")
        return device

    async def _guard(self, call: Any, wrong: str) -> Any:
        try:
            return await call
        except (self._failure, OSError, EOFError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise LinkError(f"the Bluetooth device {wrong} ({reason})") from error
