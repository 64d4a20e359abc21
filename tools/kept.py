"""Out-of-fold tables of the networks of folds that are kept, by the deployed path.

    python tools/kept.py micro-five --data DIR    # of tools/release/folds; ten minutes

Each network is exported and built under --work, annotates the recordings of the patients that it never saw,
and is scored as `tools/train_release.py` scores a release. The figures go to --work/NAME/PRESET.json too;
afterwards `tools/alarms.py` and `tools/devices.py` can be asked about the same networks (`NAME --work WORK`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from stages import with_hidden  # beside this file
from train_release import out_of_fold

from edgeecg.errors import EdgeECGError

KEPT = Path(__file__).parent / "release" / "folds"


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
