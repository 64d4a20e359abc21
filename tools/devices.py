"""Other devices: the same held-out patients as another recorder would have seen them.

    python tools/devices.py small-1-five --data DIR --work runs/kept    # after tools/kept.py; a minute a row
    python tools/devices.py small --data DIR --packaged --only "baseline, 2 mV at 0.5 Hz"

Every record of mitdb (DS1) and svdb by the network of the fold that never saw its patient, through the
deployed path: turned over, weaker and stronger, at other rates, through other recorders' filters, in coarse
steps, with mains hum, a baseline that swings, glitches, a pacemaker's spikes, cut off at half a millivolt, as
twelve leads, from one lead, and from a lead that none of them has (the difference of both). Prints gross F1
of QRS, V and S, and how many points each loses. With --packaged the bundle that ships is asked, which has
been trained on these very patients: what it scores is too kind, what it loses is a hint.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from held_out import folds  # beside this file
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.ndimage import uniform_filter1d
from scipy.signal import butter, resample_poly, sosfilt

from edgeecg import open_engine
from edgeecg.data.catalog import load_record
from edgeecg.data.labels import DE_CHAZAL
from edgeecg.io.record import Annotations, Record
from edgeecg.metrics.beats import Confusion
from edgeecg.metrics.judge import truth_of
from edgeecg.metrics.references import labelled_records
from edgeecg.metrics.score import said_by_events, score
from edgeecg.pipeline.annotate import annotate
from edgeecg.runtime.engine import Engine
from edgeecg.signal import impulse

SETS = {"mitdb": "mitdb:DS1", "svdb": "svdb:development"}
CLASSES = ("QRS", "V", "S")
Device = Callable[[Record], Record]


def scaled(record: Record, by: float) -> Record:
    """Weaker, stronger or turned over."""
    return replace(record, signal=record.signal * by)


def at_rate(record: Record, fs: float) -> Record:
    """Sampled at another rate, its annotations with it."""
    ratio = Fraction(fs).limit_denominator(100) / Fraction(record.fs).limit_denominator(100)
    signal = resample_poly(record.signal.astype(np.float64), ratio.numerator, ratio.denominator, axis=0)
    marks = record.annotations
    if marks is not None:
        place = np.minimum(np.rint(marks.sample * float(ratio)), len(signal) - 1).astype(np.int64)
        marks = Annotations(place, marks.symbol, marks.aux)
    return replace(record, signal=signal.astype(record.signal.dtype), fs=fs, annotations=marks)


def filtered(record: Record, low: float, high: float) -> Record:
    """Through a recorder's own causal band-pass, of second order at either end."""
    sos = np.concatenate(
        [
            butter(2, low, "high", fs=record.fs, output="sos"),
            butter(2, high, "low", fs=record.fs, output="sos"),
        ]
    )
    start = record.signal - record.signal[:1]  # as if it had been on for long
    return replace(record, signal=sosfilt(sos, start, axis=0).astype(record.signal.dtype))


def coarse(record: Record, step: float) -> Record:
    """In steps of so many millivolts."""
    return replace(record, signal=np.rint(record.signal / step).astype(record.signal.dtype) * step)


def humming(record: Record, hertz: float, amplitude: float) -> Record:
    """With the mains in it, millivolts."""
    hum = amplitude * np.sin(2 * np.pi * hertz * np.arange(len(record)) / record.fs)
    return replace(record, signal=record.signal + hum[:, None].astype(record.signal.dtype))


def swinging(record: Record, hertz: float, amplitude: float) -> Record:
    """On a baseline that moves as with breath and body, millivolts."""
    phase = 2 * np.pi * hertz * np.arange(len(record)) / record.fs
    swing = amplitude * (np.sin(phase) + 0.5 * np.sin(1.7 * phase))
    return replace(record, signal=record.signal + swing[:, None].astype(record.signal.dtype))


def glitching(record: Record, millivolts: float, every: float) -> Record:
    """With a single sample thrown off on all leads, so many seconds from the next on average."""
    rng = np.random.default_rng(len(record))
    signal = record.signal.copy()
    signal[rng.integers(0, len(record), round(len(record) / record.fs / every))] += millivolts
    return replace(record, signal=signal)


