"""Every verb, every kind of wrong input: exit code 2, one error line that helps, nothing left behind."""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

import edgeecg
from edgeecg.cli.main import VERBS, main
from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize
from edgeecg.io import write_wfdb

ZOO = Path(edgeecg.__file__).parent / "zoo"


def damage_records(folder: Path) -> None:
    """Recordings that are wrong in one way each; ``good`` is not."""
    made = synthesize(SyntheticSettings(draw_patient("ventricular", 3), seconds=12, fs=250), seed=1)
    write_wfdb(replace(made.record, name="good"), folder)
    header, samples = (folder / "good.hea").read_text(), (folder / "good.dat").read_bytes()
    wrong = {
        "cut": (header, samples[: len(samples) // 2]),
        "dataless": (header, None),
        "slow": (header.replace(" 250 ", " 50 ", 1), samples),
        "empty": ("", samples),
        "unitless": (header.replace("/mV", "/bananas"), samples),
    }
    for name, (text, data) in wrong.items():
        (folder / f"{name}.hea").write_text(text.replace("good", name))
        if data is not None:
            (folder / f"{name}.dat").write_bytes(data)
        shutil.copy(folder / "good.atr", folder / f"{name}.atr")
    column = [f"{value:.4f}" for value in made.record.signal[:, 0]]
    tables = {
        "nan": ["nan"] * 3000,
        "words": ["quick", "brown", "fox"] * 500,
        "none": [],
        "good": column,
        "counts": [f"{1000 * float(value) + 2048:.0f}" for value in column],
    }
    for name, lines in tables.items():
        (folder / f"{name}.csv").write_text("\n".join(["MLII", *lines]) + "\n")


def damage_bundles(folder: Path) -> None:
    """The packaged bundle, cut short, changed inside, and something else."""
    packaged = ZOO / "small.edgeecg"
    shutil.copy(packaged, folder / "good.edgeecg")
    (folder / "cut.edgeecg").write_bytes(packaged.read_bytes()[:200_000])
    (folder / "text.edgeecg").write_text("not a zip")
    with zipfile.ZipFile(packaged) as source, zipfile.ZipFile(folder / "tampered.edgeecg", "w") as target:
        for name in source.namelist():
            part = source.read(name)
            if name == "graphs/token.fp32.onnx":
                part = part[:-1] + bytes([part[-1] ^ 1])
            target.writestr(name, part)


def damage_settings(folder: Path) -> None:
    """Settings files with a misspelt key, a wrong type, and no TOML at all."""
    (folder / "misspelt.toml").write_text("presets = 'nano'\n")
    (folder / "mistyped.toml").write_text("seed = 'many'\n")
    (folder / "broken.toml").write_text("preset = \n")
    (folder / "binary.toml").write_bytes(bytes(range(128, 256)))
    (folder / "checkpointless").mkdir()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    damage_records(folder)
    damage_bundles(folder)
    damage_settings(folder)
    return folder


RECORDS = {
    "nowhere": "nowhere",
    "cut": "cut",
    "dataless": "dataless",
    "slow": "100",
    "empty": "empty",
    "unitless": "bananas",
    "words.csv": "words.csv",
    "none.csv": "none.csv",
    "good.csv": "--fs",
    "nan.csv --fs 250 --units mV": "nan.csv",
    "counts.csv --fs 250": "--gain",
}
"""Recordings that verbs read, and what the error line must name."""

BUNDLES = {
    "nosuchname": "nosuchname",
    "@nowhere.edgeecg": "nowhere.edgeecg",
    "@cut.edgeecg": "cut.edgeecg",
    "@text.edgeecg": "text.edgeecg",
    "@tampered.edgeecg": "tampered.edgeecg",
}
"""Bundles that cannot be opened, and what the error line must name."""

SETTINGS = {
    "@nowhere.toml": "nowhere.toml",
    "@misspelt.toml": "presets",
    "@mistyped.toml": "seed",
    "@broken.toml": "broken.toml",
    "@binary.toml": "binary.toml",
}

NEED_TORCH = ("train", "export", "calibrate", "quantize", "build", "explain")

CASES: dict[str, str] = {
    **{f"annotate @{record} --out OUT": name for record, name in RECORDS.items()},
    **{f"stream @{record} --speed 0 --sink jsonl:OUT": name for record, name in RECORDS.items()},
    **{
        f"evaluate @{record} --json OUT": name
        for record, name in RECORDS.items()
        if "--" not in record + name
    },
    **{
        f"profile @{record} --json OUT": name for record, name in RECORDS.items() if "--" not in record + name
    },
    **{f"annotate @good --out OUT --bundle {bundle}": name for bundle, name in BUNDLES.items()},
    **{f"stream @good --sink jsonl:OUT --bundle {bundle}": name for bundle, name in BUNDLES.items()},
    **{f"evaluate @good --json OUT --bundle {bundle}": name for bundle, name in BUNDLES.items()},
    **{f"profile @good --json OUT --bundle {bundle}": name for bundle, name in BUNDLES.items()},
    **{f"inspect {bundle} --json OUT": name for bundle, name in BUNDLES.items()},
    **{
        f"explain @{record} --at 300 --out OUT": name
        for record, name in RECORDS.items()
        if "--" not in record + name
    },
    **{f"explain @good --at 300 --out OUT --bundle {bundle}": name for bundle, name in BUNDLES.items()},
    **{f"compare {bundle} small": name for bundle, name in BUNDLES.items()},
    **{f"calibrate {bundle} --out OUT": name for bundle, name in BUNDLES.items()},
    **{f"quantize {bundle} --out OUT": name for bundle, name in BUNDLES.items()},
    **{f"build {bundle} --out OUT.edgeecg": name for bundle, name in BUNDLES.items()},
    **{f"train --out OUT --init {bundle}": name for bundle, name in BUNDLES.items()},
    **{f"train --out OUT --config {settings}": name for settings, name in SETTINGS.items()},
    **{f"calibrate small --out OUT --recipe {settings}": name for settings, name in SETTINGS.items()},
    **{f"serve {settings}": name for settings, name in SETTINGS.items()},
    "export @nowhere --out OUT": "nowhere",
    "export @checkpointless --out OUT": "checkpointless",
    "train --out OUT --preset huge": "huge",
    "train --out OUT --data @nowhere": "nowhere",
    "train --out @good.csv": "good.csv",
    "evaluate @good --annotations @nowhere": "nowhere",
    "evaluate nosuchset:DS9": "nosuchset:DS9",
    "evaluate @good --backend abacus": "abacus",
    "evaluate @good --precision fp7": "fp7",
    "annotate @good --out OUT --backend abacus": "abacus",
    "annotate @good --out OUT --bundle @good.edgeecg --lead XYZ": "XYZ",
    "annotate @good --out @good.csv": "good.csv",
    "annotate @good.edgeecg --out OUT": "is no recording",
    "compare small micro": "of different widths",
    "annotate @good --out @good.csv/inside": "good.csv",
    "annotate @good --out OUT --extension a/b": "a/b",
    "annotate @good --out OUT --units uV": "no ECG does",
    "annotate @good --out OUT --gain 0.001": "no ECG does",
    "evaluate @good --extension qrs": "--annotations",
    "evaluate @good @good": "twice",
    "stream @good --speed 0 --start nan": "start",
    "stream @good --speed 0 --hop nan": "hop",
    "stream @good --speed 0 --patient \udcff": "text in UTF-8",
    "stream nosuch://thing": "nosuch",
    "stream @good --sink nosuch:thing": "nosuch",
    "stream @good --faults gremlins=1": "gremlins",
    "stream synthetic:-3": "synthetic",
    "stream @good --lead XYZ --speed 0": "XYZ",
    "compare small small:fp7": "fp7",
    "profile --batches none": "none",
    "data fetch nosuchset --data OUT": "nosuchset",
    "data fetch mitdb": "--data",
    "data synth --out @good.csv": "good.csv",
    "data synth --out OUT --leads XYZ": "XYZ",
    "data synth --out OUT --leads V1,V1": "--leads",
    "data synth --out OUT --snr 30 0": "--snr",
    "data synth --out OUT --snr nan nan": "--snr",
    "build small --out OUT": ".edgeecg",
    "build small --out OUT.edgeecg --precision fp7": "fp7",
    "quantize small --out OUT --precision fp7": "fp7",
    "quantize small --out OUT --calibration @nowhere": "nowhere",
    "calibrate small --out OUT --method guess": "guess",
    "calibrate small --out OUT --reference nosuch": "nosuch",
    "explain @good --at 300": "--out",
    "explain @good --at 9999999 --out OUT": "9999999",
    "explain @good --at 300 --out OUT --label X": "--label",
    "explain @good --at 300 --out OUT --method guess": "guess",
    "demo --out @.": "--out",
    "train --out OUT --seed 99999999999999999999": "--seed",
    "profile --threads 1000000": "--threads",
    "evaluate @good --draws 2000000000": "--draws",
}
"""Command line (``@`` is the folder of inputs, ``OUT`` a place for output) to what its error must name."""


@pytest.mark.parametrize("line", CASES)
def test_wrong_input_is_one_line(
    line: str,
    inputs: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if line.startswith(NEED_TORCH):
        pytest.importorskip("torch", reason="needs the extra train")
    monkeypatch.delenv("EDGEECG_DATA", raising=False)
    before = {path: path.stat().st_mtime_ns for path in inputs.rglob("*")}
    words = [word.replace("OUT", str(tmp_path / "out")).replace("@", f"{inputs}/") for word in line.split()]
    assert main(words) == 2
    said = capfd.readouterr()
    errors = [text for text in said.err.splitlines() if text.startswith("error: ")]
    assert len(errors) == 1, said.err
    assert said.err.splitlines()[-1] == errors[0]
    assert "Traceback" not in said.err + said.out
    assert CASES[line] in errors[0]
    assert list(tmp_path.rglob("*")) == [], "something was left behind"
    assert {path: path.stat().st_mtime_ns for path in inputs.rglob("*")} == before


def test_every_verb_is_tried() -> None:
    """Doctor takes nothing that could be wrong."""
    assert {line.split()[0] for line in CASES} >= set(VERBS) - {"doctor"}
