"""The packaged bundles are those that were released: hashes, and what they say of a synthetic patient."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from edgeecg import Beat, open_engine
from edgeecg.bundle import Bundle, packaged_names
from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize
from edgeecg.pipeline import annotate

RECORDED = Path(__file__).parents[1] / "docs" / "models" / "released.json"


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    known: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8"))
    return known


def test_every_packaged_bundle_is_recorded(recorded) -> None:  # type: ignore[no-untyped-def]
    assert sorted(recorded) == sorted(packaged_names())


@pytest.mark.parametrize("name", packaged_names())
def test_hashes_are_those_that_were_recorded(name: str, recorded) -> None:  # type: ignore[no-untyped-def]
    bundle = Bundle.open(name)
    assert bundle.digest == recorded[name]["digest"]
    assert hashlib.sha256(bundle.parts["weights.safetensors"]).hexdigest() == recorded[name]["weights"]


@pytest.mark.parametrize("name", packaged_names())
def test_recorded_beats_come_out_again(name: str, recorded) -> None:  # type: ignore[no-untyped-def]
    patient = synthesize(SyntheticSettings(draw_patient("ventricular", 3), seconds=60), seed=3).record
    with open_engine(name, "onnxruntime") as engine:
        beats = [[e.sample, e.label] for e in annotate(engine, patient) if isinstance(e, Beat)]
    known = recorded[name]["beats"]
    assert [label for _, label in beats] == [label for _, label in known]
    moved = [abs(sample - other) for (sample, _), (other, _) in zip(beats, known, strict=True)]
    assert max(moved) <= 1, "another processor may round a place to the next sample"
    assert {label for _, label in beats} >= {"N", "V"}
