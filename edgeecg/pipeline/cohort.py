"""Front end -> tokens -> peaks -> beats -> events, for a cohort of patients: the one path of EdgeECG.

A patient holds a *slot*. Blocks of any slots go through every stage together, in batches; the slots that
have none are left as they are. A single stream is a cohort of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeecg.bundle import LeadPolicy
from edgeecg.errors import DeviceError, StateError
from edgeecg.pipeline.beats import BeatRows
from edgeecg.pipeline.decoder import Decoder
from edgeecg.pipeline.decoder_state import DecoderSettings, FoundBeat
from edgeecg.pipeline.intake import policy_of
from edgeecg.pipeline.latency import Latency
from edgeecg.pipeline.leads import LeadRows, Tick, best_ticks
from edgeecg.pipeline.pending import Decided
from edgeecg.pipeline.rows import compact
from edgeecg.pipeline.signal import SignalRows
from edgeecg.pipeline.token_rows import TokenRows
from edgeecg.pipeline.tokens import Mode, open_tokens
from edgeecg.runtime.engine import Engine
from edgeecg.signal.block import HOP, Block, Piece, SegmentEnd
from edgeecg.specs import REACH, Event

__all__ = ["Cohort"]

TOGETHER = 512
"""Patients that go through the other stages together, at most."""


class Cohort:
    """All stages and the state of ``slots`` patients.

    Parameters
    ----------
    engine : Engine
        Shared by any number of cohorts; it must stay open.
    slots : int
        Patients that there is room for; :meth:`grow` makes more.
    leads : int
        Leads of each patient that go through the network; see :func:`edgeecg.pipeline.intake.rows_of`.
    hop : int
        Model samples per block.
    mode : str
        ``incremental`` or ``window``.
    policy : str, optional
        What is done with several leads; the bundle's policy where left out.
    settings : DecoderSettings, optional
        The bundle's where left out.
    """

    def __init__(
        self,
        engine: Engine,
        slots: int = 1,
        leads: int = 1,
        *,
        hop: int = HOP,
        mode: Mode = "incremental",
        policy: LeadPolicy | None = None,
        settings: DecoderSettings | None = None,
    ) -> None:
        bundle = engine.bundle
        self.engine, self.leads, self.hop, self.mode = engine, leads, hop, mode
        self.spec, self.signal = bundle.spec, bundle.signal
        self.settings = settings or DecoderSettings.of(bundle)
        self._signal = SignalRows(bundle.signal, slots, leads)
        self._leads = LeadRows(policy_of(bundle, policy), self.spec, slots, leads)
        self._tokens = TokenRows(
            open_tokens(mode, engine.token, self.spec, slots * leads, hop), self.spec, leads
        )
        self._beats = BeatRows(engine.beat, self.spec, bundle.thresholds, slots)
        self._decoders: list[Decoder | None] = [None] * slots
        self._made = [0] * slots  # model samples of a slot's segment up to its last step that went well

    def tail(self, fs: float) -> int:
        """Model samples that must follow a segment's last one for all its beats to come out."""
        return self._signal.chain_at(fs).latency + self.spec.tail

    def latency(self, fs: float) -> Latency:
        """Declared latency of a patient with this rate."""
        return Latency.of(self.signal, fs, self.spec, self.hop)

    @property
    def slots(self) -> int:
        """Patients that there is room for."""
        return len(self._decoders)

    def grow(self, slots: int) -> None:
        """Make room for ``slots`` patients in all; those that are there keep their state."""
        self._signal.grow(slots)
        self._leads.grow(slots)
        self._tokens.grow(slots)
        self._beats.grow(slots)
        self._made += [0] * (slots - self.slots)
        self._decoders += [None] * (slots - self.slots)

    def open(self, slot: int, fs: float) -> None:
        """Give a slot to a patient who begins; raises ``SignalError`` where the rate is out of range."""
        self._signal.open(slot, fs)
        self._decoders[slot] = self._decoder(slot)
        self._begin(slot)

    def close(self, slot: int) -> None:
        """Give a slot back."""
        self._decoders[slot] = None

    def advance(self, pieces: Iterable[tuple[int, Piece]]) -> Iterator[tuple[int, Event]]:
        """Take one piece of each of some slots.

        Parameters
        ----------
        pieces : (slot, piece) pairs
            No slot twice.

        Returns
        -------
        (slot, event) pairs, computed as they are asked for; those of a slot in the order in which they became
        known.

        Raises
        ------
        DeviceError
            A step failed: at the end, when all other pieces have been taken and told.
        """
        by_hop: dict[int, list[tuple[int, Block]]] = {}
        for slot, piece in pieces:
            if isinstance(piece, Block):
                by_hop.setdefault(piece.hop, []).append((slot, piece))
                continue
            decoder = self._at(slot)
            told = decoder.end(piece.end) if isinstance(piece, SegmentEnd) else decoder.gap(piece)
            yield from [(slot, event) for event in told]
        failed: list[DeviceError] = []
        for blocks in by_hop.values():
            blocks.sort(key=lambda pair: pair[0])
            for start in range(0, len(blocks), TOGETHER):
                try:
                    yield from self._step(blocks[start : start + TOGETHER])
                except DeviceError as error:  # noqa: PERF203 - the others' blocks are taken too
                    failed.append(error)
        if failed:
            raise failed[0]

    def run(self, slot: int, pieces: Iterable[Piece]) -> Iterator[Event]:
        """Take pieces of one slot, in order, as their events are asked for; a step that fails as above."""
        failed: list[DeviceError] = []
        for piece in pieces:
            try:
                yield from (event for _, event in self.advance([(slot, piece)]))
            except DeviceError as error:  # noqa: PERF203 - what follows is taken too
                failed.append(error)
        if failed:
            raise failed[0]

    def flush(self, slot: int) -> list[Event]:
        """The patient's stream ends, after its last piece: so do open rhythms and alarms."""
        return self._at(slot).flush()

    def _step(self, pairs: Sequence[tuple[int, Block]]) -> list[tuple[int, Event]]:
        """One block of each of at most ``TOGETHER`` slots, all of one hop, slots ascending."""
        begin = [0 if block.first == block.anchor else self._held(slot, block) for slot, block in pairs]
        for (slot, block), held in zip(pairs, begin, strict=True):
            if block.made == 0:
                self._begin(slot, block.anchor, block.first, held)
            elif block.made != self._made[slot]:  # a step has failed, or never was: somebody interrupted it
                token = max(held, block.made // self.spec.patch + REACH)
                self._resume(slot, token)
                self._at(slot).missed(block.made, token * self.spec.patch)
        slots = np.array([slot for slot, _ in pairs])
        blocks = [block for _, block in pairs]
        before = np.array([block.made for block in blocks]) // self.spec.patch  # tokens of the segment so far
        network, verdicts = self._signal.step(slots, blocks)
        skip = np.clip(np.array(begin) - before, 0, network.shape[1] // self.spec.patch)
        tokens = self._leads.join(self._tokens.step(network, slots, skip), slots, verdicts)
        decided = self._beats.step(tokens, before - self.spec.token.lag, compact(slots))
        for slot, block in pairs:
            self._made[slot] = block.made + block.hop
        return self._tell(pairs, _by_slot(decided), best_ticks(verdicts, len(pairs)))

    def _held(self, slot: int, block: Block) -> int:
        """Tokens of a segment in which there is no signal yet, only its first value from the anchor on."""
        return block.held(self._signal.chain(slot).frontend.resampler.ratio) // self.spec.patch

    def _tell(
        self,
        pairs: Sequence[tuple[int, Block]],
        beats: dict[int, list[FoundBeat]],
        ticks: Sequence[Sequence[Tick]],
    ) -> list[tuple[int, Event]]:
        events: list[tuple[int, Event]] = []
        for (slot, block), graded in zip(pairs, ticks, strict=True):
            decoder = self._at(slot)
            found = beats.get(slot, ())
            samples, missing = block.samples.shape[1], _missing_at_the_end(block)
            if block.end < block.start + samples or missing == samples:
                decoder.hold(found, graded)
                continue
            if missing:
                told = decoder.step_before(block.end - missing, found, graded)
            else:
                told = decoder.step(found, graded, (block.made + block.hop) // self.spec.patch)
            events += [(slot, event) for event in told]
        return events

    def _begin(self, slot: int, anchor: int = 0, first: int = 0, token: int = 0) -> None:
        """A segment begins, in this token: every stage but rhythm and alarms forgets."""
        self._made[slot] = 0
        self._signal.reset(slot)
        self._leads.reset(slot)
        self._tokens.reset(slot)
        self._beats.reset(slice(slot, slot + 1), token)
        self._at(slot).begin(anchor, first)

    def _resume(self, slot: int, token: int) -> None:
        """Go on after a step that has failed; before this token no beat is: what is left of a QRS is none."""
        self._tokens.reset(slot)
        self._beats.reset(slice(slot, slot + 1), token)

    def snapshot(self, slot: int) -> tuple[dict[str, NDArray[Any]], Any]:
        """What a slot remembers: arrays, and builtin values."""
        parts: dict[str, dict[str, NDArray[Any]]] = {
            "signal": self._signal.snapshot(slot),
            "leads": self._leads.snapshot(slot),
            "beats": self._beats.snapshot(slot),
            **self._tokens.snapshot(slot),
            "step": {"made": np.array(self._made[slot])},
        }
        arrays = {f"{part}.{name}": value for part, named in parts.items() for name, value in named.items()}
        return arrays, self._at(slot).snapshot()

    def restore(self, slot: int, arrays: Mapping[str, NDArray[Any]], plain: Any) -> None:
        """Put a :meth:`snapshot` into a slot that is open at the same rate.

        Raises
        ------
        StateError
            If it does not fit this cohort.
        """
        parts: dict[str, dict[str, NDArray[Any]]] = {}
        for name, value in arrays.items():
            part, _, key = name.partition(".")
            parts.setdefault(part, {})[key] = value
        try:
            self._signal.restore(slot, parts["signal"])
            self._leads.restore(slot, parts["leads"])
            self._beats.restore(slot, parts["beats"])
            self._tokens.restore(slot, parts)
            self._made[slot] = parts["step"]["made"].item()
            self._at(slot).restore(plain)
        except (KeyError, ValueError, TypeError, IndexError, msgspec.ValidationError) as error:
            self.open(slot, self._signal.chain(slot).fs)
            raise StateError(f"the snapshot does not fit this model ({error}): start without it") from error

    def _decoder(self, slot: int) -> Decoder:
        chain = self._signal.chain(slot)
        return Decoder(self.settings, chain.fs, chain.frontend.resampler.ratio, chain.latency)

    def _at(self, slot: int) -> Decoder:
        decoder = self._decoders[slot]
        if decoder is None:
            raise IndexError(f"slot {slot} is not open")
        return decoder


def _missing_at_the_end(block: Block) -> int:
    """How many of the last samples are missing on all leads: the segment may have ended before them."""
    if block.missing is None or not block.missing[:, -1].all():
        return 0
    there = np.flatnonzero(~block.missing.all(axis=0))
    return int(block.missing.shape[1] - (there[-1] + 1 if len(there) else 0))


def _by_slot(decided: Decided) -> dict[int, list[FoundBeat]]:
    """Beats as plain values, by slot."""
    beats: dict[int, list[FoundBeat]] = {}
    rows, *columns = (column.tolist() for column in decided)
    for row, *values in zip(rows, *columns, strict=True):
        beats.setdefault(row, []).append(FoundBeat(*values))
    return beats
