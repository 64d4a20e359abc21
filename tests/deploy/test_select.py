"""Precision by measurement: the fastest that loses too little, and nothing else.

The networks here are not trained, so the truth is what FP32 says: then every label that a candidate
changes is a loss, and every figure can be worked out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeecg.bundle import graph_part
from edgeecg.deploy.calibrate import Calibration
from edgeecg.deploy.graphset import GraphSet
from edgeecg.deploy.quantize import Wanted, quantize_set
from edgeecg.deploy.select import Evidence, agreement, candidates, possible, select, selection_table, unsure
from edgeecg.deploy.sensitivity import sensitivity
from edgeecg.deploy.verdict import GATED, Candidate, Judge, SelectSettings, Verdict
from edgeecg.deploy.windows import WindowList
from edgeecg.errors import AccuracyError, ConfigError, InputError
from edgeecg.io.record import Record
from edgeecg.metrics.judge import MAPPINGS
from edgeecg.metrics.references import LabelledRecord, labelled_records
from edgeecg.metrics.score import Truth, said_by_events
from edgeecg.pipeline import annotate
from edgeecg.runtime.engine import open_engine
from edgeecg.specs import Beat

SETTINGS = SelectSettings(backend="onnxruntime", runs=20)


@pytest.fixture(scope="module")
def cases(graphs: GraphSet) -> list[LabelledRecord]:
    """Three synthetic patients, and FP32's own findings as their reference."""
    made = []
    with open_engine(graphs.bundle(), "onnxruntime") as engine:
        for case in labelled_records(["synthetic"])[:3]:
            record = case.load()[0].cut(0, 360 * 30)
            said = said_by_events(annotate(engine, record), list(MAPPINGS), len(record))
            truth = Truth(
                record.name, record.name, record.fs, len(record), said.sample, said.labels, af=said.af
            )
            made.append(LabelledRecord("synthetic", record.name, lambda r=record, t=truth: (r, t)))
    return made


@pytest.fixture(scope="module")
def evidence(
    cases: list[LabelledRecord], calibration: Calibration, windows: tuple[WindowList, list[Record]]
) -> Evidence:
    return Evidence(cases, calibration, windows[1])


@pytest.fixture(scope="module")
def quantized(graphs: GraphSet, calibration: Calibration) -> GraphSet:
    return quantize_set(graphs, Wanted(("fp16", "int8")), calibration).graphs


def spoilt(graphs: GraphSet, precision: str, layer: str, factor: float) -> GraphSet:
    """A graph set in which one scale is wrong."""
    part = graph_part("token", precision)  # type: ignore[arg-type]
    model = onnx.load_model_from_string(graphs.graphs[part])
    tensor = next(t for t in model.graph.initializer if t.name == layer)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), layer))
    return graphs.adding({part: model.SerializeToString()})


def test_fp32_against_itself_loses_nothing(graphs: GraphSet, cases: Sequence[LabelledRecord]) -> None:
    judge = Judge(graphs, cases, SETTINGS, print)
    verdict = judge.verdict(Candidate("fp32", "fp32", graphs))
    assert verdict.agreement == 1.0
    assert verdict.reason == ""
    assert verdict.change["QRS"].value == 0.0
    assert set(verdict.change) == set(GATED)


def test_af_of_records_is_no_beat_among_a_holters_beats(
    graphs: GraphSet, cases: Sequence[LabelledRecord]
) -> None:
    """Records with one label and records with rhythm marks are two figures: one counts beats in hours."""
    labelled = []
    for case in cases:
        record, truth = case.load()
        loaded = record, replace(truth, af=None, af_record=True)
        labelled.append(replace(case, name=f"{case.name}-label", load=lambda pair=loaded: pair))
    plain = Candidate("fp32", "fp32", graphs)
    both = Judge(graphs, [*cases, *labelled], SETTINGS, print).verdict(plain)
    apart = [Judge(graphs, some, SETTINGS, print).verdict(plain) for some in (cases, labelled)]
    assert [verdict.change["AF records"].value for verdict in (both, *apart)] == [0.0, None, 0.0]
    assert both.change["AF"] == apart[0].change["AF"]
    assert apart[1].change["AF"].value is None
    notes = [" ".join(unsure([verdict], "tensorrt")) for verdict in (both, *apart)]
    assert not any("AF" in note.split(":")[0] for note in (notes[0], notes[2]))


