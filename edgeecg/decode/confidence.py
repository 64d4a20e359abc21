"""The probability told with a beat: that its label is right, as held-out patients taught it.

A network that was trained on rare classes with more weight tells them with too much confidence. Which label
is told does not change; what is told with it is the log odds of the softmax, scaled and moved for each label
(Platt scaling of the label that was told), so that of the beats told as S with 0.7 about seven in ten are S.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgeecg.specs import BEAT_LABELS

__all__ = ["Confidence"]

SURE = 1e-6  # nearer to 0 or 1 no network is known to be right


class Confidence:
    """Corrects probabilities.

    Parameters
    ----------
    lines : mapping of label to (slope, offset)
        Of the log odds; labels left out stay as they are.
    """

    def __init__(self, lines: Mapping[str, tuple[float, float]]) -> None:
        pairs = [lines.get(label, (1.0, 0.0)) for label in BEAT_LABELS]
        self._slope, self._offset = np.array(pairs, np.float32).T
        self._idle = not lines

    def __call__(self, label: NDArray[np.intp], probability: NDArray[np.float32]) -> NDArray[np.float32]:
        """Corrected ``(beats,)`` probabilities of ``(beats,)`` labels, indices into ``BEAT_LABELS``."""
        if self._idle:
            return probability
        p = np.clip(probability, SURE, 1 - SURE)
        odds = self._slope[label] * (np.log(p) - np.log1p(-p)) + self._offset[label]
        corrected: NDArray[np.float32] = (0.5 * (1 + np.tanh(0.5 * odds))).astype(np.float32)
        return corrected
