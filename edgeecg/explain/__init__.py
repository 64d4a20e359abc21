r"""Why did it say V? Explanations of beats and rhythms, and measures of whether they are about the model.

Nothing heavy is loaded until a name is used::

    import edgeecg

    why = edgeecg.explain.explain(edgeecg.read_record("mitdb/119"), at=173035)
    print(*why.sentences(), sep="\n")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgeecg.errors import MissingExtra

if TYPE_CHECKING:
    from edgeecg.explain.concept_hearts import synthetic_sets as synthetic_sets
    from edgeecg.explain.concepts import CONCEPTS as CONCEPTS
    from edgeecg.explain.concepts import ConceptSets as ConceptSets
    from edgeecg.explain.concepts import real_examples as real_examples
    from edgeecg.explain.explanation import Explanation as Explanation
    from edgeecg.explain.explanation import explain as explain
    from edgeecg.explain.methods import METHODS as METHODS
    from edgeecg.explain.methods import Attribution as Attribution
    from edgeecg.explain.methods import attribute as attribute
    from edgeecg.explain.methods import method_of as method_of
    from edgeecg.explain.page import write as write
    from edgeecg.explain.question import LABELS as LABELS
    from edgeecg.explain.question import Question as Question
    from edgeecg.explain.question import ask as ask
    from edgeecg.explain.tcav import score_concepts as score_concepts
    from edgeecg.explain.trace import load_network as load_network
    from edgeecg.explain.versions import FEATURES as FEATURES
    from edgeecg.explain.versions import FeatureView as FeatureView
    from edgeecg.explain.versions import feature_view as feature_view

_HOME = {
    "CONCEPTS": "concepts",
    "ConceptSets": "concepts",
    "Attribution": "methods",
    "Explanation": "explanation",
    "FEATURES": "versions",
    "FeatureView": "versions",
    "LABELS": "question",
    "METHODS": "methods",
    "Question": "question",
    "ask": "question",
    "attribute": "methods",
    "explain": "explanation",
    "feature_view": "versions",
    "load_network": "trace",
    "method_of": "methods",
    "real_examples": "concepts",
    "score_concepts": "tcav",
    "synthetic_sets": "concept_hearts",
    "write": "page",
}
"""Public name to the module that defines it."""

_NEEDS = {"captum", "matplotlib", "safetensors", "sklearn", "torch"}

__all__ = [
    "CONCEPTS",
    "FEATURES",
    "LABELS",
    "METHODS",
    "Attribution",
    "ConceptSets",
    "Explanation",
    "FeatureView",
    "Question",
    "ask",
    "attribute",
    "explain",
    "feature_view",
    "load_network",
    "method_of",
    "real_examples",
    "score_concepts",
    "synthetic_sets",
    "write",
]


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'edgeecg.explain' has no attribute {name!r}")
    try:
        return getattr(import_module(f"edgeecg.explain.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in _NEEDS:
            raise
        raise MissingExtra(package, "explain", "explaining") from error


def __dir__() -> list[str]:
    """Public names, loaded or not."""
    return sorted({*globals(), *__all__})
