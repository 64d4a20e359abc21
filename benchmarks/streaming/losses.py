"""What a lost packet costs: beats that are made up behind it, and beats that are not found."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeecg.io.record import Record
from edgeecg.pipeline import annotate
from edgeecg.runtime.engine import Engine
from edgeecg.specs import Beat
from streaming.common import recordings

PACKET, APART, MATCH = 0.1, 4.27, 0.15  # seconds; the second so that losses come at any moment of a beat
RECOVERY = 2.0


def losses(engine: Engine, seconds: float, count: int) -> dict[str, Any]:
    """A packet of each record is lost now and then; what is told beside the same record with all of them."""
    source, records = recordings(seconds)
    lost = made_up = missed = 0
    for record in records[:count]:
        starts = np.arange(5.0, record.seconds - 5.0, APART)
        whole, found = _beats(engine, record), _beats(engine, _without(record, starts))
        lost += len(starts)
        made_up += int(_alone(_near(found, starts), whole).sum())
        missed += int(_alone(_near(whole, starts), found).sum())
    return {
        "source": source,
        "packets_lost": lost,
        "beats_made_up": made_up,
        "beats_missed": missed,
        "packets_a_beat_made_up": lost / made_up if made_up else float("inf"),
    }


def _beats(engine: Engine, record: Record) -> NDArray[np.float64]:
    """Seconds at which beats are told."""
    told = [event.sample for event in annotate(engine, record) if isinstance(event, Beat)]
    return np.array(told) / record.fs


def _without(record: Record, starts: NDArray[np.float64]) -> Record:
    signal = record.signal.astype(np.float64)
    for start in np.rint(starts * record.fs).astype(int):
        signal[start : start + round(PACKET * record.fs)] = np.nan
    return Record(record.name, signal, record.fs, record.leads)


def _near(beats: NDArray[np.float64], starts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Those in a packet or in the two seconds behind one."""
    behind = beats[:, None] - starts
    return beats[((behind >= -MATCH) & (behind < RECOVERY)).any(axis=1)]


def _alone(beats: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which have none of the others at their place."""
    return np.asarray(np.abs(beats[:, None] - others).min(axis=1) > MATCH)
