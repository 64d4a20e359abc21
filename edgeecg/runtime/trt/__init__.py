"""TensorRT: engines built on the device from the verified ONNX, kept, and run with CUDA graphs.

Importing this package loads neither TensorRT nor CUDA; opening something does.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from edgeecg.bundle import GRAPHS, Bundle, GraphName, Precision
from edgeecg.errors import BackendError, ConfigError, DeviceError
from edgeecg.runtime.cuda import Device, Library, open_device
from edgeecg.runtime.executor import Executor, Tensors
from edgeecg.runtime.trt.build import (
    BUCKETS,
    Extent,
    Plan,
    Progress,
    Recipe,
    beat_recipe,
    build_plan,
    token_recipe,
)
from edgeecg.runtime.trt.executor import TrtExecutor
from edgeecg.runtime.trt.library import TensorRTLibrary, load_library
from edgeecg.runtime.trt.plans import PlanKey, PlanStore
from edgeecg.runtime.trt.recover import OnDeviceError, Recovery
from edgeecg.runtime.trt.settings import Settings

__all__ = ["Options", "open_executor", "open_executors", "recipes", "run_once", "why_not"]

log = logging.getLogger("edgeecg.tensorrt")


@dataclass(frozen=True)
class Options:
    """How TensorRT engines are opened.

    Parameters
    ----------
    settings : Settings
        How they run.
    buckets : tuple of int
        Rows that steps are built for.
    hop_tokens : int
        Tokens of a step: 16 times the seconds of the streams' hop, or 160 for their windows. Another hop
        works too, more slowly: without CUDA graphs, and with the state copied to the device and back.
    dla : int, optional
        DLA core to prefer.
    gpu : int
        Which GPU.
    cuda : str
        ``auto``, ``pycuda`` or ``cuda-python``.
    on_device_error : str
        After a sticky error, which takes the device's context with it: ``rebuild`` opens the engines anew, or
        falls to ONNX Runtime where that fails; ``cpu`` falls at once; ``raise`` leaves it to the caller.
    cache : Path, optional
        Folder of plans.
    progress : callable, optional
        Told of the builder's phases.

    Raises
    ------
    ConfigError
        ``on_device_error`` is none of these.
    """

    settings: Settings = field(default_factory=Settings)
    buckets: tuple[int, ...] = BUCKETS
    hop_tokens: int = 8
    dla: int | None = None
    gpu: int = 0
    cuda: Library = "auto"
    on_device_error: OnDeviceError = "rebuild"
    cache: Path | None = None
    progress: Progress | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        known = get_args(OnDeviceError)
        if self.on_device_error not in known:  # else it would be taken for cpu
            raise ConfigError(f"no on_device_error {self.on_device_error!r}: choose {', '.join(known)}")


def why_not(options: Options = Options()) -> str | None:
    """Why TensorRT cannot be used here, in one line with the way out; ``None`` where it can."""
    try:
        load_library()
        open_device(options.gpu, options.cuda, options.settings.graphs).close()
    except BackendError as error:
        return str(error)
    return None


def recipes(bundle: Bundle, options: Options = Options()) -> Mapping[GraphName, Recipe]:
    """What both graphs of a bundle are built for."""
    token = token_recipe(bundle.spec, options.hop_tokens, options.buckets)
    beat = beat_recipe(options.buckets)
    return {"token": replace(token, dla=options.dla), "beat": replace(beat, dla=options.dla)}


def open_executors(
    bundle: Bundle, precision: Precision, options: Options = Options()
) -> tuple[Executor, Executor]:
    """Open both graphs of a bundle, building what is not cached yet.

    Returns
    -------
    Executors of the token and the beat graph; they survive a lost CUDA context as ``options`` say.

    Raises
    ------
    BackendError
        TensorRT or a GPU is missing, the graph is refused, or its golden vectors are not reproduced.
    """
    from edgeecg.runtime.ort import OrtExecutor

    recovery = Recovery(
        lambda: _open_all(bundle, precision, options),
        lambda: [OrtExecutor(bundle.graph(name, precision)) for name in GRAPHS],
        options.on_device_error,
    )
    token, beat = recovery.executors()
    return token, beat


def _open_all(bundle: Bundle, precision: Precision, options: Options) -> list[TrtExecutor]:
    """Both graphs, or neither: where the second is refused, the first gives its device back."""
    with ExitStack() as opened:
        executors = [opened.enter_context(open_executor(bundle, name, precision, options)) for name in GRAPHS]
        opened.pop_all()
    return executors


def open_executor(
    bundle: Bundle, name: GraphName, precision: Precision, options: Options = Options()
) -> TrtExecutor:
    """Open one graph: from the cached plan if it fits, else from a new build, proved by golden vectors."""
    library = load_library()
    device = open_device(options.gpu, options.cuda, options.settings.graphs)
    try:
        return _open_on(device, library, bundle, name, precision, options)
    except BaseException:
        device.close()
        raise


def _open_on(
    device: Device,
    library: TensorRTLibrary,
    bundle: Bundle,
    name: GraphName,
    precision: Precision,
    options: Options,
) -> TrtExecutor:
    from edgeecg.runtime.trt.prove import prove

    model = bundle.graph(name, precision)
    recipe = recipes(bundle, options)[name]
    key = PlanKey(bundle.digest, hashlib.sha256(model).hexdigest(), library.key, device.info.key, recipe.key)
    store = PlanStore(options.cache)
    plan = store.load(key, recipe)
    if plan is not None:
        try:
            return TrtExecutor(library, plan, device, options.settings, owns_device=True)
        except DeviceError:
            raise  # the device has no room, say: the plan is as good as it was
        except BackendError as error:
            log.warning("the cached plan is no good (%s): building it again", error)
            store.discard(key)
    timing = store.timing(library.key, device.info.key)
    capability = device.info.capability
    plan = build_plan(library, model, recipe, options.progress, timing, capability, device.active)
    executor = TrtExecutor(library, plan, device, options.settings, owns_device=True)
    try:
        prove(executor, bundle, name, precision)
        _keep(store, key, plan)
    except BaseException:
        executor.close()  # before its device: the traceback keeps it alive
        raise
    return executor


def _keep(store: PlanStore, key: PlanKey, plan: Plan) -> None:
    """Keep a plan for the next start; one that there is no room for runs all the same."""
    try:
        store.save(key, plan)
        store.keep_timing(key.library, key.gpu, plan.timing)
    except OSError as error:
        log.warning(
            "the plan cannot be kept in %s (%s), and the next start builds it again: name another folder by "
            "EDGEECG_CACHE",
            store.folder,
            error,
        )


def run_once(model: bytes, inputs: Tensors, options: Options) -> dict[str, NDArray[np.float32]]:
    """Build a graph for the very shapes of these inputs, and run it: for a look at what it computes.

    Parameters
    ----------
    model : bytes
        Serialized ONNX model of float32 inputs and outputs; ``edgeecg.deploy.layers.show_floats`` makes one
        that gives its layers. Such an engine fuses less than the one that is deployed, and is not kept.
    inputs : mapping of name to (rows, length, ...) float32
    options : Options
        Which GPU, which CUDA library, and who is told of the build.

    Raises
    ------
    BackendError
        TensorRT or a GPU is missing, or the graph is refused.
    """
    (rows,) = {len(array) for array in inputs.values()}
    extents = {name: Extent(*[array.shape[1]] * 3) for name, array in inputs.items()}
    library = load_library()
    with closing(open_device(options.gpu, options.cuda, False)) as device:
        recipe, capability = Recipe(extents, (rows,)), device.info.capability
        plan = build_plan(library, model, recipe, options.progress, b"", capability, device.active)
        with TrtExecutor(library, plan, device, Settings(graphs=False, transfer="copy")) as executor:
            return executor.run(inputs)
