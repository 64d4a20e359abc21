"""EdgeECG: beats and rhythms from a live ECG, with compact Transformers, from training to the edge device.

Nothing heavy is loaded until a name is used::

    import edgeecg

    with edgeecg.open_engine("small") as engine:
        stream = edgeecg.Stream(engine, fs=250)
        for event in stream.push(samples):
            print(event)
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# ONNX Runtime's wheels for Linux report to Microsoft from 1.29 on. It looks once, when it is loaded, so this
# stands before all that loads it; who wants the reports sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from edgeecg import errors as errors
    from edgeecg import explain as explain
    from edgeecg.bundle import Bundle as Bundle
    from edgeecg.io import Annotations as Annotations
    from edgeecg.io import Record as Record
    from edgeecg.io import read_annotations as read_annotations
    from edgeecg.io import read_record as read_record
    from edgeecg.pipeline.annotate import annotate as annotate
    from edgeecg.runtime.engine import Engine as Engine
    from edgeecg.runtime.engine import open_engine as open_engine
    from edgeecg.specs import Alarm as Alarm
    from edgeecg.specs import Beat as Beat
    from edgeecg.specs import Event as Event
    from edgeecg.specs import Gap as Gap
    from edgeecg.specs import Quality as Quality
    from edgeecg.specs import Rhythm as Rhythm
    from edgeecg.stream.pool import StreamPool as StreamPool
    from edgeecg.stream.session import Stream as Stream

__version__ = "0.1.0"

_HOME = {
    "Alarm": "edgeecg.specs",
    "Annotations": "edgeecg.io",
    "Beat": "edgeecg.specs",
    "Bundle": "edgeecg.bundle",
    "Engine": "edgeecg.runtime.engine",
    "Event": "edgeecg.specs",
    "Gap": "edgeecg.specs",
    "Quality": "edgeecg.specs",
    "Record": "edgeecg.io",
    "Rhythm": "edgeecg.specs",
    "Stream": "edgeecg.stream.session",
    "StreamPool": "edgeecg.stream.pool",
    "annotate": "edgeecg.pipeline.annotate",
    "open_engine": "edgeecg.runtime.engine",
    "read_annotations": "edgeecg.io",
    "read_record": "edgeecg.io",
}
"""Public name to the module that defines it."""

_ROOMS = ("errors", "explain")
"""Modules that are public names themselves."""

__all__ = [
    "Alarm",
    "Annotations",
    "Beat",
    "Bundle",
    "Engine",
    "Event",
    "Gap",
    "Quality",
    "Record",
    "Rhythm",
    "Stream",
    "StreamPool",
    "__version__",
    "annotate",
    "errors",
    "explain",
    "open_engine",
    "read_annotations",
    "read_record",
]


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name in _ROOMS:
        return import_module(f"edgeecg.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'edgeecg' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """Public names, loaded or not."""
    return sorted({*globals(), *__all__})
