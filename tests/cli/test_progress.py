"""Long work says how far it is, in a log too."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from edgeecg.cli import common
from edgeecg.cli.main import main
from edgeecg.cli.profile_tables import percentile_table
from edgeecg.metrics.tables import Table
from edgeecg.profile.latency import summarise


def lines(monkeypatch: pytest.MonkeyPatch, every: float) -> list[str]:
    monkeypatch.setattr(common, "EVERY", every)
    out = io.StringIO()
    with common.progress_bar(Console(file=out, width=80)) as bar:
        for _ in bar.track(range(3), description="records"):
            pass
        task = bar.add_task("training", total=2000)
        bar.update(task, completed=1500, description="training, loss 0.5")
    return out.getvalue().splitlines()


def test_a_log_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    told = lines(monkeypatch, 0.0)
    assert "records: 3 of 3, 0 s" in told
    assert "training, loss 0.5: 1,500 of 2,000, 0 s" in told


def test_short_work_says_nothing_in_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines(monkeypatch, 60.0) == []


class Clock:
    """Time that goes on by as much each time somebody looks."""

    def __init__(self, step: float = 0.0) -> None:
        self.now, self.step = 100.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_a_line_says_how_long_it_will_take_yet() -> None:
    """Of the pace of this run alone: what an earlier one had done took no time."""
    out, clock = io.StringIO(), Clock()
    with common.progress_bar(Console(file=out, width=80, get_time=clock)) as bar:
        task = bar.add_task("training", total=1000, completed=500, begun=500)
        for step in range(501, 1001):
            clock.now += 1
            bar.update(task, completed=step)
    told = out.getvalue().splitlines()
    assert len(told) == 16
    assert told[0] == "training: 530 of 1,000, 30 s, about 8 min left"
    assert told[-1] == "training: 980 of 1,000, 8 min, about 20 s left"


@pytest.mark.parametrize(
    ("seconds", "says"),
    [(0.4, "0 s"), (119, "119 s"), (150, "2 min"), (7100, "118 min"), (7260, "2 h 1 min")],
)
def test_times_are_said_as_people_say_them(seconds: float, says: str) -> None:
    assert common._span(seconds) == says


@pytest.fixture
def in_a_log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the verbs say where stderr is a file, by a clock that goes on by itself."""
    out, clock = io.StringIO(), Clock(7.0)
    monkeypatch.setattr(
        common, "human_console", lambda: Console(file=out, width=200, soft_wrap=True, get_time=clock)
    )
    return out


def test_training_says_how_far_it_is(
    in_a_log: io.StringIO, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr("edgeecg.cli.train.human_console", common.human_console)
    (tmp_path / "c.toml").write_text(
        'preset = "nano"\nworkers = 0\n[data]\nsynthetic_patients = 12\nsynthetic_seconds = 20\nfolds = 2\n'
        "[optim]\nsteps = 12\nbatch = 2\nseconds = 10\nevaluate_every = 6\n"
    )
    assert main(["train", "--config", str(tmp_path / "c.toml"), "--out", str(tmp_path / "out")]) == 0
    told = in_a_log.getvalue()
    assert "preparing recordings of synthetic" in told
    assert re.search(r"^preparing synthetic: \d+ of 12, \d+ s", told, re.MULTILINE)
    assert re.search(r"^training, loss \d.*: \d+ of 12, .*, about .* left$", told, re.MULTILINE)
    assert re.search(r"^validation at step 6: synthetic/QRS F1 0\.\d{4}", told, re.MULTILINE)


def test_fetching_says_how_far_it_is(
    in_a_log: io.StringIO, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from edgeecg.data import fetch as room

    def fetched(name: str, root: Path, *, report: room.Report, **named: object) -> room.FetchSummary:
        for done in range(10, 41):  # ten files were here
            report(done, 40, 1_000_000)
        return room.FetchSummary(Path(root, name), 30, 10, 31_000_000)

    monkeypatch.setattr(room, "fetch", fetched)
    monkeypatch.setattr("edgeecg.cli.data.human_console", common.human_console)
    assert main(["data", "fetch", "mitdb", "--data", str(tmp_path)]) == 0
    lines = [line for line in in_a_log.getvalue().splitlines() if line.startswith("files of mitdb, ")]
    assert len(lines) > 2
    assert re.fullmatch(r"files of mitdb, \d+\.0 MB: \d+ of 40, .*, about .* left", lines[0])


def test_annotating_evaluating_and_calibrating_say_how_far_they_are(
    in_a_log: io.StringIO, tmp_path: Path
) -> None:
    pytest.importorskip("onnx")
    records = str(tmp_path / "records")
    assert main(["data", "synth", "--out", records, "--patients", "6", "--seconds", "20"]) == 0
    assert main(["annotate", records, "-o", str(tmp_path / "found")]) == 0
    assert main(["evaluate", records]) == 0
    assert main(["evaluate", records, "-a", str(tmp_path / "found")]) == 0
    line = [
        "calibrate",
        "small",
        "-o",
        str(tmp_path / "c"),
        "-r",
        records,
        "--windows",
        "6",
        "--seconds",
        "10",
    ]
    assert main(line) == 0
    told = in_a_log.getvalue()
    for what in ("annotating", "records [^:]*", "records", "calibrating"):
        assert re.search(rf"^{what}: \d of 6, \d+ s(, about .* left)?$", told, re.MULTILINE), (what, told)


def on_terminal(width: int, show: Callable[[Console], None]) -> str:
    out = io.StringIO()
    show(Console(file=out, width=width, force_terminal=True, color_system=None))
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_terminal_is_so_narrow_that_digits_are_cut_off(width: int) -> None:
    heads = ("record", *(f"{c} {s}" for c in ("QRS", "V", "S") for s in ("hits", "Se %", "+P %")))
    table = Table("by record", heads, (("mitdb/119", *("99.85 [99.75, 99.94]",) * 9),))
    said = on_terminal(width, lambda console: common.show_table(console, table))
    assert "…" not in said
    assert said.count("99.94]") == 9


@pytest.mark.parametrize("width", [40, 200])
def test_percentiles_are_whole_on_any_terminal(width: int) -> None:
    times = summarise(np.linspace(0.1, 123.456, 1000))
    table = percentile_table("Time of a hop", {"the token graph": times})
    said = on_terminal(width, lambda console: common.show_whole(console, table))
    for value in (times.p50, times.p999, times.maximum, times.jitter):
        assert f"{value:.3f}" in said
