"""Where no beat is S, in the line of stages: in fibrillation, and behind an interpolated V."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeecg.bundle import Bundle, Thresholds
from edgeecg.decode import premature
from edgeecg.decode.rr import past_intervals
from edgeecg.decode.supraventricular import behind_interpolated
from edgeecg.errors import BundleError
from edgeecg.io.record import Record
from edgeecg.pipeline import annotate
from edgeecg.pipeline.beats import BeatRows
from edgeecg.pipeline.tokens import Tokens
from edgeecg.runtime.engine import open_engine
from edgeecg.runtime.executor import Executor
from edgeecg.specs import BEAT_LABELS, HEADS, MODEL_FS, ModelSpec, Rhythm
from tests.contract.engines import beats, heart, make_bundle

N, S = BEAT_LABELS.index("N"), BEAT_LABELS.index("S")


def tokens(spec, count: int) -> Tokens:  # type: ignore[no-untyped-def]
    """Beats a second apart, embeddings at random, two rows."""
    rng = np.random.default_rng(0)
    heads = np.full((2, count, len(HEADS)), -8.0, np.float32)
    heads[:, 3::16, 0] = 8.0
    return Tokens(heads, rng.normal(0, 2, (2, count, spec.token.dim)).astype(np.float32))


def decided(executor: Executor, spec, limit: float, pieces: int) -> list[tuple[int, int, int, float]]:  # type: ignore[no-untyped-def]
    stage = BeatRows(executor, spec, Thresholds(afib=limit), 2)
    whole, told, rows = tokens(spec, 960), [], slice(0, 2)
    for begin in range(0, 960, 960 // pieces):
        part = Tokens(*(value[:, begin : begin + 960 // pieces] for value in whole))
        out = stage.step(part, np.full(2, begin), rows)
        told += list(
            zip(*(column.tolist() for column in (out.row, out.token, out.label, out.afib)), strict=True)
        )
        if begin == 480:  # what is kept of a row is what it goes on with
            saved = stage.snapshot(1)
            stage.reset(slice(1, 2))
            stage.restore(1, saved)
    return sorted(told)


def test_s_becomes_n_from_the_limit_on_however_the_tokens_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(premature, "EARLY", 9.0)  # else a regular rhythm holds no S at all
    with open_engine(make_bundle(tmp_path, "nano"), "onnxruntime") as engine:
        spec = engine.bundle.spec
        never, always = (decided(engine.beat, spec, limit, 4) for limit in (1.1, 1e-9))
        assert sum(label == S for *_, label, _ in never) > 5
        assert [row[:2] for row in never] == [row[:2] for row in always]
        for (*_, before, _), (*_, after, _) in zip(never, always, strict=True):
            assert after == (N if before == S else before)
        middle = float(np.median([afib for *_, afib in never]))
        some = decided(engine.beat, spec, middle, 4)
        assert never != some != always, "a limit in between moves some"
        for pieces in (1, 2, 20, 60):
            again = decided(engine.beat, spec, middle, pieces)
            assert [row[:3] for row in again] == [row[:3] for row in some]


def test_no_s_behind_an_interpolated_v_however_the_tokens_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An early beat between two that are on time, now and then: what the network says, and what is told."""

    def told(executor: Executor, spec: ModelSpec, pieces: int) -> list[tuple[int, float, int]]:
        stage, found = BeatRows(executor, spec, Thresholds(afib=2.0), 2), []
        whole = tokens(spec, 1920)
        whole.heads[:, 11::64, 0] = 8.0
        for begin in range(0, 1920, 1920 // pieces):
            part = Tokens(*(value[:, begin : begin + 1920 // pieces] for value in whole))
            out = stage.step(part, np.full(2, begin), slice(0, 2))
            found += list(zip(out.row.tolist(), out.place.tolist(), out.label.tolist(), strict=True))
            if begin == 960:
                saved = stage.snapshot(1)
                stage.reset(slice(1, 2))
                stage.restore(1, saved)
        return sorted(found)

    monkeypatch.setattr(premature, "EARLY", 9.0)  # else it comes too late to be S whatever was before it
    with open_engine(make_bundle(tmp_path, "nano"), "onnxruntime") as engine:
        final = told(engine.beat, engine.bundle.spec, 4)
        for pieces in (1, 20, 60):
            assert told(engine.beat, engine.bundle.spec, pieces) == final
        monkeypatch.setattr("edgeecg.pipeline.beats.behind_interpolated", lambda b, _: np.zeros(len(b), bool))
        raw = told(engine.beat, engine.bundle.spec, 4)
    moved = 0
    for row in (0, 1):
        place, label = (np.array([one[i] for one in raw if one[0] == row]) for i in (1, 2))
        before = np.concatenate([[-1], label[:-1]])
        rule = behind_interpolated(before, past_intervals(place / MODEL_FS)) & (label == S)
        moved += rule.sum()
        assert [one[2] for one in final if one[0] == row] == np.where(rule, N, label).tolist()
    assert moved > 0, "none to be moved: the test shows nothing"


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_a_limit_that_means_nothing_is_refused(limit: float) -> None:
    with pytest.raises(BundleError, match="limit of fibrillation"):
        Thresholds(afib=limit)


def test_what_cannot_be_read_is_no_fibrillation(tmp_path: Path) -> None:
    """The network that calls all of it AF, and then none of it readable: episodes, and none."""
    torch = pytest.importorskip("torch")
    from edgeecg.deploy.build import build_bundle
    from edgeecg.model.checkpoint import network_from_weights

    bundle = Bundle.open(make_bundle(tmp_path, "nano"))
    record = Record("heart", heart(60, 250), 250, ("I",))
    told = []
    for quality in (8.0, -2.0):
        network = network_from_weights(bundle.spec, bundle.weights())
        with torch.no_grad():
            network.beat.rhythm.bias.copy_(torch.tensor([-20.0, 20.0]))
            network.token.heads.weight[HEADS.index("quality")] = 0
            network.token.heads.bias[HEADS.index("quality")] = quality
        path = tmp_path / f"{quality}.edgeecg"
        build_bundle(network, path, "nano", created="2026-01-01T00:00:00+00:00")
        with open_engine(path, "onnxruntime") as engine:
            events = annotate(engine, record)
        assert len(beats(events)) > 20
        told.append([event for event in events if isinstance(event, Rhythm)])
    assert told[0]
    assert not told[1]


def test_a_fresh_row_knows_no_run_of_s(tmp_path: Path) -> None:
    with open_engine(make_bundle(tmp_path, "nano"), "onnxruntime") as engine:
        stage = BeatRows(engine.beat, engine.bundle.spec, Thresholds(), 2)
        saved = stage.snapshot(0)
        stage.restore(0, {**saved, "usual": np.float64(0.8)})
        stage.restore(1, {**saved, "usual": np.float64(0.7)})
        assert float(stage.snapshot(1)["usual"]) == 0.7
        stage.reset(slice(1, 2))
        assert np.isnan(stage.snapshot(1)["usual"])
        assert float(stage.snapshot(0)["usual"]) == 0.8
