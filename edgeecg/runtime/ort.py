"""ONNX Runtime on the CPU: the embedded default, and the reference that other executors are held to."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import BackendError, DeviceError
from edgeecg.runtime.executor import (
    STATE,
    STATE_OUT,
    Executor,
    InputCheck,
    Tensors,
    TensorSpec,
    check_threads,
    run_in_pieces,
    unit_of,
)

if TYPE_CHECKING:
    import onnxruntime as ort

__all__ = ["OrtExecutor"]

PIECE = 48
"""Most positions that are run at once. A query looks at its band, but a step of T positions computes its
scores against all of T + span keys: beyond some fifty this costs more than one call fewer saves."""

MOST_ROWS = 16
"""Most rows of a piece: what it works on stays in the processor's cache."""


class OrtExecutor(Executor):
    """One ONNX graph in ONNX Runtime's CPU provider.

    Parameters
    ----------
    model : bytes
        The serialized ONNX model.
    threads : int
        Threads inside one operator; 1 is best for single streams and for many engines side by side.
    profile : bool
        Record the time of every operator; read it with :meth:`end_profile`.

    Raises
    ------
    BackendError
        ONNX Runtime refuses the graph.
    """

    def __init__(self, model: bytes, threads: int = 1, profile: bool = False) -> None:
        check_threads(threads)
        self._folder = tempfile.TemporaryDirectory(prefix="edgeecg-") if profile else None
        self._session: ort.InferenceSession | None = _open_session(
            model, threads, self._folder.name if self._folder else None
        )
        self._inputs = tuple(TensorSpec(i.name, tuple(i.shape)) for i in self._session.get_inputs())
        self._outputs = tuple(TensorSpec(o.name, tuple(o.shape)) for o in self._session.get_outputs())
        self._names = [spec.name for spec in self._outputs]
        self._check = InputCheck(self._inputs, _longest_of(self._session))
        self._unit = _unit_of(self._inputs, self._names)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What :meth:`run` takes."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What :meth:`run` gives."""
        return self._outputs

    def run(self, inputs: Tensors) -> dict[str, NDArray[np.float32]]:
        """Run the graph once, a long step in pieces; threads may call it side by side."""
        session = self._live()
        self._check(inputs)
        name = self._inputs[0].name
        positions = inputs[name].shape[1] // self._unit if self._unit else 0
        if positions <= PIECE:
            return self._run(session, inputs)
        parts = []
        for row in range(0, len(inputs[name]), MOST_ROWS):
            block = {key: array[row : row + MOST_ROWS] for key, array in inputs.items()}
            parts.append(
                run_in_pieces(lambda piece: self._run(session, piece), block, name, self._unit, PIECE)
            )
        if len(parts) == 1:
            return parts[0]
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    def _run(self, session: ort.InferenceSession, inputs: Tensors) -> dict[str, NDArray[np.float32]]:
        try:
            values = session.run(self._names, dict(inputs))
        except _errors() as error:
            raise DeviceError(f"ONNX Runtime failed while running: {_first_line(error)}") from error
        return dict(zip(self._names, values, strict=True))

    def end_profile(self) -> list[dict[str, Any]]:
        """Events recorded since the executor was opened, as ONNX Runtime writes them; ends the recording.

        Raises
        ------
        BackendError
            The executor was not opened with ``profile=True``, or the recording has ended.
        """
        session = self._live()
        if self._folder is None:
            raise BackendError(
                "nothing is being recorded: open the executor with profile=True, and read it once"
            )
        path = Path(session.end_profiling())
        events: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        self._folder.cleanup()
        self._folder = None
        return events

    def close(self) -> None:
        """Free the session."""
        if self._session is not None and self._folder is not None:
            self._session.end_profiling()
            self._folder.cleanup()
            self._folder = None
        self._session = None

    def _live(self) -> ort.InferenceSession:
        if self._session is None:
            raise BackendError("the executor is closed: open the engine again")
        return self._session


def _open_session(model: bytes, threads: int, profile_folder: str | None) -> ort.InferenceSession:
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise BackendError("ONNX Runtime cannot be imported: pip install 'onnxruntime>=1.18'") from error
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Buffers are freed sooner in this order, so that a batch of patients moves less memory.
    options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
    options.log_severity_level = 4  # what fails is raised; nothing is written to stderr
    if profile_folder is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(profile_folder) / "ort")
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except _errors() as error:
        raise BackendError(
            f"ONNX Runtime {ort.__version__} refuses the graph: {_first_line(error)}"
        ) from error


def _longest_of(session: ort.InferenceSession) -> int:
    """Most positions that a graph says it takes at once; 0 where it says nothing."""
    said = session.get_modelmeta().custom_metadata_map.get("longest", "0")
    try:
        return int(said)
    except ValueError as error:
        raise BackendError(
            f"the graph says that it takes {said[:20]!r} positions at once, no number: export it again"
        ) from error


def _unit_of(inputs: tuple[TensorSpec, ...], outputs: list[str]) -> int:
    """Samples of a position of a graph that carries a state, so that a step of it can be cut; else 0."""
    if (
        [spec.name for spec in inputs[1:]] != [STATE]
        or outputs[-1:] != [STATE_OUT]
        or len(inputs[0].shape) < 2
    ):
        return 0
    length = inputs[0].shape[1]
    return unit_of(length)[0] if isinstance(length, str) else 1


@cache
def _errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: about fifteen classes that share no base but ``Exception``."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    kinds = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*kinds, RuntimeError)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
