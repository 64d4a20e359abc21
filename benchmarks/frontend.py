"""What a call of each signal stage costs, beside the plain numpy or scipy call that it is built on.

    python benchmarks/frontend.py [--out FOLDER]

One thread, everything in one run, in CPU time of that thread. Figures are the best of many short rounds, in
which ours and the plain call alternate, so that a busy machine troubles both alike; the ratio is what
travels between machines.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy
import scipy.signal
from rich.console import Console
from rich.table import Table

from edgeecg.data.synthetic import SyntheticSettings, synthesize
from edgeecg.signal.block import Block, Blocks
from edgeecg.signal.cohort import SignalChain
from edgeecg.signal.quality import QualityInput
from edgeecg.signal.ring import Ring
from edgeecg.specs import SignalSpec

FS = 250
HOP = 64
ROUNDS = 80
ROUND_SECONDS = 0.001


class Cost(NamedTuple):
    """Microseconds a call, ours and the plain one, and a row's share of ours."""

    what: str
    plain: str
    rows: int
    ours: float
    theirs: float

    @property
    def ratio(self) -> float:
        """Ours over the plain call."""
        return self.ours / self.theirs

    @property
    def row(self) -> float:
        """Microseconds a row."""
        return self.ours / self.rows


def alternating(ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[float, float]:
    """Best time of a call of each, microseconds."""
    best = [np.inf, np.inf]
    counts = [max(1, int(ROUND_SECONDS / once(call, 1))) for call in (ours, theirs)]
    for _ in range(ROUNDS):
        for index, call in enumerate((ours, theirs)):
            best[index] = min(best[index], once(call, counts[index]))
    return best[0] * 1e6, best[1] * 1e6


def once(call: Callable[[], Any], count: int) -> float:
    begin = time.thread_time()
    for _ in range(count):
        call()
    return (time.thread_time() - begin) / count


def stages(rows: int) -> list[Cost]:
    """A block of half a second for each of ``rows`` patients that are under way."""
    chain, blocks = SignalChain(SignalSpec(), FS), Blocks(FS)
    heart = synthesize(SyntheticSettings(seconds=10, fs=FS), seed=1).record.signal[:, 0]
    *before, block = (p for p in blocks.push(heart, blocks.initial()) if isinstance(p, Block))
    packed = chain.initial(rows)
    for each in before:  # what is usual of a patient is known by then
        _, packed = chain.step(chain.gather([each] * rows), packed)
    batch = chain.gather([block] * rows)
    front, quality = chain.frontend, chain.quality
    heard = front.unpack(packed[:, : front.width], batch.phase)
    judged = quality.unpack(packed[:, front.width :], batch.phase)
    signal, _ = front.process(batch.samples, heard)
    resampler, sections = front.resampler, front.bandpass.sections
    up, down = resampler.ratio.numerator, resampler.ratio.denominator
    source = np.concatenate([heard.resample.tail, batch.samples], axis=1)
    past, ones = [1.0, -front.gain.decay], heard.gain.level

    def fir() -> Any:
        return scipy.signal.upfirdn(resampler.taps, source, up, down)

    def iir() -> Any:
        return scipy.signal.sosfilt(sections, signal.resampled, zi=heard.filter)

    def mean() -> Any:
        return scipy.signal.lfilter([1.0], past, np.abs(signal.filtered), zi=ones)

    def plain() -> None:
        fir(), iir(), mean()

    x = QualityInput(batch.samples, signal.resampled, signal.filtered)
    cases: list[tuple[str, str, Callable[[], Any], Callable[[], Any]]] = [
        ("impulses", "all three", lambda: front.impulses.step(batch.samples, heard.impulse), plain),
        ("resample", "upfirdn", lambda: resampler.step(batch.samples, heard.resample), fir),
        ("band-pass", "sosfilt", lambda: front.bandpass.step(signal.resampled, heard.filter), iir),
        ("gain", "lfilter", lambda: front.gain.step(signal.filtered, heard.gain), mean),
        ("front end", "all three", lambda: front.process(batch.samples, heard), plain),
        ("quality", "all three", lambda: quality.step(x, judged), plain),
        ("gather blocks", "all three", lambda: chain.gather([block] * rows), plain),
        ("chain, packed rows", "all three", lambda: chain.step(batch, packed), plain),
    ]
    return [Cost(what, beside, rows, *alternating(ours, theirs)) for what, beside, ours, theirs in cases]


def pushes() -> list[Cost]:
    """Samples into blocks, as they come from a device."""
    blocks = Blocks(FS)
    state, buffer = blocks.initial(), np.empty((4 * FS, 1))
    one, twenty, block = np.zeros(1), np.zeros((20, 1)), np.zeros(125)

    def assign(chunk: Any) -> Callable[[], None]:
        column = chunk.reshape(-1, 1)

        def call() -> None:
            buffer[7 : 7 + len(column)] = column

        return call

    return [
        Cost(
            f"push {what}",
            "array assignment",
            1,
            *alternating(lambda c=chunk: blocks.push(c, state), assign(chunk)),
        )
        for what, chunk in (("1 sample", one), ("20 samples", twenty), ("a whole block", block))
    ]


def rings() -> list[Cost]:
    """A 10 s window of 12 rows, 64 samples on."""
    rows, length = 12, 1280
    ring: Ring[np.float32] = Ring(rows, length)
    chunk = np.ones((rows, HOP), np.float32)
    held = [np.zeros((rows, length), np.float32)]

    def turn() -> Any:
        ring.push(chunk)
        return ring.window(length)

    def concatenate() -> Any:
        held[0] = np.concatenate([held[0][:, HOP:], chunk], axis=1)
        return held[0]

    return [Cost("ring: push and window", "concatenate", 1, *alternating(turn, concatenate))]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="folder for frontend.json")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 64, 256], help="patients a call")
    given = parser.parse_args()
    costs = pushes() + rings() + [cost for rows in given.rows for cost in stages(rows)]
    table = Table(title=f"Signal stages: {FS} Hz, blocks of {HOP} model samples (0.5 s)")
    for name in ("call", "rows", "us a call", "us a row", "beside", "us", "ratio"):
        table.add_column(name, justify="left" if name in ("call", "beside") else "right")
    for cost in costs:
        figures = (
            f"{cost.ours:.1f}",
            f"{cost.row:.2f}",
            cost.plain,
            f"{cost.theirs:.1f}",
            f"{cost.ratio:.2f}",
        )
        table.add_row(cost.what, str(cost.rows), *figures)
    Console(width=100).print(table)
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        result = {
            "machine": platform.processor() or platform.machine(),
            "versions": {
                "numpy": np.__version__,
                "scipy": scipy.__version__,
                "python": platform.python_version(),
            },
            "costs": [{**cost._asdict(), "ratio": cost.ratio, "us_a_row": cost.row} for cost in costs],
        }
        (given.out / "frontend.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
