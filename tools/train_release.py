"""Make every released artefact again from the recordings; what is there already is left alone.

    python tools/train_release.py --data DIR                  # all four presets
    python tools/train_release.py nano --data DIR --folds 0   # one bundle, no out-of-fold figures
    python tools/train_release.py nano --data DIR --seed 1 --only-folds --work runs/seed1 --tables runs/seed1
    python tools/train_release.py nano --data DIR --steps 20 --work runs/rehearsal    # the folds, in minutes

With `--pretrain 2400` the token encoder of each network first learns from the signals that it may see.

All networks of all presets, those of the folds and those that are shipped, are trained together on one stream
of batches (`edgeecg.model.together`), as `tools/release/PRESET.toml` says: 24 networks, some ten minutes on
an H200, a night on a CPU. Then the beat encoder of each goes on alone, on frozen tokens and changed rhythms
(`tools/release/refine.toml`), on V that last (`lasting.toml`), and once more on rhythms (`rhythms.toml`).
Then each preset goes its way by the public verbs: annotate with the networks of the folds and evaluate;
export, calibrate, quantize, build. The work lies under `--work`: kill it and start it again at will. What is
there is not made again: after a change of the code that annotates, delete `annotations`, `fold*/annotated`,
`all/final`, `graphs` and `quantized` of each preset, and `precisions` of `tools/precisions.py` in it and in
its folds.

Out of it come `edgeecg/zoo/PRESET.edgeecg`, the evidence `calibration/PRESET`, the out-of-fold figures
`docs/models/PRESET.json`, and what was released, `docs/models/released.json`, which `tests/test_released.py`
holds the packaged bundles to.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from held_out import REFINED, confidence, told  # beside this file
from pretraining import pretrain  # beside this file
from recipes import BIAS, LATER, SHARE, later, recipe_of, recipes, same_release  # beside this file
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor

from edgeecg import Beat, open_engine
from edgeecg.bundle import Bundle, packaged_names
from edgeecg.cli.main import main
from edgeecg.data.catalog import patient_folds
from edgeecg.data.dataset import Windows
from edgeecg.data.prepare import TrainingData, load_training_data
from edgeecg.data.recording import TrainingRecord
from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize
from edgeecg.errors import ConfigError, EdgeECGError
from edgeecg.io.atomic import atomic_path
from edgeecg.model.checkpoint import SETTINGS, load_checkpoint, network_from_weights, save_checkpoint
from edgeecg.model.config import TrainConfig
from edgeecg.model.many import Group, Member
from edgeecg.model.together import train_groups
from edgeecg.model.train import build_network, find_pseudo_beats
from edgeecg.model.transformer import Network
from edgeecg.pipeline.annotate import annotate

ROOT = Path(__file__).parents[1]
TABLES = ROOT / "docs" / "models"
WORK = Path("runs/release")
PRESETS = ("nano", "micro", "small", "base")
SETS = ("mitdb:DS1", "mitdb:paced", "svdb", "cinc2017")
CALIBRATION = ("mitdb:DS1", "svdb")
POLICY = ("--lead-policy", "fused")  # on held-out patients ahead of "first" in QRS, V and S


def verb(*words: object) -> None:
    """Run `edgeecg` with these words; stop where it fails."""
    line = [str(word) for word in words]
    typer.echo("edgeecg " + " ".join(line[:8]) + (" ..." if len(line) > 8 else ""), err=True)
    if code := main(line):
        raise typer.Exit(code)


def hidden(records: Sequence[TrainingRecord], fold: int, folds: int) -> frozenset[int]:
    """Numbers of the recordings of a fold's patients; synthetic ones are everybody's."""
    held: set[str] = set()
    for source in {record.source for record in records} - {"synthetic"}:
        people = patient_folds((r.patient for r in records if r.source == source), folds)
        held |= {person for person, number in people.items() if number == fold}
    return frozenset(number for number, record in enumerate(records) if record.patient in held)


def add_pseudo_beats(data: TrainingData, config: TrainConfig, finder: str) -> None:
    """Give recordings without labelled beats those that a finished network finds; their class is open."""
    bundle = Bundle.open(finder)
    network = network_from_weights(bundle.spec, bundle.weights())
    windows = Windows(
        data.training, data.noise, network.spec, config.signal, config.augment, config.data.sets
    )
    find_pseudo_beats(network, windows, [record for record in data.training if not record.complete])


def train(
    configs: Mapping[str, TrainConfig], work: Path, folds: int, shipped: bool, finder: str, pretrained: int
) -> None:
    """Every network of every preset, stage after stage, all on the same batches."""
    names = [*(f"fold{fold}" for fold in range(folds)), *(["all"] if shipped else [])]
    wanted = [work / preset / name for preset in configs for name in names]
    first = next(iter(configs.values()))
    found_by = f"{finder} {Bundle.open(finder).digest[:12]}"
    for preset, config in configs.items():
        facts = {"seed": first.seed, "folds": folds, "finder": found_by, "pretrain": pretrained}
        same_release(work / f"{preset}.origin.json", {**facts, "recipe": recipe_of(config)})
    if all((run / REFINED / SETTINGS).exists() for run in wanted):
        return
    torch.set_float32_matmul_precision("high")
    torch.set_num_threads(first.threads)
    data = load_training_data(first.data, first.seed)
    add_pseudo_beats(data, first, finder)
    if not all((run / "checkpoint" / SETTINGS).exists() for run in wanted):
        train_together(configs, data, work, names, folds, pretrained)
    before = "checkpoint"
    for stage in LATER:
        if not all((run / stage / SETTINGS).exists() for run in wanted):
            go_on(stage, before, configs, data, work, names, folds)
        before = stage


def train_together(
    configs: Mapping[str, TrainConfig],
    data: TrainingData,
    work: Path,
    names: Sequence[str],
    folds: int,
    pretrained: int,
) -> None:
    """The first stage, after a pre-training of so many batches."""
    first = next(iter(configs.values()))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    members = members_of(data, names, folds, first.seed)
    groups = [Group(config, members, len(data.training), device) for config in configs.values()]
    if pretrained:
        for group in groups:
            for number, member in enumerate(members):
                group.begin(number, first_weights(group.config, member, data, work, pretrained))
    seconds = advance("training", groups, first, data, work / "networks")
    for preset, group in zip(configs, groups, strict=True):
        keep(work / preset, group, data, seconds)


def go_on(
    stage: str,
    before: str,
    configs: Mapping[str, TrainConfig],
    data: TrainingData,
    work: Path,
    names: Sequence[str],
    folds: int,
) -> None:
    """A later stage: the beat encoders, from what the stage before left; every network's own patients stay
    hidden from it.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    groups, begun = [], {}
    for preset, recipe in configs.items():
        config = later(stage, recipe)
        begun[preset] = [load_checkpoint(work / preset / name / before) for name in names]
        members = members_of(data, names, folds, recipe.seed)
        networks = [each.network for each in begun[preset]]
        groups.append(Group(config, members, len(data.training), device, initial=networks))
    seconds = advance(stage, groups, groups[0].config, data, work / f"{stage}-networks")
    for (preset, first), group in zip(begun.items(), groups, strict=True):
        for each, (name, network) in zip(first, group.networks().items(), strict=True):
            facts = {**each.meta, stage: group.config.to_dict(), f"{stage}_seconds": seconds}
            facts[f"{stage}_share"] = SHARE[stage]
            if stage == REFINED:
                facts["thresholds"] = {"bias": BIAS[preset]}
            save_checkpoint(
                work / preset / name / stage, part_way(each.network, network, SHARE[stage]), facts
            )


