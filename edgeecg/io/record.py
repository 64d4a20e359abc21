"""A recording in memory: samples in millivolts, their rate and leads, and what was annotated on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeecg.errors import RecordError

__all__ = ["BEAT_SYMBOLS", "Annotations", "Record"]

BEAT_SYMBOLS = frozenset("NLRBAaJSVrFejnE/fQ?")
"""WFDB annotation symbols that mark a heart beat; all others mark rhythms, noise, waves or comments."""


@dataclass(frozen=True, eq=False)
class Annotations:
    """Marks on a recording, ascending in time.

    Parameters
    ----------
    sample : (n,) int64
        Sample of each mark, at the record's rate.
    symbol : (n,) str
        WFDB's symbol of each mark: ``N``, ``V``, ``+`` and so on.
    aux : (n,) str, optional
        Text that belongs to a mark, such as ``(AFIB`` at a ``+``; empty strings by default.

    Raises
    ------
    RecordError
        If the columns differ in length or the samples do not ascend.
    """

    sample: NDArray[np.int64]
    symbol: NDArray[np.str_]
    aux: NDArray[np.str_]

    def __init__(self, sample: ArrayLike, symbol: ArrayLike, aux: ArrayLike | None = None) -> None:
        samples = np.asarray(sample).reshape(-1)
        if samples.dtype.kind == "f" and not (np.isfinite(samples) & (samples == np.rint(samples))).all():
            raise RecordError("annotations lie on whole samples: round them first (np.rint)")
        samples = samples.astype(np.int64)
        symbols = np.asarray(symbol, dtype=np.str_).reshape(-1)
        texts = np.full(len(samples), "") if aux is None else np.asarray(aux, dtype=np.str_).reshape(-1)
        if not len(samples) == len(symbols) == len(texts):
            raise RecordError(
                f"annotations need one symbol and one aux text a sample, "
                f"not {len(symbols)} and {len(texts)} for {len(samples)} samples"
            )
        if np.any(np.diff(samples) < 0):
            raise RecordError("annotations must ascend in time: sort them by sample first")
        object.__setattr__(self, "sample", samples)
        object.__setattr__(self, "symbol", symbols)
        object.__setattr__(self, "aux", texts)

    def __len__(self) -> int:
        return len(self.sample)

    @property
    def is_beat(self) -> NDArray[np.bool_]:
        """Which marks are heart beats, ``(n,)`` bool."""
        return np.isin(self.symbol, sorted(BEAT_SYMBOLS))

    def select(self, keep: ArrayLike) -> Annotations:
        """The marks where ``keep`` (a mask, indices or a slice) holds."""
        chosen = keep if isinstance(keep, slice) else np.asarray(keep)
        return Annotations(self.sample[chosen], self.symbol[chosen], self.aux[chosen])

    def beats(self) -> Annotations:
        """Only the marks that are heart beats."""
        return self.select(self.is_beat)

    def within(self, start: int, stop: int) -> Annotations:
        """The marks with ``start <= sample < stop``, counted from ``start``."""
        inside = self.select((self.sample >= start) & (self.sample < stop))
        return Annotations(inside.sample - start, inside.symbol, inside.aux)


@dataclass(frozen=True, eq=False)
class Record:
    """One recording of one patient.

    Parameters
    ----------
    name : str
        Name of the record, as its files are called.
    signal : (n, leads) float64
        Millivolts; NaN where a sample is missing.
    fs : float
        Samples a second.
    leads : tuple of str
        Name of each column of ``signal``.
    annotations : Annotations, optional
        Reference marks, where there are any.
    patient : str, optional
        Who was recorded: records of one patient belong on one side of a split.
    start : datetime, optional
        Wall-clock time of sample 0.

    Raises
    ------
    RecordError
        If the samples are not ``(n, leads)``, there are none, or the rate is not positive.
    """

    name: str
    signal: NDArray[np.float64]
    fs: float
    leads: tuple[str, ...]
    annotations: Annotations | None = None
    patient: str | None = None
    start: datetime | None = None

    def __post_init__(self) -> None:
        signal = np.asarray(self.signal, dtype=np.float64)
        if signal.ndim != 2 or signal.shape[1] != len(self.leads):
            raise RecordError(
                f"record {self.name}: samples of shape {signal.shape} do not fit {len(self.leads)} leads; "
                f"give them as (samples, leads)"
            )
        if signal.size == 0:
            raise RecordError(f"record {self.name} is empty: it has {len(self.leads)} leads and no samples")
        if not (np.isfinite(self.fs) and self.fs > 0):
            raise RecordError(f"record {self.name}: rate {self.fs} is not a positive number of hertz")
        object.__setattr__(self, "signal", signal)
        object.__setattr__(self, "fs", float(self.fs))
        object.__setattr__(self, "leads", tuple(self.leads))

    def __len__(self) -> int:
        return len(self.signal)

    @property
    def seconds(self) -> float:
        """Length of the recording, seconds."""
        return len(self.signal) / self.fs

    def lead(self, which: str | int) -> NDArray[np.float64]:
        """One lead by name or number: ``(n,)`` millivolts.

        Raises
        ------
        RecordError
            If there is no such lead.
        """
        if isinstance(which, str):
            if which not in self.leads:
                raise RecordError(f"record {self.name} has no lead {which!r}; it has {', '.join(self.leads)}")
            return self.signal[:, self.leads.index(which)]
        if not -len(self.leads) <= which < len(self.leads):
            raise RecordError(f"record {self.name} has {len(self.leads)} leads; number {which} is not one")
        return self.signal[:, which]

    def pick(self, *which: str | int) -> Record:
        """The same record with only these leads, in this order."""
        names = tuple(w if isinstance(w, str) else self.leads[w] for w in which)
        return replace(self, signal=np.stack([self.lead(w) for w in which], axis=1), leads=names)

    def cut(self, start: int, stop: int) -> Record:
        """Samples ``start`` to ``stop`` (left out) as a record of its own."""
        marks = None if self.annotations is None else self.annotations.within(start, stop)
        clock = None if self.start is None else self.start + timedelta(seconds=start / self.fs)
        return replace(self, signal=self.signal[start:stop], annotations=marks, start=clock)
