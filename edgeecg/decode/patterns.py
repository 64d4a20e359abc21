"""Patterns in the order of beat labels: couplet, run of V, bigeminy."""

from __future__ import annotations

from typing import NamedTuple

from edgeecg.specs import Alarm

__all__ = ["PatternState", "beat", "broken"]

RUN = 3
"""V beats in a row that make a run; two are a couplet."""


class PatternState(NamedTuple):
    """Plain values.

    ``run``: V beats in a row, from ``run_start`` to ``run_last``. ``pairs``: V beats with exactly one
    other beat between each two, from ``pair_start`` to ``pair_last``. ``after_v``: whether the beat
    before was V.
    """

    run: int = 0
    run_start: int = 0
    run_last: int = 0
    pairs: int = 0
    pair_start: int = 0
    pair_last: int = 0
    after_v: bool = False


def beat(sample: int, label: str, state: PatternState, bigeminy: int) -> tuple[list[Alarm], PatternState]:
    """Take in a beat; ``bigeminy``: V beats that make one."""
    if label == "V":
        return _ventricular(sample, state, bigeminy)
    if not (state.run or state.pairs or state.after_v):
        return [], state
    events = _end_run(state)
    if not state.after_v:  # two other beats in a row
        events += _end_pairs(state, bigeminy)
        state = state._replace(pairs=0)
    return events, state._replace(run=0, after_v=False)


def _ventricular(sample: int, state: PatternState, bigeminy: int) -> tuple[list[Alarm], PatternState]:
    events = []
    run = state.run + 1
    run_start = sample if run == 1 else state.run_start
    if run == RUN:
        events.append(Alarm(run_start, None, "v-run"))
    if state.after_v:
        events += _end_pairs(state, bigeminy)
    alternates = state.pairs > 0 and not state.after_v
    pairs = state.pairs + 1 if alternates else 1
    pair_start = state.pair_start if alternates else sample
    if pairs == bigeminy:
        events.append(Alarm(pair_start, None, "bigeminy"))
    return events, PatternState(run, run_start, sample, pairs, pair_start, sample, True)


def broken(state: PatternState, bigeminy: int) -> tuple[list[Alarm], PatternState]:
    """Beats may be missing here: what is open ends with its last beat, and nothing new is told."""
    events = _end_run(state) if state.run >= RUN else []
    return events + _end_pairs(state, bigeminy), PatternState()


def _end_run(state: PatternState) -> list[Alarm]:
    if state.run == RUN - 1:  # that it is no more than a couplet is known only now
        ends = (None, state.run_last)
        return [Alarm(state.run_start, end, "couplet") for end in ends]
    return [Alarm(state.run_start, state.run_last, "v-run")] if state.run >= RUN else []


def _end_pairs(state: PatternState, bigeminy: int) -> list[Alarm]:
    told = state.pairs >= bigeminy
    return [Alarm(state.pair_start, state.pair_last, "bigeminy")] if told else []
