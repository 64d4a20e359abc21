"""Training: learns, resumes to the bit after a kill, refuses what does not fit, never picks by validation."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from edgeecg.cli.main import main
from edgeecg.data.prepare import load_training_data
from edgeecg.data.recording import TrainingRecord
from edgeecg.data.settings import DataSettings
from edgeecg.errors import ConfigError, StateError
from edgeecg.io import Annotations, Record, write_wfdb
from edgeecg.model.checkpoint import load_checkpoint, save_checkpoint
from edgeecg.model.config import OptimSettings, TrainConfig, read_config
from edgeecg.model.initial import check_finished
from edgeecg.model.presets import preset
from edgeecg.model.resume import save_run
from edgeecg.model.run import _lacking, train_run
from edgeecg.model.train import Trainer, build_network, learning_rate
from edgeecg.model.transformer import Network
from edgeecg.specs import ModelSpec

TINY = TrainConfig(
    preset="nano",
    workers=0,
    data=DataSettings(synthetic_patients=6, synthetic_seconds=40, folds=3),
    optim=OptimSettings(steps=6, batch=2, seconds=20, evaluate_every=3, checkpoint_every=2),
)


class Silent:
    def step(self, step: int, values: dict[str, float]) -> None:
        """Nothing to show."""


@pytest.fixture(scope="module")
def data():  # type: ignore[no-untyped-def]
    return load_training_data(TINY.data, seed=0)


def weights(network: Network) -> torch.Tensor:
    return torch.cat([value.flatten() for value in network.state_dict().values()])


def test_the_loss_falls(data, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    config = replace(TINY, optim=replace(TINY.optim, steps=40, evaluate_every=1000))
    seen: list[float] = []

    class Log:
        def step(self, step: int, values: dict[str, float]) -> None:
            seen.append(values["beat"])

    Trainer(config, data.training, data.noise, tmp_path).run(Log())
    assert len(seen) == 40
    assert np.mean(seen[-5:]) < 0.7 * np.mean(seen[:5])


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_killed_run_goes_on_to_the_same_weights(data, dropout: float, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    config = replace(TINY, optim=replace(TINY.optim, dropout=dropout))
    whole = Trainer(config, data.training, data.noise, tmp_path / "whole").run(Silent())

    class Kill:
        def step(self, step: int, values: dict[str, float]) -> None:
            if step == 5:  # one step after the checkpoint at 4: that step is done again
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trainer(config, data.training, data.noise, tmp_path / "killed").run(Kill())
    again = Trainer(config, data.training, data.noise, tmp_path / "killed")
    assert again.restore()
    assert again.step == 4
    resumed = again.run(Silent())
    assert torch.equal(weights(whole), weights(resumed))
    assert not resumed.training, "nothing is left out of what is kept"


def test_a_resumed_run_finds_the_same_beats_in_unlabelled_recordings(data, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    config = replace(TINY, optim=replace(TINY.optim, steps=7, pseudo_every=3, checkpoint_every=5))

    def recordings() -> list[TrainingRecord]:
        silent = replace(
            data.training[0],
            complete=False,
            beats=np.empty(0),
            labels=np.empty(0, np.int64),
            weak_label="N",
        )
        return [silent, *data.training[1:]]

    class Kill:
        def step(self, step: int, values: dict[str, float]) -> None:
            if step == 5:  # in the middle of the second phase, right after a checkpoint
                raise KeyboardInterrupt

    complete = recordings()
    whole = Trainer(config, complete, data.noise, tmp_path / "whole").run(Silent())
    with pytest.raises(KeyboardInterrupt):
        Trainer(config, recordings(), data.noise, tmp_path / "killed").run(Kill())
    resumed = recordings()
    again = Trainer(config, resumed, data.noise, tmp_path / "killed")
    assert again.restore()
    assert torch.equal(weights(whole), weights(again.run(Silent())))
    np.testing.assert_array_equal(complete[0].beats, resumed[0].beats)


def test_validation_is_watched_but_chooses_nothing(data, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Known false road: picking the checkpoint by a score. Whatever is said of a network, the end is kept."""
    calls: list[int] = []

    def flatter(network: Network) -> dict[str, float]:
        calls.append(len(calls))
        return {"mitdb/V F1": 1.0 - len(calls) / 10}  # the first is the best

    watched = Trainer(TINY, data.training, data.noise, tmp_path / "a", evaluate=flatter).run(Silent())
    alone = Trainer(TINY, data.training, data.noise, tmp_path / "b").run(Silent())
    assert len(calls) == 2
    assert torch.equal(weights(watched), weights(alone))


