"""Fit the noise estimate of ``edgeecg.signal.noise`` and print the figures of ``docs/signal.md``.

    python tools/tune_quality.py --data FOLDER

FOLDER holds mitdb, nstdb and cinc2017; what is kept for judging is not read. Recorded noise is added to
stretches of mitdb (DS1) at known ratios; the in-band ratio of every two seconds is then known exactly,
because the front end before the gain is linear. The fit sees half of the DS1 patients; every other figure is
of the other half, and of cinc2017, which the fit never sees. One to three minutes on one core.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from wfdb import processing

from edgeecg.data.catalog import find_records, load_record, record_labels
from edgeecg.data.noise import noise_rms, qrs_amplitude, snr_gain
from edgeecg.io.record import Record
from edgeecg.signal.frontend import FrontEnd
from edgeecg.signal.noise import COLUMNS, TICK, ratios, tick_features
from edgeecg.signal.quality import QUALITY_LABELS, UNREADABLE, WINDOW, Quality, QualityInput
from edgeecg.specs import SignalSpec

SPEC = SignalSpec()
LEVELS = (24, 18, 12, 6, 0, -6)  # decibels, as nst counts them
PIECES = (5, 15, 25)  # minutes at which a stretch begins
SECONDS = 90
SETTLED = 10  # ticks left out at the start of a stretch
SPAN = 4  # ticks over which the true ratio is taken
BINS = (-9, -3, 0, 3, 6, 9, 12, 18)
MATCH_SECONDS = 0.15

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Stretch:
    """One stretch of a record with noise: its source signal, its beats, and the true ratio per tick."""

    name: str
    kind: str
    source: Floats
    fs: float
    beats: NDArray[np.int64]
    truth: Floats

    def tick(self, sample: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tick of a source sample in the front end's output."""
        front = FrontEnd(SPEC, self.fs)
        return ((sample * float(front.resampler.ratio) + front.latency) // TICK).astype(np.int64)


def filtered(x: Floats, fs: float) -> Floats:
    front = FrontEnd(SPEC, fs)
    return front.process(x[None], front.initial(1))[0].filtered[0]


def power(x: Floats) -> Floats:
    """Energy over the last ``SPAN`` ticks, NaN before."""
    ticks = (x[: len(x) // TICK * TICK].reshape(-1, TICK) ** 2).sum(axis=1)
    return np.concatenate([np.full(SPAN - 1, np.nan), sliding_window_view(ticks, SPAN).sum(axis=1)])


def lead_ii(stem: Path) -> Record:
    record = load_record(stem, "mitdb")
    return record.pick("MLII" if "MLII" in record.leads else record.leads[0])


def beats_of(record: Record) -> NDArray[np.int64]:
    assert record.annotations is not None
    return record.annotations.sample[record.annotations.is_beat]


def stretches(root: Path, records: list[Path]) -> Iterator[Stretch]:
    rng = np.random.default_rng(0)
    tapes = {name: load_record(root / "nstdb" / name, "nstdb").signal for name in ("em118", "ma", "bw")}
    for stem in records:
        record = lead_ii(stem)
        lead, fs, marks = record.signal[:, 0], record.fs, beats_of(record)
        length = int(SECONDS * fs)
        amplitude = qrs_amplitude(lead, fs, marks)
        for minute in PIECES:
            begin = int(minute * 60 * fs)
            clean = np.nan_to_num(lead[begin : begin + length])
            beats = marks[(marks >= begin) & (marks < begin + length)] - begin
            nothing = np.full(len(power(filtered(clean, fs))), np.inf)
            yield Stretch(record.name, "clean", clean, fs, beats, nothing)
            for kind, tape in tapes.items():
                channel = tape[:, rng.integers(tape.shape[1])]
                for level in LEVELS:
                    start = rng.integers(len(channel) - length)
                    noise = channel[start : start + length] - channel[start : start + length].mean()
                    noise = noise * snr_gain(amplitude, noise_rms(noise, fs), level)
                    signal, heard = filtered(clean, fs), filtered(noise, fs)
                    truth = 10 * np.log10(power(signal) / np.maximum(power(heard), 1e-9))
                    yield Stretch(record.name, kind, clean + noise, fs, beats, truth)


def judged(source: Floats, fs: float) -> tuple[Floats, Floats, NDArray[np.int8]]:
    """Ratios ``(ticks, 3)``, estimate and label of every tick, as the stage itself works them out."""
    front, stage = FrontEnd(SPEC, fs), Quality(fs)
    signal, _ = front.process(source[None], front.initial(1))
    verdicts, _ = stage.step(QualityInput(source[None], signal.resampled, signal.filtered), stage.initial(1))
    whole = verdicts.label.shape[1] * TICK
    features = tick_features(signal.resampled[:, :whole], signal.filtered[:, :whole])
    seen = np.concatenate([np.full((1, len(COLUMNS), WINDOW - 1), np.nan), features], axis=2)
    return ratios(sliding_window_view(seen, WINDOW, axis=2))[:3, 0].T, verdicts.snr[0], verdicts.label[0]


def fit(pieces: list[Stretch]) -> None:
    """Least squares of the true ratio, held to -9 to 18 dB (24 for clean), on the three ratios."""
    rows, truths = [], []
    for piece in pieces:
        known = np.where(np.isinf(piece.truth), 24.0, piece.truth)
        truths.append(np.clip(known, -9.0, 18.0)[SETTLED:])
        rows.append(judged(piece.source, piece.fs)[0][SETTLED:])
    table = np.concatenate(rows)
    weights, *_ = np.linalg.lstsq(
        np.column_stack([table, np.ones(len(table))]), np.concatenate(truths), rcond=None
    )
    print(
        "\nfit: WEIGHTS =", tuple(round(float(w), 1) for w in weights[:3]), "OFFSET =", round(weights[3], 1)
    )


def by_truth(pieces: list[Stretch]) -> None:
    print("\n| true ratio in band | ticks | good | noisy | unreadable | xqrs: missed | xqrs: extra |")
    print("|---|---|---|---|---|---|---|")
    truth = np.concatenate([piece.truth[SETTLED:] for piece in pieces])
    label = np.concatenate([judged(piece.source, piece.fs)[2][SETTLED:] for piece in pieces])
    beats, missed, extra = xqrs_errors(pieces)
    where = np.digitize(truth, BINS)
    for index in range(len(BINS) + 1):
        here = label[where == index]
        low = f"{BINS[index - 1]}" if index else ""
        high = f"{BINS[index]}" if index < len(BINS) else ""
        share = [np.mean(np.isin(here, codes)) for codes in ([0], [1, 2], [3, 4, 5])]
        per_beat = max(beats[index], 1)
        print(
            f"| {low or 'below'} to {high or 'none added'} dB | {len(here)} | "
            + " | ".join(f"{value:.1%}" for value in share)
            + f" | {missed[index] / per_beat:.1%} | {extra[index] / per_beat:.1%} |"
        )


def xqrs_errors(pieces: list[Stretch]) -> tuple[Floats, Floats, Floats]:
    """Beats, misses and extras of WFDB's xqrs by the true ratio at the tick; every third stretch."""
    beats, missed, extra = (np.zeros(len(BINS) + 1) for _ in range(3))
    for piece in pieces[:: len(PIECES)]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = np.asarray(processing.xqrs_detect(piece.source, fs=piece.fs, verbose=False), np.int64)
        where = np.digitize(piece.truth, BINS)
        for marks, others, count in ((piece.beats, found, missed), (found, piece.beats, extra)):
            ticks = piece.tick(marks)
            kept = (ticks >= SETTLED) & (ticks < len(where))
            alone = ~matched(marks[kept], others, MATCH_SECONDS * piece.fs)
            np.add.at(count, where[ticks[kept]], alone)
            if count is missed:
                np.add.at(beats, where[ticks[kept]], 1)
    return beats, missed, extra


def matched(marks: NDArray[np.int64], others: NDArray[np.int64], within: float) -> NDArray[np.bool_]:
    if not len(others):
        return np.zeros(len(marks), dtype=bool)
    after = np.clip(np.searchsorted(others, marks), 1, max(len(others) - 1, 1))
    nearest = np.minimum(
        np.abs(others[after - 1] - marks), np.abs(others[min(len(others) - 1, 1) * after] - marks)
    )
    return np.asarray(nearest <= within)


def whole_records(records: list[Path]) -> None:
    """Whole clean records: beats that would be withheld, and what becomes of ventricular flutter."""
    print("\n| record | good | beats on unreadable | changes a minute | flutter or VT: ticks | unreadable |")
    print("|---|---|---|---|---|---|")
    totals = np.zeros(2)
    for stem in records:
        record = lead_ii(stem)
        label = judged(np.nan_to_num(record.signal[:, 0]), record.fs)[2]
        piece = Stretch(record.name, "clean", record.signal[:, 0], record.fs, beats_of(record), np.empty(0))
        ticks = piece.tick(piece.beats)
        lost = label[ticks[ticks < len(label)]] >= UNREADABLE
        totals += [len(lost), lost.sum()]
        fast = fast_ticks(record, piece, len(label))
        print(
            f"| {record.name} | {np.mean(label == 0):.1%} | {lost.mean():.2%} | "
            f"{np.mean(np.diff(label) != 0) * 120:.1f} | {fast.sum()} | "
            + (f"{np.mean(label[fast] >= UNREADABLE):.0%} |" if fast.any() else " |")
        )
    print(f"| all | | {totals[1] / totals[0]:.2%} | | | |")


def fast_ticks(record: Record, piece: Stretch, ticks: int) -> NDArray[np.bool_]:
    assert record.annotations is not None
    fast, since = np.zeros(ticks, dtype=bool), None
    for sample, note in zip(record.annotations.sample, record.annotations.aux, strict=True):
        if note.startswith(("(VFL", "(VT")):
            since = int(piece.tick(np.array([sample]))[0])
        elif note.startswith("(") and since is not None:
            fast[since : int(piece.tick(np.array([sample]))[0])] = True
            since = None
    return fast


def hand_held(root: Path, count: int) -> None:
    """cinc2017: records that people called too noisy to read, against the others."""
    by_label: dict[str, list[Path]] = {}
    labelled = record_labels(root)
    for stem in find_records(root, "cinc2017", "development"):
        if stem.name in labelled:
            by_label.setdefault(labelled[stem.name], []).append(stem)
    print("\n| cinc2017 label | records | " + " | ".join(QUALITY_LABELS) + " | median of the estimate, dB |")
    print("|---|---|" + "---|" * (len(QUALITY_LABELS) + 1))
    medians: dict[str, list[float]] = {}
    for label, stems in by_label.items():
        chosen = np.random.default_rng(0).permutation(len(stems))[:count]
        labels = []
        for number in chosen:
            record = load_record(stems[number], "cinc2017")
            _, snr, found = judged(np.nan_to_num(record.signal[:, 0]), record.fs)
            labels.append(found)
            medians.setdefault(label, []).append(float(np.median(snr)))
        shares = np.bincount(np.concatenate(labels), minlength=len(QUALITY_LABELS)) / sum(map(len, labels))
        middle = float(np.median(medians[label]))
        print(f"| {label} | {len(chosen)} | " + " | ".join(f"{s:.1%}" for s in shares) + f" | {middle:.1f} |")
    worse = np.array(medians["~"])[:, None] < np.array(medians["N"])[None]
    print(f"\na noisy (~) record has a lower median than an N record in {worse.mean():.1%} of pairs")


def clipping(records: list[Path]) -> None:
    """Ticks called clipped as recorded, and when the largest waves are cut off."""
    print("\n| signal | ticks | called clipped |\n|---|---|---|")
    for cut in (None, 0.9, 0.7):
        told = hit = 0
        for stem in records:
            record = lead_ii(stem)
            x = np.nan_to_num(record.signal[: int(300 * record.fs), 0])
            high, low = np.quantile(x, [0.9995, 0.0005])
            stage, ends = Quality(record.fs), None
            if cut is not None:
                middle = x.mean()
                x = np.clip(x, middle + cut * (low - middle), middle + cut * (high - middle))
            label = judged(x, record.fs)[2]
            ends = np.array([stage.resampler.needed(TICK * (k + 1)) for k in range(len(label))])
            at = np.array([np.sum((p == x.max()) | (p == x.min())) for p in np.split(x, ends[:-1])])
            truly = at[: len(label)] >= stage.clip_samples if cut is not None else np.ones(len(label), bool)
            told, hit = told + int(truly.sum()), hit + int((label[truly] == 2).sum())
        said = (
            "as recorded" if cut is None else f"cut off at {cut:.0%} of its extremes, ticks that touch them"
        )
        print(f"| {said} | {told} | {hit / max(told, 1):.1%} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with mitdb, nstdb and cinc2017")
    parser.add_argument("--hand-held", type=int, default=200, help="cinc2017 records per label")
    given = parser.parse_args()
    records = list(find_records(given.data, "mitdb", "DS1"))
    seen, unseen = records[: len(records) // 2], records[len(records) // 2 :]
    print("fitted on", ", ".join(p.name for p in seen), "\nfigures of", ", ".join(p.name for p in unseen))
    fit(list(stretches(given.data, seen)))
    by_truth(list(stretches(given.data, unseen)))
    whole_records(records)
    clipping(records)
    hand_held(given.data, given.hand_held)


if __name__ == "__main__":
    main()