def test_losses_are_those_of_the_labels(quantized: GraphSet, cases: Sequence[LabelledRecord]) -> None:
    """The gate's figures, worked out once more from the events themselves."""
    verdict = Judge(quantized, cases, SETTINGS, print).verdict(Candidate("int8", "int8", quantized))
    equal = total = 0
    with (
        open_engine(quantized.bundle("fp32"), "onnxruntime") as plain,
        open_engine(quantized.bundle("int8"), "onnxruntime") as coarse,
    ):
        for case in cases:
            record, _ = case.load()
            ours, theirs = ([e for e in annotate(g, record) if isinstance(e, Beat)] for g in (plain, coarse))
            pairs = 0
            for beat in ours:
                near = min(theirs, key=lambda other: abs(other.sample - beat.sample))
                if abs(near.sample - beat.sample) <= 54:  # 150 ms at 360 Hz
                    pairs += 1
                    equal += near.label == beat.label
            total += len(ours) + len(theirs) - pairs
    assert total > 50
    assert verdict.agreement == pytest.approx(equal / total, abs=0.01)
    assert verdict.change["QRS"].value is not None
    assert verdict.change["QRS"].value <= 0


def test_the_fastest_that_passes_is_chosen(
    quantized: GraphSet, evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Times are planted: which candidate is fastest is not a matter of this machine's mood."""
    monkeypatch.setattr(Judge, "timed", planted({"fp32": 1.0, "fp16": 0.7, "int8": 0.4}))
    loose = replace(SETTINGS, precisions=("fp32", "int8"), budget=100.0, agreement=0.0)
    assert select(quantized, evidence, loose).chosen.candidate.precision == "int8"
    broken = spoilt(quantized, "int8", "block0.norm2.scale", 0.02)
    assert select(broken, evidence, replace(loose, agreement=0.9)).chosen.candidate.precision == "fp32"


def test_of_equal_speed_the_exact_one_is_taken(
    quantized: GraphSet, evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Judge, "timed", planted({"fp32": 1.0, "fp16": 0.99}))
    loose = replace(SETTINGS, precisions=("fp32", "fp16"), budget=100.0, agreement=0.0)
    assert select(quantized, evidence, loose).chosen.candidate.precision == "fp32"


def test_on_a_cpu_fp16_is_not_chosen_by_its_time(
    quantized: GraphSet, evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is FP32's, and noise."""
    monkeypatch.setattr(Judge, "timed", planted({"fp32": 1.0, "fp16": 0.5}))
    loose = replace(SETTINGS, precisions=("fp32", "fp16"), budget=100.0, agreement=0.0)
    assert select(quantized, evidence, loose).chosen.candidate.precision == "fp32"
    asked = replace(loose, precisions=("fp16",))
    assert select(quantized, evidence, asked).chosen.candidate.precision == "fp16"


def test_layers_go_back_where_the_mixed_graph_that_is_there_fails(
    graphs: GraphSet, calibration: Calibration, evidence: Evidence
) -> None:
    there = quantize_set(graphs, Wanted(("mixed",)), calibration).graphs
    titles = [c.title for c in candidates(there, evidence, "mixed", lambda line: None)]
    assert titles[0] == "mixed"
    assert len(titles) > 1
    assert all("layers back" in title and "mixed, 0" not in title for title in titles[1:])
    other = replace(calibration, recipe=replace(calibration.recipe, float_layers=("token/block0.out",)))
    again = [c.title for c in candidates(there, replace(evidence, calibration=other), "mixed", print)]
    assert again[:2] == ["mixed", "mixed, made anew"]
    said: list[str] = []
    alone = Evidence(evidence.cases)
    assert [c.title for c in candidates(there, alone, "mixed", said.append)] == ["mixed"]
    assert "--calibration" in said[0]


def test_the_refusal_names_what_would_allow_for_it(quantized: GraphSet, evidence: Evidence) -> None:
    strict = replace(SETTINGS, precisions=("int8",), budget=100.0, agreement=1.1)
    with pytest.raises(AccuracyError, match=r"labels only .* \(--agreement 1.1\)"):
        select(quantized, evidence, strict)


def planted(times: dict[str, float]) -> Callable[[Judge, Sequence[Verdict]], list[Verdict]]:
    def timed(judge: Judge, verdicts: Sequence[Verdict]) -> list[Verdict]:
        return [replace(v, milliseconds=times[v.candidate.precision]) for v in verdicts]

    return timed


def test_a_planted_collapse_is_refused(quantized: GraphSet, evidence: Evidence) -> None:
    broken = spoilt(quantized, "int8", "block0.norm2.scale", 0.02)
    with pytest.raises(AccuracyError, match=r"int8 loses up to .* points of QRS F1") as error:
        select(broken, evidence, replace(SETTINGS, precisions=("int8",), agreement=0.0))
    assert "\n" not in str(error.value)


def test_a_planted_overflow_is_refused(graphs: GraphSet, evidence: Evidence) -> None:
    """On this CPU it changes no label: FP16 is computed in FP32."""
    part = graph_part("token", "fp32")
    model = onnx.load_model_from_string(graphs.graphs[part])
    for key, factor in (("block0.grow.weight", 1e5), ("block0.shrink.weight", 1e-5)):
        tensor = next(t for t in model.graph.initializer if t.name == key)
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), key))
    planted = graphs.adding({part: model.SerializeToString()})
    with pytest.raises(AccuracyError, match="overflows in FP16"):
        select(planted, evidence, replace(SETTINGS, precisions=("fp16",)))


