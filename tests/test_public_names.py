"""One public door: what is behind it, and that every module says what it shows."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

import edgeecg

PACKAGE = Path(edgeecg.__file__).parent
MODULES = sorted(
    path.relative_to(PACKAGE)
    for path in PACKAGE.rglob("*.py")
    if path.name not in {"__init__.py", "__main__.py"}
)


def test_the_door_is_what_was_agreed() -> None:
    """Adding a name here is a promise to keep it."""
    assert sorted(edgeecg.__all__) == [
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


@pytest.mark.parametrize("name", [n for n in edgeecg.__all__ if not n.startswith("__")])
def test_each_name_is_the_one_of_its_home(name: str) -> None:
    value = getattr(edgeecg, name)
    if name in edgeecg._ROOMS:
        assert value is import_module(f"edgeecg.{name}")
        return
    home = import_module(edgeecg._HOME[name])
    assert value is getattr(home, name)
    assert name in home.__all__
    assert name in dir(edgeecg)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing_like_it'"):
        edgeecg.nothing_like_it  # noqa: B018


def declared(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets
        ):
            return [str(ast.literal_eval(item)) for item in node.value.elts]  # type: ignore[attr-defined]
    return None


def defined(tree: ast.Module) -> set[str]:
    """Public functions and classes of a module's top level."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_module_lists_what_it_shows(module: Path) -> None:
    tree = ast.parse((PACKAGE / module).read_text(encoding="utf-8"))
    names = declared(tree)
    assert names is not None, f"{module} has no __all__"
    assert len(names) == len(set(names))
    bound = {
        name.id
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        for name in ast.walk(target)
        if isinstance(name, ast.Name)
    }
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(names) <= defined(tree) | bound | imported, "a name in __all__ is not there"
