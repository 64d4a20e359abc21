"""Make every released artefact again from the recordings; what is there already is left alone.

    python tools/train_release.py --data DIR                  # all four presets
    python tools/train_release.py nano --data DIR --folds 0   # one bundle, no out-of-fold figures
    python tools/train_release.py nano --data DIR --seed 1 --only-folds --work runs/seed1 --tables runs/seed1
    python tools/train_release.py nano --data DIR --steps 20 --work runs/rehearsal    # the folds, in minutes
    python tools/train_release.py small --data DIR --seed 1 --begin tools/release/folds/small-1 --work runs/1

`--begin` takes the first stage of the folds from networks that are kept, and only goes on: two hours on a
core. `--fold K` trains one of the folds alone, for other machines or other nights: lay their fold*/checkpoint
and fold*/refined into one folder of `tools/release/folds`, and `tools/kept.py` scores them (the same batches,
other dropout). With
`--pretrain 2400` the token encoder of each network first learns from the signals that it may see.

All networks of all presets, those of the folds and those that are shipped, are trained together on one stream
of batches (`tools/together.py`), as `tools/release/PRESET.toml` says: 24 networks, some ten minutes on
an H200, a night on a CPU. Then the beat encoder of each goes on alone, on frozen tokens and changed rhythms
(`tools/release/refine.toml`), on V that last (`lasting.toml`), and once more on rhythms (`rhythms.toml`), and
at last both encoders, held to what they said while they hear other recorders (`devices.toml`; what `nano`
learns by it is not taken).
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
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from held_out import REFINED, confidence, short, told  # beside this file
from recipes import int8_recipe, recipes  # beside this file
from stages import FIRST, names_of, train, with_hidden  # beside this file

from edgeecg import Beat, open_engine
from edgeecg.bundle import Bundle, packaged_names
from edgeecg.cli.main import main
from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize
from edgeecg.errors import ConfigError, EdgeECGError
from edgeecg.model.checkpoint import SETTINGS, load_checkpoint, save_checkpoint
from edgeecg.pipeline.annotate import annotate

ROOT = Path(__file__).parents[1]
TABLES = ROOT / "docs" / "models"
WORK = Path("runs/release")
PRESETS = ("nano", "micro", "small", "base")
SETS = ("mitdb:DS1", "mitdb:paced", "svdb:development", "cinc2017:development")
CALIBRATION = ("mitdb:DS1", "svdb:development")
POLICY = ("--lead-policy", "fused")  # on held-out patients ahead of "first" in QRS, V and S


def verb(*words: object) -> None:
    """Run `edgeecg` with these words; stop where it fails."""
    line = [str(word) for word in words]
    typer.echo("edgeecg " + " ".join(line[:8]) + (" ..." if len(line) > 8 else ""), err=True)
    if code := main(line):
        raise typer.Exit(code)


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
    report["system"]["annotations"] = annotations.name  # where they lay is nobody's business
    for group in report["groups"]:
        group["title"] = short(group["title"])
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
        verb("calibrate", graphs, "--out", evidence, *int8_recipe(preset), *references, "--data", data)
        verb("quantize", graphs, "--calibration", evidence, "--out", quantized, *references, "--data", data)
    made = work / f"{preset}.edgeecg"
    made.unlink(missing_ok=True)  # of a run before
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


def begun(kept: Path, presets: Sequence[str], seed: int, work: Path, data: Path) -> int:
    """Take the first stage of the folds from networks that are kept; how many folds there are."""
    if work == WORK or len(presets) != 1:
        raise ConfigError("--begin makes no release: name one preset, and a --work of its own")
    preset, folds = with_hidden(kept, work / presets[0], data, FIRST)
    if preset != presets[0]:
        raise ConfigError(f"the networks in {kept} are {preset}, not {presets[0]}: name that preset")
    before = load_checkpoint(kept / "fold0" / FIRST).meta["config"]["seed"]
    if seed != before:
        raise ConfigError(f"the networks in {kept} are of seed {before}: give --seed {before}")
    return folds


def check(
    work: Path, folds: int, pretrain: int, begin: Path | None, fold: list[int] | None, steps: int | None
) -> None:
    """Refuse options that contradict each other; raises ``ConfigError``."""
    if begin is not None and pretrain:
        raise ConfigError("--pretrain is part of the first stage, which --begin takes as it is")
    if fold and (begin is not None or work == WORK):
        raise ConfigError("--fold makes a part of the folds from the start: name a --work of its own")
    if steps is not None and (not folds or work == WORK):
        raise ConfigError("--steps rehearses the folds: leave --folds as it is, and name a --work")


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
    begin: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Networks of the folds after the first stage, as many as there are: only go on.",
        ),
    ] = None,
    fold: Annotated[
        list[int] | None,
        typer.Option(metavar="K", help="Train this fold alone; again for more of them. Gather, then score."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="A rehearsal of the folds: so many steps a stage.")
    ] = None,
) -> None:
    """Train, cross-validate, calibrate, quantize, build."""
    try:
        chosen = presets or PRESETS
        check(work, folds, pretrain_steps, begin, fold, steps)
        if begin is not None:
            folds = begun(begin, chosen, seed, work, data)
        if steps is not None or begin is not None or fold:
            only_folds, tables = True, work if tables == TABLES else tables
        names = names_of(folds, fold or (), not only_folds)
        train(recipes(chosen, data, seed, steps), work, folds, names, finder, pretrain_steps)
        for preset in chosen:
            if folds and not fold:
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
