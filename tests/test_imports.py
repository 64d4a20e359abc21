"""Imports go down only, and `import edgeecg` stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "edgeecg"

FLOORS = (
    {"errors", "ranges", "words"},
    {"specs"},
    {"io", "signal", "decode", "page"},
    {"data"},
    {"metrics"},
    {"manifest"},
    {"parts"},
    {"bundle"},
    {"runtime"},
    {"pipeline"},
    {"stream"},
    {"profile"},
    {"model"},
    {"deploy"},
    {"explain"},
    {"cli"},
    {"__main__"},
)
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}

TRAINING_ONLY = {"torch", "onnx", "onnxscript", "onnx_ir", "lightning_fabric", "lightning", "captum"}
TRAINING_ROOMS = {"model", "deploy", "explain"}

MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def room_of(module: Path) -> str:
    return module.parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> set[str]:
    """Dotted names that a module imports, at its top or inside functions."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def names_in(module: Path) -> set[str]:
    return imported(ast.parse((PACKAGE / module).read_text(encoding="utf-8")))


def upward(module: Path, names: set[str]) -> set[str]:
    """Imports of a module that go up or sideways."""
    here = room_of(module)
    wrong = set()
    for name in names:
        parts = name.split(".")
        if parts[0] != "edgeecg" or len(parts) == 1:
            continue
        there = parts[1]
        if there in FLOOR and there != here and FLOOR[there] >= FLOOR[here]:
            wrong.add(name)
    return wrong


@pytest.mark.parametrize("module", [m for m in MODULES if m != Path("__init__.py")], ids=str)
def test_imports_go_down_only(module: Path) -> None:
    assert room_of(module) in FLOOR or room_of(module) == "zoo", f"{module} belongs to no floor"
    if room_of(module) in FLOOR:
        assert upward(module, names_in(module)) == set()


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_training_libraries_stay_in_their_rooms(module: Path) -> None:
    libraries = {name.split(".")[0] for name in names_in(module)}
    if room_of(module) not in TRAINING_ROOMS:
        assert libraries & TRAINING_ONLY == set()


def test_the_check_sees_an_upward_import() -> None:
    names = imported(ast.parse("def f():\n    from edgeecg.stream import session\n    import torch"))
    assert names == {"edgeecg.stream.session", "torch"}
    assert upward(Path("signal/filter.py"), names) == {"edgeecg.stream.session"}
    assert upward(Path("cli/stream.py"), names) == set()
    assert upward(Path("io/record.py"), {"edgeecg.signal.filter"}) == {"edgeecg.signal.filter"}


HEAVY = (
    "torch",
    "onnx",
    "onnxruntime",
    "scipy.signal",
    "wfdb",
    "pyarrow",
    "pandas",
    "matplotlib",
    "tensorrt",
)


@pytest.mark.parametrize("statement", ["import edgeecg", "import edgeecg.cli.main"])
def test_import_is_light(statement: str) -> None:
    code = f"import sys; {statement}; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == ""


def test_opening_the_runtime_needs_no_torch() -> None:
    code = (
        "import sys, edgeecg\n"
        "for name in edgeecg.__all__: getattr(edgeecg, name)\n"
        "print(*[m for m in ('torch', 'onnx', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == ""
