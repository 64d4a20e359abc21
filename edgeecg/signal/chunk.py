"""What a caller pushes, as every stage takes it: numpy's own arrays of real numbers, and whole counts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeecg.errors import SignalError

__all__ = ["samples_of", "whole"]

LONGEST_GAP = 2**48  # samples, nine thousand years: many of them still fit a count of 64 bits


def whole(length: int) -> int:
    """The length of a gap as Python's own number: a small one of numpy's would overflow in the count.

    Raises
    ------
    SignalError
        It is no number of samples.
    """
    if not isinstance(length, (int, np.integer)) or not 0 <= length <= LONGEST_GAP:
        raise SignalError(f"a gap of {length} samples: give the number of missing samples, 0 to 2**48")
    return int(length)


def samples_of(chunk: ArrayLike, leads: int) -> NDArray[Any]:
    """A chunk as real numbers ``(n, leads)``, or an error that says what is expected.

    Raises
    ------
    SignalError
        The chunk has another shape, or is not real numbers.
    """
    data = chunk if type(chunk) is np.ndarray else _plain(chunk)
    if data.shape[1:] != (leads,) or data.dtype.kind not in "fiu":  # seldom: who streams is in a hurry
        data = _checked(data, leads)
    return data


def _plain(chunk: ArrayLike) -> NDArray[Any]:
    """Any array as numpy's own: what a masked one hides is missing."""
    if isinstance(chunk, np.ma.MaskedArray):
        return np.where(np.ma.getmaskarray(chunk), np.nan, chunk.data)
    try:
        return np.asarray(chunk)
    except ValueError as error:
        raise SignalError(
            "a chunk with rows of different lengths: push samples by leads, (n, leads)"
        ) from error
    except (TypeError, RuntimeError) as error:  # tensors that want a gradient, or of a type numpy has not
        raise SignalError(f"a chunk that is no array ({error}): push numpy's, (n, leads)") from error


def _checked(data: NDArray[Any], leads: int) -> NDArray[Any]:
    if data.ndim == 1 and data.size == 0:
        return np.empty((0, leads))
    if data.dtype.kind not in "fiu":
        raise SignalError(f"samples of type {data.dtype}: push real numbers, in millivolts")
    if data.ndim == 1 and leads == 1:
        return data[:, None]
    if data.ndim != 2 or data.shape[1] != leads:
        wanted = "(n,) or (n, 1)" if leads == 1 else f"(n, {leads})"
        raise SignalError(f"a chunk of shape {data.shape}: push samples by leads, {wanted}")
    return data
