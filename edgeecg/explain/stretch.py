"""The stretch of a recording that is explained: its blocks, and what the front end makes of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeecg.bundle import Bundle, LeadPolicy
from edgeecg.errors import SignalError
from edgeecg.io.record import Record
from edgeecg.pipeline.decoder import SHORTEST
from edgeecg.pipeline.intake import Intake
from edgeecg.pipeline.signal import SignalRows, Verdicts
from edgeecg.signal.block import Block
from edgeecg.signal.frontend import FrontEnd

__all__ = ["front_end", "stretch"]

HOP = 96  # tokens a block


def stretch(
    bundle: Bundle,
    frontend: FrontEnd,
    record: Record,
    at: int,
    policy: LeadPolicy,
    around: tuple[float, float],
) -> tuple[int, list[Block]]:
    """Blocks of the stretch that holds a sample, and the source sample from which theirs count.

    Parameters
    ----------
    at : int
        Source sample.
    around : (float, float)
        Seconds before and after it that are looked at.

    Raises
    ------
    SignalError
        If it lies in a gap, or in a stretch between gaps that is too short for a beat.
    """
    tail = frontend.latency + bundle.spec.tail
    intake = Intake(record.fs, len(record.leads), policy, HOP * bundle.spec.patch, tail)
    start = max(0, round(at - around[0] * record.fs))
    start -= start % intake.blocks.grid  # else patches would hold other samples than the stream's
    cut = record.signal[start : round(at + around[1] * record.fs)]
    state = intake.initial()
    blocks = [b for b in (*intake.push(cut, state), *intake.flush(state)) if isinstance(b, Block)]
    segment = _segment_of(blocks, at - start, record.name, at)
    if segment[-1].end - segment[0].first < SHORTEST * record.fs:
        raise SignalError(
            f"sample {at} of {record.name} lies in less than {SHORTEST:g} s of signal between gaps, "
            "in which no beat is told: choose another one"
        )
    return start, segment


def _segment_of(blocks: Sequence[Block], at: int, name: str, shown: int) -> list[Block]:
    """Blocks of the stretch without gaps that holds a sample."""
    for anchor in sorted({block.anchor for block in blocks}):
        segment = [block for block in blocks if block.anchor == anchor]
        if anchor <= at < segment[-1].end:
            return segment
    raise SignalError(f"sample {shown} of {name} lies in a gap of the recording: choose another one")


def front_end(
    bundle: Bundle, fs: float, rows: int, blocks: Sequence[Block]
) -> list[tuple[NDArray[np.float32], Verdicts]]:
    """Network input ``(leads, hop)`` and verdicts of each block."""
    stage = SignalRows(bundle.signal, 1, rows)
    stage.open(0, fs)
    steps = []
    for block in blocks:
        network, verdicts = stage.step(np.array([0]), [block])
        steps.append((network, verdicts[0]))
    return steps