def part_way(begin: Network, end: Network, share: float) -> Network:
    """The network whose weights lie so far on the way from one to the other."""
    end.load_state_dict(
        {name: value.lerp(end.state_dict()[name], share) for name, value in begin.state_dict().items()}
    )
    return end


def members_of(data: TrainingData, names: Sequence[str], folds: int, seed: int) -> list[Member]:
    """A network of each fold, and the one that is shipped."""
    return [
        Member(name, seed, hidden(data.training, fold, folds) if fold < folds else frozenset())
        for fold, name in enumerate(names)
    ]


def advance(told: str, groups: Sequence[Group], config: TrainConfig, data: TrainingData, out: Path) -> float:
    """Train all groups to the end of a stage; the seconds that it took."""
    optim = config.optim
    windows = Windows(
        records=data.training,
        noise=data.noise,
        spec=groups[0].spec,
        signal=config.signal,
        augment=config.augment,
        share=config.data.sets,
        seconds=optim.seconds,
        batch=optim.batch,
        rare=optim.rare,
        seed=config.seed,
    )
    clock = time.monotonic()
    steps: Iterable[int] = train_groups(groups, windows, workers=config.workers, out=out)
    for _ in track(steps, told, total=optim.steps - groups[0].step):
        pass
    return round(time.monotonic() - clock, 1)


