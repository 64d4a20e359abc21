"""Calibration: which windows, what they say, and that anybody can do it again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edgeecg.bundle import GRAPHS
from edgeecg.data.synthetic import SyntheticSettings, synthesize
from edgeecg.deploy.build import export_graphs
from edgeecg.deploy.calibrate import (
    Calibration,
    Reach,
    calibrate,
    reach_table,
    read_calibration,
    read_windows,
    write_calibration,
)
from edgeecg.deploy.graphset import GraphSet
from edgeecg.deploy.precision import products
from edgeecg.deploy.quantize import plan_of, quantize
from edgeecg.deploy.verdict import Judge, SelectSettings
from edgeecg.deploy.watch import collect_feeds
from edgeecg.deploy.windows import (
    Recipe,
    WindowList,
    choose_windows,
    front_end_hash,
    load_windows,
    read_recipe,
)
from edgeecg.errors import ConfigError, InputError, SignalError
from edgeecg.io.record import Annotations, Record
from edgeecg.io.wfdb import write_wfdb
from edgeecg.metrics.references import labelled_records
from edgeecg.runtime.ort import OrtExecutor
from edgeecg.specs import SignalSpec
from tests.deploy.conftest import TINY, make_network

Windows = tuple[WindowList, list[Record]]


def test_windows_are_what_was_asked_for(windows: Windows, recipe: Recipe) -> None:
    manifest, pieces = windows
    assert len(manifest.windows) == len(pieces) == recipe.windows
    for window, piece in zip(manifest.windows, pieces, strict=True):
        assert len(piece) == window.samples == round(recipe.seconds * piece.fs)
        assert piece.leads == (window.lead,)
    assert len({window.record for window in manifest.windows}) == recipe.windows  # as many patients as can be


def test_the_same_seed_draws_the_same_windows(windows: Windows, recipe: Recipe, graphs: GraphSet) -> None:
    again, _ = choose_windows(recipe, graphs.signal)
    assert again == windows[0]
    assert again.digest == windows[0].digest
    other, _ = choose_windows(replace(recipe, seed=1), graphs.signal)
    assert other != windows[0]


def test_windows_are_found_again_by_their_manifest(windows: Windows, graphs: GraphSet) -> None:
    manifest, pieces = windows
    for found, piece in zip(load_windows(manifest, graphs.signal), pieces, strict=True):
        np.testing.assert_array_equal(found.signal, piece.signal)


def test_a_record_that_changed_is_named(windows: Windows, graphs: GraphSet) -> None:
    manifest, _ = windows
    first = replace(manifest.windows[0], sha256="0" * 64)
    with pytest.raises(InputError, match=f"{first.record} has other samples"):
        load_windows(replace(manifest, windows=(first,)), graphs.signal)
    gone = replace(manifest.windows[0], record="nobody")
    with pytest.raises(InputError, match="synthetic/nobody is not there"):
        load_windows(replace(manifest, windows=(gone,)), graphs.signal)


def test_another_front_end_is_noticed(windows: Windows) -> None:
    with pytest.raises(InputError, match="front end"):
        load_windows(windows[0], SignalSpec(band=(1.0, 40.0)))
    assert len({front_end_hash(SignalSpec(notch=f)) for f in (50.0, 60.0)}) == 2


def test_references_share_the_windows(tmp_path: Path, graphs: GraphSet) -> None:
    """A set of thousands of records does not push a small one out."""
    time = np.arange(360 * 20) / 360
    record = Record("mine", np.sin(7 * time)[:, None], 360.0, ("II",), Annotations([100], ["N"]))
    mine = str(write_wfdb(record, tmp_path).with_suffix(""))
    recipe = Recipe(references=("synthetic", mine), windows=5, seconds=5.0)
    manifest, _ = choose_windows(recipe, graphs.signal)
    assert [w.reference for w in manifest.windows].count(mine) == 2


@pytest.mark.parametrize(("wrong", "said"), [("rate", "50 Hz is outside"), ("unit", "no ECG does")])
def test_a_record_that_cannot_be_used_is_named(
    wrong: str, said: str, graphs: GraphSet, tmp_path: Path
) -> None:
    """By its place: two wards may both have a record 01."""
    wave = np.sin(7 * np.arange(5 * 360) / 360)[:, None] * (1e3 if wrong == "unit" else 1.0)
    for ward in ("a", "b"):
        fs = 50.0 if (wrong, ward) == ("rate", "b") else 360.0
        height = 1e-3 if (wrong, ward) == ("unit", "a") else 1.0
        write_wfdb(Record("01", wave * height, fs, ("II",), Annotations([100], ["N"])), tmp_path / ward)
    place = str(tmp_path / "b" / "01")
    with pytest.raises(InputError, match=f"{place}: .*{said}"):
        choose_windows(Recipe((str(tmp_path),), windows=2, seconds=5.0), graphs.signal)
    with pytest.raises(InputError, match=f"{place}: .*{said}"):
        Judge(
            graphs, labelled_records([str(tmp_path)]), SelectSettings(backend="onnxruntime"), lambda _: None
        )


def test_no_record_long_enough_is_said(graphs: GraphSet) -> None:
    with pytest.raises(InputError, match="is 4000 s long"):
        choose_windows(Recipe(windows=2, seconds=4000.0), graphs.signal)


def test_levels_are_recomputed_by_hand(
    calibration: Calibration, graphs: GraphSet, windows: Windows, recipe: Recipe
) -> None:
    """The largest value of each activation, found by another road: all feeds kept, one tensor at a time."""
    feeds = collect_feeds(graphs, windows[1])
    for name in GRAPHS:
        model = onnx.load_model_from_string(graphs.graph(name))
        wanted = {p.reads for p in products(model) if not p.reason}
        assert set(calibration.tensors[name]) == wanted
        for value in wanted:
            if value not in {v.name for v in model.graph.output}:
                model.graph.output.append(onnx.ValueInfoProto(name=value))
        with OrtExecutor(model.SerializeToString()) as executor:
            runs = [executor.run(inputs) for inputs, _ in feeds[name]]
        for value in wanted:
            largest = max(float(np.abs(run[value]).max()) for run in runs)
            reach = calibration.tensors[name][value]
            assert reach.largest == pytest.approx(largest, rel=1e-5)
            assert 0 < reach.level <= reach.largest * (1 + 1e-5)


def test_methods_differ_and_minmax_cuts_nothing(graphs: GraphSet, windows: Windows, recipe: Recipe) -> None:
    made = {
        method: calibrate(graphs, replace(recipe, method=method), *windows)
        for method in ("minmax", "percentile", "entropy", "mse")
    }
    for reach in made["minmax"].tensors["token"].values():
        assert reach.level == reach.largest
    levels = [tuple(found.levels("token").values()) for found in made.values()]
    assert len(set(levels)) == 4


def test_it_is_written_and_read(calibration: Calibration, windows: Windows, tmp_path: Path) -> None:
    folder = tmp_path / "calibration"
    write_calibration(folder, calibration, windows[0])
    assert read_calibration(folder) == calibration
    assert read_calibration(folder / "scales.json") == calibration
    assert read_windows(folder) == windows[0]
    assert read_windows(folder).digest == calibration.windows


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": 7}'])
def test_what_is_no_calibration(tmp_path: Path, text: str) -> None:
    (tmp_path / "scales.json").write_text(text)
    with pytest.raises(ConfigError, match="calibrate again") as error:
        read_calibration(tmp_path)
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="no calibration at"):
        read_calibration(tmp_path / "nowhere")


@pytest.mark.parametrize("change", [lambda level: 1e-30, lambda level: 0.5 * level, lambda level: 2 * level])
def test_scales_that_were_changed_are_refused(
    calibration: Calibration, windows: Windows, tmp_path: Path, change: Callable[[float], float]
) -> None:
    write_calibration(tmp_path / "c", calibration, windows[0])
    file = tmp_path / "c" / "scales.json"
    said = json.loads(file.read_text())
    file.write_text(json.dumps(said))  # other white space is no other calibration
    assert read_calibration(file) == calibration
    for reach in said["tensors"]["token"].values():
        reach["level"] = change(reach["level"])
    file.write_text(json.dumps(said))
    with pytest.raises(ConfigError, match="calibrate again") as error:
        read_calibration(tmp_path / "c")
    assert "\n" not in str(error.value)


def test_windows_of_other_scales_are_refused(
    calibration: Calibration, windows: Windows, tmp_path: Path
) -> None:
    write_calibration(tmp_path / "c", calibration, replace(windows[0], seed=windows[0].seed + 1))
    with pytest.raises(ConfigError, match="not those of its scales"):
        read_calibration(tmp_path / "c")


def test_scales_of_an_older_release_have_no_hash(
    calibration: Calibration, windows: Windows, tmp_path: Path
) -> None:
    """They are read, but impossible levels are refused there too."""
    write_calibration(tmp_path / "c", calibration, windows[0])
    file = tmp_path / "c" / "scales.json"
    said = json.loads(file.read_text())
    del said["sha256"]
    file.write_text(json.dumps(said))
    assert read_calibration(file) == calibration
    reach = next(iter(said["tensors"]["beat"].values()))
    for level in (1e-30, 1.01 * reach["largest"], 0.0, -1.0):
        reach["level"] = level
        file.write_text(json.dumps(said))
        with pytest.raises(ConfigError, match="no calibration of this release"):
            read_calibration(file)


def test_a_tensor_that_was_always_zero_has_a_level() -> None:
    assert Reach(0.0, 1e-8, 200.0).level == 1e-8
    for level in (float("nan"), float("inf"), 2.0):
        with pytest.raises(ConfigError, match="is impossible, the largest value is 1"):
            Reach(1.0, level, 40.0)


def test_another_schema_is_refused(calibration: Calibration, windows: Windows, tmp_path: Path) -> None:
    write_calibration(tmp_path / "c", replace(calibration, schema=2), windows[0])
    with pytest.raises(ConfigError, match="has schema 2"):
        read_calibration(tmp_path / "c")


def test_a_calibration_belongs_to_its_network(calibration: Calibration) -> None:
    other = export_graphs(make_network(TINY, seed=5), "other")
    with pytest.raises(ConfigError, match="belongs to other weights"):
        quantize(other, plan_of(other, "int8"), calibration, "int8")


def test_windows_without_a_beat_cannot_calibrate_the_beat_encoder(recipe: Recipe, windows: Windows) -> None:
    blind = make_network(TINY)
    with torch.no_grad():
        blind.token.heads.bias[0] -= 100
    with pytest.raises(SignalError, match="in which beats are found"):
        calibrate(export_graphs(blind, "blind"), recipe, *windows)


def test_a_table_has_every_activation(calibration: Calibration) -> None:
    rows = reach_table(calibration).rows
    assert len(rows) == sum(len(found) for found in calibration.tensors.values())
    assert rows[0][0].startswith("token/")


def test_a_recipe_is_read_strictly(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text('references = ["mitdb:DS1"]\nmethod = "entropy"\nwindows = 7\n')
    assert read_recipe(file) == Recipe(references=("mitdb:DS1",), method="entropy", windows=7)
    file.write_text("windows = 7", encoding="utf-8-sig")
    assert read_recipe(file).windows == 7, "some editors begin a file with a mark"
    for text, words in (
        ("window = 7", "unknown key 'window'"),
        ('method = "best"', "best"),
        ("windows = 0", "at least one window"),
        ("windows = 'many'", "int"),
        ("windows = ", "not TOML"),
        (f"windows = {'[' * 100_000}", "not TOML"),
        ("seconds = nan", "at least 5 seconds and not endless"),
        ("seconds = inf", "at least 5 seconds and not endless"),
        ("seed = -1", "seed -1 must be 0 to"),
        ("seed = 4294967296", "seed 4294967296 must be 0 to"),
        ('references = ["synthetic", "mitdb:DS1"]\nwindows = 1', "windows = 1 is too few for 2 references"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError, match=words) as error:
            read_recipe(file)
        assert str(file) in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="no recipe at"):
        read_recipe(tmp_path / "none.toml")


def test_windows_need_no_labels(graphs: GraphSet, recipe: Recipe, tmp_path: Path) -> None:
    """A user's own patients, whose beats nobody has annotated."""
    for seed, ward in enumerate(("", "a", "b")):
        (tmp_path / ward).mkdir(exist_ok=True)
        made = synthesize(SyntheticSettings(seconds=30, leads=("II",)), seed).record
        write_wfdb(replace(made, name="rec", annotations=None), tmp_path / ward)
    manifest, pieces = choose_windows(replace(recipe, references=(str(tmp_path),), windows=3), graphs.signal)
    assert {window.record for window in manifest.windows} == {"rec", "a/rec", "b/rec"}
    again = load_windows(manifest, graphs.signal)
    assert all(np.array_equal(a.signal, b.signal) for a, b in zip(pieces, again, strict=True))
