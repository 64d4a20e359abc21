"""What `tools/stress.py` makes, and what it says of it."""

from __future__ import annotations

import pytest
import stress  # tools/

from edgeecg.runtime.engine import Engine, open_engine


@pytest.fixture(scope="module")
def nano() -> Engine:
    return open_engine("nano", "onnxruntime")


def test_shares_are_what_their_rows_say(nano: Engine) -> None:
    assert stress.fast_sinus(nano, 0, 75) < 0.05  # a slow heart has next to no S
    assert stress.laid(nano, 0, "pauses", "N") < 0.5
    assert stress.laid(nano, 0, "pauses", "S") is None  # a sinus that pauses has none
    assert stress.lasting(nano, 2, 140) > 0.9
    assert stress.paused(nano, 0, 2.5) == 1.0
    assert stress.standstill(nano, 0, 0) > 0.9  # asystole is told all the while
    assert stress.standstill(nano, 0, 100) > 0.9  # and where P waves go on


def test_a_patient_without_v_is_not_asked(nano: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    made = stress.settings
    monkeypatch.setattr(stress, "settings", lambda kind, *rest: made("normal", *rest, ventricular=0.0))
    assert stress.lasting(nano, 1, 140) is None
