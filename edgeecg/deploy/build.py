"""A network to a bundle."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Union

import msgspec

from edgeecg import __version__
from edgeecg.bundle import GRAPHS, Bundle, LeadPolicy, Precision, Thresholds, graph_part, write_bundle
from edgeecg.deploy.export import export
from edgeecg.deploy.graphset import GraphSet
from edgeecg.errors import BackendError, BundleError, ConfigError
from edgeecg.model.checkpoint import load_checkpoint, weights_of
from edgeecg.model.transformer import Network
from edgeecg.runtime.trt import Options
from edgeecg.specs import SignalSpec

__all__ = ["build_bundle", "build_engine", "export_checkpoint", "export_graphs"]


def export_graphs(
    network: Network,
    name: str,
    *,
    signal: SignalSpec | None = None,
    lead_policy: LeadPolicy = "fused",
    thresholds: Thresholds | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> GraphSet:
    """A network's FP32 graphs, checked against torch.

    Raises
    ------
    BackendError
        A graph does not reproduce torch.
    ConfigError
        The network's positions cannot stream.
    """
    exported = export(network)
    told = {**(provenance or {}), "export_error": exported.error}
    return GraphSet(
        name=name,
        model=network.spec,
        signal=signal or SignalSpec(),
        lead_policy=lead_policy,
        thresholds=thresholds or Thresholds(),
        graphs={graph_part("token", "fp32"): exported.token, graph_part("beat", "fp32"): exported.beat},
        weights=weights_of(network),
        provenance=told,
    )


def export_checkpoint(
    folder: Path,
    name: str | None = None,
    lead_policy: LeadPolicy = "fused",
) -> GraphSet:
    """The FP32 graphs of what ``edgeecg train`` left.

    Front end and thresholds are those of the checkpoint, where it names them.

    Parameters
    ----------
    name : str, optional
        What the bundle will call itself; the preset's name where left out.

    Raises
    ------
    ConfigError
        No checkpoint, or one whose settings cannot be read.
    """
    checkpoint = load_checkpoint(folder)
    meta = dict(checkpoint.meta)
    config = meta.get("config") or {}
    try:
        signal = msgspec.convert(config.get("signal", {}), SignalSpec)
        thresholds = msgspec.convert(meta.get("thresholds", {}), Thresholds)
    except (msgspec.ValidationError, BundleError) as error:
        raise ConfigError(f"{folder}/checkpoint.json: {error}") from error
    called = name or str(config.get("preset") or folder.resolve().name)
    return export_graphs(
        checkpoint.network,
        called,
        signal=signal,
        lead_policy=lead_policy,
        thresholds=thresholds,
        provenance={"training": meta, "edgeecg": __version__},
    )


def build_engine(bundle: Bundle, precision: Precision, options: Options | None = None) -> str:
    """Build what TensorRT is installed for, and say in a line what came of it.

    On a GPU the plans are built, proved by the golden vectors and kept for the next opening. Without one,
    TensorRT-RTX compiles the graphs, which proves that they are valid; nothing is kept. A GPU that TensorRT
    does not take is told: the bundle is as good on other machines.

    Raises
    ------
    BackendError
        TensorRT-RTX refuses a graph.
    """
    from edgeecg.runtime.engine import open_engine
    from edgeecg.runtime.trt import recipes, why_not
    from edgeecg.runtime.trt.build import build_plan
    from edgeecg.runtime.trt.library import find_library

    reason = why_not()
    if reason is None:
        try:
            with open_engine(bundle, "tensorrt", precision, tensorrt=options):
                return (
                    f"TensorRT engine of the {precision} graphs built, proved by the golden vectors, and kept"
                )
        except BackendError as error:
            return f"no TensorRT engine: {error}"
    try:
        library = find_library(("tensorrt_rtx",))
    except BackendError:
        return f"no TensorRT engine: {reason}"
    wanted = recipes(bundle)
    for name in GRAPHS:
        build_plan(library, bundle.graph(name, precision), replace(wanted[name], buckets=(1,)))
    return (
        f"the {precision} graphs compile with {library.key}; no engine is kept, as TensorRT cannot run here "
        f"({reason})"
    )


def build_bundle(
    network: Network,
    path: Union[str, os.PathLike[str]],
    name: str,
    *,
    signal: SignalSpec | None = None,
    lead_policy: LeadPolicy = "fused",
    thresholds: Thresholds | None = None,
    provenance: Mapping[str, Any] | None = None,
    graphs: Mapping[str, bytes] | None = None,
    default_precision: Precision = "fp32",
    created: str | None = None,
) -> Bundle:
    """Export a network and write its bundle.

    Parameters
    ----------
    path : path
        Where the ``.edgeecg`` file goes.
    graphs : mapping of path in the zip to ONNX bytes, optional
        Graphs of further precisions, e.g. ``graphs/token.int8.onnx``.
    created : str, optional
        UTC, ISO 8601; now where left out.

    Raises
    ------
    BackendError
        An exported graph does not reproduce torch.
    BundleError
        The file cannot be written.
    """
    exported = export_graphs(
        network, name, signal=signal, lead_policy=lead_policy, thresholds=thresholds, provenance=provenance
    )
    bundle = exported.adding(graphs or {}).bundle(default_precision, created)
    write_bundle(path, bundle)
    return bundle
