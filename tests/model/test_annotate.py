"""The network over whole recordings in PyTorch."""

from __future__ import annotations

import numpy as np
import torch

from edgeecg.model.annotate import annotate_rows
from edgeecg.model.presets import preset
from edgeecg.model.transformer import Network


def test_recordings_in_which_no_beat_is_found() -> None:
    """As an untrained network leaves them: no beats, and no error."""
    torch.manual_seed(0)
    network = Network(preset("nano")).eval()
    signal = np.zeros((2, 4000), np.float32)
    for found in annotate_rows(network, signal, threshold=2.0):
        assert len(found.place) == len(found.classes) == len(found.rhythm) == 0
    assert any(len(found.place) for found in annotate_rows(network, signal, threshold=1e-6))
