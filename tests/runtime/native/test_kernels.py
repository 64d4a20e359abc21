"""The compiled kernels give what the graph gives, on every kind of vectors, and so does a stream on them."""

from __future__ import annotations

import multiprocessing
import platform
import shlex
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeecg import Stream
from edgeecg.bundle import GRAPHS, Bundle, GraphName
from edgeecg.errors import BackendError, SignalError
from edgeecg.runtime import native
from edgeecg.runtime.engine import Engine, open_engine
from edgeecg.runtime.executor import STATE_OUT
from edgeecg.runtime.native.executor import NativeExecutor
from edgeecg.runtime.native.weights import sizes_of
from edgeecg.runtime.ort import OrtExecutor
from edgeecg.specs import Event, StackSpec
from tests.contract.engines import assert_same_events, heart, nano, small

__all__ = ["nano", "small"]

pytestmark = pytest.mark.skipif(not native.find_compiler(), reason="no C compiler")
ATOL = 5e-5
X86 = platform.machine() == "x86_64"


def compared(
    exact: OrtExecutor, fused: NativeExecutor, rows: int, steps: int, seed: int, rounds: int = 4
) -> None:
    """Both over several steps, each on its own state."""
    rng = np.random.default_rng(seed)
    first, carried = exact.inputs
    states = [np.zeros((rows, int(carried.shape[1])), np.float32)] * 2
    shape = (rows, 8 * steps) if first.name == "signal" else (rows, steps, int(first.shape[2]))
    for _ in range(rounds):
        x = rng.standard_normal(shape).astype(np.float32)
        wanted, got = (
            e.run({first.name: x, "state": s}) for e, s in zip((exact, fused), states, strict=True)
        )
        assert list(got) == list(wanted)
        for key, value in wanted.items():
            np.testing.assert_allclose(got[key], value, atol=ATOL, rtol=0, err_msg=key)
        states = [wanted[STATE_OUT], got[STATE_OUT]]


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("packaged", ["nano", "micro", "small", "base"])
def test_packaged_models_give_the_numbers_of_their_graph(packaged: str, name: GraphName) -> None:
    bundle = Bundle.open(packaged)
    with OrtExecutor(bundle.graph(name, "fp32")) as exact, native.open_executor(bundle, name) as fused:
        compared(exact, fused, rows=3, steps=8, seed=0)
        compared(exact, fused, rows=2, steps=45, seed=1, rounds=2)


@pytest.fixture(scope="module", params=GRAPHS)
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[OrtExecutor, NativeExecutor]]:
    bundle = Bundle.open("micro")
    exact = OrtExecutor(bundle.graph(request.param, "fp32"))
    with exact, native.open_executor(bundle, request.param) as fused:
        yield exact, fused


@settings(max_examples=40)
@given(rows=st.integers(1, 9), steps=st.integers(1, 40), seed=st.integers(0, 99))
def test_any_number_of_rows_and_positions(
    pair: tuple[OrtExecutor, NativeExecutor], rows: int, steps: int, seed: int
) -> None:
    compared(*pair, rows, steps, seed, rounds=2)


