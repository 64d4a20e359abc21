"""Ventricular flutter must speak, not fall silent: the packaged model on mitdb 207."""

from __future__ import annotations

import pytest

from edgeecg import open_engine
from edgeecg.bundle import packaged_names
from edgeecg.data.catalog import find_records, load_record
from edgeecg.metrics.judge import truth_of
from edgeecg.pipeline import annotate
from edgeecg.specs import Alarm

SPEAKS = {"pause", "asystole", "no-beat", "bradycardia", "tachycardia", "v-run"}


@pytest.mark.data
@pytest.mark.skipif("small" not in packaged_names(), reason="no packaged model in this installation")
def test_each_stretch_of_flutter_raises_an_alarm(data_root):
    path = next(path for path in find_records(data_root, "mitdb") if path.name == "207")
    record = load_record(path, "mitdb")
    with open_engine("small", "onnxruntime") as engine:
        events = annotate(engine, record)
    ended = [event for event in events if isinstance(event, Alarm) and event.end is not None]
    alarms = [alarm for alarm in ended if alarm.label in SPEAKS]
    flutter = truth_of(record, "mitdb").masks
    assert len(flutter) == 6
    for start, stop in flutter:
        seconds = start / record.fs
        assert any(a.start < stop and a.end > start for a in alarms), (
            f"silent in the flutter at {seconds:.0f} s"
        )
