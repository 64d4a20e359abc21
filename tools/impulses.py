"""What the stage against impulses touches in recordings as they are, or played faster.

    python tools/impulses.py --data DIR
    python tools/impulses.py --data DIR --speed 2 --rate 250 --rate 500 --rate 128

Prints how many samples `edgeecg.signal.impulse` holds in each set, and how many of the beats have one of them
within 80 ms. Recordings that are played faster have narrow QRS, as a newborn's are; each is resampled to
the rates, first lead and five minutes, and the paced ones are left out.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.signal import resample_poly

from edgeecg.data.catalog import data_set, load_record, load_reference
from edgeecg.io.record import Record
from edgeecg.signal.impulse import Impulses

NEAR = 0.08  # seconds
MINUTES = 5
PLACES = {"mitdb": ("DS1", "paced"), "svdb": ("development",), "cinc2017": ("development",)}


def held(signal: NDArray[np.float64], fs: float) -> NDArray[np.intp]:
    """Samples of ``(n, leads)`` that are held on some lead."""
    x = np.nan_to_num(signal.T.astype(np.float64))
    stage = Impulses(fs)
    cleared, _ = stage.step(x, stage.initial(len(x)))
    return np.flatnonzero((cleared != x).any(axis=0))


def touched(beats: NDArray[np.int64], places: NDArray[np.intp], fs: float) -> int:
    """Beats with one of the places near."""
    begin, end = (np.searchsorted(places, beats + side * NEAR * fs) for side in (-1, 1))
    return int((end > begin).sum())


def faster(
    record: Record, beats: NDArray[np.int64], speed: float, rate: float
) -> tuple[Record, NDArray[np.int64]]:
    """The first lead of five minutes of a recording at another speed, sampled at a rate."""
    count = round(MINUTES * 60 * record.fs)
    ratio = Fraction(rate / (record.fs * speed)).limit_denominator(2000)
    signal = resample_poly(record.signal[:count, :1].astype(np.float64), ratio.numerator, ratio.denominator)
    made = Record(record.name, signal, rate, record.leads[:1])
    return made, np.rint(beats[beats < count] * float(ratio)).astype(np.int64)


def impulses(
    data: Annotated[Path, typer.Option(help="Folder of the development recordings.")],
    speed: Annotated[float, typer.Option(help="How many times as fast recordings are played.")] = 1.0,
    rate: Annotated[list[float] | None, typer.Option(help="Sampled so, hertz; may repeat.")] = None,
) -> None:
    """Print a row for each set, or for each rate."""
    table = Table("", "hours", "samples held", "beats", "beats with one near")
    rows: dict[str, list[float]] = {}
    for name in ("mitdb", "svdb") if rate else PLACES:
        splits = [split for split in PLACES[name] if not rate or split != "paced"]
        records = [record for split in splits for record in data_set(name).splits[split]]
        for number in track(records, name):
            record = load_record(data / name / number, name)
            beats = load_reference(record, name).beats if name != "cinc2017" else np.empty(0, np.int64)
            played = {f"{hertz:g} Hz": faster(record, beats, speed, hertz) for hertz in rate or ()}
            for row, (made, marks) in (played or {name: (record, beats)}).items():
                places = held(made.signal, made.fs)
                sums = rows.setdefault(row, [0.0] * 4)
                more = len(made) / made.fs / 3600, len(places), len(marks), touched(marks, places, made.fs)
                rows[row] = [a + b for a, b in zip(sums, more, strict=True)]
    for row, (hours, samples, count, near) in rows.items():
        table.add_row(row, f"{hours:.1f}", *(f"{value:,.0f}" for value in (samples, count, near)))
    Console().print(table)


if __name__ == "__main__":
    typer.run(impulses)
