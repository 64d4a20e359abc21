"""A whole recording through the same path as a live stream, in longer blocks."""

from __future__ import annotations

from edgeecg.bundle import LeadPolicy
from edgeecg.decode.alarms import AlarmSettings
from edgeecg.io.record import Record
from edgeecg.pipeline.cohort import Cohort
from edgeecg.pipeline.decoder import DecoderSettings
from edgeecg.pipeline.intake import Intake, rows_of
from edgeecg.runtime.engine import Engine
from edgeecg.specs import Event

__all__ = ["annotate"]

TOKENS = 2048  # in a block, 128 s: the longer, the less it matters what a block costs besides the graphs
STRIDE = 1 << 16  # samples pushed at a time, so that blocks do not pile up


def annotate(
    engine: Engine,
    record: Record,
    *,
    lead_policy: LeadPolicy | None = None,
    withhold: bool = True,
    alarms: AlarmSettings | None = None,
) -> list[Event]:
    """Find and classify every beat of a recording, and its rhythms, gaps, stretches of noise and alarms.

    Parameters
    ----------
    engine : Engine
        Of :func:`edgeecg.open_engine`.
    record : Record
        Millivolts, 100 to 1000 Hz; NaN where a sample is missing.
    lead_policy : str, optional
        ``first``, ``best`` or ``fused``; the bundle's where left out.
    withhold : bool
        Leave out beats on unreadable signal.
    alarms : AlarmSettings, optional
        Thresholds of the alarms.

    Returns
    -------
    list of Event
        What a :class:`edgeecg.Stream` would tell, in the same order: samples and labels are equal,
        probabilities within 1e-4.

    Raises
    ------
    SignalError
        If the rate is out of range.
    """
    policy = lead_policy or engine.bundle.lead_policy
    leads = len(record.leads)
    settings = DecoderSettings.of(engine.bundle, alarms, withhold)
    hop = TOKENS * engine.bundle.spec.patch
    cohort = Cohort(engine, leads=rows_of(policy, leads), hop=hop, policy=policy, settings=settings)
    intake = Intake(record.fs, leads, policy, hop, cohort.tail(record.fs))
    cohort.open(0, record.fs)
    state = intake.initial()
    events: list[Event] = []
    for start in range(0, len(record), STRIDE):
        events += cohort.run(0, intake.push(record.signal[start : start + STRIDE], state))
    return events + cohort.run(0, intake.flush(state)) + cohort.flush(0)
