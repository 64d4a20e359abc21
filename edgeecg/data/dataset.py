"""Windows of recordings, as training draws them.

A window is a pure function of (seed, step): a run that was killed goes on with the very batches that
it would have seen. Every window begins as a fresh stream, filters and all, as a patient's does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeecg.data.augment import (
    AugmentSettings,
    clipped,
    glitches,
    mix_leads,
    noise_piece,
    noisy_spans,
    tone,
    warp,
)
from edgeecg.data.insert import inserted
from edgeecg.data.recorder import elsewhere
from edgeecg.data.recording import UNKNOWN, TrainingRecord
from edgeecg.data.retime import retimed
from edgeecg.decode.rr import rr_of
from edgeecg.errors import ConfigError
from edgeecg.signal.filter import BandPass
from edgeecg.signal.normalise import GainControl
from edgeecg.specs import MODEL_FS, RR_FEATURES, ModelSpec, SignalSpec

__all__ = ["Windows"]

Batch = dict[str, NDArray[np.float32] | NDArray[np.int64]]


@dataclass(frozen=True)
class Windows:
    """Draws batches of windows.

    Parameters
    ----------
    records : sequence of TrainingRecord
    noise : sequence of float32 arrays
        Recorded noise at 128 Hz.
    share : mapping of source to weight
        How much of the draws each set has (a pair of leads is one draw); within a set every *patient* has
        the same chance.
    rare : float
        Probability that a window is laid around a beat that is not N.
    """

    records: Sequence[TrainingRecord]
    noise: Sequence[NDArray[np.float32]]
    spec: ModelSpec
    signal: SignalSpec
    augment: AugmentSettings
    share: Mapping[str, float]
    seconds: int = 60
    batch: int = 16
    rare: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        known = {record.source for record in self.records}
        if strange := sorted(known - set(self.share)):
            raise ConfigError(f"recordings of {', '.join(strange)} have no share: name it in data.sets")
        if not self.records or not any(self.share.get(source, 0) > 0 for source in known):
            raise ConfigError(
                f"no recordings to draw from: share names {sorted(self.share)}, data has {sorted(known)}"
            )

    @property
    def length(self) -> int:
        """Model samples per window."""
        return self.seconds * MODEL_FS

    @property
    def tokens(self) -> int:
        """Tokens per window."""
        return self.length // self.spec.patch

    @property
    def most_beats(self) -> int:
        """Beats that a window has room for: 240 a minute."""
        return 4 * self.seconds

    @cached_property
    def bandpass(self) -> BandPass:
        """The filter of the front end, designed once."""
        return BandPass(self.signal)

    @cached_property
    def by_patient(self) -> dict[str, list[list[int]]]:
        """Numbers of the records of each patient, by source."""
        tree: dict[str, dict[str, list[int]]] = {}
        for number, record in enumerate(self.records):
            tree.setdefault(record.source, {}).setdefault(record.patient, []).append(number)
        return {source: [people[name] for name in sorted(people)] for source, people in tree.items()}

    def __call__(self, step: int) -> Batch:
        """The batch of one step."""
        rng = np.random.default_rng([self.seed, step])
        windows: list[dict[str, NDArray[Any]]] = []
        while len(windows) < self.batch:
            number = self.draw(rng)
            record = self.records[number]
            pair = len(record.signal) > 1 and rng.random() < self.augment.pair
            made = self.window(record, rng, leads=2 if pair and len(windows) + 2 <= self.batch else 1)
            windows += [{**window, "record": np.array(number)} for window in made]
        batch: Batch = {key: np.stack([window[key] for window in windows]) for key in windows[0]}
        leads = np.stack([window["signal"] for window in windows])
        batch["signal"] = self.front_end(leads)
        if self.augment.recorder:
            batch["plain"] = batch["signal"]
            batch["signal"] = self.front_end(elsewhere(leads, self.augment.recorder, rng))
        return batch

    @cached_property
    def sources(self) -> tuple[list[str], NDArray[np.float64]]:
        """Sets that are drawn from, and the chance of each."""
        names = [source for source in sorted(self.by_patient) if self.share.get(source, 0) > 0]
        weights = np.array([self.share[source] for source in names], dtype=np.float64)
        return names, weights / weights.sum()

    def draw(self, rng: np.random.Generator) -> int:
        """Number of a record: a set by its share, one of its patients, one of the patient's records."""
        names, chances = self.sources
        patients = self.by_patient[names[int(rng.choice(len(names), p=chances))]]
        records = patients[int(rng.integers(len(patients)))]
        return records[int(rng.integers(len(records)))]

    def front_end(self, millivolts: NDArray[np.float64]) -> NDArray[np.float32]:
        """Filter and normalise ``(rows, n)`` as the stream does."""
        gain = GainControl(self.signal)
        y, _ = self.bandpass.step(millivolts, self.bandpass.initial(len(millivolts)))
        y, _ = gain.step(y, gain.initial(len(y)))
        return y.astype(np.float32)

    def start(self, record: TrainingRecord, span: int, rng: np.random.Generator) -> int:
        """Where in the record the window begins."""
        room = record.signal.shape[1] - span
        if room <= 0:
            return 0
        unusual = record.beats[record.labels > 0]
        if len(unusual) and rng.random() < self.rare:
            beat = unusual[int(rng.integers(len(unusual)))]
            return int(np.clip(beat - rng.uniform(0.1, 0.95) * span, 0, room))
        return int(rng.integers(room))

    def window(
        self, record: TrainingRecord, rng: np.random.Generator, leads: int = 1
    ) -> list[dict[str, NDArray[Any]]]:
        """One window of one lead, or of two: signal in millivolts, token targets, beats and their targets.

        Two leads share the time, its warp and the beats as found; each is disturbed for itself.
        """
        warping = self.augment.warp
        factor = float(np.exp(rng.uniform(-warping, warping))) if warping else 1.0
        span = int(np.ceil(self.length / factor)) + 1
        begin = self.start(record, span, rng)
        if self.augment.insert and rng.random() < self.augment.insert:
            record, begin = inserted(record, begin, span, rng), 0
        elif self.augment.retime and rng.random() < self.augment.retime:
            record, begin = retimed(record, begin, span, rng), 0
        piece = record.signal[:, begin : begin + span]
        used = min(self.length, int(piece.shape[1] * factor))
        shift = self.bandpass.latency

        def moved(places: NDArray[np.float64]) -> NDArray[np.float64]:
            return (places - begin) * factor + shift

        beats = self.beat_targets(record, moved, used, rng)
        chosen = rng.permutation(len(piece))[:2] if leads == 2 else [None]
        made = []
        for place, lead in enumerate(chosen):
            mixed = (
                mix_leads(piece, self.augment.mix, rng) if lead is None else piece[lead].astype(np.float64)
            )
            signal, clean = self.disturbed(warp(mixed, factor, used), max(record.power), rng)
            # 1: fused with the row after it, -1: with the row before, 0: alone
            fuse = (1 if place == 0 else -1) if leads == 2 else 0
            targets = {**self.token_targets(record, moved, used, clean), **beats, "fuse": np.array(fuse)}
            made.append({"signal": signal, **targets})
        return made

    def disturbed(
        self, lead: NDArray[np.float64], power: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """A lead with noise, gain and sign as they may come, filled up to a window; and how clean it is."""
        settings, used = self.augment, len(lead)
        signal, clean = np.zeros(self.length), np.ones(self.length)
        signal[:used] = tone(lead, settings.tone, rng) if settings.tone else lead
        if rng.random() < settings.noise:
            snr = rng.uniform(*settings.snr)
            spans = noisy_spans(self.length, rng)
            signal += spans * noise_piece(self.noise, self.length, rng) * np.sqrt(power / 10 ** (snr / 10))
            clean -= spans * np.clip((6 - snr) / 9, 0, 1)
        if settings.glitch and rng.random() < settings.glitch:
            signal += glitches(self.length, rng) * np.sqrt(8 * power)
        if settings.clip and rng.random() < settings.clip:
            signal = clipped(signal, np.sqrt(8 * power), rng)
        signal[used:] = signal[used - 1]
        gain = np.exp(rng.uniform(-1, 1) * np.log(settings.gain))
        return signal * gain * (-1 if rng.random() < settings.invert else 1), clean

    def token_targets(self, record, moved, used, clean) -> dict[str, NDArray]:  # type: ignore[type-arg,no-untyped-def]
        """Targets of the heads, ``(tokens,)`` each."""
        patch, tokens = self.spec.patch, self.tokens
        seen = np.arange(tokens) < used // patch
        middle = (np.arange(tokens) + 0.5) * patch
        for start, end in moved(record.masked):
            seen &= (middle < start) | (middle > end)
        beat = np.full(tokens, 0 if record.complete else UNKNOWN)
        offset, shape = np.zeros(tokens, np.float32), np.full(tokens, UNKNOWN)
        place = moved(record.beats) / patch
        inside = (place >= 0) & (place < tokens - 1)
        token = place[inside].astype(np.int64)
        part = place[inside] - token
        beat[token[(part < 0.15) & (token > 0)] - 1] = UNKNOWN  # a peak at the border belongs to both
        beat[token[part > 0.85] + 1] = UNKNOWN
        beat[token], offset[token], shape[token] = 1, part, record.labels[inside]
        beat[~seen] = shape[~seen] = UNKNOWN
        rhythm = np.full(tokens, UNKNOWN)
        if record.atrial_fibrillation is not None:
            rhythm[:] = 0
            for start, end in moved(record.atrial_fibrillation):
                rhythm[(middle >= start) & (middle <= end)] = 1
            rhythm[~seen] = UNKNOWN
        wave = self.wave_targets(record, moved)
        wave[~seen] = UNKNOWN
        quality = np.where(seen, clean.reshape(tokens, patch).mean(axis=1), UNKNOWN)
        if record.weak_label == "~":
            quality[seen] = 0
        return {
            "beat": beat,
            "offset": offset,
            "shape": shape,
            "rhythm": rhythm,
            "p_wave": wave,
            "quality": quality.astype(np.float32),
            "seen": seen.astype(np.int64),
            "weak_rhythm": np.array(record.weak_rhythm),
        }

    def wave_targets(self, record, moved) -> NDArray[np.int64]:  # type: ignore[no-untyped-def]
        """Whether a P wave peaks in each token, ``(tokens,)``; unknown where nobody looked for one."""
        patch, wave = self.spec.patch, np.full(self.tokens, UNKNOWN)
        if record.p_waves is None:
            return wave
        middle = (np.arange(self.tokens) + 0.5) * patch
        everywhere = np.array([[-np.inf, np.inf]])
        for start, end in everywhere if record.waves_known is None else moved(record.waves_known):
            wave[(middle >= start) & (middle <= end)] = 0
        peaks = moved(record.p_waves) / patch
        wave[peaks[(peaks >= 0) & (peaks < self.tokens)].astype(np.int64)] = 1
        return wave

    def beat_targets(self, record, moved, used, rng) -> dict[str, NDArray]:  # type: ignore[type-arg,no-untyped-def]
        """Beats as the beat encoder gets them: some missing, some false, all a little displaced."""
        patch, delay, room = self.spec.patch, self.spec.delay, self.most_beats
        place, labels = moved(record.beats), record.labels
        keep = (place >= 0) & (place < used - patch * (delay + self.spec.token.lag))
        keep &= rng.random(len(place)) >= self.augment.drop
        place = place[keep] + rng.normal(0, 0.5, int(keep.sum()))
        labels = labels[keep].copy()
        for start, end in moved(record.masked):
            labels[(place >= start) & (place <= end)] = UNKNOWN
        false = rng.uniform(0, max(used - patch * 16, 1), rng.poisson(self.augment.extra * len(place)))
        place, labels = np.r_[place, false], np.r_[labels, np.full(len(false), UNKNOWN)]
        order = np.argsort(place)[:room]
        place, labels = np.maximum(place[order], 0), labels[order]
        token = (place // patch).astype(np.int64)
        count = len(place)
        features = np.zeros((room, len(RR_FEATURES)), np.float32)
        features[:count] = rr_of(place, patch, delay)
        tokens = np.zeros(room, np.int64)
        tokens[:count] = token
        classes, weak = np.full(room, UNKNOWN), np.full(room, UNKNOWN)
        classes[:count] = labels
        if record.weak_label in ("N", "A"):  # 0: neither S nor V; 1: in AF, so not S
            weak[:count] = np.where(labels == UNKNOWN, record.weak_label == "A", UNKNOWN)
        rhythm = np.full(room, UNKNOWN)
        if record.atrial_fibrillation is not None:
            rhythm[:count] = 0
            for start, end in moved(record.atrial_fibrillation):
                rhythm[:count][(place >= start) & (place <= end)] = 1
        present = np.zeros(room, np.int64)
        present[:count] = 1
        return {
            "beat_token": tokens,
            "beat_rr": features,
            "beat_class": classes,
            "beat_weak": weak,
            "beat_rhythm": rhythm,
            "beat_present": present,
            "beat_retained": present * (not record.remade),
        }
