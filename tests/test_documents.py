"""README and docs hold: Python examples run, and every `edgeecg` line names real verbs and options."""

from __future__ import annotations

import importlib
import inspect
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeecg.cli.main import VERBS, load, overview
from edgeecg.data.synthetic.patient import KINDS
from edgeecg.stream.address import Form
from edgeecg.stream.sinks.registry import SINKS
from edgeecg.stream.sources.registry import SOURCES

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("README*.md")), ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(?P<kind>[\w-]*)[^\n]*\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, *kinds: str) -> list[str]:
    """Bodies of the fenced blocks of some kinds."""
    found = FENCE.finditer(page.read_text(encoding="utf-8"))
    return [match["body"] for match in found if match["kind"] in kinds]


def command_lines(text: str) -> Iterator[list[str]]:
    """Words of each `edgeecg` command in a shell block; pipes and continuation lines are understood."""
    for line in text.replace("\\\n", " ").splitlines():
        for part in re.split(r"\||&&|;", line.removeprefix("$ ")):
            words = shlex.split(part, comments=True)
            if words and words[0] == "edgeecg":
                yield words[1:]


def complaint(words: list[str]) -> str | None:
    """What is wrong with a command line, if anything."""
    words = [word for word in words if word != "--debug"]
    if not words or words[0] in {"--help", "--version", "VERB"}:
        return None
    if words[0] not in VERBS:
        return f"no verb {words[0]!r}"
    command: Any = load(words[0])
    rest = words[1:]
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            return f"no verb {rest[0]!r} in {command.name!r}"
        command, rest = command.commands[rest[0]], rest[1:]
    known = {"--help", "-h"}
    for parameter in command.params:
        known.update(parameter.opts, parameter.secondary_opts)
    used = {word.split("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
    return f"unknown options {sorted(used - known)} of {words[0]!r}" if used - known else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path) -> None:
    lines = [words for text in blocks(page, "sh", "bash", "console") for words in command_lines(text)]
    wrong = {" ".join(words): said for words in lines if (said := complaint(words))}
    assert wrong == {}


LINK = re.compile(r"\]\((?!\w+:)(?P<path>[^)#]+)(#[^)]*)?\)")
NAMED = re.compile(r"`(?P<path>(?:edgeecg|docs|tests|tools|benchmarks|calibration|constraints)/[\w./-]*)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_points_at_is_there(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    linked = {match["path"]: page.parent / match["path"] for match in LINK.finditer(text)}
    named = {match["path"]: ROOT / match["path"] for match in NAMED.finditer(text)}
    assert [path for path, target in (linked | named).items() if not target.exists()] == []


ANCHOR = re.compile(r"\]\((?!\w+:)(?P<path>[^)#]*)#(?P<anchor>[^)]+)\)")


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in a link, as GitHub makes it of their text."""
    heads = re.findall(r"^#+ +(.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_into_a_page_finds_its_heading(page: Path) -> None:
    links = ANCHOR.finditer(FENCE.sub("", page.read_text(encoding="utf-8")))
    there = [(m["path"] or page.name, m["anchor"]) for m in links]
    assert [link for link in there if link[1] not in anchors(page.parent / link[0])] == []


@pytest.mark.parametrize("form", [*SOURCES, *SINKS], ids=lambda form: form.shape)
def test_every_option_of_a_source_or_sink_is_told(form: Form) -> None:
    text = (ROOT / "docs" / "sources-and-sinks.md").read_text(encoding="utf-8")
    module, _, name = form.factory.partition(":")
    _, *options = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    assert [option for option in options if not re.search(rf"`{option}[`=]", text)] == []


def test_every_kind_of_synthetic_patient_is_told() -> None:
    text = (ROOT / "docs" / "sources-and-sinks.md").read_text(encoding="utf-8")
    assert [kind for kind in KINDS if f"`{kind}`" not in text] == []


QUOTED = re.compile(r"^```python (?P<path>[\w/]+\.py)\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL)
QUOTING = [page for page in PAGES if QUOTED.search(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", QUOTING, ids=lambda page: page.name)
def test_quoted_code_is_in_the_file_that_it_names(page: Path) -> None:
    found = list(QUOTED.finditer(page.read_text(encoding="utf-8")))
    stale = [m["body"] for m in found if m["body"] not in (ROOT / m["path"]).read_text(encoding="utf-8")]
    assert stale == []


TRANSLATED = [ROOT / "README.zh.md", ROOT / "docs" / "theory.zh.md"]


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.name)
def test_a_translation_shows_the_same_code_and_pictures(page: Path) -> None:
    original = page.with_name(page.name.replace(".zh", "")).read_text(encoding="utf-8")
    text = page.read_text(encoding="utf-8")
    shown = [m.group() for m in FENCE.finditer(text)] + re.findall(r"!\[[^\]]*(\]\([^)]+\))", text)
    assert shown
    assert [part for part in shown if part not in original] == []


def table_figures(page: Path) -> list[list[str]]:
    """Numbers of each table row that has any."""
    rows = (line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|"))
    return [found for row in rows if (found := re.findall(r"[-+]?\d[\d,.]*\d|\d", row))]


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.name)
def test_a_translation_has_the_same_figures(page: Path) -> None:
    assert table_figures(page) == table_figures(page.with_name(page.name.replace(".zh", "")))


def test_the_theory_quotes_code() -> None:
    assert {"theory.md", "theory.zh.md"} <= {page.name for page in QUOTING}


def test_the_overview_walks_in_the_order_in_which_one_can() -> None:
    told = re.findall(r"^ *- `edgeecg (\w+)", str(overview.__doc__), re.MULTILINE)
    assert told == ["train", "export", "calibrate", "quantize", "build", "evaluate", "stream"]


def test_the_check_sees_a_wrong_command() -> None:
    assert complaint(["nothing"]) == "no verb 'nothing'"
    assert complaint(["train", "--speed-of-light"]) == "unknown options ['--speed-of-light'] of 'train'"


@pytest.mark.parametrize("number", range(len(blocks(ROOT / "README.md", "python"))))
def test_readme_python_runs(number: int, tmp_path: Path) -> None:
    code = blocks(ROOT / "README.md", "python")[number]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), "an example that shows nothing teaches nothing"


@pytest.mark.parametrize("name", ["README", "docs/theory"])
def test_a_translation_leads_to_the_same_places(name: str) -> None:
    def places(page: Path) -> set[str]:
        found = {
            match["path"].replace(".zh.md", ".md")
            for match in LINK.finditer(page.read_text(encoding="utf-8"))
        }
        return {path for path in found if Path(path).name != f"{Path(name).name}.md"}

    assert places(ROOT / f"{name}.zh.md") == places(ROOT / f"{name}.md")


def test_the_picture_of_sizes_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    shutil.copy(ROOT / "docs" / "images" / "pareto.py", tmp_path / "images")
    shutil.copytree(ROOT / "docs" / "models", tmp_path / "models", ignore=shutil.ignore_patterns("images"))
    pytest.importorskip("matplotlib")
    done = subprocess.run(
        [sys.executable, tmp_path / "images" / "pareto.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "images" / "pareto.png").stat().st_size > 10_000
