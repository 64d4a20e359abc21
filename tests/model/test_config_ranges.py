"""Numbers out of range are told with their place, before anything is read or trained."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
from edgeecg.deploy.windows import read_recipe
from edgeecg.errors import ConfigError
from edgeecg.model.config import read_config


@pytest.mark.parametrize(
    ("table", "line", "told"),
    [
        ("optim", "batch = 0", "batch"),
        ("optim", "rate = -1.0", "rate"),
        ("optim", "dropout = 1.5", "dropout"),
        ("optim", "average = 2.0", "average"),
        ("optim", "checkpoint_every = 0", "checkpoint_every"),
        ("optim", "steps = 0", "steps"),
        ("optim", "seconds = 1", "seconds"),
        ("optim", "rare = 2.0", "rare"),
        ("augment", "drop = 3.0", "drop"),
        ("augment", "gain = 0.0", "gain"),
        ("augment", "snr = [24.0, -3.0]", "lower level first"),
        ("loss", "classes = [1.0, 2.0]", "classes"),
        ("loss", "classes = [0.0, 0, 0.0, 0.0, 0.0]", "loss.classes is 0 for every class"),
        ("signal", "band = [40.0, 0.5]", "lower end first"),
        ("signal", "band = [0.5, 90.0]", "between 0.01 and 64 Hz"),
        ("signal", "clip = 0.0", "above 0"),
        ("signal", "gain_seconds = nan", "above 0"),
        ("optim", "rate = inf", "rate"),
        ("optim", "decay = 1e6", "optim.decay 1e.06 takes more than all"),
        ("optim", "rate = 100", "at optim.rate 100"),
        ("data", "sets = {mitdb = -1.0}", "sets"),
        ("data", "synthetic_patients = -1", "synthetic_patients"),
    ],
)
def test_numbers_out_of_range_are_refused(tmp_path: Path, table: str, line: str, told: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(f"[{table}]\n{line}\n")
    with pytest.raises(ConfigError, match=told) as caught:
        read_config(path)
    assert "\n" not in str(caught.value)


def test_a_word_that_is_none_of_a_few_is_told_with_these(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('positions = "foo"\n')
    with pytest.raises(ConfigError, match="choose rotary, sinusoidal, learned, none"):
        read_config(path)
    path.write_text('method = "foo"\n')
    with pytest.raises(ConfigError, match="choose minmax, percentile, entropy, mse"):
        read_recipe(path)


@pytest.mark.parametrize("line", ["threads = 0", "workers = -1", "devices = 0"])
def test_so_are_those_of_the_machine(tmp_path: Path, line: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(line + "\n")
    with pytest.raises(ConfigError, match=line.split(maxsplit=1)[0]):
        read_config(path)
