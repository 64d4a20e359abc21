"""A network to a bundle."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Union

from edgeecg.bundle import Bundle, LeadPolicy, Precision, Thresholds, graph_part, write_bundle
from edgeecg.deploy.export import export
from edgeecg.deploy.graphset import GraphSet
from edgeecg.model.checkpoint import weights_of
from edgeecg.model.transformer import Network
from edgeecg.specs import SignalSpec

__all__ = ["build_bundle", "export_graphs"]


def export_graphs(
    network: Network,
    name: str,
    *,
    signal: SignalSpec | None = None,
    lead_policy: LeadPolicy = "best",
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
    return GraphSet(
        name=name,
        model=network.spec,
        signal=signal or SignalSpec(),
        lead_policy=lead_policy,
        thresholds=thresholds or Thresholds(),
        graphs={graph_part("token", "fp32"): exported.token, graph_part("beat", "fp32"): exported.beat},
        weights=weights_of(network),
        provenance=dict(provenance or {}),
    )


def build_bundle(
    network: Network,
    path: Union[str, os.PathLike[str]],
    name: str,
    *,
    signal: SignalSpec | None = None,
    lead_policy: LeadPolicy = "best",
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
