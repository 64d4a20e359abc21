"""A whole profile on ONNX Runtime."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeecg.cli.profile_tables import summary
from edgeecg.errors import ConfigError, InputError
from edgeecg.page.svg import curve
from edgeecg.profile import collect as collecting
from edgeecg.profile.collect import (
    ProfileSettings,
    batch_time,
    collect,
    dla_fallback,
    energy_use,
    live_pace,
    synthetic_record,
)
from edgeecg.profile.energy import Energy
from edgeecg.profile.latency import summarise
from edgeecg.profile.layers import LayerTime, by_kind, layers_of_events, onnxruntime_layers
from edgeecg.profile.page import render
from edgeecg.profile.report import EnergyUse, Report, call_ways, change, compare, load, parse_share
from edgeecg.profile.stages import STAGES, TimedExecutor, hop_times, summarise_hops
from edgeecg.runtime.engine import Engine
from edgeecg.runtime.trt.build import Plan, token_recipe
from edgeecg.runtime.trt.executor import TrtExecutor
from tests.runtime.trt.fakes import FakeDevice, fake_library

QUICK = ProfileSettings(
    runs=40, warmup=5, batches=(1, 4), pace_seconds=0.3, speed=20.0, energy_seconds=0.0, fs=250.0
)


@pytest.fixture(scope="module")
def report(bundle: Any) -> Report:
    from edgeecg.runtime.engine import open_engine

    with open_engine(bundle, "onnxruntime") as engine:
        return collect(engine, QUICK)


class SlowExecutor(TimedExecutor):
    """Takes two milliseconds longer."""

    def run(self, inputs: Any) -> Any:
        time.sleep(0.002)
        return super().run(inputs)


def test_the_stages_add_up_to_the_hop(engine: Engine) -> None:
    times = hop_times(engine, synthetic_record(QUICK), warmup=5)
    np.testing.assert_allclose(times.stages.sum(axis=1), times.total, rtol=1e-9)
    assert (times.stages >= 0).all()
    assert len(times.total) >= 40


@pytest.mark.parametrize(("graph", "stage"), [("token", "token graph"), ("beat", "beat graph")])
def test_a_slow_stage_is_found(engine: Engine, graph: str, stage: str) -> None:
    record = synthetic_record(dataclasses.replace(QUICK, runs=60))
    usual = hop_times(engine, record, warmup=5)
    slow = dataclasses.replace(engine, **{graph: SlowExecutor(getattr(engine, graph))})
    slowed = hop_times(slow, record, warmup=5)
    called = slowed.stages[:, STAGES.index(stage)] > 0
    growth = np.median(slowed.stages[called], axis=0) - np.median(
        usual.stages[called[: len(usual.total)]], axis=0
    )
    assert STAGES[int(growth.argmax())] == stage
    assert growth.max() > 1.5


def test_no_more_hops_are_run_than_were_asked_for(engine: Engine) -> None:
    times = hop_times(engine, synthetic_record(QUICK), warmup=5, runs=7)
    assert len(times.total) == 7


def test_a_record_that_is_too_short_is_told(engine: Engine) -> None:
    with pytest.raises(ConfigError, match="take a longer one"):
        hop_times(engine, synthetic_record(dataclasses.replace(QUICK, runs=1, warmup=0)), warmup=1000)


@pytest.mark.parametrize("rest", [0, 3])
@pytest.mark.parametrize("hops", [1, 2])
def test_the_last_whole_hop_of_a_record_is_streamed_too(
    engine: Engine, hops: int, rest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed: list[int] = []
    monkeypatch.setattr(collecting.Stream, "push", lambda self, chunk: pushed.append(int(chunk[0, 0])))
    record = synthetic_record(QUICK)
    numbered = dataclasses.replace(record, signal=np.arange(hops * 125 + rest, dtype=np.float64)[:, None])
    assert live_pace(engine, numbered, QUICK) is not None
    assert pushed[: hops + 1] == [*range(0, hops * 125, 125), 0]


def test_a_record_shorter_than_a_hop_is_told(engine: Engine) -> None:
    record = synthetic_record(QUICK)
    short = dataclasses.replace(record, signal=record.signal[:124], annotations=None)
    with pytest.raises(ConfigError, match=r"0\.496 s .* hop of 0\.5 s"):
        live_pace(engine, short, QUICK)


def test_power_readers_are_closed_where_one_fails(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    class Reader:
        name, counts, closed = "meter", True, 0

        def read(self) -> dict[str, float]:
            raise OSError("the sensor is gone")

        def close(self) -> None:
            self.closed += 1

    readers = [Reader(), Reader()]
    monkeypatch.setattr(collecting, "find_readers", lambda: (list(readers), []))
    settings = dataclasses.replace(QUICK, energy_seconds=0.01)
    with pytest.raises(OSError, match="gone"):
        energy_use(engine, synthetic_record(QUICK), settings)
    assert [reader.closed for reader in readers] == [1, 1]


def test_events_are_timed_where_there_were_any(engine: Engine) -> None:
    times = hop_times(engine, synthetic_record(QUICK), warmup=5)
    named = summarise_hops(dataclasses.replace(times, told=np.zeros_like(times.told)))
    assert "sample to event" not in named


def slow_model() -> bytes:
    """Three layers of which one multiplies large matrices."""
    rng = np.random.default_rng(0)
    weights = [numpy_helper.from_array(rng.standard_normal((400, 400)).astype(np.float32), "big")]
    nodes = [
        helper.make_node("Add", ["x", "x"], ["twice"], name="twice"),
        helper.make_node("MatMul", ["twice", "big"], ["product"], name="slow_product"),
        helper.make_node("Tanh", ["product"], ["y"], name="squash"),
    ]
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["rows", 400]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "slow", value[:1], value[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def test_the_known_slow_layer_is_found() -> None:
    layers = onnxruntime_layers(slow_model(), {"x": np.ones((64, 400), np.float32)}, warmup=3, runs=20)
    assert layers[0].name == "slow_product"
    assert layers[0].kind in ("MatMul", "Gemm", "FusedMatMul")
    assert layers[0].share > 0.5
    assert sum(layer.share for layer in layers) == pytest.approx(1.0)


def test_warm_up_runs_of_a_layer_do_not_count() -> None:
    event = {"cat": "Node", "name": "conv_kernel_time", "args": {"op_name": "Conv"}}
    events = [{**event, "dur": duration} for duration in (9000, 10, 10, 10)]
    noise = [
        {"cat": "Session", "name": "model_run", "dur": 1},
        {"cat": "Node", "name": "conv_fence_before", "dur": 1},
    ]
    (layer,) = layers_of_events([*noise, *events], warmup=1, runs=3)
    assert (layer.name, layer.kind, layer.milliseconds) == ("conv", "Conv", 0.01)


def test_pieces_of_a_step_add_up() -> None:
    """A window is run in pieces, each of which calls every operator once."""
    event = {"cat": "Node", "name": "conv_kernel_time", "args": {"op_name": "Conv"}}
    events = [{**event, "dur": duration} for duration in (9000, 9000, 9000, 10, 20, 30, 10, 20, 30)]
    (layer,) = layers_of_events(events, warmup=1, runs=2)
    assert layer.milliseconds == pytest.approx(0.06)


def test_kinds_add_up() -> None:
    layers = [
        LayerTime("a", "Add", 1.0, 0.25),
        LayerTime("b", "Mul", 2.0, 0.5),
        LayerTime("c", "Add", 1.5, 0.25),
    ]
    assert [(k.name, k.milliseconds, k.share) for k in by_kind(layers)] == [
        ("2 x Add", 2.5, 0.5),
        ("1 x Mul", 2.0, 0.5),
    ]


def test_a_report_has_everything(report: Report) -> None:
    assert set(STAGES) | {"hop"} <= set(report.stages)
    assert report.pace is not None
    assert report.pace.period == pytest.approx(0.025)
    assert [item.batch for item in report.throughput] == [1, 4]
    assert report.throughput[0].patients == pytest.approx(500 / report.throughput[0].call.p50)
    assert report.layers["token"]
    assert report.layers["beat"]
    assert report.memory.peak > 1 << 20
    assert report.declared["hop"] == 0.5
    assert sum(report.declared.values()) > 0.5
    assert (report.subject.backend, report.subject.precision) == ("onnxruntime", "fp32")
    assert report.notes == ["energy was not asked for"]


@contextmanager
def on_a_device(engine: Engine, fallback: tuple[str, ...] = ()) -> Iterator[Engine]:
    """The engine with its token graph on the stand-in of a device."""
    device, token = FakeDevice(), engine.token
    plan = Plan(
        engine.bundle.graph("token"), token_recipe(engine.bundle.spec), token.inputs, token.outputs, fallback
    )
    with TrtExecutor(fake_library(device), plan, device) as executor:
        yield dataclasses.replace(engine, token=executor)


def test_a_call_on_a_device_is_timed_each_way_at_every_batch_size(engine: Engine, report: Report) -> None:
    settings, samples = ProfileSettings(warmup=1, runs=8), 16 * engine.bundle.spec.patch
    with on_a_device(engine) as held:
        throughput = [batch_time(held.token, batch, samples, settings) for batch in (1, 4)]
    ways = [f"{graph}, {wait}" for graph in ("CUDA graph", "no graph") for wait in ("block", "spin")]
    assert [sorted(item.ways) for item in throughput] == [ways, ways]
    assert all(call.runs == 20 for item in throughput for call in item.ways.values())
    assert not report.throughput[0].ways, "without a device there is one way"
    shown = dataclasses.replace(report, throughput=throughput)
    assert list(call_ways(shown)) == [
        f"batch {item.batch}, {way}" for item in throughput for way in item.ways
    ]
    assert "batch 4, CUDA graph, spin" in render(shown)


def test_layers_that_a_dla_cannot_run_are_told(engine: Engine, report: Report) -> None:
    with on_a_device(engine, ("norm", "softmax")) as held:
        told = dla_fallback(held)
    assert told == {"token": ("norm", "softmax")}
    assert dla_fallback(engine) == {} == report.fallback
    shown = summary(dataclasses.replace(report, fallback=told))
    assert "DLA: of the token graph 2 layers fall back to the GPU: norm, softmax" in shown


def test_a_report_goes_through_json(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(report.to_json())
    again = load(path)
    assert again.to_json() == report.to_json()
    assert compare(again, report) == compare(report, report)


@pytest.mark.parametrize("text", ["", "{}", "not json", '{"schema": 1}'])
def test_a_file_that_is_no_report_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match="make it anew"):
        load(tmp_path / "x.json")


def test_a_missing_report_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        load(tmp_path / "none.json")


def test_a_planted_slowdown_is_found(report: Report) -> None:
    slow = {**report.stages, "decode": summarise(np.full(10, 2 * report.stages["decode"].p99))}
    changes = {item.what: item for item in compare(report, dataclasses.replace(report, stages=slow))}
    assert changes["decode p99"].growth == pytest.approx(1.0)
    assert changes["front end p99"].growth == 0.0
    assert changes["batch 4 p50"].growth == 0.0


@pytest.mark.parametrize("field", ["backend", "precision", "hop", "mode", "threads", "fs", "leads"])
def test_profiles_that_were_taken_otherwise_are_not_compared(report: Report, field: str) -> None:
    subject = dataclasses.replace(report.subject, **{field: "other"})
    with pytest.raises(InputError, match="make one like this"):
        compare(report, dataclasses.replace(report, subject=subject))


def test_profiles_that_share_no_figure_are_not_compared(report: Report) -> None:
    empty = dataclasses.replace(report, stages={}, throughput=[])
    with pytest.raises(InputError, match="no figure"):
        compare(empty, report)


def test_what_took_no_time_before_and_does_now_got_slower() -> None:
    assert change("x", "ms", 0.0, 1.0).growth == float("inf")
    assert change("x", "ms", 0.0, 0.0).growth == 0.0


@pytest.mark.parametrize(("text", "share"), [("10%", 0.1), ("0.25", 0.25), (" 5 % ", 0.05)])
def test_shares(text: str, share: float) -> None:
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "ten", "-5%", "0", "nan", "10"])
def test_shares_that_make_no_sense(text: str) -> None:
    with pytest.raises(InputError, match="--max-regression"):
        parse_share(text)


def test_energy_above_idle() -> None:
    use = EnergyUse(Energy("x", 12.0, 3.0, {}), Energy("x", 4.0, 2.0, {}), hops=6)
    assert use.millijoules == pytest.approx(1000.0)


class Page(HTMLParser):
    """Counts elements and keeps what they point to."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: dict[str, int] = {}
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] = self.elements.get(tag, 0) + 1
        self.outside += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_holds_everything_in_itself(report: Report) -> None:
    power = EnergyUse(Energy("INA3221", 12.0, 3.0, {"VDD_IN": 4.0}), Energy("INA3221", 4.0, 2.0, {}), hops=6)
    text = render(dataclasses.replace(report, energy=[power], device={"compute": summarise([1.0, 2.0])}))
    page = Page()
    page.feed(text)
    assert page.outside == []
    assert "script" not in page.elements
    assert page.elements["svg"] >= 5
    assert page.elements["rect"] > 40
    for words in ("Time of a hop", "Timeline", "VDD_IN", "compute", "p99.9", "tiny"):
        assert words in text
    assert not re.search(r"\bnan\b|\binf\b", text)


def test_large_numbers_stay_clear_of_the_axis_label() -> None:
    chart = curve([(1, 5_000.0), (64, 250_000.0)], ("batch", "patients"), "")
    ends = re.findall(r'<text x="([\d.]+)" y="[\d.]+" text-anchor="end">([\d,]+)</text>', chart)
    label = re.search(r"translate\(([\d.]+) ", chart)
    assert label
    assert any(len(text) == 7 for _, text in ends)
    em = 11.5  # pixels; a digit is some 0.6 of it wide, and the label stands upright
    assert min(float(x) - 0.6 * em * len(text) for x, text in ends) > float(label[1]) + em / 2


def test_names_cannot_break_the_page(report: Report) -> None:
    nasty = dataclasses.replace(
        report, subject=dataclasses.replace(report.subject, bundle="<script>alert(1)</script>")
    )
    assert "<script>" not in render(nasty)
