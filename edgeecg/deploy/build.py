"""A network to a bundle."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Union

from edgeecg.bundle import Bundle, LeadPolicy, Precision, Thresholds, graph_part, write_bundle
from edgeecg.deploy.export import export
from edgeecg.deploy.golden import golden_inputs, golden_part
from edgeecg.model.checkpoint import weights_of
from edgeecg.model.transformer import Network
from edgeecg.specs import SignalSpec

__all__ = ["build_bundle", "now"]


def now() -> str:
    """UTC, to the second, ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


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
    exported = export(network)
    models = {graph_part("token", "fp32"): exported.token, graph_part("beat", "fp32"): exported.beat}
    models |= dict(graphs or {})
    parts = {
        **models,
        "golden.npz": golden_part(golden_inputs(network.spec, exported.token, exported.beat), models),
        "weights.safetensors": weights_of(network),
    }
    return write_bundle(
        path,
        name=name,
        created=created or now(),
        model=network.spec,
        parts=parts,
        signal=signal or SignalSpec(),
        lead_policy=lead_policy,
        default_precision=default_precision,
        thresholds=thresholds or Thresholds(),
        provenance=provenance,
    )
