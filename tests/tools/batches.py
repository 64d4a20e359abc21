"""What networks that are trained together are shown in these tests: a few synthetic patients."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from edgeecg.data.dataset import Windows
from edgeecg.data.prepare import load_training_data
from edgeecg.data.recording import TrainingRecord
from edgeecg.data.settings import DataSettings
from edgeecg.model.config import TrainConfig
from edgeecg.model.train import build_network

__all__ = ["CPU", "records", "some_records", "windows_of"]

CPU = torch.device("cpu")


@cache
def some_records() -> list[TrainingRecord]:
    """Six patients, half a minute each."""
    return load_training_data(DataSettings(synthetic_patients=6, synthetic_seconds=30), seed=0).training


@pytest.fixture(scope="module")
def records() -> list[TrainingRecord]:
    """As a fixture."""
    return some_records()


def windows_of(records: list[TrainingRecord], config: TrainConfig) -> Windows:
    """Batches as the configuration wants them."""
    return Windows(
        records,
        [],
        build_network(config).spec,
        config.signal,
        config.augment,
        {"synthetic": 1.0},
        seconds=config.optim.seconds,
        batch=config.optim.batch,
    )
