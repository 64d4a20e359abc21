"""What tests of the streaming path share: small engines of random weights, a signal, equality of events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeecg.io.record import Record
from edgeecg.runtime.engine import Engine, open_engine
from edgeecg.specs import Beat, Event

__all__ = ["assert_same_events", "beats", "heart", "make_bundle", "nano", "recording", "small"]


def make_bundle(folder: Path, name: str, seed: int = 0) -> Path:
    """A bundle of random weights; it finds beats of every label, at places that depend on the signal."""
    torch = pytest.importorskip("torch")
    from edgeecg.deploy.build import build_bundle
    from edgeecg.model.presets import preset
    from edgeecg.model.transformer import Network

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Network(preset(name)).eval()
        with torch.no_grad():
            network.beat.enter.weight *= 8
            network.beat.classes.bias *= 0  # so that labels vary from beat to beat
    path = folder / f"{name}-{seed}.edgeecg"
    build_bundle(network, path, name, created="2026-01-01T00:00:00+00:00")
    return path


@pytest.fixture(scope="session")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with open_engine(make_bundle(tmp_path_factory.mktemp("bundles"), "nano"), "onnxruntime") as engine:
        yield engine


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with open_engine(make_bundle(tmp_path_factory.mktemp("bundles"), "small"), "onnxruntime") as engine:
        yield engine


def heart(seconds: float, fs: float, leads: int = 1, seed: int = 0) -> NDArray[np.float64]:
    """``(n, leads)`` millivolts: spikes of varying interval and size, waves between them, a little noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * fs)) / fs
    signal = np.zeros((len(time), leads))
    at = 0.3
    while at < seconds:
        size = rng.normal(1.0, 0.3, leads) * rng.choice([1.0, 1.0, 1.0, -1.2])
        for delay, width, part in ((0.0, 0.012, 1.0), (-0.16, 0.03, 0.12), (0.25, 0.05, 0.25)):
            signal += size * part * np.exp(-0.5 * ((time - at - delay) / width) ** 2)[:, None]
        at += rng.choice([0.8, 0.8, 0.55, 1.1]) * rng.normal(1.0, 0.05)
    drift = 0.2 * np.sin(2 * np.pi * 0.2 * time)[:, None]
    return signal + drift + rng.normal(0, 0.02, signal.shape)


def beats(events: Sequence[Event]) -> list[Beat]:
    return [event for event in events if isinstance(event, Beat)]


def assert_same_events(told: Sequence[Event], expected: Sequence[Event]) -> None:
    """The same events in the same order; all is equal, but for probabilities, which are within 1e-4."""
    assert len(told) == len(expected)
    for one, other in zip(told, expected, strict=True):
        assert type(one) is type(other)
        for field in fields(one):
            got, wanted = getattr(one, field.name), getattr(other, field.name)
            if field.name in ("probability", "quality"):
                assert got == pytest.approx(wanted, abs=1e-4), (one, other)
            else:
                assert got == wanted, (one, other)


def recording(signal: NDArray[np.float64], fs: float) -> Record:
    return Record("heart", signal, fs, tuple(f"lead {n}" for n in range(signal.shape[1])))
