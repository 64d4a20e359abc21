"""A plan that does not fit is never loaded."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from edgeecg.errors import BackendError
from edgeecg.runtime.cache import default_folder
from edgeecg.runtime.executor import TensorSpec
from edgeecg.runtime.trt.build import Extent, Plan, Recipe
from edgeecg.runtime.trt.plans import PlanKey, PlanStore

KEY = PlanKey("bundle", "graph", "tensorrt 10.3.0", "Orin sm_87 7620 MiB", "recipe")
RECIPE = Recipe({"x": Extent(1, 8, 64)})
PLAN = Plan(
    b"code" * 100, RECIPE, (TensorSpec("x", ("rows", 8)),), (TensorSpec("y", ("rows", 4)),), ("gelu",), b"t"
)


@pytest.fixture
def store(tmp_path: Path) -> PlanStore:
    store = PlanStore(tmp_path)
    store.save(KEY, PLAN)
    return store


def file_of(store: PlanStore, suffix: str) -> Path:
    return next(store.folder.glob(f"*{suffix}"))


def test_what_was_saved_comes_back(store: PlanStore) -> None:
    plan = store.load(KEY, RECIPE)
    assert plan is not None
    assert (plan.data, plan.inputs, plan.outputs, plan.fallback) == (
        PLAN.data,
        PLAN.inputs,
        PLAN.outputs,
        ("gelu",),
    )


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(PlanKey)])
def test_another_key_is_another_plan(store: PlanStore, field: str) -> None:
    assert store.load(dataclasses.replace(KEY, **{field: "other"}), RECIPE) is None


def test_a_changed_plan_is_not_loaded(store: PlanStore, caplog: pytest.LogCaptureFixture) -> None:
    path = file_of(store, ".plan")
    data = bytearray(path.read_bytes())
    data[17] ^= 1
    path.write_bytes(data)
    assert store.load(KEY, RECIPE) is None
    assert "does not have its hash" in caplog.text


def test_a_plan_under_anothers_name_is_not_loaded(store: PlanStore, caplog: pytest.LogCaptureFixture) -> None:
    other = dataclasses.replace(KEY, gpu="Thor sm_110")
    for suffix in (".plan", ".json"):
        file_of(store, suffix).rename(store.folder / f"{other.name}{suffix}")
    assert store.load(other, RECIPE) is None
    assert "another key" in caplog.text


@pytest.mark.parametrize("text", ["", "{", '{"key": 3}'])
def test_a_damaged_note_is_no_plan(store: PlanStore, text: str) -> None:
    file_of(store, ".json").write_text(text)
    assert store.load(KEY, RECIPE) is None


def test_a_folder_that_others_may_write_is_refused(store: PlanStore) -> None:
    store.folder.chmod(0o777)
    with pytest.raises(BackendError, match="others may write"):
        store.load(KEY, RECIPE)
    with pytest.raises(BackendError, match="others may write"):
        store.save(KEY, PLAN)


def test_timings_that_cannot_be_read_cost_time_only(
    store: PlanStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.keep_timing("tensorrt 10.3.0", "Orin", b"timings")
    file_of(store, "timing").unlink()
    (store.folder / store._timing_name("tensorrt 10.3.0", "Orin")).mkdir()
    assert store.timing("tensorrt 10.3.0", "Orin") == b""
    assert "no timing cache can be read" in caplog.text


def test_discarded_is_gone(store: PlanStore) -> None:
    store.discard(KEY)
    store.discard(KEY)
    assert store.load(KEY, RECIPE) is None


def test_timing_caches_are_kept_by_library_and_gpu(store: PlanStore) -> None:
    assert store.timing("tensorrt 10.3.0", "Orin") == b""
    store.keep_timing("tensorrt 10.3.0", "Orin", b"timings")
    assert store.timing("tensorrt 10.3.0", "Orin") == b"timings"
    assert store.timing("tensorrt 10.3.0", "Thor") == b""


def test_nothing_half_written_stays(store: PlanStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*names: str, **folders: int) -> None:
        raise OSError("disk full")

    before = sorted(store.folder.iterdir())
    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(OSError, match="disk full"):
        store.save(KEY, PLAN)
    assert sorted(store.folder.iterdir()) == before


def test_the_folder_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEECG_CACHE", str(tmp_path))
    assert default_folder() == tmp_path
    monkeypatch.delenv("EDGEECG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert default_folder() == Path("/x/edgeecg")


def test_recipes_that_differ_have_other_keys() -> None:
    keys = {
        recipe.key
        for recipe in (
            RECIPE,
            Recipe({"x": Extent(1, 8, 65)}),
            Recipe(RECIPE.extents, (1,)),
            Recipe(RECIPE.extents, dla=0),
        )
    }
    assert len(keys) == 4
