"""Plans kept on this machine: a plan whose key or hash does not fit is built again, never loaded."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import astuple, dataclass
from pathlib import Path

import msgspec

from edgeecg.runtime.cache import OwnFolder, default_folder
from edgeecg.runtime.executor import TensorSpec
from edgeecg.runtime.trt.build import Plan, Recipe

__all__ = ["PlanKey", "PlanStore"]

log = logging.getLogger("edgeecg.tensorrt")


@dataclass(frozen=True)
class PlanKey:
    """All that a plan depends on: change any and it must be built again.

    Parameters
    ----------
    bundle : str
        Digest of the bundle.
    graph : str
        SHA-256 of the ONNX graph.
    library : str
        TensorRT and its version.
    gpu : str
        Name, compute capability, memory and multiprocessors of the GPU.
    recipe : str
        Digest of the recipe.
    """

    bundle: str
    graph: str
    library: str
    gpu: str
    recipe: str

    @property
    def name(self) -> str:
        """File name without suffix."""
        return hashlib.sha256("\n".join(astuple(self)).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class _Note:
    """What lies beside a plan."""

    key: PlanKey
    sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    fallback: tuple[str, ...]


class PlanStore:
    """A folder of plans and timing caches.

    Parameters
    ----------
    folder : Path, optional
        Made when first written to; ``runtime.cache.default_folder()`` where left out.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (folder or default_folder()) / "tensorrt"
        self._kept = OwnFolder(self.folder)

    def load(self, key: PlanKey, recipe: Recipe) -> Plan | None:
        """The plan of a key, or ``None`` where there is none that fits (the log says why)."""
        note_name, plan_name = self._names(key)
        path = self.folder / plan_name
        try:
            said, data = self._kept.read(note_name, plan_name)  # once: what is hashed is what is opened
            note = msgspec.json.decode(said, type=_Note)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, RecursionError) as error:
            log.warning("cached plan %s cannot be read (%s): building it again", path, error)
            return None
        if note.key != key:
            log.warning("cached plan %s is of another key: building it again", path)
            return None
        if hashlib.sha256(data).hexdigest() != note.sha256:
            log.warning("cached plan %s does not have its hash: building it again", path)
            return None
        return Plan(data, recipe, note.inputs, note.outputs, note.fallback)

    def save(self, key: PlanKey, plan: Plan) -> None:
        """Keep a plan; a reader sees the old one, the new one or none, never half of one."""
        note = _Note(key, hashlib.sha256(plan.data).hexdigest(), plan.inputs, plan.outputs, plan.fallback)
        note_name, plan_name = self._names(key)
        said = msgspec.json.format(msgspec.json.encode(note))
        self._kept.write({plan_name: plan.data, note_name: said})

    def discard(self, key: PlanKey) -> None:
        """Forget a plan that turned out to be no good."""
        self._kept.discard(*self._names(key))

    def timing(self, library: str, gpu: str) -> bytes:
        """Timing cache of earlier builds; nothing where there is none, or none that can be read."""
        try:
            return self._kept.read(self._timing_name(library, gpu))[0]
        except FileNotFoundError:
            return b""
        except OSError as error:
            log.warning("no timing cache can be read in %s (%s): building takes longer", self.folder, error)
            return b""

    def keep_timing(self, library: str, gpu: str, data: bytes) -> None:
        """Keep the timing cache of a build."""
        if data:
            self._kept.write({self._timing_name(library, gpu): data})

    def _names(self, key: PlanKey) -> tuple[str, str]:
        return f"{key.name}.json", f"{key.name}.plan"

    def _timing_name(self, library: str, gpu: str) -> str:
        return f"{hashlib.sha256(f'{library} {gpu}'.encode()).hexdigest()[:32]}.timing"