def first_weights(
    config: TrainConfig, member: Member, data: TrainingData, work: Path, steps: int
) -> dict[str, Tensor]:
    """A token encoder that knows what ECG looks like, from the signals that its network may see; kept."""
    path = work / "pretrained" / f"{config.preset}-{member.name}-{steps}.safetensors"
    if path.exists():
        return load_file(path)
    network = build_network(replace(config, seed=member.seed))
    share = {name: part for name, part in config.data.sets.items() if name != "synthetic"}
    seen = [
        record
        for number, record in enumerate(data.training)
        if record.source in share and number not in member.hidden
    ]
    windows = Windows(
        seen, data.noise, network.spec, config.signal, config.augment, share,
        seconds=30, batch=32, rare=0.0, seed=member.seed,
    )  # fmt: skip
    weights, _ = pretrain(network, windows, steps)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        save_file({name: value.contiguous() for name, value in weights.items()}, temporary)
    return weights


def keep(work: Path, group: Group, data: TrainingData, seconds: float) -> None:
    """A checkpoint of each network of a preset, in place of all that was made from former ones."""
    shutil.rmtree(work, ignore_errors=True)
    for member, network in zip(group.members, group.networks().values(), strict=True):
        meta = {
            "config": group.config.to_dict(),
            "member": member.name,
            "sets": data.counts(),
            "validation": sorted(data.training[number].name for number in member.hidden),
            "attribution": list(data.attribution),
            "seconds": seconds,
            "machine": f"{platform.machine()}, {group.device.type}, Python {platform.python_version()}",
            "parameters": network.parameter_count,
        }
        save_checkpoint(work / member.name / "checkpoint", network, meta)


def out_of_fold(preset: str, work: Path, data: Path, folds: int, tables: Path) -> None:
    """Every development recording annotated by a network that never saw its patient, and the scores."""
    annotations = work / "annotations"
    for fold in range(folds):
        run = work / f"fold{fold}"
        bundle, done = run / f"{preset}.edgeecg", run / "annotated"
        if not bundle.exists():
            verb("export", run / REFINED, "--out", run / "graphs", *POLICY)
            verb("build", run / "graphs", "--out", bundle, "--no-engine")
        if not done.exists():
            meta = json.loads((run / REFINED / SETTINGS).read_text(encoding="utf-8"))["meta"]
            paths = [data / name for name in meta["validation"]]
            verb("annotate", *paths, "--bundle", bundle, "--out", annotations)
            done.touch()
    table = tables / f"{preset}.json"
    verb("evaluate", *SETS, "--annotations", annotations, "--json", table, "--no-records", "--data", data)
    report = json.loads(table.read_text(encoding="utf-8"))
    for group in report["groups"]:
        if not any(beats["records"] for beats in group["beats"]):
            group["records"] = len(group["records"])  # thousands of names, of which only the sum is shown
            if group["af"]:
                group["af"]["rows"] = []
    table.write_text(json.dumps(report, indent=1), encoding="utf-8")


