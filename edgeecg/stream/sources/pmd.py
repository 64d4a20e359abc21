"""What a Polar H10 says, from bytes to values: pure functions, and nothing but `PacketError`.

Sources: Polar's *Measurement Data Specification for 3rd Party* (service ``FB005C80-...``) and *Time system
in Polar sensors* (polar-ble-sdk, ``technical_documentation``), and the Bluetooth SIG's Heart Rate Service
1.0 (``0x180D``).

An ECG notification::

    byte 0      measurement type, 0 for ECG
    bytes 1-8   device time of the LAST sample, uint64, ns since 2000-01-01
    byte 9      frame type, 0: the only one for ECG
    bytes 10-   samples, int24 little-endian, microvolts
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import PacketError

__all__ = [
    "ECG_FS",
    "START_ECG",
    "STOP_ECG",
    "HeartRate",
    "decode_ecg",
    "decode_heart_rate",
    "decode_response",
    "encode_ecg",
]

ECG_FS = 130
"""Rate of the H10's ECG, hertz; the device's own crystal, so up to about 0.1 % off."""

START_ECG = bytes((0x02, 0x00, 0x00, 0x01, ECG_FS, 0x00, 0x01, 0x01, 14, 0x00))
"""Start ECG: setting 0 (rate), one value of 130 Hz; setting 1 (resolution), one value of 14 bits."""

STOP_ECG = bytes((0x03, 0x00))
"""Stop ECG."""

ECG = 0x00
HEADER = 10
RESPONSE = 0xF0
STATUS = (
    "success",
    "invalid op code",
    "invalid measurement type",
    "not supported",
    "invalid length",
    "invalid parameter",
    "already in state",
    "invalid resolution",
    "invalid sample rate",
    "invalid range",
    "invalid MTU",
    "invalid number of channels",
    "invalid state",
    "device in charger",
)


@dataclass(frozen=True)
class HeartRate:
    """A heart rate measurement.

    Parameters
    ----------
    bpm : int
        Beats a minute, as the device averages them.
    contact : bool or None
        Whether the electrodes touch the skin; ``None`` if the device cannot tell.
    energy : int or None
        Energy expended since the last reset, kilojoules.
    rr : tuple of float
        RR intervals since the last measurement, oldest first, seconds.
    """

    bpm: int
    contact: bool | None
    energy: int | None
    rr: tuple[float, ...]


def decode_ecg(data: bytes) -> tuple[int, NDArray[np.float64]]:
    """Device time of the last sample in nanoseconds, and samples ``(n,)`` in millivolts.

    Raises
    ------
    PacketError
        If it is no ECG notification of frame type 0 with whole samples.
    """
    if len(data) < HEADER + 3 or (len(data) - HEADER) % 3:
        raise PacketError(f"an ECG notification has {HEADER} + 3 n bytes, not {len(data)}")
    if data[0] != ECG or data[9] != 0:
        raise PacketError(f"measurement {data[0]}, frame type {data[9]} is no raw ECG (0, 0)")
    octets = np.frombuffer(data, dtype=np.uint8, offset=HEADER).reshape(-1, 3).astype(np.int32)
    values = octets[:, 0] | octets[:, 1] << 8 | octets[:, 2] << 16
    microvolts = (values ^ 0x800000) - 0x800000
    return int.from_bytes(data[1:9], "little"), microvolts / 1e3


def encode_ecg(stamp: int, microvolts: NDArray[np.int64]) -> bytes:
    """The notification that `decode_ecg` reads; for a simulated strap."""
    body = b"".join(int(value).to_bytes(3, "little", signed=True) for value in microvolts)
    return bytes((ECG,)) + stamp.to_bytes(8, "little") + b"\x00" + body


def decode_response(data: bytes) -> tuple[int, str]:
    """Op code that a control point response answers, and its status in words.

    Raises
    ------
    PacketError
        If it is no control point response.
    """
    if len(data) < 4 or data[0] != RESPONSE:
        raise PacketError(f"{len(data)} bytes from the control point are no response to a command")
    return data[1], STATUS[data[3]] if data[3] < len(STATUS) else f"status {data[3]}"


def decode_heart_rate(data: bytes) -> HeartRate:
    """A Heart Rate Measurement (characteristic ``0x2A37``).

    Raises
    ------
    PacketError
        If its length does not fit its flags.
    """
    if len(data) < 2:
        raise PacketError(f"a heart rate measurement has at least 2 bytes, not {len(data)}")
    flags = data[0]
    wide, energy = flags & 0x01, flags & 0x08
    intervals = 2 + wide + (2 if energy else 0)
    rest = len(data) - intervals
    if rest < 0 or rest % 2 or (rest and not flags & 0x10):
        raise PacketError(
            f"a heart rate measurement of {len(data)} bytes does not fit its flags {flags:#04x}"
        )
    words = [int.from_bytes(data[i : i + 2], "little") for i in range(2 + wide, len(data) - 1, 2)]
    bpm = int.from_bytes(data[1:3], "little") if wide else data[1]
    contact = bool(flags & 0x02) if flags & 0x04 else None
    spent = words.pop(0) if energy else None
    return HeartRate(bpm, contact, spent, tuple(word / 1024 for word in words))
