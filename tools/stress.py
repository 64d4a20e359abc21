"""What no recording of the development data holds, made: rhythms that last, and a heart that stops.

    python tools/stress.py small micro nano base     # no data needed; a minute a model
    python tools/stress.py small --without-rule      # lasting V as the network alone tells it

Synthetic patients (`edgeecg.data.synthetic`), through the deployed path of the packaged models, which were
trained on other patients of the same generator. Printed are

* *fast sinus*: how many of the N beats of a steady sinus rhythm are told as S;
* *lasting V*: a patient's own V again and again for a minute: how many of them are told as V, of those that
  come after twenty seconds, when the network has seen nothing else for as long as it looks back;
* *sick sinus*, *bigeminy to quadrigeminy*: a sinus rhythm laid into such a one (`edgeecg.data.replan`), in
  which most beats or every second to fourth are S: how many of them are told as S;
* *sinus arrhythmia*, *exercise*: how many N are told as S where the sinus is not steady;
* *pause*: nothing comes for so long, every twenty seconds: whether the beat behind it is told;
* *standstill*: P waves go on and no QRS comes, for a minute: for how much of it an alarm of silence is open;
  *in hum*: nothing goes on but mains hum, which was there before;
* *fibrillation*: noise between 3.5 and 7 Hz, as ventricular fibrillation looks, for a minute: for how much of
  it, past its first four seconds, silence, a run of V or a tachycardia is told;
* *slow heart that moves*: muscle noise over a heart of 45 a minute: in how many an alarm of asystole or
  no-beat is told, which is false;
* *shaking*: a wave of so many hertz and a millivolt over a sinus rhythm, for half a minute: how many hearts
  have a run of V told.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.signal import butter, sosfiltfilt

from edgeecg import open_engine
from edgeecg.data.prepare import prepare_record
from edgeecg.data.retime import retimed
from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize
from edgeecg.decode import ventricular
from edgeecg.io.record import Record
from edgeecg.metrics.match import match
from edgeecg.pipeline.annotate import annotate
from edgeecg.runtime.engine import Engine
from edgeecg.specs import BEAT_LABELS, MODEL_FS, Alarm, Beat, Event

FS, BEFORE, MINUTE = 360, 40, 60  # hertz, seconds
SILENT = ("pause", "asystole", "no-beat")
LETHAL = ("asystole", "no-beat", "v-run", "tachycardia")
Signal = NDArray[np.float64]


def settings(kind: str, seed: int, seconds: float, **about: float) -> SyntheticSettings:
    """A patient of the generator, with some of its numbers changed."""
    patient = replace(draw_patient(kind, seed), **about)  # type: ignore[arg-type]
    return SyntheticSettings(patient, seconds=seconds, fs=float(FS), snr_db=24.0)


def told(engine: Engine, signal: Signal) -> list[Event]:
    """What is told of two leads."""
    return annotate(engine, Record("made", signal, float(FS), ("MLII", "V1")))


def fast_sinus(engine: Engine, seed: int, rate: int) -> float | None:
    """Share of S among the beats of a steady sinus rhythm."""
    made = synthesize(settings("normal", seed, 2 * MINUTE, rate=float(rate), atrial=0.0), seed)
    labels = [event.label for event in told(engine, made.record.signal) if isinstance(event, Beat)]
    return labels.count("S") / len(labels)


def laid(engine: Engine, seed: int, rhythm: str, asked: str) -> float | None:
    """Share of S among the beats of this label, in a sinus rhythm that was laid into another one."""
    made = synthesize(settings("normal", seed, 5 * MINUTE, atrial=0.0), seed)
    whole = prepare_record(made.record, "synthetic")
    piece = retimed(whole, 0, 4 * MINUTE * MODEL_FS, np.random.default_rng(seed), only=rhythm)
    record = Record("made", piece.signal.T.astype(np.float64), float(MODEL_FS), ("MLII", "V1"))
    beats = [event for event in annotate(engine, record) if isinstance(event, Beat)]
    pairs = match(
        np.rint(piece.beats).astype(np.int64),
        np.array([beat.sample for beat in beats]),
        MODEL_FS,
        start=20 * MODEL_FS,
    ).pairs
    of = pairs[piece.labels[pairs[:, 0]] == BEAT_LABELS.index(asked), 1]
    return float(np.mean([beats[n].label == "S" for n in of])) if len(of) else None


def lasting(engine: Engine, seed: int, rate: int) -> float | None:
    """Share of V among the beats of a tachycardia, past its first twenty seconds."""
    made = synthesize(settings("ventricular", seed, 90.0), seed)
    signal, truth = made.record.signal, made.record.annotations
    assert truth is not None
    peaks = truth.sample[(truth.symbol == "V") & (truth.sample > FS) & (truth.sample < len(signal) - FS)]
    if not len(peaks):
        return None
    size = round(60 / rate * FS)
    ramp = np.linspace(0, 1, size)[:, None]
    pieces = []
    for n in range(MINUTE * FS // size):
        start = peaks[n % len(peaks)] - round(0.13 * FS)
        piece = signal[start : start + size]
        pieces.append(piece - piece[:1] * (1 - ramp) - piece[-1:] * ramp)  # so that the ends meet
    events = told(engine, np.concatenate([signal[: BEFORE * FS], *pieces, signal[: BEFORE * FS]]))
    begin, end = (BEFORE + 20) * FS, (BEFORE + MINUTE - 1) * FS
    labels = [event.label for event in events if isinstance(event, Beat) and begin < event.sample < end]
    return labels.count("V") / len(labels) if labels else 0.0


def standstill(
    engine: Engine, seed: int, microvolts: int, hum: float = 0.0, rate: float | None = None
) -> float | None:
    """Share of a standstill with P waves of this size, all in mains hum of so many millivolts, during which
    an alarm of silence is open; behind a heart of so many beats a minute.
    """
    time, rng = np.arange(MINUTE * FS) / FS, np.random.default_rng(seed)
    waves = sum(np.exp(-0.5 * ((time - peak) / 0.025) ** 2) for peak in np.arange(0.9, MINUTE, 0.75))
    lead = microvolts / 1000 * waves + 0.005 * rng.standard_normal(len(time))
    signal = followed_by(seed, lead, rate)
    signal = signal + hum * np.sin(2 * np.pi * 50 / FS * np.arange(len(signal)))[:, None]
    return float(during(told(engine, signal), SILENT).mean())


def followed_by(seed: int, lead: Signal, rate: float | None = None) -> Signal:
    """A normal heart, and then this, in the second lead a little smaller."""
    about = {} if rate is None else {"rate": rate}
    signal = synthesize(settings("normal", seed, float(BEFORE), atrial=0.0, **about), seed).record.signal
    return np.concatenate([signal, signal[-1:] + lead[:, None] * np.array([1.0, 0.6])])


def during(events: list[Event], labels: Sequence[str]) -> NDArray[np.bool_]:
    """In which samples of what follows the heart one of these alarms is open."""
    found = np.zeros(MINUTE * FS, bool)
    for event in events:
        if isinstance(event, Alarm) and event.label in labels and event.end is not None:
            found[max(0, event.start - BEFORE * FS) : max(0, event.end - BEFORE * FS)] = True
    return found


def fibrillation(engine: Engine, seed: int, millivolts: float) -> float | None:
    """Share of noise that looks like ventricular fibrillation, of this size, with one of `LETHAL` open."""
    rng = np.random.default_rng(seed)
    band = butter(2, [3.5, 7], "bandpass", fs=FS, output="sos")
    wave = sosfiltfilt(band, rng.standard_normal(MINUTE * FS))
    lead = millivolts / 2 / wave.std() * wave + 0.005 * rng.standard_normal(len(wave))
    return float(during(told(engine, followed_by(seed, lead)), LETHAL)[4 * FS :].mean())


def moved(engine: Engine, seed: int) -> float:
    """1 where asystole or no-beat is told of a heart of 45 a minute in muscle noise of 80 uV, else 0."""
    made = synthesize(settings("normal", seed, BEFORE + 60.0, rate=45.0, atrial=0.0), seed)
    band = butter(2, [8, 60], "bandpass", fs=FS, output="sos")
    noise = sosfiltfilt(band, np.random.default_rng(seed).standard_normal(made.record.signal.shape), axis=0)
    noise[: BEFORE * FS] = 0
    events = told(engine, made.record.signal + 0.08 / noise[BEFORE * FS :].std() * noise)
    return float(during(events, ("asystole", "no-beat")).any())


def shaken(engine: Engine, seed: int, hertz: float) -> float | None:
    """1 where a run of V is told while a sinus rhythm is shaken, else 0."""
    made = synthesize(settings("normal", seed, BEFORE + 30.0, rate=70.0, atrial=0.0), seed)
    time, rng = np.arange(30 * FS) / FS, np.random.default_rng(seed)
    turn = 2 * np.pi * hertz * time + np.cumsum(0.015 * rng.standard_normal(len(time)))
    wave = np.sin(turn) * (1 + 0.3 * np.sin(2 * np.pi * 0.7 * time))
    signal = made.record.signal.astype(np.float64)
    signal[BEFORE * FS :] += wave[:, None] * np.array([1.0, 0.6])
    return float(during(told(engine, signal), ("v-run",)).any())


def paused(engine: Engine, seed: int, seconds: float) -> float | None:
    """Share of pauses of the heart, so much longer than an interval, behind which its beat is told."""
    made = synthesize(settings("normal", seed, 2 * MINUTE, atrial=0.0), seed)
    signal, truth = made.record.signal, made.record.annotations
    assert truth is not None
    rng, size = np.random.default_rng(seed), round(seconds * FS)
    pieces, wanted, done = [], [], 0
    for beat in truth.sample[np.searchsorted(truth.sample, np.arange(20, 110, 20) * FS)].tolist():
        cut = beat - round(0.3 * FS)  # before its P wave
        pieces += [signal[done:cut], signal[cut] + 0.005 * rng.standard_normal((size, 2))]
        done = cut
        wanted.append(beat + len(pieces) // 2 * size)
    events = told(engine, np.concatenate([*pieces, signal[done:]]))
    found = np.array([event.sample for event in events if isinstance(event, Beat)])
    return float(np.mean([np.abs(found - beat).min() <= 0.15 * FS for beat in wanted]))


ROWS: dict[str, Callable[[Engine, int], float | None]] = {
    **{f"fast sinus, {n} a minute: N told as S": partial(fast_sinus, rate=n) for n in (75, 100, 125, 140)},
    "exercise: N told as S": partial(laid, rhythm="exercise", asked="N"),
    "sinus arrhythmia: N told as S": partial(laid, rhythm="breath", asked="N"),
    "bigeminy to quadrigeminy: S told as S": partial(laid, rhythm="often", asked="S"),
    "sick sinus: S told as S": partial(laid, rhythm="sick sinus", asked="S"),
    **{f"lasting V, {n} a minute: told as V": partial(lasting, rate=n) for n in (90, 120, 140, 180)},
    **{f"pause, {n} s more: its beat is told": partial(paused, seconds=n) for n in (1.5, 2.5, 3.5)},
    **{
        f"standstill, P of {n} uV: alarm is open": partial(standstill, microvolts=n)
        for n in (0, 50, 100, 150)
    },
    "standstill, P of 100 uV, of a heart of 45 a minute: alarm is open": partial(
        standstill, microvolts=100, rate=45
    ),
    "standstill without P in hum of 0.5 mV: alarm is open": partial(standstill, microvolts=0, hum=0.5),
    **{
        f"fibrillation of {n} mV: alarm is open": partial(fibrillation, millivolts=n)
        for n in (0.15, 0.4, 1.0)
    },
    "slow heart that moves: asystole or no-beat is told": moved,
    **{f"shaking, {n} Hz: v-run is told": partial(shaken, hertz=n) for n in (3, 5, 8)},
}


def shares(engine: Engine, hearts: int) -> Iterator[tuple[str, list[float]]]:
    """Of each row the share of every heart that can be asked."""
    for row, ask in track(ROWS.items(), engine.bundle.name):
        found = (ask(engine, seed) for seed in range(hearts))
        yield row, [share for share in found if share is not None]


def stress(
    models: Annotated[list[str], typer.Argument(help="Packaged models, or bundles.")],
    hearts: Annotated[int, typer.Option(help="Patients of each row.")] = 12,
    without_rule: Annotated[bool, typer.Option(help="Let no run of V go on by rule.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the figures as JSON.")] = Path("runs/bench"),
) -> None:
    """Print the mean over patients of each row, per cent, with the least and the most of one."""
    if without_rule:
        ventricular.LEAST = sys.maxsize
    figures: dict[str, dict[str, list[float]]] = {}
    for model in models:
        with open_engine(model, backend="onnxruntime") as engine:
            figures[model] = dict(shares(engine, hearts))
    table = Table("per cent, mean over patients (least to most)", *models)
    for row in ROWS:
        cells = (np.array(figures[model][row]) * 100 for model in models)
        table.add_row(row, *(f"{cell.mean():.0f} ({cell.min():.0f} to {cell.max():.0f})" for cell in cells))
    Console(width=150).print(table)
    out.mkdir(parents=True, exist_ok=True)
    (out / "stress.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    typer.run(stress)
