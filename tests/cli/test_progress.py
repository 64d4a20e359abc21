"""Long work says how far it is, in a log too."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from edgeecg.cli import common


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
