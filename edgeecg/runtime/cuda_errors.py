"""A CUDA call that failed, and whether it took the context along."""

from __future__ import annotations

from edgeecg.errors import DeviceError

__all__ = ["CudaError", "is_sticky"]

STICKY = {
    214: "uncorrectable ECC error",
    226: "Invalid access of peer GPU memory over nvlink or a hardware error",
    700: "illegal memory access",
    702: "launch timed out",
    709: "context is destroyed",
    710: "device-side assert triggered",
    714: "hardware stack error",
    715: "illegal instruction",
    716: "misaligned address",
    717: "not supported on global/shared address space",
    718: "invalid program counter",
    719: "unspecified launch failure",
    721: "tensor memory not completely freed",
}
"""Errors after which every further call in the context fails: code and what cuGetErrorString says.

They are those that leave the process in an inconsistent state, as CUDA's manual (``CUresult``) says, but for
911, which is of devices beside the GPU, and those that take the context alone.
"""

GONE = ("context is destroyed", "invalid device context")
"""Words of errors that only tell that somebody else has reset the context already (709 and 201)."""


class CudaError(DeviceError):
    """A CUDA call failed.

    Parameters
    ----------
    call : str
        The driver function, e.g. ``"cuMemAlloc"``.
    reason : str
        The driver's own words.
    sticky : bool
        Whether the context is lost: nothing that lives in it can be used any more.
    """

    def __init__(self, call: str, reason: str, sticky: bool = False) -> None:
        self.call, self.reason, self.sticky = call, reason, sticky
        end = "; the CUDA context is lost and its engines must be opened anew" if sticky else ""
        super().__init__(f"{call} failed: {reason}{end}")

    @property
    def gone(self) -> bool:
        """Whether somebody else has reset the context already: whoever resets it again takes the new one."""
        return any(word in self.reason for word in GONE)

    @property
    def lost(self) -> bool:
        """Whether nothing of the context can be used any more, by this error or by what it tells of."""
        return self.sticky or self.gone


def is_sticky(code: int, reason: str) -> bool:
    """Whether an error takes the context with it (pycuda tells only the text)."""
    return code in STICKY or any(text in reason for text in STICKY.values())
