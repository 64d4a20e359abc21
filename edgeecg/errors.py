"""Everything that EdgeECG raises on purpose.

::

    EdgeECGError
    ├── InputError            what came in cannot be used (exit code 2 in the CLI)
    │   ├── RecordError       a recording: missing, truncated, wrong units, no gain
    │   ├── SignalError       samples: wrong shape, rate out of range, all NaN
    │   │   └── PacketError   a packet from a device or a peer that cannot be decoded
    │   └── ConfigError       a setting or a TOML key
    ├── BundleError           a .edgeecg bundle: unknown name, tampered part, wrong schema
    ├── BackendError          an executor: library missing, driver missing, graph refused
    │   ├── MissingExtra      an optional dependency is not installed; names the extra
    │   └── DeviceError       a CUDA or TensorRT call failed while running
    ├── LinkError             a device, broker or peer: not reachable, refused, broken off
    ├── StateError            a snapshot that does not fit this bundle or version
    └── AccuracyError         a candidate graph lost more accuracy than its budget

Every message says what is wrong, where, and how to mend it, in one line.
"""

from __future__ import annotations

__all__ = [
    "AccuracyError",
    "BackendError",
    "BundleError",
    "ConfigError",
    "DeviceError",
    "EdgeECGError",
    "InputError",
    "LinkError",
    "MissingExtra",
    "PacketError",
    "RecordError",
    "SignalError",
    "StateError",
]


class EdgeECGError(Exception):
    """Base of every error that EdgeECG raises on purpose.

    Parameters
    ----------
    *said : object
        The message, to whoever gave the command.
    public : str or bool
        What the log of a service may say of it, which others read: no path, name or address, and nothing that
        was read. ``True`` is the message itself; without it a log names the kind of error alone.
    """

    def __init__(self, *said: object, public: str | bool = False) -> None:
        super().__init__(*said)
        self.public = public if isinstance(public, str) else str(self) if public else ""


class InputError(EdgeECGError):
    """What came in cannot be used."""


class RecordError(InputError):
    """A recording cannot be read or is not what it says."""


class SignalError(InputError):
    """Samples of a wrong shape, rate or value."""


class PacketError(SignalError):
    """Bytes from a device or a peer that cannot be decoded."""


class ConfigError(InputError):
    """A setting that is missing, misspelt or out of range."""


class BundleError(EdgeECGError):
    """A bundle that cannot be opened or fails its own checks."""


class BackendError(EdgeECGError):
    """An executor that cannot be used on this machine."""


class MissingExtra(BackendError):
    """An optional dependency is not installed.

    Parameters
    ----------
    package : str
        The import that failed, e.g. ``"wfdb"``.
    extra : str
        The extra of EdgeECG that brings it, e.g. ``"records"``.
    purpose : str
        What was about to be done, e.g. ``"reading WFDB records"``.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        self.package, self.extra, self.purpose = package, extra, purpose
        super().__init__(f"{purpose} needs {package}: pip install 'edgeecg[{extra}]'", public=True)


class DeviceError(BackendError):
    """A call to the device failed while running."""


class LinkError(EdgeECGError):
    """A device, broker or peer that cannot be reached, refuses, or broke off."""


class StateError(EdgeECGError):
    """A saved state that does not fit what it is restored into."""


class AccuracyError(EdgeECGError):
    """A graph lost more accuracy than its budget allows."""
