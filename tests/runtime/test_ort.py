"""ONNX Runtime's executor beyond the contract of executors."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from edgeecg.bundle import Bundle
from edgeecg.errors import BackendError, ConfigError, DeviceError
from edgeecg.runtime.ort import OrtExecutor
from tests.contract.engines import Engine, nano

__all__ = ["nano"]


def inputs(executor: OrtExecutor) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    state = np.zeros((2, int(executor.inputs[1].shape[1])), np.float32)
    return {"signal": rng.standard_normal((2, 64)).astype(np.float32), "state": state}


@pytest.mark.parametrize("data", [b"", b"no graph", bytes(1000)])
def test_what_is_no_graph_is_one_line(data: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BackendError, match="refuses the graph") as error:
        OrtExecutor(data)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")  # the library's own log stays silent


def test_no_threads_are_refused(nano: Engine) -> None:
    with pytest.raises(ConfigError, match="threads = 0"):
        OrtExecutor(nano.bundle.graph("token"), threads=0)


def test_a_profile_names_the_operators_and_is_read_once(nano: Engine) -> None:
    with OrtExecutor(nano.bundle.graph("token"), profile=True) as executor:
        for _ in range(3):
            executor.run(inputs(executor))
        events = executor.end_profile()
        kernels = [event for event in events if event["name"].endswith("_kernel_time")]
        assert {"Gemm", "Conv", "Softmax"} <= {event["args"]["op_name"] for event in kernels}
        assert all(event["dur"] >= 0 for event in kernels)
        assert len([event for event in kernels if event["name"].startswith("block0.scores")]) == 3
        with pytest.raises(BackendError, match="profile=True"):
            executor.end_profile()
        executor.run(inputs(executor))


def test_an_unread_profile_leaves_nothing_behind(
    nano: Engine, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    executor = OrtExecutor(nano.bundle.graph("token"), profile=True)
    executor.run(inputs(executor))
    executor.close()
    assert os.listdir(str(tmp_path)) == []


def test_threads_share_an_executor(nano: Engine) -> None:
    with OrtExecutor(nano.bundle.graph("token")) as executor:
        feed = inputs(executor)
        wanted = executor.run(feed)["heads"]
        given: list[np.ndarray] = []

        def work() -> None:
            given.extend(executor.run(feed)["heads"] for _ in range(50))

        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert len(given) == 200
        assert all(np.array_equal(heads, wanted) for heads in given)


def test_a_failure_inside_is_a_device_error(capfd: pytest.CaptureFixture[str]) -> None:
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    x = helper.make_tensor_value_info("x", 1, ["rows"])
    y = helper.make_tensor_value_info("y", 1, [2, 2])
    shape = onnx.numpy_helper.from_array(np.array([2, 2]), "shape")
    graph = helper.make_graph([node], "g", [x], [y], [shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)
    with OrtExecutor(model.SerializeToString()) as executor:
        executor.run({"x": np.zeros(4, np.float32)})
        with pytest.raises(DeviceError, match="failed while running") as error:
            executor.run({"x": np.zeros(5, np.float32)})
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


def test_a_long_step_of_many_rows_is_the_same_step() -> None:
    """It runs in pieces of rows and positions; each row must be as it is by itself, cut in another way."""
    bundle = Bundle.open("small")
    rng = np.random.default_rng(0)
    with OrtExecutor(bundle.graph("token")) as executor:
        state = np.zeros((35, int(executor.inputs[1].shape[1])), np.float32)
        warm = rng.standard_normal((35, 8 * 40)).astype(np.float32)
        state = executor.run({"signal": warm, "state": state})["state_out"]
        signal = rng.standard_normal((35, 8 * 101)).astype(np.float32)
        together = executor.run({"signal": signal, "state": state})
        for row in (0, 15, 16, 34):
            parts, carried = [], state[row : row + 1]
            for piece in np.split(signal[row : row + 1], [8 * 30, 8 * 60, 8 * 90], axis=1):
                parts.append(executor.run({"signal": piece, "state": carried}))
                carried = parts[-1]["state_out"]
            for key in ("heads", "embedding"):
                alone = np.concatenate([part[key] for part in parts], axis=1)
                np.testing.assert_allclose(together[key][row : row + 1], alone, atol=1e-4)
            np.testing.assert_allclose(together["state_out"][row : row + 1], carried, atol=1e-4)
