"""What a network is trained on: sets, validation patients, synthetic ones."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgeecg.errors import ConfigError
from edgeecg.ranges import AtLeastOne, Count, NotNegative

__all__ = ["SYNTHETIC", "DataSettings"]

SYNTHETIC = "synthetic"


@dataclass(frozen=True)
class DataSettings:
    """What is trained on.

    Parameters
    ----------
    root : str
        Folder with one folder a set; empty: ``EDGEECG_DATA`` where a set needs it.
    sets : dict of str to float
        Share of each set in a batch: sets of the catalogue, ``synthetic``, or any other folder under the
        root that holds annotated recordings of your own. Of mitdb, svdb and cinc2017 what is kept for
        judging (``DS2``, ``test``) is never read.
    validation : list of str
        Records (``mitdb/119``) whose patients are left out of training and scored at every evaluation.
    folds, fold : int
        With ``folds`` of 2 or more the patients of each set are dealt to folds by a hash of their names,
        and those of number ``fold`` are the validation patients.
    limit : int
        Most records of one set, 0 for all: for a quick trial.
    synthetic_patients, synthetic_seconds : int
        How many synthetic patients are made, at least 1 where they have a share, and the length of each.
    """

    root: str = ""
    sets: dict[str, NotNegative] = field(default_factory=lambda: {SYNTHETIC: 1.0})
    validation: tuple[str, ...] = ()
    folds: Count = 0
    fold: Count = 0
    limit: Count = 0
    synthetic_patients: Count = 72
    synthetic_seconds: AtLeastOne = 180

    def __post_init__(self) -> None:
        if not any(share > 0 for share in self.sets.values()):
            raise ConfigError("no set has a share: give one in [data.sets] a number above 0")
        if self.sets.get(SYNTHETIC, 0) > 0 and not self.synthetic_patients:
            told = "data.synthetic_patients is 0 and synthetic has a share"
            raise ConfigError(f"{told}: make some or give none")
        if self.fold and not self.folds:
            raise ConfigError(f"data.fold {self.fold} holds nobody out without data.folds: say of how many")
        if self.folds == 1:
            raise ConfigError("data.folds = 1 would hold everybody out: ask for 2 or more, or leave it out")
        if self.folds and self.fold >= self.folds:
            raise ConfigError(f"data.fold {self.fold} must be 0 to {self.folds - 1}")
