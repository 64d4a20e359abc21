"""Out-of-fold tables of the networks of folds that are kept, by the deployed path.

    python tools/kept.py micro-four --data DIR    # of tools/release/folds; ten minutes

Each network is exported and built under --work, annotates the recordings of the patients that it never saw,
and is scored as `tools/train_release.py` scores a release. The figures go to --work/NAME/PRESET.json too;
afterwards `tools/alarms.py` and `tools/devices.py` can be asked about the same networks (`NAME --work WORK`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from held_out import REFINED  # beside this file
from train_release import hidden, out_of_fold

from edgeecg.data.prepare import DataSettings, load_training_data
from edgeecg.errors import ConfigError, EdgeECGError
from edgeecg.model.checkpoint import SETTINGS, WEIGHTS, load_checkpoint, save_checkpoint

KEPT = Path(__file__).parent / "release" / "folds"


def with_hidden(kept: Path, work: Path, data: Path) -> tuple[str, int]:
    """The networks again, each with the names of the recordings that it never saw; preset, and how many."""
    runs = sorted(kept.glob("fold*"))
    if not runs:
        raise ConfigError(f"no networks of folds in {kept}: give the name of a folder in {kept.parent}")
    networks = [load_checkpoint(run / REFINED) for run in runs]
    sets = networks[0].meta["config"]["data"]["sets"]
    settings = DataSettings(root=str(data), sets={name: 1.0 for name in sets if name != "synthetic"})
    records = load_training_data(settings, 0).training
    for fold, (run, checkpoint) in enumerate(zip(runs, networks, strict=True)):
        unseen = sorted(records[number].name for number in hidden(records, fold, len(runs)))
        target, meta = work / run.name / REFINED, {**checkpoint.meta, "validation": unseen}
        if not (target / SETTINGS).exists():
            save_checkpoint(target, checkpoint.network, meta)
            continue
        same = (target / WEIGHTS).read_bytes() == (run / REFINED / WEIGHTS).read_bytes()
        if not same or load_checkpoint(target).meta != meta:
            raise ConfigError(f"{target} holds another network: name another --work")
    return networks[0].meta["config"]["preset"], len(runs)


def tables(
    name: Annotated[str, typer.Argument(help="Folder of tools/release/folds.")],
    data: Annotated[Path, typer.Option(help="Folder of the development recordings.")],
    work: Annotated[Path, typer.Option(help="Where the work lies; goes on where it was stopped.")] = Path(
        "runs/kept"
    ),
) -> None:
    """Annotate every development recording by a network that never saw its patient, and score that."""
    try:
        preset, folds = with_hidden(KEPT / name, work / name, data)
        out_of_fold(preset, work / name, data, folds, work / name)
    except EdgeECGError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(tables)
