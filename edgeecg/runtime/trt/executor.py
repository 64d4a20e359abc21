"""A TensorRT engine behind the executor protocol: batch buckets, CUDA graphs, pinned buffers."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import BackendError, SignalError
from edgeecg.runtime.cuda import CudaError, Device, Stream
from edgeecg.runtime.executor import STATE, Executor, Tensors, TensorSpec, check_inputs, run_in_pieces
from edgeecg.runtime.trt.api import ICudaEngine, IExecutionContext, Runtime
from edgeecg.runtime.trt.build import Extent, Plan
from edgeecg.runtime.trt.cohort import Cohort
from edgeecg.runtime.trt.lane import Clock, Lane, Transfer
from edgeecg.runtime.trt.library import TensorRTLibrary
from edgeecg.runtime.trt.settings import WAITS, Settings, StageTimes, Wait, choose_slices

__all__ = ["TrtExecutor"]


class TrtExecutor(Executor):
    """Runs one plan on one GPU. Threads may share it: calls wait for each other.

    Parameters
    ----------
    library : TensorRTLibrary
        What built the plan.
    plan : Plan
        The engine.
    device : Device
        The GPU; it must stay open as long as the executor.
    settings : Settings, optional
        How to run; the defaults where left out.
    owns_device : bool
        Close the device with the executor.

    Raises
    ------
    BackendError
        TensorRT cannot use CUDA, or does not load the plan.
    """

    def __init__(
        self,
        library: TensorRTLibrary,
        plan: Plan,
        device: Device,
        settings: Settings | None = None,
        owns_device: bool = False,
    ) -> None:
        self._library, self._plan, self._device = library, plan, device
        settings = settings or Settings()
        self._owns_device = False  # not before all went well: whoever opened it may try once more
        self._lock = threading.RLock()
        self._lanes: dict[int, Lane] = {}
        self._graphs = settings.graphs and device.captures
        self._wait_by = settings.wait
        self._transfer: Transfer = "copy" if settings.transfer == "measure" else settings.transfer
        self._engine: ICudaEngine | None = None
        self._runtime: Runtime | None = None
        self._open = True
        with device.active():
            self._stream = device.stream()
            self._done = {wait: device.event(wait == "block", timing=False) for wait in WAITS}
            self._clock = Clock(device, self._stream)
        try:
            self._load()
            if settings.transfer == "measure" and device.info.integrated:
                self._transfer = self._measure_transfer()
        except BaseException:
            self.close()  # before its device: the traceback keeps it alive
            raise
        self._owns_device = owns_device

    def _load(self) -> None:
        with self._device.active():
            self._runtime = self._library.runtime()
            self._engine = self._runtime.deserialize_cuda_engine(self._plan.data)
        if self._engine is None:
            key, complaint = self._library.key, self._library.complaint()
            raise BackendError(f"{key} does not load the plan: {complaint}")
        check_types(self._library, self._engine)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What :meth:`run` takes."""
        return self._plan.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What :meth:`run` gives."""
        return self._plan.outputs

    @property
    def plan(self) -> Plan:
        """What it runs."""
        return self._plan

    @property
    def transfer(self) -> Transfer:
        """How data comes to the device, as set or measured."""
        return self._transfer

    @property
    def stream(self) -> Stream:
        """The queue that all its work goes through."""
        return self._stream

    def contexts(self) -> list[IExecutionContext]:
        """Contexts made so far, one a profile; let go of them before the executor is closed."""
        return [lane.context for lane in self._lanes.values()]

    def watch(self, profiler: object) -> None:
        """Have the contexts made so far tell TensorRT's ``IProfiler`` how long each layer takes."""
        for context in self.contexts():
            context.profiler = profiler
            context.enqueue_emits_profile = True

    @property
    def most_rows(self) -> int:
        """Rows of the greatest batch bucket: what a cohort may have."""
        return self._plan.recipe.buckets[-1]

    @property
    def step_length(self) -> int:
        """Second dimension of the inputs of a step: what buckets and cohorts are built for."""
        return next(iter(self._plan.recipe.extents.values())).step

    def again(self, settings: Settings) -> TrtExecutor:
        """Another executor of the same plan on the same device, which stays this one's."""
        return TrtExecutor(self._library, self._plan, self._device, settings)

    def cohort(self, rows: int) -> Cohort:
        """Fresh streams whose state stays on the device."""
        return Cohort(self, rows)

    @contextmanager
    def locked(self) -> Iterator[Device]:
        """Keep other threads out, with the device's context current."""
        with self._lock, self._device.active():
            self._live()
            yield self._device

    def launch(self, lane: Lane, key: Hashable, elsewhere: Mapping[str, int]) -> None:
        """Queue a step of a lane, as a CUDA graph where graphs are on."""
        lane.launch(key, elsewhere, self._graphs)

    def forget_graphs(self, profile: int, owner: object) -> None:
        """Destroy the graphs of a lane whose key is ``(owner, ...)``."""
        if profile in self._lanes:
            self._lanes[profile].forget(lambda key: isinstance(key, tuple) and key[0] is owner)

    def run(self, inputs: Tensors) -> dict[str, NDArray[np.float32]]:
        """Run the graph once, in as many buckets as the rows need."""
        return self._run(inputs)[0]

    def run_as(self, inputs: Tensors, graphs: bool, wait: Wait) -> dict[str, NDArray[np.float32]]:
        """Run as :meth:`run` does, with or without CUDA graph and by one way of waiting: to compare them."""
        with self._lock:
            kept = self._graphs, self._wait_by
            self._graphs, self._wait_by = graphs and self._device.captures, wait
            try:
                return self._run(inputs)[0]
            finally:
                self._graphs, self._wait_by = kept

    def run_timed(self, inputs: Tensors) -> tuple[dict[str, NDArray[np.float32]], StageTimes]:
        """Run as :meth:`run` does, without CUDA graphs, and time the parts by events on the device."""
        outputs, times = self._run(inputs, timed=True)
        total = np.sum([(t.enqueue, t.copy_in, t.compute, t.copy_out) for t in times], axis=0)
        return outputs, StageTimes(*(float(t) for t in total))

    def _run(
        self, inputs: Tensors, timed: bool = False
    ) -> tuple[dict[str, NDArray[np.float32]], list[StageTimes]]:
        check_inputs(self.inputs, inputs)
        rows = len(inputs[self.inputs[0].name])
        recipe = self._plan.recipe
        for name, extent in recipe.extents.items():
            if inputs[name].shape[1] > extent.longest:
                return self._run_long(inputs, name, extent, timed)
        exact = all(inputs[name].shape[1] == extent.step for name, extent in recipe.extents.items())
        open_profile = len(recipe.buckets)
        parts: list[dict[str, NDArray[np.float32]]] = []
        times: list[StageTimes] = []
        with self.locked():
            for profile, start, count in choose_slices(
                rows, exact, recipe.buckets, recipe.rows(open_profile)
            ):
                piece = {name: array[start : start + count] for name, array in inputs.items()}
                there = recipe.rows(profile) if exact else count
                lane = self.lane(profile, there, piece)
                for name, array in piece.items():
                    lane.host(name)[:count] = array
                    lane.host(name)[count:] = 0
                if timed:
                    times.append(self._step_timed(lane))
                else:
                    lane.launch("stateless", {}, self._graphs and exact)
                    self.wait()
                shown = slice(count) if count < there else ...  # of any shape where nothing is padded
                parts.append({spec.name: lane.host(spec.name)[shown].copy() for spec in self.outputs})
        if len(parts) == 1:
            return parts[0], times
        return {
            spec.name: np.concatenate([part[spec.name] for part in parts]) for spec in self.outputs
        }, times

    def _run_long(
        self, inputs: Tensors, name: str, extent: Extent, timed: bool
    ) -> tuple[dict[str, NDArray[np.float32]], list[StageTimes]]:
        """A step that is longer than the engine takes, in pieces; only a graph with a state can go on."""
        if set(inputs) != {name, STATE}:
            raise SignalError(
                f"input {name} has length {inputs[name].shape[1]}, but the engine was built for at most "
                f"{extent.longest}: cut it into shorter steps"
            )
        times: list[StageTimes] = []

        def run(piece: Tensors) -> dict[str, NDArray[np.float32]]:
            outputs, taken = self._run(piece, timed)
            times.extend(taken)
            return outputs

        unit = extent.shortest
        return run_in_pieces(run, inputs, name, unit, extent.longest // unit), times

    def _step_timed(self, lane: Lane) -> StageTimes:
        begin = time.perf_counter()
        self._clock.start()
        lane.queue({}, self._clock.mark)
        enqueue = 1e3 * (time.perf_counter() - begin)
        self.wait()
        return StageTimes(enqueue, *self._clock.parts())

    def lane(self, profile: int, rows: int, like: Mapping[str, NDArray[np.float32]]) -> Lane:
        """The lane of a profile, fitted to ``rows`` rows of inputs shaped as ``like``."""
        lane = self._lanes.get(profile)
        if lane is None:
            specs, way = (self.inputs, self.outputs), self._transfer
            lane = Lane(self._library, self._live(), self._device, self._stream, profile, specs, way)
            self._lanes[profile] = lane
        lane.fit({name: (rows, *array.shape[1:]) for name, array in like.items()})
        return lane

    def wait(self) -> None:
        """Wait for what is queued, as the settings say; errors of the device come up here."""
        done = self._done[self._wait_by]
        done.record(self._stream)
        if self._wait_by == "block":
            done.synchronize()
        else:
            while not done.done():
                pass

    def _measure_transfer(self) -> Transfer:
        """Time a step of one row both ways, and keep the faster."""
        recipe = self._plan.recipe
        example = {
            spec.name: np.zeros(recipe.shapes(spec, 0)[1], np.float32) for spec in self.inputs
        }  # bucket 0
        elapsed: dict[Transfer, float] = {}
        ways: tuple[Transfer, ...] = ("copy", "mapped")
        for way in ways:
            self._transfer = way
            for _ in range(3):
                self.run(example)
            begin = time.perf_counter()
            for _ in range(50):
                self.run(example)
            elapsed[way] = time.perf_counter() - begin
            with self._device.active():
                self._close_lanes()
        return min(ways, key=lambda way: elapsed[way])

    def _live(self) -> ICudaEngine:
        if self._engine is None:
            raise BackendError("the executor is closed: open the engine again")
        return self._engine

    def _close_lanes(self) -> None:
        for lane in self._lanes.values():
            lane.close()
        self._lanes.clear()

    def close(self) -> None:
        """Free contexts, buffers and graphs, and the device where it is the executor's own.

        Of a lost context nothing can be freed, and nothing is left to free: it is let go. One that somebody
        else has reset is not reset again, which would take the new one.
        """
        with self._lock:
            if not self._open:
                return
            try:
                self._free()
            except CudaError as error:
                if not error.lost:
                    raise
                self._forget()
                if not error.gone:
                    with suppress(CudaError):
                        self._device.reset()

    def _free(self) -> None:
        with self._device.active():
            self._stream.synchronize()
            self._close_lanes()
            self._clock.close()
            for event in self._done.values():
                event.free()
            self._stream.free()
            self._engine = None
            self._runtime = None
        self._open = False
        if self._owns_device:
            self._device.close()

    def abandon(self) -> None:
        """After a sticky error: reset the device, which frees all, without another call into the engine."""
        with self._lock:
            if self._open:
                self._forget()
                self._device.reset()

    def _forget(self) -> None:
        self._open = False
        self._lanes.clear()
        self._engine = None


def check_types(library: TensorRTLibrary, engine: ICudaEngine) -> None:
    """Hold the engine's inputs and outputs to float32, which is all that buffers are made for."""
    wanted: Any = library.module.DataType.FLOAT
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        if engine.get_tensor_dtype(name) != wanted:
            raise BackendError(f"{name} of the engine is not float32: export the graph again")