def test_a_run_of_other_settings_is_refused(data, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    Trainer(TINY, data.training, data.noise, tmp_path).save()
    other = replace(TINY, optim=replace(TINY.optim, rate=1e-4), preset="micro")
    with pytest.raises(ConfigError, match=r"preset was nano, is micro, optim.rate was 0.003, is 0.0001"):
        Trainer(other, data.training, data.noise, tmp_path).restore()
    moved = replace(TINY, workers=2, data=replace(TINY.data, root="elsewhere"))
    assert Trainer(moved, data.training, data.noise, tmp_path).restore()
    (tmp_path / "run.safetensors").write_bytes((tmp_path / "run.safetensors").read_bytes()[:-9])
    with pytest.raises(StateError, match="damaged"):
        Trainer(TINY, data.training, data.noise, tmp_path).restore()


def test_a_run_of_other_weights_or_recordings_is_refused(data, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    def trainer(initial: Network | None = None, records: int = 4, beat: float = 0.0) -> Trainer:
        first = replace(data.training[0], beats=data.training[0].beats + beat)
        chosen = [first, *data.training[1:records]]
        return Trainer(TINY, chosen, data.noise, tmp_path, initial=initial)

    trainer(build_network(TINY)).save()
    assert trainer(build_network(TINY)).restore()
    with pytest.raises(ConfigError, match="was a fine-tuning of other weights: give the same --init"):
        trainer().restore()
    with pytest.raises(ConfigError, match="was a fine-tuning of other weights"):
        trainer(build_network(replace(TINY, seed=5))).restore()
    with pytest.raises(ConfigError, match="4 of synthetic then, 3 of synthetic now"):
        trainer(build_network(TINY), records=3).restore()
    with pytest.raises(ConfigError, match="4 of synthetic, but not the same"):
        trainer(build_network(TINY), beat=40).restore()
    other = [replace(data.training[0], digest="turned over"), *data.training[1:4]]
    with pytest.raises(ConfigError, match="other samples of the same recordings"):
        Trainer(TINY, other, data.noise, tmp_path, initial=build_network(TINY)).restore()


def test_a_run_of_an_older_version_goes_on(data, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """It kept no hashes, and its settings lacked keys that are at their defaults now."""
    trainer = Trainer(TINY, data.training, data.noise, tmp_path)
    config = {name: value for name, value in TINY.to_dict().items() if name != "nodes"}
    save_run(tmp_path, trainer.modules, trainer.optimizer, {"step": 2, "seconds": 1.0, "config": config})
    assert trainer.restore()
    assert trainer.step == 2


def test_the_scale_of_the_losses_is_part_of_the_state(data, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Of 16-mixed, which no CPU has: here PyTorch's scaler for CPUs stands in the place of the GPU's."""

    def trainer() -> Trainer:
        made = Trainer(replace(TINY, precision="bf16-mixed"), data.training, data.noise, tmp_path)
        plugin = made.fabric.strategy.precision
        plugin.scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=3)
        return made

    whole = trainer()
    whole.run()
    assert whole.fabric.strategy.precision.scaler.get_scale() == 256.0, "doubled every third step"
    for name in ("run.safetensors", "run.json"):
        (tmp_path / name).unlink()

    class Kill:
        def step(self, step: int, values: dict[str, float]) -> None:
            if step == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer().run(Kill())
    again = trainer()
    assert again.restore()
    plugin = again.fabric.strategy.precision
    assert (plugin.scaler.get_scale(), plugin.scaler.state_dict()["_growth_tracker"]) == (128.0, 1)
    assert torch.equal(weights(whole.average), weights(again.run()))
    assert plugin.scaler.get_scale() == 256.0


def test_a_gradient_that_is_not_finite_ends_the_run(data, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    trainer = Trainer(TINY, data.training, data.noise, tmp_path)
    with torch.no_grad():
        trainer.network.token.heads.weight.fill_(float("nan"))
    with pytest.raises(ConfigError, match=r"not finite at step 0: lower optim.rate"):
        trainer.run()
    assert not list(tmp_path.iterdir())


def test_a_whole_run_leaves_a_checkpoint_that_says_where_it_comes_from(tmp_path: Path) -> None:
    report = train_run(TINY, tmp_path)
    checkpoint = load_checkpoint(report.checkpoint)
    assert checkpoint.network.parameter_count == checkpoint.meta["parameters"]
    assert checkpoint.meta["validation"]
    assert set(checkpoint.meta["sets"]) == {"synthetic"}
    assert any(name.startswith("synthetic/") for name in report.figures)
    assert list((tmp_path / "tensorboard").iterdir())
    fine = train_run(replace(TINY, seed=1), tmp_path / "fine", init=str(report.checkpoint))
    moved = weights(load_checkpoint(fine.checkpoint).network) - weights(checkpoint.network)
    assert 0 < float(moved.abs().mean()) < 0.1, "fine-tuning begins from the weights that it was given"


def test_fine_tuning_tells_whom_the_first_weights_know(tmp_path: Path) -> None:
    """Their validation patients stay held out, those whom they learnt from do not become so."""
    config = replace(TINY, data=replace(TINY.data, folds=0, validation=("ward/p1", "ward/p2")))
    made = load_training_data(TINY.data, seed=0).training
    for number, record in enumerate(made[:3]):
        write_wfdb(_recording(f"p{number}", record), tmp_path / "ward")
    config = replace(config, data=replace(config.data, root=str(tmp_path), sets={"ward": 1.0}))
    grandparent = {"sets": {"svdb": 39}, "validation": [], "attribution": ["Greenwald"]}
    parent = {"sets": {"ward": 2}, "validation": ["ward/p1"], "attribution": ["Moody"], "parent": grandparent}
    init = str(save_checkpoint(tmp_path / "init", Network(preset("nano")), parent))
    said: list[str] = []
    meta = load_checkpoint(train_run(config, tmp_path / "run", init=init, say=said.append).checkpoint).meta
    assert f"note: {init} was trained on 1 of the 2 validation patients: their figures are too good" in said
    assert meta["parent"] == {"name": init, **parent}
    assert meta["attribution"] == ["Moody", "Greenwald"]


def _recording(name: str, made: TrainingRecord) -> Record:
    marks = Annotations(np.rint(made.beats).astype(int), np.array(list("NSVFQ"))[made.labels])
    leads = tuple(f"I{number}" for number in range(len(made.signal)))
    return Record(name, made.signal.T.astype(float), 128.0, leads, marks)


def test_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    said: list[str] = []
    first = train_run(TINY, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert train_run(TINY, tmp_path, say=said.append) == first
    assert said[-1] == "this run is finished: nothing to do"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        (preset("micro"), 'sizes of preset micro, the configuration says nano: set preset = "micro"'),
        (replace(preset("nano"), positions="learned"), 'set positions = "learned"'),
    ],
)
def test_weights_of_other_sizes_are_refused(tmp_path: Path, spec: ModelSpec, complaint: str) -> None:
    init = save_checkpoint(tmp_path / "init", Network(spec), {})
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        train_run(TINY, tmp_path / "run", init=str(init))
    assert not (tmp_path / "run").exists()


def test_weights_of_no_preset_keep_their_sizes(tmp_path: Path) -> None:
    spec = replace(preset("nano"), delay=7)
    init = save_checkpoint(tmp_path / "init", Network(spec), {})
    checkpoint = load_checkpoint(train_run(TINY, tmp_path / "run", init=str(init)).checkpoint)
    assert checkpoint.network.spec == spec
    assert checkpoint.meta["config"]["preset"] == "", "the sizes have no name; `model` says them"


def test_a_folder_that_cannot_be_written_to_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(ConfigError, match="file is a file; name a folder by --out"):
            train_run(TINY, out)


def test_the_schedule_warms_up_and_ends_at_zero() -> None:
    config = replace(TINY, optim=replace(TINY.optim, steps=100, warmup=0.1, rate=1.0))
    rates = [learning_rate(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates[-1] < 0.001
    assert rates[10:] == sorted(rates[10:], reverse=True)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("presett = 'nano'", "presett"),
        ("[optim]\nstep = 3", "optim.step"),
        ("[optim]\nsteps = 'many'", "steps"),
        ("preset = ", "not TOML"),
        (f"preset = {'[' * 100_000}", "not TOML"),
        ("positions = 'spiral'", "positions"),
    ],
)
def test_a_wrong_configuration_names_the_place(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=complaint) as error:
        read_config(path)
    assert str(path) in str(error.value)
    with pytest.raises(ConfigError, match=rf"{tmp_path} cannot be read \(.*\): name a TOML file"):
        read_config(tmp_path)
    path.write_text("seed = 3", encoding="utf-8-sig")
    assert read_config(path).seed == 3, "some editors begin a file with a mark"


@pytest.mark.parametrize(
    "text", ["seed = -1", "threads = 100000", "workers = 100000", "devices = 900", "optim.seconds = 1000000"]
)
def test_numbers_that_no_machine_takes_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(ConfigError, match=text.split(maxsplit=1)[0].rpartition(".")[2]):
        read_config(tmp_path / "c.toml")


def test_what_cannot_be_learnt_is_said(data) -> None:  # type: ignore[no-untyped-def]
    some = [replace(r, labels=np.zeros_like(r.labels)) for r in data.training]
    assert list(_lacking(some)) == ["note: no training recording has beats of S, V: they will not be learnt"]
    assert any("flat or empty" in line for line in _lacking([replace(some[0], signal=0 * some[0].signal)]))


def test_a_configuration_is_read(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text("preset = 'micro'\n[data.sets]\nmitdb = 0.5\nmine = 0.5\n[optim]\nsteps = 7\n")
    config = read_config(path)
    assert (config.preset, config.optim.steps, config.data.sets) == ("micro", 7, {"mitdb": 0.5, "mine": 0.5})
    assert read_config(None) == TrainConfig()
    with pytest.raises(ConfigError, match="no configuration"):
        read_config(tmp_path / "absent.toml")


def test_an_unknown_preset_lists_the_names(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nano, micro, small, base"):
        train_run(replace(TINY, preset="huge"), tmp_path)


def test_frozen_tokens_stay_and_the_beat_encoder_learns(data, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    config = replace(
        TINY,
        optim=replace(TINY.optim, freeze_tokens=True, steps=4, checkpoint_every=2, dropout=0.1),
        loss=replace(TINY.loss, retain=0.5),
        augment=replace(TINY.augment, retime=0.5),  # what is retimed retains nothing
    )
    seen: list[dict[str, float]] = []

    class Log:
        def step(self, step: int, values: dict[str, float]) -> None:
            seen.append(values)
            if len(seen) == 2:
                raise KeyboardInterrupt

    def initial() -> Network:
        return build_network(replace(TINY, seed=3))

    whole = Trainer(config, data.training, data.noise, tmp_path / "whole", initial=initial()).run()
    before = initial()
    for name, value in whole.token.state_dict().items():
        assert torch.equal(value, before.token.state_dict()[name])
    assert not torch.equal(whole.beat.enter.weight, before.beat.enter.weight)

    with pytest.raises(KeyboardInterrupt):
        Trainer(config, data.training, data.noise, tmp_path / "killed", initial=initial()).run(Log())
    assert "beat" not in seen[0]
    assert seen[0]["retain"] > 0
    again = Trainer(config, data.training, data.noise, tmp_path / "killed", initial=initial())
    assert again.restore()
    assert torch.equal(weights(again.run()), weights(whole))


def test_settings_that_cannot_be_right_are_told_before_the_recordings_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which takes minutes; so are those of another run in the same folder, and other weights."""
    train_run(replace(TINY, optim=replace(TINY.optim, steps=1)), tmp_path / "run")
    monkeypatch.setattr("edgeecg.model.run.load_training_data", lambda *_: pytest.fail("they are read"))
    frozen = replace(TINY, optim=replace(TINY.optim, freeze_tokens=True))
    with pytest.raises(ConfigError, match="--init"):
        train_run(frozen, tmp_path / "frozen")
    with pytest.raises(ConfigError, match=r"other settings \(optim.steps was 1, is 6\)"):
        train_run(TINY, tmp_path / "run")
    with pytest.raises(ConfigError, match="did not begin from other weights"):
        train_run(replace(TINY, optim=replace(TINY.optim, steps=1)), tmp_path / "run", init="nano")


def test_frozen_tokens_find_the_beats_of_unlabelled_recordings_once(data, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    def unlabelled(beats: np.ndarray) -> TrainingRecord:
        open_ = replace(data.training[0], complete=False, weak_label="N")
        open_.beats, open_.labels = beats, np.full(len(beats), -1)
        return open_

    known = np.array([100.0, 220.0])
    records = [unlabelled(np.empty(0)), unlabelled(known), *data.training[1:3]]
    optim = replace(TINY.optim, freeze_tokens=True, steps=1, pseudo_every=0)
    initial = build_network(TINY)
    with torch.no_grad():
        initial.token.heads.bias[0] = 3.0  # so that it finds some everywhere
    Trainer(replace(TINY, optim=optim), records, [], tmp_path, initial=initial).run()
    assert len(records[0].beats) > 5
    assert records[1].beats is known


def test_two_runs_at_once_are_kept_apart(tmp_path: Path) -> None:
    """The second would write over the first, or clear what it is writing."""
    hold = "from pathlib import Path; from edgeecg.model.run import _alone; import sys, time\n"
    hold += "with _alone(Path(sys.argv[1])): print('mine', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"mine\n"
        with pytest.raises(ConfigError, match="another run is training in"):
            train_run(TINY, tmp_path)
        other.kill()
        other.wait()
    train_run(replace(TINY, optim=replace(TINY.optim, steps=1)), tmp_path)  # the lock went with the process


def test_a_checkpoint_of_a_run_before_is_not_this_runs(tmp_path: Path) -> None:
    """Its state was deleted, as the message about damage asks; a kill came before the new checkpoint."""
    short = replace(TINY, optim=replace(TINY.optim, steps=2))
    former = train_run(short, tmp_path / "former").checkpoint
    train_run(replace(short, seed=1), tmp_path / "new")
    for name in ("weights.safetensors", "checkpoint.json"):
        (tmp_path / "new" / "checkpoint" / name).write_bytes((former / name).read_bytes())
    said: list[str] = []
    again = train_run(replace(short, seed=1), tmp_path / "new", say=said.append)
    assert not any("nothing to do" in line for line in said)
    assert load_checkpoint(again.checkpoint).meta["config"]["seed"] == 1
    train_run(replace(short, seed=1), tmp_path / "new", say=said.append)
    assert said[-1] == "this run is finished: nothing to do"


def test_a_run_that_was_killed_says_so_and_how_it_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"

    def killed(step: int, values: dict[str, float]) -> None:
        if step == 5:  # one step after the state at 4
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_run(TINY, out, show=killed)
    for named in (out, out / "checkpoint"):
        assert main(["export", str(named), "--out", str(tmp_path / "graphs")]) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert f"the training in {out} has not finished (step 4 of 6 is kept)" in said
        assert "same `edgeecg train` command again" in said
    with pytest.raises(ConfigError, match="has not finished"):
        train_run(TINY, tmp_path / "tuned", init=str(out))
    (out / "run.safetensors").unlink()
    with pytest.raises(ConfigError, match="no step of it is kept yet"):
        check_finished(out)
    train_run(TINY, out)
    check_finished(out)
    check_finished(out / "checkpoint")


def test_logs_that_cannot_be_written_end_no_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def full(*_given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", full)
    train_run(replace(TINY, optim=replace(TINY.optim, steps=30)), tmp_path)
    assert "Traceback" not in capfd.readouterr().err
    assert [r.message for r in caplog.records if "training goes on without" in r.message] == [
        "TensorBoard's log cannot be written ([Errno 28] No space left on device): training goes on without"
    ]


def test_weights_behind_another_front_end_are_refused(tmp_path: Path) -> None:
    short = replace(TINY, optim=replace(TINY.optim, steps=1))
    train_run(short, tmp_path / "base")
    other = replace(short, signal=replace(short.signal, gain_seconds=0.3))
    for init in (tmp_path / "base", tmp_path / "base" / "checkpoint"):
        train_run(short, tmp_path / f"tuned from {init.name}", init=str(init))
        with pytest.raises(ConfigError, match="another front end"):
            train_run(other, tmp_path / "other", init=str(init))


@pytest.mark.parametrize(
    "facts",
    [
        {"step": -5, "config": {}},
        {"config": {}},
        {"step": 2, "config": []},
        {"step": "2"},
        [],
        {"step": 1, "seconds": None},
    ],
)
def test_a_state_that_says_nonsense_is_damaged(data, tmp_path: Path, facts: object) -> None:  # type: ignore[no-untyped-def]
    trainer = Trainer(TINY, data.training, data.noise, tmp_path)
    save_run(tmp_path, trainer.modules, trainer.optimizer, facts)  # type: ignore[arg-type]
    with pytest.raises(StateError, match="is damaged: delete it"):
        trainer.restore()


def test_a_state_with_half_an_optimizer_is_damaged(data, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    trainer = Trainer(replace(TINY, optim=replace(TINY.optim, steps=2)), data.training, data.noise, tmp_path)
    trainer.run(Silent())
    path = tmp_path / "run.safetensors"
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        said = file.metadata()
    del tensors[next(name for name in tensors if name.endswith("exp_avg"))]
    path.write_bytes(save(tensors, said))
    with pytest.raises(StateError, match="is damaged: delete it"):
        trainer.restore()


def test_the_packaged_name_counts_beside_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nano").mkdir()
    short = replace(TINY, optim=replace(TINY.optim, steps=1))
    report = train_run(short, tmp_path / "out", init="nano")
    assert load_checkpoint(report.checkpoint).meta["init"] == "nano"
    moved = weights(load_checkpoint(report.checkpoint).network) - weights(build_network(short))
    assert float(moved.abs().max()) > 0.1  # one step from the packaged weights, not from random ones
