"""Stamps of the moment of sending: they stray, and no sample is lost by it where the source is told."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgeecg.errors import ConfigError
from edgeecg.stream.clock import TimeBase
from edgeecg.stream.sources import open_source
from tests.stream.peers import repair, waves, websocket_server

FS, SIZE = 250.0, 25


def messages(x: np.ndarray, lost: range = range(0)) -> list[str]:
    """Packets stamped when they are sent, up to 40 ms late."""
    late = np.random.default_rng(0).uniform(0, 0.04, len(x) // SIZE)
    return [
        json.dumps(
            {
                "fs": FS,
                "leads": ["I"],
                "stamp": round(1e9 * (100 + n * SIZE / FS + late[n])),
                "samples": x[n * SIZE : (n + 1) * SIZE, 0].tolist(),
            }
        )
        for n in range(len(x) // SIZE)
        if n not in lost
    ]


@pytest.mark.parametrize(("lost", "missing"), [(range(0), 0), (range(40, 50), 250)])
def test_stamps_that_stray_lose_nothing_where_the_source_is_told(lost: range, missing: int) -> None:
    x = waves(SIZE * 120)
    with websocket_server(messages(x, lost)) as url, open_source(f"{url}?jitter=0.1") as source:
        pieces = list(repair(source, TimeBase(source.fs, source.jitter)))
    assert sum(len(piece.samples) for piece in pieces) == len(x) - missing
    assert sum(piece.missing for piece in pieces) == pytest.approx(missing, abs=0.04 * FS)
    expected = np.delete(x[:, 0], np.arange(lost.start * SIZE, lost.stop * SIZE))
    np.testing.assert_allclose(np.concatenate([piece.samples[:, 0] for piece in pieces]), expected)


def test_without_it_such_stamps_are_believed() -> None:
    x = waves(SIZE * 120)
    with websocket_server(messages(x)) as url, open_source(url) as source:
        pieces = list(repair(source, TimeBase(source.fs, source.jitter)))
    assert sum(piece.missing for piece in pieces) > 10


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1/x?jitter=-1", "mqtt://127.0.0.1/x?jitter=nan"])
def test_a_jitter_out_of_range_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"jitter=.* must be 0 seconds or more"):
        open_source(url, fs=FS)