def test_a_mixed_graph_is_looked_at_too(quantized: GraphSet, cases: Sequence[LabelledRecord]) -> None:
    judge = Judge(quantized, cases, SETTINGS, print)
    half = quantized.graphs[graph_part("token", "fp16")]
    model = onnx.load_model_from_string(half)
    tensor = next(t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16)
    tensor.CopyFrom(numpy_helper.from_array(np.full_like(numpy_helper.to_array(tensor), 6e4), tensor.name))
    parts = {graph_part("token", "mixed"): model.SerializeToString()}
    parts[graph_part("beat", "mixed")] = quantized.graphs[graph_part("beat", "fp16")]
    verdict = judge.verdict(Candidate("mixed", "mixed", quantized.adding(parts)))
    assert "overflows in FP16" in verdict.reason


def test_what_the_records_cannot_tell_is_said(quantized: GraphSet, evidence: Evidence) -> None:
    said: list[str] = []
    one = replace(evidence, cases=evidence.cases[:1])
    loose = replace(SETTINGS, precisions=("fp32", "fp16"), budget=100.0, agreement=0.0)
    select(quantized, one, loose, said.append)
    text = " ".join(said)
    assert "QRS" in text
    assert "of one patient only" in text
    assert "computes FP16 in FP32" in text


def test_labels_must_agree_too(quantized: GraphSet, evidence: Evidence) -> None:
    judge = Judge(quantized, evidence.cases, replace(SETTINGS, budget=100.0), print)
    broken = spoilt(quantized, "int8", "block0.norm2.scale", 0.02)
    verdict = judge.verdict(Candidate("int8", "int8", broken))
    assert verdict.agreement < 0.9
    assert (
        verdict.reason == f"labels only {verdict.agreement:.2%} of the beats as fp32 does (--agreement 0.99)"
    )


def test_the_gate_asks_for_the_lower_end(quantized: GraphSet, cases: Sequence[LabelledRecord]) -> None:
    """A loss that may be larger than the budget is refused though its middle is not."""
    judge = Judge(quantized, cases, replace(SETTINGS, agreement=0.0), print)
    verdict = judge.verdict(Candidate("int8", "int8", quantized))
    name, change = min(
        ((n, c) for n, c in verdict.change.items() if c.low is not None and c.value is not None),
        key=lambda item: item[1].low,
    )
    if not change.low < change.value:
        pytest.skip("this network loses nothing to INT8")
    between = -(change.low + change.value) / 2
    refusing = Judge(quantized, cases, replace(SETTINGS, agreement=0.0, budget=between), print)
    assert f"points of {name} F1" in refusing.verdict(Candidate("int8", "int8", quantized)).reason
    allowing = Judge(quantized, cases, replace(SETTINGS, agreement=0.0, budget=-change.low + 0.01), print)
    assert allowing.verdict(Candidate("int8", "int8", quantized)).reason == ""


