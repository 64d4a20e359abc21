"""Long work says how far it is, in a log too."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from rich.console import Console

from edgeecg.cli import common
from edgeecg.cli.profile import percentile_table
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
