"""Several processes train one network: other windows in each, one set of weights, one voice."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from edgeecg.data.prepare import load_training_data
from edgeecg.errors import ConfigError
from edgeecg.model.config import TrainConfig, read_config
from edgeecg.model.team import Team
from edgeecg.model.train import Trainer

CONFIG = """
preset = "nano"
accelerator = "cpu"
devices = {devices}
nodes = {nodes}
workers = 0
[data]
synthetic_patients = 4
synthetic_seconds = 30
folds = 2
[optim]
steps = 6
batch = 2
seconds = 20
evaluate_every = 6
checkpoint_every = 2
"""

# Fabric starts the other processes by the command line of the first: it must be a program
PROGRAM = """
import atexit, hashlib, os, signal, sys
from pathlib import Path
from torch import distributed
from edgeecg.model.config import read_config
from edgeecg.model.run import train_run
from edgeecg.model.train import Trainer

atexit.register(lambda: print("in a group at the end:", distributed.is_initialized()))
config, out, mark, die = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
step = Trainer.train_step

def marked(self, batch):
    values = step(self, batch)
    rank = self.fabric.global_rank
    signal_hash = hashlib.sha256(batch["signal"].numpy().tobytes()).hexdigest()
    average = sum(float(p.double().sum()) for p in self.average.parameters())
    with (mark / f"{rank}.txt").open("a") as file:
        file.write(f"{os.getpid()} {self.step} {signal_hash} {average!r}\\n")
    return values

def show(step, values):
    if step == die:
        os.kill(os.getpid(), signal.SIGKILL)

Trainer.train_step = marked
print(train_run(read_config(config), out, show=show, say=print).figures)
"""


def write_config(folder: Path, devices: int = 1, nodes: int = 1) -> Path:
    path = folder / f"{devices}x{nodes}.toml"
    path.write_text(CONFIG.format(devices=devices, nodes=nodes))
    return path


def start(
    folder: Path, config: Path, name: str, out: str = "", die: int = 0, **environment: str
) -> subprocess.Popen[str]:
    program = folder / "program.py"
    program.write_text(PROGRAM)
    mark = folder / f"{name}-marks"
    mark.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, str(program), str(config), str(folder / (out or name)), str(mark), str(die)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def marks(folder: Path, name: str, rank: int) -> list[list[str]]:
    return [line.split() for line in (folder / f"{name}-marks" / f"{rank}.txt").read_text().splitlines()]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoint" / "weights.safetensors")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run on two machines (both of them this one), and a killed one on two devices that went on."""
    folder = tmp_path_factory.mktemp("team")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}
    nodes = write_config(folder, nodes=2)
    pair = [
        start(folder, nodes, "whole", out, NODE_RANK=str(rank), **place)
        for rank, out in enumerate(("whole", "elsewhere"))
    ]
    for rank, process in enumerate(pair):
        said, complaints = process.communicate(timeout=600)
        assert process.returncode == 0, complaints
        (folder / f"said{rank}.txt").write_text(said)
    devices = write_config(folder, devices=2)
    killed = start(folder, devices, "killed", die=5)
    killed.communicate(timeout=600)  # to the end of its follower, which holds the same pipes
    assert killed.returncode == -9
    assert json.loads((folder / "killed" / "run.json").read_text())["step"] == 4
    resumed = start(folder, devices, "killed")
    said, complaints = resumed.communicate(timeout=600)
    assert resumed.returncode == 0, complaints
    assert "going on at step 4 of 6" in said
    return folder


def test_each_process_draws_windows_of_its_own(folder: Path) -> None:
    first, second = (marks(folder, "whole", rank) for rank in (0, 1))
    assert len(first) == len(second) == 6
    assert len({line[2] for line in first + second}) == 12, "no batch twice"
    config = read_config(write_config(folder))
    data = load_training_data(config.data, config.seed)
    alone = Trainer(config, data.training, data.noise, folder / "alone")
    drawn = [hashlib.sha256(np.ascontiguousarray(alone.windows(i)["signal"])).hexdigest() for i in range(6)]
    assert [line[2] for line in first] == drawn, "the first draws what one device draws"


def test_the_average_is_the_same_in_every_process(folder: Path) -> None:
    first, second = (marks(folder, "whole", rank) for rank in (0, 1))
    assert [line[3] for line in first] == [line[3] for line in second]


def test_every_process_leaves_in_order(folder: Path) -> None:
    """A group that is left to the interpreter's end aborted a process once, by a thread that still ran."""
    for rank in (0, 1):
        assert "in a group at the end: False" in (folder / f"said{rank}.txt").read_text()


def test_one_process_writes_and_talks(folder: Path) -> None:
    assert (folder / "said0.txt").read_text().count("training on 2 recordings") == 1
    assert "training on" not in (folder / "said1.txt").read_text()
    for rank in (0, 1):  # half an hour at most, which without a word looks as if it hung
        assert (folder / f"said{rank}.txt").read_text().startswith("waiting for 2 machines")
    assert not (folder / "elsewhere").exists(), "only the first machine needs the folder"
    assert len(list((folder / "whole" / "tensorboard").iterdir())) == 1
    meta = json.loads((folder / "whole" / "checkpoint" / "checkpoint.json").read_text())["meta"]
    assert "2 x cpu" in meta["machine"]


def test_a_killed_run_on_two_devices_ends_at_the_weights_of_a_whole_one_on_two_machines(folder: Path) -> None:
    whole, again = weights(folder / "whole"), weights(folder / "killed")
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


@pytest.mark.parametrize(
    "change",
    [
        {"accelerator": "toaster"},
        {"precision": "7-bit"},
        {"precision": "16-mixed", "accelerator": "cpu"},
        {"accelerator": "cuda", "devices": 999},
    ],
)
def test_what_the_machine_does_not_have_is_one_line(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as error:
        Team(replace(TrainConfig(accelerator="cpu"), **change))  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


@pytest.fixture
def team() -> Team:
    return Team(TrainConfig(accelerator="cpu"))


def test_a_failure_of_the_first_is_raised(team: Team) -> None:
    def fail() -> int:
        raise ConfigError("no")

    for way in (team.first, team.each):
        assert way(lambda: 7) == 7
        with pytest.raises(ConfigError, match="no"):
            way(fail)
    with pytest.raises(ConfigError, match="no"):
        team.stop(ConfigError("no"))