def paced(record: Record, millivolts: float, fs: float) -> Record:
    """With the spike of a pacemaker of the atria, 1 ms long, 160 ms before each annotated beat, through a
    converter that averages three times over its sampling interval, as the sigma-delta ones of ECG chips do.
    """
    fine = at_rate(record, 1000.0)
    marks = fine.annotations
    if marks is None:
        return record
    beats = np.isin(marks.symbol, list(DE_CHAZAL))
    signal = fine.signal.astype(np.float64)
    signal[np.maximum(marks.sample[beats] - 160, 0)] += millivolts
    step = round(1000.0 / fs)
    for _ in range(3):
        signal = uniform_filter1d(signal, step, axis=0)
    coarse = signal[::step].astype(record.signal.dtype)
    place = np.minimum(marks.sample // step, len(coarse) - 1)
    return replace(fine, signal=coarse, fs=fs, annotations=Annotations(place, marks.symbol, marks.aux))


def cut_off(record: Record, millivolts: float) -> Record:
    """By a recorder that has no more room."""
    return replace(record, signal=np.clip(record.signal, -millivolts, millivolts))


def projected(record: Record, weights: tuple[float, ...]) -> Record:
    """One lead made of both."""
    lead = (record.signal * np.array(weights, record.signal.dtype)).sum(axis=1, keepdims=True)
    return replace(record, signal=lead, leads=("made",))


def turned(record: Record, leads: int) -> Record:
    """So many leads made of both, as the plane of the first two turns: half of them upside down."""
    angle = np.arange(leads) * 2 * np.pi / leads
    weights = np.stack([np.cos(angle), np.sin(angle)]).astype(record.signal.dtype)
    return replace(record, signal=record.signal @ weights, leads=tuple(f"made{n}" for n in range(leads)))


DEVICES: Mapping[str, Device] = {
    "as recorded": lambda record: record,
    "turned over": partial(scaled, by=-1.0),
    "a quarter as large": partial(scaled, by=0.25),
    "four times as large": partial(scaled, by=4.0),
    "100 Hz": partial(at_rate, fs=100.0),
    "130 Hz": partial(at_rate, fs=130.0),
    "500 Hz": partial(at_rate, fs=500.0),
    "filtered 0.5 to 40 Hz": partial(filtered, low=0.5, high=40.0),
    "filtered 1 to 20 Hz": partial(filtered, low=1.0, high=20.0),
    "steps of 50 microvolts": partial(coarse, step=0.05),
    "mains of 50 Hz, 0.2 mV": partial(humming, hertz=50.0, amplitude=0.2),
    "baseline, 1 mV at 0.3 Hz": partial(swinging, hertz=0.3, amplitude=1.0),
    "baseline, 2 mV at 0.5 Hz": partial(swinging, hertz=0.5, amplitude=2.0),
    "a glitch of 2 mV every 50 s": partial(glitching, millivolts=2.0, every=50.0),
    "a glitch of 2 mV every 5 s": partial(glitching, millivolts=2.0, every=5.0),
    "spikes of 5 mV before each beat, 500 Hz": partial(paced, millivolts=5.0, fs=500.0),
    "spikes of 20 mV before each beat, 500 Hz": partial(paced, millivolts=20.0, fs=500.0),
    "spikes of 20 mV before each beat, 250 Hz": partial(paced, millivolts=20.0, fs=250.0),
    "cut off at 0.5 mV": partial(cut_off, millivolts=0.5),
    "twelve leads of both": partial(turned, leads=12),
    "first lead": partial(projected, weights=(1.0, 0.0)),
    "second lead": partial(projected, weights=(0.0, 1.0)),
    "first less second": partial(projected, weights=(1.0, -1.0)),
}


def judged(engine: Engine, name: str, record: Record) -> Confusion:
    """Counts of a whole record, by the primary mapping."""
    truth = truth_of(record, name)
    found = score(truth, said_by_events(annotate(engine, record), tuple(truth.labels), len(record)))
    return found.beats["dechazal", "whole record"]


def devices(
    preset: Annotated[str, typer.Argument(help="Folder of --work: small-1-five; or a bundle.")],
    data: Annotated[Path, typer.Option(help="Folder of the development recordings.")],
    work: Annotated[Path, typer.Option(help="Of tools/kept.py or tools/train_release.py.")] = Path(
        "runs/kept"
    ),
    only: Annotated[list[str] | None, typer.Option(metavar="DEVICE", help="Only this; may repeat.")] = None,
    packaged: Annotated[bool, typer.Option(help="Ask the bundle that ships; see above.")] = False,
    impulses: Annotated[bool, typer.Option(help="Without the stage against impulses.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the figures as JSON.")] = Path("runs/bench"),
) -> None:
    """Print F1 of each device, and what it loses."""
    if impulses:
        impulse.RATIO = sys.maxsize
    wanted = [name for name in DEVICES if name in (only or DEVICES) or name == "as recorded"]
    unknown = sorted(set(only or ()) - set(DEVICES))
    if unknown:
        raise typer.BadParameter(f"no device {unknown[0]!r}: choose {', '.join(DEVICES)}")
    counts = {(device, name): Confusion.empty() for device in wanted for name in SETS}
    jobs = [
        (path, name, Path(case.name).name)
        for path, unseen in ([(preset, None)] if packaged else folds(work / preset))
        for name, split in SETS.items()
        for case in labelled_records([split], data)
        if unseen is None or f"{name}/{case.name}" in unseen
    ]
    for path, name, number in track(jobs, f"{len(wanted)} devices"):
        record = load_record(data / name / number, name)
        with open_engine(path, backend="onnxruntime") as engine:
            for device in wanted:
                counts[device, name] += judged(engine, name, DEVICES[device](record))
    rows = {
        device: {f"{name} {kind}": 100 * (counts[device, name].score(kind).f1 or 0.0)
                 for name in SETS for kind in CLASSES}
        for device in wanted
    }  # fmt: skip
    base = next(iter(rows.values()))
    table = Table(f"{preset}{', on its own patients' if packaged else ''}: F1 % (loss)", *base)
    for device, row in rows.items():
        table.add_row(
            device, *(f"{value:.2f} ({base[column] - value:+.2f})" for column, value in row.items())
        )
    Console(width=150).print(table)
    out.mkdir(parents=True, exist_ok=True)
    (out / f"devices-{preset}{'-packaged' if packaged else ''}.json").write_text(
        json.dumps(rows, indent=1), encoding="utf-8"
    )


if __name__ == "__main__":
    typer.run(devices)
