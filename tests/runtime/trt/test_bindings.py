"""The names that our code touches exist in every TensorRT that we support.

``bindings.json`` is made from the published wheels by ``tools/trt_bindings.py``.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from edgeecg.runtime.trt import api

HERE = Path(__file__).parent
BINDINGS: dict[str, dict[str, list[str]]] = json.loads((HERE / "bindings.json").read_text())
PACKAGE = Path(api.__file__).parent


@pytest.mark.parametrize("version", BINDINGS)
@pytest.mark.parametrize("owner", api.required_names())
def test_every_name_we_touch_is_there(version: str, owner: str) -> None:
    lacking = set(api.required_names()[owner]) - set(BINDINGS[version][owner])
    assert not lacking, f"{version} has no {owner}.{', '.join(sorted(lacking))}"


def test_all_supported_versions_were_looked_at() -> None:
    assert {version.rsplit(".", 2)[0] for version in BINDINGS} == {
        "tensorrt 10.13", "tensorrt 10.16", "tensorrt 10", "tensorrt 11.4", "tensorrt-rtx 1.7"
    }  # fmt: skip


def test_the_listing_knows_what_tensorrt_11_removed() -> None:
    """Else the listing would be no proof."""
    old, new = BINDINGS["tensorrt 10.3.0"], BINDINGS["tensorrt 11.4.0.106"]
    assert "int8_calibrator" in old["IBuilderConfig"]
    assert "int8_calibrator" not in new["IBuilderConfig"]
    assert "EXPLICIT_BATCH" not in new["NetworkDefinitionCreationFlag"]
    assert "device_memory_size" not in new["ICudaEngine"]


def members_named(tree: ast.AST) -> set[tuple[str, str]]:
    """``trt.Owner.MEMBER`` and ``library.module.Owner.MEMBER`` in a source file."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
            base = node.value.value
            direct = isinstance(base, ast.Name) and base.id in ("trt", "module")
            through = isinstance(base, ast.Attribute) and base.attr == "module"
            if direct or through:
                found.add((node.value.attr, node.attr))
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.name)
def test_enumeration_members_are_listed(path: Path) -> None:
    """mypy holds methods to the protocols; members of enumerations are held here."""
    for owner, member in members_named(ast.parse(path.read_text(encoding="utf-8"))):
        assert member in (*api.MEMBERS.get(owner, ()), "__init__"), f"{owner}.{member} is not in api.MEMBERS"


def test_a_module_that_lacks_a_name_is_found_out() -> None:
    names = api.required_names()
    owners = {
        owner: SimpleNamespace(**dict.fromkeys(members, 0)) for owner, members in names.items() if owner
    }
    module = ModuleType("tensorrt")
    vars(module).update(owners)
    assert api.missing_names(module) == []
    del owners["IExecutionContext"].execute_async_v3
    assert api.missing_names(module) == ["IExecutionContext.execute_async_v3"]


def test_the_installed_library_has_them_too() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx")
    assert api.missing_names(trt) == []


def test_the_names_that_only_rtx_has_are_there() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx")
    assert hasattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION")
    assert hasattr(trt.DynamicShapesKernelSpecializationStrategy, "EAGER")
    assert hasattr(trt.ICudaEngine, "create_runtime_config")
    assert hasattr(trt.IRuntimeConfig, "set_execution_context_allocation_strategy")
    assert hasattr(trt.IRuntimeConfig, "dynamic_shapes_kernel_specialization_strategy")
    assert hasattr(trt.IExecutionContext, "is_stream_capturable")
