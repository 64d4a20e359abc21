"""What ``edgeecg compare`` puts side by side: a graph of a bundle or a file, and what runs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeecg.bundle import GRAPHS, HALF, PRECISIONS, Bundle, GraphName, Precision, packaged_names
from edgeecg.cli.builder import builder_options
from edgeecg.cli.common import progress_bar
from edgeecg.errors import ConfigError, InputError, MissingExtra
from edgeecg.runtime import native
from edgeecg.runtime.executor import Executor
from edgeecg.runtime.ort import OrtExecutor

__all__ = ["Side", "graphs_of", "onnx_tools", "parse_side", "unequal"]

EXECUTORS = ("onnxruntime", "native", "tensorrt", "reference")


@dataclass(frozen=True)
class Side:
    """One side of a comparison: ``SOURCE[:PRECISION][@EXECUTOR]``."""

    text: str
    source: str
    precision: Precision
    executor: str
    bundle: Bundle | None

    def model(self, name: GraphName) -> bytes:
        """The ONNX graph."""
        return (
            Path(self.source).read_bytes() if self.bundle is None else self.bundle.graph(name, self.precision)
        )

    def open(self, name: GraphName) -> Executor:
        """Something that runs it."""
        if self.executor == "reference":
            exact: Executor = onnx_tools().ReferenceExecutor(self.model(name))
            return exact
        if self.executor == "tensorrt":
            bundle = self._needed_bundle("a TensorRT engine is of")
            from edgeecg.runtime.trt import open_executor

            with progress_bar() as bars:
                return open_executor(bundle, name, self.precision, builder_options(bars))
        if self.executor == "native":
            return native.open_executor(self._needed_bundle("compiled kernels are of"), name, self.precision)
        return OrtExecutor(self.model(name))

    def _needed_bundle(self, what: str) -> Bundle:
        if self.bundle is None:
            raise ConfigError(f"{self.text}: {what} a bundle, not of a graph alone: name the bundle")
        return self.bundle


def onnx_tools() -> Any:
    """``edgeecg.deploy.layers``, which needs the extra ``train``."""
    try:
        import edgeecg.deploy.layers as tools
    except ImportError as error:
        raise MissingExtra("onnx", "train", "looking into layers and the reference executor") from error
    return tools


def parse_side(text: str) -> Side:
    """Take ``small:fp16@reference`` apart; what holds FP16 goes to the reference unless told otherwise."""
    source, executor = _source_of(text)
    head, colon, tail = source.rpartition(":")
    precision: Precision | None = None
    if Path(source).exists():
        colon = ""  # of a name
    elif colon and tail in PRECISIONS:
        source, precision = head, tail
    elif colon and (head in packaged_names() or Path(head).is_file()):
        raise ConfigError(f"{text}: no precision {tail!r}, choose {', '.join(PRECISIONS)}")
    if executor and executor not in EXECUTORS:
        raise ConfigError(f"{text}: no executor {executor!r}, choose {', '.join(EXECUTORS)}")
    if source.endswith(".onnx"):
        if not Path(source).is_file():
            raise InputError(f"no graph {source}: give the path of an .onnx file, or a bundle")
        precision = precision or ("fp16" if holds_half(Path(source).read_bytes()) else "fp32")
        return Side(text, source, precision, executor or default_executor(precision), None)
    bundle = Bundle.open(source)
    wanted = precision or (native.PRECISION if executor == "native" else bundle.manifest.default_precision)
    return Side(text, source, wanted, executor or default_executor(wanted), bundle)


def _source_of(text: str) -> tuple[str, str]:
    """What stands before the executor, and the executor; names of folders and files may have an @ too."""
    source, at, executor = text.rpartition("@")
    if not at or Path(text).exists():
        return text, ""
    bare = text.rpartition(":")[0]  # without a precision
    return (text, "") if executor not in EXECUTORS and bare and Path(bare).exists() else (source, executor)


def default_executor(precision: Precision) -> str:
    """The reference for what ONNX Runtime's CPU would compute in FP32, and so show no overflow of."""
    return "reference" if precision in HALF else "onnxruntime"


def holds_half(model: bytes) -> bool:
    """Whether a graph computes anything in FP16; without the tools of ONNX that is not known, and no."""
    try:
        found: bool = onnx_tools().holds_half(model)
    except MissingExtra:
        return False
    return found


def graphs_of(sides: tuple[Side, Side], wanted: str) -> tuple[GraphName, ...]:
    """Graphs that both sides have: a lone ONNX file is the one that its inputs say."""
    lone = [side for side in sides if side.bundle is None]
    if not lone:
        names: tuple[GraphName, ...] = tuple(name for name in GRAPHS if wanted in (name, "both"))
        widths = {side.bundle.spec.beat_inputs for side in sides if side.bundle is not None}
        if "beat" in names and len(widths) > 1:  # told before anything is compared
            raise unequal("beat", ", ".join(map(str, sorted(widths))))
        return names
    with OrtExecutor(lone[0].model("token")) as executor:
        known = {spec.name for spec in executor.inputs}
    if not known & {"signal", "beats"}:
        takes = ", ".join(sorted(known))
        raise InputError(f"{lone[0].source} takes {takes}: it is neither a token nor a beat graph")
    return ("token",) if "signal" in known else ("beat",)


def unequal(name: GraphName, widths: str) -> ConfigError:
    """Graphs that cannot be fed the same."""
    return ConfigError(
        f"their {name} graphs take inputs of different widths ({widths}): of such models --graph token "
        "compares heads and labels"
    )
