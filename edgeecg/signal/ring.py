"""Mirrored ring buffer: the last samples of every row as one contiguous window, without a copy.

Every sample is written twice, ``capacity`` apart, so each window of up to ``capacity`` samples lies in
one piece somewhere in the doubled buffer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgeecg.errors import ConfigError, SignalError, StateError

__all__ = ["Ring"]

Scalar = TypeVar("Scalar", bound=np.generic)


class Ring(Generic[Scalar]):
    """The last ``capacity`` samples of ``rows`` rows.

    Parameters
    ----------
    rows, capacity : int
        Size of the longest window.
    dtype : dtype
        Type of the samples; float32 is what the graphs take.
    """

    def __init__(self, rows: int, capacity: int, dtype: DTypeLike = np.float32) -> None:
        if rows < 1 or capacity < 1:
            raise ConfigError(f"a ring of {rows} rows by {capacity} samples: both must be at least 1")
        self.rows, self.capacity = rows, capacity
        self.total = 0
        """Samples pushed so far."""
        self._twice: NDArray[Scalar] = np.zeros((rows, 2 * capacity), dtype)

    def push(self, samples: NDArray[Scalar]) -> None:
        """Append ``(rows, n)`` samples; of more than ``capacity`` the last are kept."""
        if samples.ndim != 2 or samples.shape[0] != self.rows:
            raise SignalError(
                f"samples of shape {samples.shape} do not fit a ring of {self.rows} rows: push (rows, n)"
            )
        count = samples.shape[1]
        kept = min(count, self.capacity)
        start = (self.total + count - kept) % self.capacity
        self.total += count
        twice, capacity, end = self._twice, self.capacity, start + kept
        samples = samples[:, count - kept :]
        twice[:, start:end] = samples
        if end <= capacity:
            twice[:, start + capacity : end + capacity] = samples
        else:  # across the seam: the first part belongs to the upper half too, the rest to the lower
            twice[:, start + capacity :] = samples[:, : capacity - start]
            twice[:, : end - capacity] = samples[:, capacity - start :]

    def window(self, length: int) -> NDArray[Scalar]:
        """The last ``length`` samples ``(rows, length)``: a read-only view, good until the next push.

        Before the first sample there are zeros.

        Raises
        ------
        ConfigError
            If the ring is shorter than that.
        """
        if not 0 <= length <= self.capacity:
            raise ConfigError(
                f"a window of {length} samples from a ring of {self.capacity}: make the ring longer"
            )
        end = self.total % self.capacity + self.capacity
        view = self._twice[:, end - length : end]
        view.flags.writeable = False
        return view

    def clear(self) -> None:
        """Back to zeros and to no sample pushed."""
        self.total = 0
        self._twice[...] = 0

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """The ring's content as plain arrays."""
        return {"total": np.array(self.total, np.int64), "window": self.window(self.capacity).copy()}

    def restore(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a :meth:`snapshot` of a ring of the same size.

        Raises
        ------
        StateError
            If it is of another size.
        """
        window = saved.get("window")
        if window is None or "total" not in saved or window.shape != (self.rows, self.capacity):
            raise StateError(
                f"this snapshot is not of a ring of {self.rows} by {self.capacity} samples: take a new one"
            )
        self.total = int(saved["total"]) - self.capacity
        self.push(window.astype(self._twice.dtype))
