"""What a record's own annotations say of alarms, and how episodes are laid side by side."""

from __future__ import annotations

import numpy as np
from alarms import LABELS, SILENCE, episodes, expected  # tools/

from edgeecg.io.record import Annotations, Record
from edgeecg.specs import Alarm, Beat

FS = 100


def record(beats: dict[float, str], seconds: float) -> Record:
    """A lead of nothing, annotated."""
    marks = Annotations([round(FS * at) for at in beats], list(beats.values()))
    return Record("r", np.zeros((round(FS * seconds), 1)), FS, ("MLII",), marks)


def test_a_stop_in_the_annotations_is_a_pause_and_a_silence() -> None:
    beats = {float(at): "N" for at in (1, 2, 3, 9, 10, 11)}
    found = episodes(expected(record(beats, 12), "mitdb"))
    assert found["pause"] == [(300, 900)]
    assert found[SILENCE] == [(300, 900)]
    assert not any(found[label] for label in set(LABELS) - {"pause", SILENCE})


def test_runs_are_those_of_the_labels() -> None:
    beats = {0.8 * n: "V" if 5 <= n <= 8 else "N" for n in range(1, 15)}
    found = episodes(expected(record(beats, 13), "mitdb"))
    assert found["v-run"] == [(400, 640)]
    assert found["couplet"] == []


def test_episodes_that_touch_are_one_and_onsets_are_none() -> None:
    told = [
        Alarm(10, None, "asystole"), Alarm(10, 50, "asystole"), Alarm(40, 90, "no-beat"),
        Beat(90, "N", 1.0, 1.0, None),
        Alarm(5, 5, "couplet"), Alarm(200, None, "no-beat"),
    ]  # fmt: skip
    found = episodes(told)
    assert found[SILENCE] == [(10, 90)]
    assert found["couplet"] == [(5, 6)]
