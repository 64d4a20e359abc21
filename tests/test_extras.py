"""What the code imports is what pyproject.toml declares, and errors name extras that exist."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeecg.cli.main import EXTRA_OF

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]

IMPORTED_AS = {
    "cuda-python": "cuda",
    "fhir-resources": "fhir",
    "nvidia-ml-py": "pynvml",
    "paho-mqtt": "paho",
    "protobuf": "google",
    "pyserial": "serial",
    "scikit-learn": "sklearn",
}
"""Distributions whose import has another name."""

COMES_WITH = {"google": "onnx", "tomllib": "tomli", "urllib3": "requests"}
"""Imports that are part of another distribution's interface."""


def imports_of(requirements: list[str]) -> set[str]:
    """Import names of a list of requirements, extras of ourselves followed."""
    names = set()
    for requirement in requirements:
        name = re.split(r"[\s<>=!~;\[]", requirement)[0].lower().replace(".", "-")
        if name == "edgeecg":
            inner = re.search(r"\[(.*?)\]", requirement)
            assert inner
            names |= imports_of([line for extra in inner[1].split(",") for line in EXTRAS[extra]])
        else:
            names.add(IMPORTED_AS.get(name, name.replace("-", "_")))
    return names


BASE = imports_of(PROJECT["dependencies"])
BY_EXTRA = {extra: imports_of(requirements) for extra, requirements in EXTRAS.items()}
DECLARED = BASE.union(*BY_EXTRA.values())

TREES = {
    path.relative_to(ROOT): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "edgeecg").rglob("*.py"))
}


def third_party(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return {name for name in names if name not in sys.stdlib_module_names and name != "edgeecg"}


@pytest.mark.parametrize("module", TREES, ids=str)
def test_what_is_imported_is_declared(module: Path) -> None:
    used = {COMES_WITH.get(name, name) for name in third_party(TREES[module])}
    assert used <= DECLARED, f"{module} imports what pyproject.toml does not declare"


def missing_extras() -> Iterator[tuple[str, str]]:
    """Package and extra of every ``MissingExtra("package", "extra", ...)`` in the code."""
    for tree in TREES.values():
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "MissingExtra"
            ):
                words = [arg.value for arg in node.args[:2] if isinstance(arg, ast.Constant)]
                if len(words) == 2:
                    yield str(words[0]).split()[0], str(words[1])


@pytest.mark.parametrize(("package", "extra"), sorted({*missing_extras(), *EXTRA_OF.items()}))
def test_errors_name_the_extra_that_brings_the_package(package: str, extra: str) -> None:
    known = BY_EXTRA[extra] | {"liblsl"}  # pylsl brings its C library where it can
    assert package.replace("-", "_") in known


def test_the_libraries_of_sources_and_sinks_come_with_their_extras() -> None:
    """What `serve --check` names is what the extra installs, and every form's extra is known."""
    from edgeecg.stream.address import LIBRARIES
    from edgeecg.stream.sinks.registry import SINKS
    from edgeecg.stream.sources.registry import SOURCES

    for extra, (_, package) in LIBRARIES.items():
        assert any(re.match(rf"{re.escape(package)}[<>=;\[ ]", entry) for entry in EXTRAS[extra]), extra
    assert {form.extra for form in (*SINKS, *SOURCES)} - {""} == set(LIBRARIES)