def final(work: Path, data: Path, folds: int) -> Path:
    """The checkpoint that is shipped: with the confidence that the folds' held-out patients taught."""
    target = work / "all" / "final"
    if not (target / SETTINGS).exists():
        shipped = load_checkpoint(work / "all" / REFINED)
        lines = confidence(told(work, data)) if folds else {}
        thresholds = {**shipped.meta["thresholds"], "confidence": lines}
        save_checkpoint(target, shipped.network, {**shipped.meta, "thresholds": thresholds})
    return target


def package(preset: str, work: Path, data: Path, folds: int) -> None:
    """The packaged bundle with all precisions, and the evidence of its INT8 scales."""
    graphs, evidence, quantized = work / "graphs", ROOT / "calibration" / preset, work / "quantized"
    references = [word for name in CALIBRATION for word in ("--reference", name)]
    if not quantized.exists():
        for stale in (graphs, evidence):
            shutil.rmtree(stale, ignore_errors=True)
        verb("export", final(work, data, folds), "--out", graphs, *POLICY)
        verb("calibrate", graphs, "--out", evidence, *references, "--data", data)
        verb("quantize", graphs, "--calibration", evidence, "--out", quantized, *references, "--data", data)
    made = work / f"{preset}.edgeecg"
    verb("build", quantized, "--out", made, "--name", preset, "--no-engine")
    shutil.copyfile(made, ROOT / "edgeecg" / "zoo" / made.name)


def record_released() -> None:
    """Hashes of the packaged bundles, and what each says of a synthetic patient."""
    known = {}
    patient = synthesize(SyntheticSettings(draw_patient("ventricular", 3), seconds=60), seed=3).record
    for name in packaged_names():
        opened = Bundle.open(name)
        with open_engine(name, "onnxruntime") as engine:
            beats = [[e.sample, e.label] for e in annotate(engine, patient) if isinstance(e, Beat)]
        weights = hashlib.sha256(opened.parts["weights.safetensors"]).hexdigest()
        known[name] = {"digest": opened.digest, "weights": weights, "beats": beats}
    (ROOT / "docs" / "models" / "released.json").write_text(json.dumps(known), encoding="utf-8")


def release(
    data: Annotated[Path, typer.Option(help="Folder of the development recordings.")],
    presets: Annotated[
        list[str] | None, typer.Argument(metavar="[PRESET]...", help="nano, micro, small, base; else all")
    ] = None,
    work: Annotated[Path, typer.Option(help="Where the work lies.")] = WORK,
    folds: Annotated[int, typer.Option(help="Groups of patients for out-of-fold figures; 0: none.")] = 5,
    finder: Annotated[
        str, typer.Option(help="Bundle that finds the beats of recordings without beat labels.")
    ] = "small",
    only_folds: Annotated[bool, typer.Option(help="Leave the bundles as they are.")] = False,
    seed: Annotated[int, typer.Option(help="Of weights, batches and augmentation, in all stages.")] = 0,
    tables: Annotated[Path, typer.Option(help="Where the out-of-fold figures go.")] = TABLES,
    pretrain_steps: Annotated[
        int, typer.Option("--pretrain", help="Batches of pre-training on signals alone; 0: none.")
    ] = 0,
    steps: Annotated[
        int | None, typer.Option(help="A rehearsal of the folds: so many steps a stage.")
    ] = None,
) -> None:
    """Train, cross-validate, calibrate, quantize, build."""
    try:
        chosen = presets or PRESETS
        if steps is not None:
            if not folds or work == WORK:
                raise ConfigError("--steps rehearses the folds: leave --folds as it is, and name a --work")
            only_folds, tables = True, work if tables == TABLES else tables
        train(recipes(chosen, data, seed, steps), work, folds, not only_folds, finder, pretrain_steps)
        for preset in chosen:
            if folds:
                out_of_fold(preset, work / preset, data, folds, tables)
            if not only_folds:
                package(preset, work / preset, data, folds)
        if not only_folds:
            record_released()
    except EdgeECGError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(release)
