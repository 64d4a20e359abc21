"""Life after a sticky CUDA error: both engines of a bundle are opened anew, or fall to the CPU.

A sticky error takes the primary context with it, and so every engine of the process. Executors here
are stateless (a step brings its state along), so the step that failed is run again on what replaces
them: no sample is lost, and the stream is late by the time that this took. That time is told in an
``Incident`` and in the log. A :class:`~edgeecg.runtime.trt.cohort.Cohort` does lose its state: its owner
must make another and report the gap.

Whether a device can be opened again within the process is the driver's affair. After an illegal address
CUDA says that the process must end, and driver 580 keeps to it: the policy ``rebuild`` then ends on the CPU
(docs/gpu-runs.md). Who wants the GPU back takes ``raise``, and has the service started again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import BackendError
from edgeecg.runtime.cuda import CudaError
from edgeecg.runtime.executor import Executor, Tensors, TensorSpec

__all__ = ["Abandonable", "Incident", "OnDeviceError", "RecoveringExecutor", "Recovery"]

OnDeviceError = Literal["raise", "rebuild", "cpu"]

log = logging.getLogger("edgeecg.tensorrt")


class Abandonable(Executor, Protocol):
    """An executor that can be dropped without another call to its device."""

    def abandon(self) -> None:
        """Reset the device and forget everything on it."""
        ...


@dataclass(frozen=True)
class Incident:
    """A loss of the device: what was said, seconds until the stream went on, and on what."""

    reason: str
    seconds: float
    now: Literal["tensorrt", "onnxruntime"]


class Recovery:
    """Executors that are replaced together.

    Parameters
    ----------
    reopen : callable
        Opens all executors on the device.
    fallback : callable
        Opens all of them on the CPU.
    policy : str
        ``raise`` (the caller decides), ``rebuild`` (on the device; on the CPU if that fails), ``cpu``.
    """

    def __init__(
        self,
        reopen: Callable[[], Sequence[Abandonable]],
        fallback: Callable[[], Sequence[Executor]],
        policy: OnDeviceError = "rebuild",
    ) -> None:
        self._reopen, self._fallback, self._policy = reopen, fallback, policy
        self._lock = threading.Lock()
        self._on_device: tuple[Abandonable, ...] = tuple(reopen())
        self._live: tuple[Executor, ...] = self._on_device
        self.incidents: list[Incident] = []

    def executors(self) -> tuple[Executor, ...]:
        """One executor per graph, each of which survives the loss of the device."""
        return tuple(RecoveringExecutor(self, index) for index in range(len(self._live)))

    def current(self, index: int) -> Executor:
        """What runs a graph now; while another thread replaces the executors it is waited for."""
        with self._lock:
            return self._live[index]

    def replace(self, failed: Executor, error: CudaError) -> None:
        """Replace all executors, unless another thread has done so since ``failed`` ran.

        Raises
        ------
        CudaError
            The policy is to raise.
        """
        if self._policy == "raise" or not error.lost:
            raise error
        with self._lock:
            if all(failed is not live for live in self._live):
                return
            begin = time.monotonic()
            if not error.gone:
                for executor in self._on_device:
                    executor.abandon()
            now = self._replacement()
            incident = Incident(str(error), time.monotonic() - begin, now)
            self.incidents.append(incident)
            log.error("%s: went on with %s after %.2f s", incident.reason, now, incident.seconds)

    def _replacement(self) -> Literal["tensorrt", "onnxruntime"]:
        if self._policy == "rebuild":
            try:
                self._on_device = tuple(self._reopen())
            except BackendError as error:
                log.error("the engines cannot be opened again (%s): falling to the CPU", error)
            else:
                self._live = self._on_device
                return "tensorrt"
        self._on_device = ()
        self._live = tuple(self._fallback())
        return "onnxruntime"


class RecoveringExecutor(Executor):
    """Executor of one graph, through whatever runs it at the time."""

    def __init__(self, recovery: Recovery, index: int) -> None:
        self._recovery, self._index = recovery, index

    @property
    def current(self) -> Executor:
        """What runs the graph now."""
        return self._recovery.current(self._index)

    @property
    def incidents(self) -> Sequence[Incident]:
        """Losses of the device so far."""
        return tuple(self._recovery.incidents)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What :meth:`run` takes."""
        return self.current.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What :meth:`run` gives."""
        return self.current.outputs

    def run(self, inputs: Tensors) -> dict[str, NDArray[np.float32]]:
        """Run the graph once; after a sticky error again, on what replaced the device's engines.

        So too where another thread had the error and dropped the executor before this one came to run it.
        """
        executor = self.current
        try:
            return executor.run(inputs)
        except BackendError as error:
            if self.current is executor:  # else another thread has replaced it meanwhile
                if not isinstance(error, CudaError):
                    raise
                self._recovery.replace(executor, error)
        return self.current.run(inputs)

    def close(self) -> None:
        """Close what runs the graph now."""
        self.current.close()
