"""State of many streams on shelves: who steps with whom changes nothing, and whole shelves are not copied."""

from __future__ import annotations

import numpy as np
import pytest

from edgeecg.pipeline import rows as rows_module
from edgeecg.pipeline.rows import SHELF, StateRows, batches
from edgeecg.runtime.engine import Engine

STREAMS, STEPS, SAMPLES = 2 * SHELF + 3, 6, 16


@pytest.mark.parametrize("share", [0.05, 0.5, 0.98, 1.0])
def test_streams_step_as_they_would_alone(nano: Engine, share: float) -> None:
    """Any of them together, on one shelf or on several, and more shelves on the way."""
    rng = np.random.default_rng(3)
    together, alone = StateRows(nano.token, SHELF), [StateRows(nano.token, 1) for _ in range(STREAMS)]
    together.grow(STREAMS)
    for _ in range(STEPS):
        chosen = np.flatnonzero(rng.random(STREAMS) < share)
        x = rng.normal(size=(len(chosen), SAMPLES)).astype(np.float32)
        for begin, end in batches(chosen, SHELF) if len(chosen) else ():
            its = chosen[begin:end]
            whole = its[-1] - its[0] + 1 == len(its)
            out = together.run(x[begin:end], slice(int(its[0]), int(its[-1]) + 1) if whole else its)
            for place, row in enumerate(its):
                one = alone[row].run(x[begin + place][None], slice(0, 1))
                for name, values in one.items():
                    np.testing.assert_allclose(out[name][place], values[0], atol=1e-5)
    for row, stream in enumerate(alone):
        np.testing.assert_allclose(together.read(row), stream.read(0), atol=1e-5)


def test_a_whole_shelf_is_not_copied(nano: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The executor's output is the new shelf; a part of one is gathered."""
    gathered = []
    take = np.take
    monkeypatch.setattr(rows_module.np, "take", lambda *a, **k: gathered.append(len(a[1])) or take(*a, **k))
    graph = StateRows(nano.token, 2 * SHELF)
    x = np.zeros((SHELF, SAMPLES), np.float32)
    graph.run(x, slice(0, SHELF))
    graph.run(x, slice(SHELF, 2 * SHELF))
    assert not gathered
    graph.run(x, slice(1, SHELF + 1))
    assert gathered == [SHELF - 1, 1]


def test_batches_keep_whole_shelves_whole() -> None:
    everyone = np.arange(3 * SHELF)
    shelves = [(0, SHELF), (SHELF, 2 * SHELF), (2 * SHELF, 3 * SHELF)]
    assert batches(everyone, SHELF) == shelves
    without = np.delete(everyone, 5)  # one has left: the other shelves are whole still
    assert batches(without, SHELF) == [
        (0, SHELF - 1),
        (SHELF - 1, 2 * SHELF - 1),
        (2 * SHELF - 1, 3 * SHELF - 1),
    ]
    few = everyone[::4]  # a quarter of each shelf: together they make less than one
    assert batches(few, SHELF) == [(0, len(few))]
    half = np.arange(0, 6 * SHELF, 2)
    assert batches(half, SHELF) == shelves


def test_a_small_shelf_grows_to_its_size(nano: Engine) -> None:
    """One stream, then some, then many: each keeps its state, and shelves are as large as they may be."""
    graph = StateRows(nano.token, 1)
    graph.run(np.ones((1, SAMPLES), np.float32), slice(0, 1))
    first = graph.read(0)
    for rows, room in ((2, 2), (5, 5), (SHELF + 1, 2 * SHELF)):
        graph.grow(rows)
        assert len(graph) == room
        np.testing.assert_array_equal(graph.read(0), first)
        assert not graph.read(rows - 1).any()
