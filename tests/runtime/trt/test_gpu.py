"""Engines on a real GPU. They have run with a stand-in (docs/gpu-runs.md), not yet with TensorRT."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeecg.bundle import Bundle
from edgeecg.profile.latency import measure
from edgeecg.runtime.engine import TOLERANCE
from edgeecg.runtime.ort import OrtExecutor
from edgeecg.runtime.trt import Options, open_executor
from edgeecg.runtime.trt.executor import TrtExecutor
from edgeecg.runtime.trt.settings import Settings

pytestmark = pytest.mark.gpu

BUCKETS = (1, 4, 16)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", params=["token", "beat"])
def pair(
    request: pytest.FixtureRequest, bundle: Bundle, cache: Path
) -> Iterator[tuple[TrtExecutor, OrtExecutor]]:
    options = Options(buckets=BUCKETS, cache=cache)
    fast, reference = (
        open_executor(bundle, request.param, "fp32", options),
        OrtExecutor(bundle.graph(request.param)),
    )
    with fast, reference:
        yield fast, reference


def steps(executor: TrtExecutor, rows: int, count: int) -> Iterator[dict[str, np.ndarray]]:
    rng = np.random.default_rng(rows)
    ((name, extent),) = executor.plan.recipe.extents.items()
    tail = executor.inputs[0].shape[2:]
    for _ in range(count):
        yield {name: rng.standard_normal((rows, extent.step, *tail)).astype(np.float32)}


@pytest.mark.parametrize("rows", [1, 3, 16, 20])
def test_engines_agree_with_onnx_runtime(pair: tuple[TrtExecutor, OrtExecutor], rows: int) -> None:
    fast, reference = pair
    size = int(fast.inputs[-1].shape[1])
    state = np.zeros((rows, size), np.float32)
    for feed in steps(fast, rows, 5):
        wanted = reference.run({**feed, "state": state})
        got = fast.run({**feed, "state": state})
        for name, value in wanted.items():
            assert np.abs(got[name] - value).max() <= TOLERANCE["fp32"] * np.abs(value).max(), name
        state = wanted["state_out"]


def test_resident_state_agrees_with_carried_state(pair: tuple[TrtExecutor, OrtExecutor]) -> None:
    fast, _ = pair
    cohort = fast.cohort(3)
    state = np.zeros((3, int(fast.inputs[-1].shape[1])), np.float32)
    for feed in steps(fast, 3, 6):
        carried = fast.run({**feed, "state": state})
        state = carried["state_out"]
        resident = cohort.step(feed)
        for name, value in resident.items():
            np.testing.assert_allclose(value, carried[name], atol=1e-4)
    np.testing.assert_allclose(cohort.save(), state, atol=1e-4)
    cohort.close()


@pytest.mark.parametrize("transfer", ["copy", "mapped"])
@pytest.mark.parametrize("cuda", ["pycuda", "cuda-python"])
def test_every_way_of_running_agrees(bundle: Bundle, cache: Path, cuda: str, transfer: str) -> None:
    pytest.importorskip({"pycuda": "pycuda", "cuda-python": "cuda"}[cuda], reason=f"needs {cuda}")
    settings = Settings(transfer=transfer)  # type: ignore[arg-type]
    options = Options(settings, BUCKETS, cache=cache, cuda=cuda)  # type: ignore[arg-type]
    with open_executor(bundle, "token", "fp32", options) as executor:
        feed = next(steps(executor, 2, 1))
        inputs = {**feed, "state": np.zeros((2, int(executor.inputs[-1].shape[1])), np.float32)}
        wanted = executor.run(inputs)["heads"]
        for graphs in (True, False):
            for wait in ("spin", "block"):
                for _ in range(3):
                    got = executor.run_as(inputs, graphs, wait)["heads"]  # type: ignore[arg-type]
                    np.testing.assert_array_equal(got, wanted)


def test_a_second_opening_takes_the_kept_plan(
    bundle: Bundle, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Options(buckets=BUCKETS, cache=cache)
    open_executor(bundle, "token", "fp32", options).close()
    monkeypatch.setattr(
        "edgeecg.runtime.trt.build_plan", lambda *arguments: pytest.fail("it was built again")
    )
    open_executor(bundle, "token", "fp32", options).close()


def test_threads_share_an_engine(pair: tuple[TrtExecutor, OrtExecutor]) -> None:
    fast, _ = pair
    zeros = np.zeros((2, int(fast.inputs[-1].shape[1])), np.float32)
    feeds = [{**feed, "state": zeros} for feed in steps(fast, 2, 8)]
    wanted = [fast.run(feed) for feed in feeds]
    got: list[dict[str, np.ndarray] | None] = [None] * len(feeds)

    def work(index: int) -> None:
        for _ in range(20):
            got[index] = fast.run(feeds[index])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(feeds))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for mine, theirs in zip(got, wanted, strict=True):
        assert mine is not None
        for name, value in theirs.items():
            np.testing.assert_array_equal(mine[name], value)


def test_opening_again_and_again_leaks_nothing(bundle: Bundle, cache: Path) -> None:
    options = Options(buckets=BUCKETS, cache=cache)
    used = []
    for _ in range(8):
        with open_executor(bundle, "token", "fp32", options) as executor:
            executor.run(
                {
                    **next(steps(executor, 1, 1)),
                    "state": np.zeros((1, int(executor.inputs[-1].shape[1])), np.float32),
                }
            )
            with executor.locked() as device:
                free, total = device.memory()
            used.append(total - free)
    assert used[-1] - used[2] < 4 << 20


def test_the_tail_is_short(pair: tuple[TrtExecutor, OrtExecutor]) -> None:
    fast, _ = pair
    inputs = {**next(steps(fast, 1, 1)), "state": np.zeros((1, int(fast.inputs[-1].shape[1])), np.float32)}
    found = measure(lambda: fast.run(inputs), warmup=200, runs=2000)
    assert found.p99 <= 1.5 * found.p50, found