def test_mixed_puts_the_worst_layers_back(graphs: GraphSet, evidence: Evidence) -> None:
    worst = list(sensitivity(graphs, evidence.calibration, evidence.windows))
    found = list(candidates(graphs, evidence, "mixed", print))
    some = (len(worst) // 4, len(worst) // 2, 3 * len(worst) // 4)
    assert [c.title for c in found] == ["mixed", *(f"mixed, {n} of {len(worst)} layers back" for n in some)]
    for candidate, back in zip(found, (0, 4, 8, 12), strict=True):
        kept = [layer for layer in worst if is_int8(candidate, layer)]
        assert kept == worst[back:]
        told = candidate.graphs.provenance["quantization"]  # of these graphs, not of others made before
        assert sum(kind == "int8" for kind in told["mixed"].values()) == len(kept)
        assert told["calibration"]["recipe"] == evidence.calibration.recipe


def test_layers_are_not_measured_where_the_first_mixed_graph_will_do(
    graphs: GraphSet, evidence: Evidence
) -> None:
    """As `build -p mixed --no-check` takes it."""
    said: list[str] = []
    assert next(candidates(graphs, evidence, "mixed", said.append)).title == "mixed"
    assert said == []


def is_int8(candidate: Candidate, layer: str) -> bool:
    graph, node = layer.split("/")
    model = onnx.load_model_from_string(candidate.graphs.graph(graph, "mixed"))  # type: ignore[arg-type]
    return any(t.name == f"{node}.weight.int8" for t in model.graph.initializer)


def test_sensitivity_finds_the_planted_layer(graphs: GraphSet, evidence: Evidence) -> None:
    """One activation gets a far too small clip level: its layer must lead the list, by far."""
    assert evidence.calibration is not None
    tensors = {graph: dict(found) for graph, found in evidence.calibration.tensors.items()}
    reach = tensors["token"]["block1.norm2"]
    tensors["token"]["block1.norm2"] = replace(reach, level=reach.level / 50)
    found = sensitivity(graphs, replace(evidence.calibration, tensors=tensors), evidence.windows)
    layers = list(found)
    assert layers[0] == "token/block1.grow"
    assert found[layers[0]] > 3 * found[layers[1]]
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_what_can_be_tried(graphs: GraphSet, quantized: GraphSet, evidence: Evidence) -> None:
    bare = Evidence(evidence.cases)
    assert possible(graphs, bare) == ("fp32", "fp16")
    assert possible(quantized, bare) == ("fp32", "fp16", "int8")
    assert possible(graphs, evidence) == ("fp32", "fp16", "mixed", "int8")
    with pytest.raises(ConfigError, match="run `edgeecg calibrate` first"):
        select(graphs, bare, replace(SETTINGS, precisions=("int8",)))
    with pytest.raises(InputError, match="labelled records"):
        select(graphs, Evidence([]), SETTINGS)


def test_the_tables_say_what_was_measured(quantized: GraphSet, evidence: Evidence) -> None:
    loose = replace(SETTINGS, precisions=("fp32", "fp16"), budget=100.0, agreement=0.0)
    selection = select(quantized, evidence, loose)
    table = selection_table(selection)
    assert [row[0] for row in table.rows] == ["fp32", "fp16"]
    assert [row[-1] for row in table.rows].count("chosen") == 1
    assert float(table.rows[0][1]) == pytest.approx(selection.verdicts[0].milliseconds, abs=1e-3)
    assert selection.verdicts[0].milliseconds > 0
    assert all(len(row) == len(table.columns) for row in table.rows)
    told = agreement(quantized, evidence.cases, ("fp16",))
    assert told.rows[0][:2] == ("fp16", f"{selection.verdicts[1].agreement:.2%}")