@pytest.mark.skipif(not X86, reason="processors of other kinds have no AVX")
@pytest.mark.parametrize(("without", "lanes"), [("-mno-avx512f", 8), ("-mno-avx", 4)])
@pytest.mark.parametrize("name", GRAPHS)
def test_narrower_vectors_give_the_same(
    name: GraphName, without: str, lanes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of most desktops, and of processors of 2010. ARM's: `python tools/arm.py`."""
    monkeypatch.setenv("CC", shlex.join([*native.find_compiler(), without]))
    bundle = Bundle.open("small")
    exact = OrtExecutor(bundle.graph(name, "fp32"))
    with exact, native.open_executor(bundle, name, cache=tmp_path) as fused:
        assert fused._library is not None
        assert fused._library.vector() <= lanes
        compared(exact, fused, rows=3, steps=9, seed=0)


UNUSUAL = {
    "no look-ahead": {"token": StackSpec(dim=16, layers=2, heads=1, ffn=16, left=1, right=0)},
    "deep, ahead of many": {"token": StackSpec(dim=32, layers=5, heads=2, ffn=48, left=3, right=9)},
    "wide heads, odd stem": {
        "token": StackSpec(dim=32, layers=2, heads=1, ffn=32, left=9, right=1),
        "stem": (3, 20),
    },
    "no positions": {"positions": "none"},
    "a beat's memory of two": {"beat": StackSpec(dim=16, layers=2, heads=1, ffn=16, left=2, right=0)},
}


@pytest.mark.parametrize("other", UNUSUAL.values(), ids=UNUSUAL)
def test_networks_of_other_sizes(other: dict[str, Any], tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from edgeecg.deploy.build import build_bundle
    from edgeecg.model.presets import preset
    from edgeecg.model.transformer import Network

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network(replace(preset("nano"), **other)).eval()
    build_bundle(network, tmp_path / "odd.edgeecg", "odd", created="2026-01-01T00:00:00+00:00")
    bundle = Bundle.open(tmp_path / "odd.edgeecg")
    for name in GRAPHS:
        exact = OrtExecutor(bundle.graph(name, "fp32"))
        with exact, native.open_executor(bundle, name) as fused:
            for rows, steps in ((3, 1), (2, 8), (1, 37)):
                compared(exact, fused, rows, steps, seed=0)


@pytest.mark.parametrize("seen", [np.nan, np.inf, -np.inf, 1e20])
def test_a_count_that_is_none_harms_its_own_row_only(
    pair: tuple[OrtExecutor, NativeExecutor], seen: float
) -> None:
    first, carried = pair[1].inputs
    shape = (2, 64) if first.name == "signal" else (2, 8, int(first.shape[2]))
    state = np.zeros((2, int(carried.shape[1])), np.float32)
    state[0, 0] = seen
    wanted, got = (
        executor.run({first.name: np.ones(shape, np.float32), "state": state}) for executor in pair
    )
    for key, value in wanted.items():
        np.testing.assert_allclose(got[key][1], value[1], atol=ATOL, rtol=0, err_msg=key)
    np.testing.assert_array_equal(got["state_out"][0, 0], wanted["state_out"][0, 0])


@pytest.mark.parametrize("seen", [-7.0, -0.5, 2.5])
def test_an_odd_count_is_read_as_in_the_graph(pair: tuple[OrtExecutor, NativeExecutor], seen: float) -> None:
    exact, fused = pair
    first, carried = exact.inputs
    shape = (2, 64) if first.name == "signal" else (2, 8, int(first.shape[2]))
    state = np.zeros((2, int(carried.shape[1])), np.float32)
    state[0, 0] = seen
    feed = {first.name: np.ones(shape, np.float32), "state": state}
    wanted, got = exact.run(feed), fused.run(feed)
    for key, value in wanted.items():
        np.testing.assert_allclose(got[key], value, atol=ATOL, rtol=0, err_msg=key)


def test_closed_while_threads_run_it_says_so(nano: Engine) -> None:
    fused = native.open_executor(nano.bundle, "token", threads=2)
    state = np.zeros((8, int(fused.inputs[1].shape[1])), np.float32)
    feed = {"signal": np.zeros((8, 64), np.float32), "state": state}
    raised: list[Exception] = []

    def work() -> None:
        try:
            while True:
                fused.run(feed)
        except Exception as error:  # noqa: BLE001 - whatever comes is what is asked
            raised.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    fused.close()
    for thread in threads:
        thread.join(10)
    assert [type(error) for error in raised] == [BackendError] * 4


def test_a_forked_process_goes_on(nano: Engine) -> None:
    """Its parent's threads are not there."""
    with native.open_executor(nano.bundle, "token", threads=2) as fused:
        state = np.zeros((4, int(fused.inputs[1].shape[1])), np.float32)
        feed = {"signal": np.zeros((4, 64), np.float32), "state": state}
        fused.run(feed)
        child = multiprocessing.get_context("fork").Process(target=fused.run, args=(feed,))
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # Python's, of forking a process with threads: that is the case here
            child.start()
        child.join(20)
        assert child.exitcode == 0


def test_a_step_beyond_the_tables_is_said(nano: Engine) -> None:
    with native.open_executor(nano.bundle, "token") as fused:
        state = np.zeros((1, int(fused.inputs[1].shape[1])), np.float32)
        fused.run({"signal": np.zeros((1, 8 * 512), np.float32), "state": state})
        with pytest.raises(SignalError, match="at most 512"):
            fused.run({"signal": np.zeros((1, 8 * 513), np.float32), "state": state})


def test_closed_it_refuses(nano: Engine) -> None:
    fused = native.open_executor(nano.bundle, "token", threads=2)
    state = np.zeros((1, int(fused.inputs[1].shape[1])), np.float32)
    fused.close()
    fused.close()
    with pytest.raises(BackendError, match="closed"):
        fused.run({"signal": np.zeros((1, 8), np.float32), "state": state})


def test_only_fp32_is_computed() -> None:
    with pytest.raises(BackendError, match=r"computes in fp32, not int8: leave the precision out"):
        open_engine("nano", "native", "int8")


def test_the_default_precision_of_a_bundle_is_no_hindrance() -> None:
    with open_engine("nano", "native") as engine:
        assert (engine.backend, engine.precision) == ("native", "fp32")


def test_widths_that_do_not_fit_are_said(nano: Engine) -> None:
    odd = replace(nano.bundle.spec, token=StackSpec(dim=24, layers=1, heads=1, ffn=32, left=48, right=8))
    with pytest.raises(BackendError, match=r"dim of the token encoder is 24: take the backend onnxruntime"):
        sizes_of(odd, "token", {})


@pytest.mark.parametrize("packet", [1.0, 0.07])
def test_a_stream_tells_the_same(small: Engine, packet: float) -> None:
    signal = heart(40.0, 250.0, seed=3)
    with open_engine(small.bundle, "native") as fused:
        told = [events(engine, signal, packet) for engine in (small, fused)]
    assert len(told[0]) > 30
    assert_same_events(told[1], told[0])


def events(engine: Engine, signal: NDArray[np.float64], packet: float) -> list[Event]:
    size = round(packet * 250)
    stream = Stream(engine, fs=250.0)
    found = [event for at in range(0, len(signal), size) for event in stream.push(signal[at : at + size])]
    return [*found, *stream.flush()]


def test_a_snapshot_goes_on_under_the_other_backend(small: Engine) -> None:
    signal = heart(40.0, 250.0, seed=4)
    before = Stream(small, fs=250.0)
    told = before.push(signal[:5000])
    with open_engine(small.bundle, "native") as fused:
        after = Stream(fused, fs=250.0)
        after.restore(before.snapshot())
        told += [*after.push(signal[5000:]), *after.flush()]
    assert_same_events(told, events(small, signal, 20.0))
