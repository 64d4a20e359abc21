"""Make the packaged bundles again, by the public verbs alone; what is there already is left alone.

    python tools/release.py small --data DIR              # the bundle, from all development recordings
    python tools/release.py small --data DIR --folds 5    # and its figures on patients held out

Each preset is trained as `tools/release/PRESET.toml` says, the folds as `PRESET-folds.toml`.
The work lies in `runs/release/PRESET`: kill it
and start it again at will. Out of it come `edgeecg/zoo/PRESET.edgeecg`, the evidence under
`calibration/PRESET`, and with `--folds` the table `docs/models/PRESET.json` of out-of-fold figures.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated

import typer

from edgeecg.cli.main import main
from edgeecg.errors import EdgeECGError

ROOT = Path(__file__).parents[1]
SETS = ("mitdb:DS1", "mitdb:paced", "svdb", "cinc2017")
CALIBRATION = ("mitdb:DS1", "svdb")
POLICY = ("--lead-policy", "fused")  # on held-out patients ahead of "first" and "best" in QRS


def verb(*words: object) -> None:
    """Run `edgeecg` with these words; stop where it fails."""
    line = [str(word) for word in words]
    typer.echo("edgeecg " + " ".join(line[:8]) + (" ..." if len(line) > 8 else ""), err=True)
    if code := main(line):
        raise typer.Exit(code)


def train(recipe: str, out: Path, data: Path, *more: object) -> Path:
    """A checkpoint; a run that was interrupted goes on."""
    checkpoint = out / "checkpoint"
    if not (checkpoint / "checkpoint.json").exists():
        config = ROOT / "tools" / "release" / f"{recipe}.toml"
        verb("train", "--config", config, "--out", out, "--data", data, *more)
    return checkpoint


def held_out(checkpoint: Path) -> list[str]:
    """Recordings that a fold was not trained on, without the synthetic ones."""
    meta = json.loads((checkpoint / "checkpoint.json").read_text(encoding="utf-8"))["meta"]
    return [name for name in meta["validation"] if not name.startswith("synthetic/")]


def out_of_fold(preset: str, work: Path, data: Path, folds: int) -> None:
    """Every development recording annotated by a network that never saw its patient, and the scores."""
    annotations = work / "annotations"
    for fold in range(folds):
        run = work / f"fold{fold}"
        checkpoint = train(f"{preset}-folds", run, data, "--fold", f"{fold}/{folds}")
        bundle = run / f"{preset}.edgeecg"
        if not bundle.exists():
            verb("export", checkpoint, "--out", run / "graphs", *POLICY)
            verb("build", run / "graphs", "--out", bundle)
        done = run / "annotated"
        if not done.exists():
            paths = [data / name for name in held_out(checkpoint)]
            verb("annotate", *paths, "--bundle", bundle, "--out", annotations)
            done.touch()
    table = ROOT / "docs" / "models" / f"{preset}.json"
    table.parent.mkdir(exist_ok=True)
    verb("evaluate", *SETS, "--annotations", annotations, "--json", table, "--no-records", "--data", data)


def bundle(preset: str, work: Path, data: Path) -> None:
    """The packaged bundle with all precisions, and the evidence of its INT8 scales."""
    checkpoint = train(preset, work / "all", data)
    graphs, evidence, quantized = work / "graphs", ROOT / "calibration" / preset, work / "quantized"
    references = [word for name in CALIBRATION for word in ("--reference", name)]
    if not quantized.exists():
        for stale in (graphs, evidence):
            shutil.rmtree(stale, ignore_errors=True)
        verb("export", checkpoint, "--out", graphs, *POLICY)
        verb("calibrate", graphs, "--out", evidence, *references, "--data", data)
        verb("quantize", graphs, "--calibration", evidence, "--out", quantized, *references, "--data", data)
    made = work / f"{preset}.edgeecg"
    verb("build", quantized, "--out", made, "--name", preset, "--no-engine")
    shutil.copyfile(made, ROOT / "edgeecg" / "zoo" / made.name)


def release(
    presets: Annotated[list[str], typer.Argument(metavar="PRESET...", help="nano, micro, small, base")],
    data: Annotated[Path, typer.Option(help="Folder of the development recordings.")],
    work: Annotated[Path, typer.Option(help="Where the work lies.")] = Path("runs/release"),
    folds: Annotated[int, typer.Option(help="Groups of patients for out-of-fold figures; 0 for none.")] = 0,
    only_folds: Annotated[bool, typer.Option(help="Leave the bundle as it is.")] = False,
) -> None:
    """Train, calibrate, quantize, build; with --folds, cross-validate too."""
    try:
        for preset in presets:
            if not only_folds:
                bundle(preset, work / preset, data)
            if folds:
                out_of_fold(preset, work / preset, data, folds)
    except EdgeECGError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(release)
