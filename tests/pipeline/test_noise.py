"""A beat in noise must hold more than one in a clear signal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeecg.bundle import Thresholds
from edgeecg.errors import BundleError
from edgeecg.pipeline.beats import BeatRows
from edgeecg.pipeline.tokens import Tokens
from edgeecg.runtime.engine import Engine, open_engine
from edgeecg.specs import HEADS
from tests.contract.engines import make_bundle

EVERY, COUNT = 16, 320


def logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def found(engine: Engine, mass: float, quality: float, noise: float) -> int:
    """How many of the peaks of this mass, a second apart, are beats."""
    spec = engine.bundle.spec
    heads = np.full((1, COUNT, len(HEADS)), -30.0, np.float32)
    heads[0, 3::EVERY, 0] = logit(mass)
    heads[0, :, HEADS.index("quality")] = logit(quality)
    stage = BeatRows(engine.beat, spec, Thresholds(beat=0.3, noise=noise), 1)
    tokens = Tokens(heads, np.zeros((1, COUNT, spec.token.dim), np.float32))
    return len(stage.step(tokens, np.zeros(1, np.int64), slice(0, 1)).row)


@pytest.mark.parametrize(
    ("mass", "quality", "noise", "is_one"),
    [
        (0.35, 0.99, 0.5, True),  # 0.305 is asked
        (0.35, 0.5, 0.5, False),  # 0.55
        (0.35, 0.5, 0.0, True),  # in noise as elsewhere
        (0.5, 0.5, 0.5, False),  # in proportion
        (0.6, 0.5, 0.5, True),
        (0.6, 0.1, 0.5, False),  # 0.75
    ],
)
def test_noise_asks_for_more(tmp_path: Path, mass: float, quality: float, noise: float, is_one: bool) -> None:
    with open_engine(make_bundle(tmp_path, "nano"), "onnxruntime") as engine:
        assert found(engine, mass, quality, noise) == (COUNT // EVERY if is_one else 0)


@pytest.mark.parametrize("noise", [-0.1, float("nan")])
def test_a_rise_that_means_nothing_is_refused(noise: float) -> None:
    with pytest.raises(BundleError, match="rise in noise"):
        Thresholds(noise=noise)
