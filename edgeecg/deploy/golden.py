"""Golden vectors: inputs of both graphs, and what each precision gives for them on ONNX Runtime.

Half the rows are warm (their caches full of real keys), half are fresh streams, so that a wrong layout of
the state, a wrong mask and a wrong scale all show.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeecg.bundle import GRAPHS, PRECISIONS, GraphName, Precision, graph_part
from edgeecg.runtime.ort import OrtExecutor
from edgeecg.specs import MODEL_FS, RR_FEATURES, ModelSpec

__all__ = ["golden_inputs", "golden_part", "heartbeats"]

ROWS = 2
TOKENS = 8
WARM_STEPS = 12


def heartbeats(rows: int, samples: int, seed: int) -> NDArray[np.float32]:
    """Network input that looks like heart beats: sharp peaks and slow waves in noise, ``(rows, samples)``."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / MODEL_FS
    out = 0.2 * rng.standard_normal((rows, samples))
    for row in range(rows):
        centres = np.cumsum(rng.uniform(0.4, 1.2, samples // 32))
        for shift, width, height in ((0.0, 0.015, 8.0), (-0.16, 0.03, 0.8), (0.25, 0.06, 1.5)):
            size = height * rng.uniform(0.7, 1.3)
            out[row] += size * np.exp(-(((time[:, None] - centres - shift) / width) ** 2)).sum(axis=1)
    return out.astype(np.float32)


def golden_inputs(spec: ModelSpec, token: bytes, beat: bytes) -> dict[str, NDArray[np.float32]]:
    """``token.signal``, ``token.state``, ``beat.beats``, ``beat.state``: two rows, one hop, one beat.

    Parameters
    ----------
    token, beat : bytes
        The FP32 graphs, which warm the caches.
    """
    rng = np.random.default_rng(0)
    signal = heartbeats(ROWS, spec.patch * TOKENS * (WARM_STEPS + 1), seed=0)
    with OrtExecutor(token) as executor:
        state = np.zeros((ROWS, _state_size(executor)), np.float32)
        outputs = executor.run({"signal": signal[:, : -spec.patch * TOKENS], "state": state})
        embedding, state = outputs["embedding"][:, spec.token.lag :], outputs["state_out"]
    count = spec.beat.span + 8
    features = 0.3 * rng.standard_normal((ROWS, count, len(RR_FEATURES)))
    beat_tokens, decision_tokens = rng.integers(0, embedding.shape[1], (2, count))
    beats = np.concatenate([embedding[:, beat_tokens], embedding[:, decision_tokens], features], axis=2)
    beats = beats.astype(np.float32)
    with OrtExecutor(beat) as executor:
        beat_state = np.zeros((ROWS, _state_size(executor)), np.float32)
        beat_state = executor.run({"beats": beats[:, :-1], "state": beat_state})["state_out"]
    state[ROWS // 2 :] = 0
    beat_state[ROWS // 2 :] = 0
    return {
        "token.signal": np.ascontiguousarray(signal[:, -spec.patch * TOKENS :]),
        "token.state": state,
        "beat.beats": np.ascontiguousarray(beats[:, -1:]),
        "beat.state": beat_state,
    }


def _state_size(executor: OrtExecutor) -> int:
    return next(int(spec.shape[1]) for spec in executor.inputs if spec.name == "state")


def golden_part(inputs: Mapping[str, NDArray[np.float32]], graphs: Mapping[str, bytes]) -> bytes:
    """``golden.npz``: the inputs, and the outputs of every graph among ``graphs`` (by path in the zip)."""
    arrays = dict(inputs)
    for part, model in graphs.items():
        name, precision = _graph_of(part)
        with OrtExecutor(model) as executor:
            outputs = executor.run({spec.name: inputs[f"{name}.{spec.name}"] for spec in executor.inputs})
        arrays |= {f"{name}.{precision}.{key}": value for key, value in outputs.items()}
    buffer = io.BytesIO()
    ordered: dict[str, Any] = {key: arrays[key] for key in sorted(arrays)}
    np.savez(buffer, **ordered)
    return buffer.getvalue()


def _graph_of(part: str) -> tuple[GraphName, Precision]:
    return next((g, p) for g in GRAPHS for p in PRECISIONS if graph_part(g, p) == part)
