"""Plans kept on this machine: a plan whose key or hash does not fit is built again, never loaded."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import astuple, dataclass
from pathlib import Path

import msgspec

from edgeecg.runtime.cache import check_own, default_folder, make_own, write_atomically
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
        Name, compute capability and memory of the GPU.
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

    def load(self, key: PlanKey, recipe: Recipe) -> Plan | None:
        """The plan of a key, or ``None`` where there is none that fits (the log says why)."""
        note_path, plan_path = self._paths(key)
        try:
            check_own(self.folder)
            note = msgspec.json.decode(note_path.read_bytes(), type=_Note)
            data = plan_path.read_bytes()  # read once: what is hashed is what is opened
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, RecursionError) as error:
            log.warning("cached plan %s cannot be read (%s): building it again", plan_path, error)
            return None
        if note.key != key:
            log.warning("cached plan %s is of another key: building it again", plan_path)
            return None
        if hashlib.sha256(data).hexdigest() != note.sha256:
            log.warning("cached plan %s does not have its hash: building it again", plan_path)
            return None
        return Plan(data, recipe, note.inputs, note.outputs, note.fallback)

    def save(self, key: PlanKey, plan: Plan) -> None:
        """Keep a plan; a reader sees the old one, the new one or none, never half of one."""
        note = _Note(key, hashlib.sha256(plan.data).hexdigest(), plan.inputs, plan.outputs, plan.fallback)
        note_path, plan_path = self._paths(key)
        make_own(self.folder)
        write_atomically(plan_path, plan.data)
        write_atomically(note_path, msgspec.json.format(msgspec.json.encode(note)))

    def discard(self, key: PlanKey) -> None:
        """Forget a plan that turned out to be no good."""
        for path in self._paths(key):
            path.unlink(missing_ok=True)

    def timing(self, library: str, gpu: str) -> bytes:
        """Timing cache of earlier builds; nothing where there is none, or none that can be read."""
        try:
            check_own(self.folder)
            return self._timing_path(library, gpu).read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            log.warning("no timing cache can be read in %s (%s): building takes longer", self.folder, error)
            return b""

    def keep_timing(self, library: str, gpu: str, data: bytes) -> None:
        """Keep the timing cache of a build."""
        if data:
            make_own(self.folder)
            write_atomically(self._timing_path(library, gpu), data)

    def _paths(self, key: PlanKey) -> tuple[Path, Path]:
        return self.folder / f"{key.name}.json", self.folder / f"{key.name}.plan"

    def _timing_path(self, library: str, gpu: str) -> Path:
        return self.folder / f"{hashlib.sha256(f'{library} {gpu}'.encode()).hexdigest()[:32]}.timing"
