"""Front end -> tokens -> peaks -> beats -> events: the one path that live streams and recordings share."""

from __future__ import annotations

from edgeecg.pipeline.annotate import Recordings, annotate
from edgeecg.pipeline.cohort import Cohort
from edgeecg.pipeline.decoder_state import DecoderSettings
from edgeecg.pipeline.intake import (
    MOST_LEADS,
    Intake,
    bundle_of,
    hop_samples,
    plain_rate,
    policy_of,
    rows_of,
)
from edgeecg.pipeline.latency import Latency
from edgeecg.pipeline.seats import Seats
from edgeecg.pipeline.tokens import Mode, step_tokens

__all__ = [
    "MOST_LEADS",
    "Cohort",
    "DecoderSettings",
    "Intake",
    "Latency",
    "Mode",
    "Recordings",
    "Seats",
    "annotate",
    "bundle_of",
    "hop_samples",
    "plain_rate",
    "policy_of",
    "rows_of",
    "step_tokens",
]
