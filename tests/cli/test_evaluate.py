"""`edgeecg evaluate` from the command line: annotation files and bundles, tables and JSON, wrong input."""

from __future__ import annotations

import shutil
from dataclasses import replace

import edfio
import numpy as np
import pytest

from edgeecg.bundle import Bundle
from edgeecg.cli.main import main
from edgeecg.data.shown import was_shown
from edgeecg.data.synthetic import plan_cohort
from edgeecg.io import Annotations, write_annotations, write_wfdb
from edgeecg.metrics.references import labelled_records
from edgeecg.metrics.report import read_report


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """A folder of synthetic patients with their reference, one of them paced."""
    folder = tmp_path_factory.mktemp("ward")
    kinds = ("ventricular", "fibrillation", "paced")
    for case in plan_cohort(15, 3, seconds=40, kinds=kinds)["test"]:
        write_wfdb(case.make().record, folder)
    return folder


@pytest.fixture(scope="module")
def annotated(records, tmp_path_factory):
    """What a program would have written: every tenth beat lost, AF not seen."""
    folder = tmp_path_factory.mktemp("out")
    for case in labelled_records([str(records)]):
        record, _ = case.load()
        beats = record.annotations.beats()
        kept = beats.select(np.arange(len(beats)) % 10 != 9)
        write_annotations(folder / record.name, Annotations(kept.sample + 3, kept.symbol), record.fs)
    return folder


def lines(capsys, title):
    """Rows of the printed table whose title ends so, by their first word or two."""
    shown = capsys.readouterr().out
    tables = {block.splitlines()[0]: block.splitlines()[3:] for block in shown.strip().split("\n\n")}
    found = next(rows for name, rows in tables.items() if name.endswith(title))
    return shown, [row.split() for row in found]


@pytest.mark.parametrize(
    ("name", "home", "sets", "known"),
    [
        ("101", "mitdb", {"mitdb": 26}, True),
        ("102", "mitdb", {"mitdb": 26}, True),  # paced
        ("100", "mitdb", {"mitdb": 26}, False),  # DS2 is never trained on
        ("101", "mitdb", {"svdb": 39}, False),
        ("800", "svdb", {"svdb": 39}, True),
        ("ward/a01", "mine", {"mine": 3}, True),
        ("x", "", {"synthetic": 72}, False),  # drawn anew
    ],
)
def test_it_is_said_where_a_bundle_knows_the_patients(name, home, sets, known):
    """By record: `mitdb`, `mitdb:DS1` and a path to one of its records are the same patients."""
    assert was_shown(home, name, {"sets": sets}) is known
    assert was_shown(home, name, {"sets": {}, "parent": {"sets": sets}}) is known, "the weights know them"
    assert not was_shown(home, name, {"sets": sets, "validation": [f"{home}/{name}"]})


def test_one_bad_record_costs_no_other(records, annotated, tmp_path, capsys):
    folder, report, page = tmp_path / "some", tmp_path / "scores.json", tmp_path / "scores.html"
    shutil.copytree(records, folder)
    lost = sorted(folder.glob("*.atr"))[0]
    lost.unlink()
    line = ["evaluate", str(folder), "-a", str(annotated), "--json", str(report), "--html", str(page)]
    assert main(line) == 2
    told = capsys.readouterr()
    assert f"{lost.stem} has no reference annotations" in " ".join(told.err.split())
    assert "1 of 3 records could not be scored" in " ".join(told.err.split())
    line = ["evaluate", str(folder), "-a", str(annotated), "--against", str(report), "--without", lost.stem]
    assert main(line) == 2
    assert "nothing to hold against the earlier report" in " ".join(capsys.readouterr().err.split())
    whole = len(sorted(records.glob("*.atr")))
    assert sum(len(group.records) for group in read_report(report).groups) == whole - 1
    (why,) = read_report(report).unscored
    assert lost.stem in why
    assert f"not scored: {why}" in page.read_text(), "who reads the page sees that records are not in it"


def test_a_record_that_no_stream_takes_costs_no_other(records, tmp_path, capsys):
    """Its rate is none that the front end knows."""
    for case in list(labelled_records([str(records)]))[:2]:
        record = case.load()[0]
        write_wfdb(record, tmp_path)
    fast = replace(record, name="fast", fs=2000.0)
    write_wfdb(fast, tmp_path)
    assert main(["evaluate", str(tmp_path), "-b", "nano", "--backend", "onnxruntime"]) == 2
    told = capsys.readouterr()
    assert "fast: sampling rate 2000 Hz is outside" in " ".join(told.err.split())
    assert "QRS" in told.out


def test_who_is_who_and_who_was_left_out_does_not_depend_on_how_a_record_is_named(
    records, tmp_path, monkeypatch, capsys
):
    """Alone, in its ward, in the folder above the wards, or by its name beside the sets."""
    wards, cases = tmp_path / "wards", list(labelled_records([str(records)]))
    for ward, case in zip(("w1", "w2", "w3"), cases, strict=False):
        (wards / ward).mkdir(parents=True)
        write_wfdb(replace(case.load()[0], name="a"), wards / ward)
    training = {"sets": {"wards": 3}, "validation": ["wards/w3/a"]}
    bundle = Bundle.open("nano")
    provenance = {**bundle.manifest.provenance, "training": training}
    own = replace(bundle, manifest=replace(bundle.manifest, provenance=provenance))
    monkeypatch.setattr(Bundle, "open", lambda *_, **__: own)
    known = f"{bundle.name} was trained on patients of wards"

    def told(*words: object) -> tuple[str, str]:
        assert main(["evaluate", *map(str, words), "-b", "nano"]) == 0
        shown = capsys.readouterr()
        return shown.out, " ".join(shown.err.split())

    assert known in told(wards)[1]
    assert known in told(wards / "w1")[1]
    assert known in told(wards / "w1" / "a")[1]
    assert known not in told(wards / "w3" / "a")[1]
    out, note = told("wards", "--data", tmp_path, "--held-out")
    assert "w3/a" in out
    assert "w1/a" not in out
    assert known not in note
    two = told(wards / "w1" / "a", wards / "w2" / "a")[0]
    assert "2 records of 2 patients" in two
    rows = "record,patient\nw1/a,one\nw2/a,one\nw3/a,two\n"
    (wards / "patients.csv").write_text(rows, encoding="utf-8")
    assert "2 records of 1 patient" in told(wards / "w1" / "a", wards / "w2" / "a")[0]
    (tmp_path / "patients.csv").write_text("somebody's list", encoding="utf-8")
    told(wards / "w1", wards / "w3" / "a")


def test_a_page_shows_the_figures_where_they_are_wrong_and_what_has_changed(records, annotated, tmp_path):
    page, report = tmp_path / "scores.html", tmp_path / "scores.json"
    files = ["--html", str(page), "--json", str(report)]
    assert main(["evaluate", str(records), "-b", "nano", *files]) == 0
    told, known = page.read_text(encoding="utf-8"), read_report(report)
    for words in ("QRS F1 %", "where V are wrong", "what a probability is worth", "<svg", "confusion"):
        assert words in told, words
    row = known.groups[0].beats[0].records[0]
    assert f"<td>{row.record}</td>" in told
    assert "difference to the earlier report" not in told
    assert "http" not in told, "it needs nothing beside itself"
    assert (
        main(["evaluate", str(records), "-a", str(annotated), "--html", str(page), "--against", str(report)])
        == 0
    )
    assert "difference to the earlier report" in page.read_text(encoding="utf-8")


def test_edf_and_tables_with_marks_beside_them_are_scored_and_learnt_from(records, tmp_path, capsys):
    from edgeecg.data.prepare import load_training_data
    from edgeecg.data.settings import DataSettings

    mine = tmp_path / "mine"
    mine.mkdir()
    for number, case in enumerate(list(labelled_records([str(records)]))[:3]):
        record, name = case.load()[0], f"r{number}"
        write_annotations(mine / name, record.annotations, record.fs, extension="atr")
        if number == 0:
            write_wfdb(replace(record, name=name), mine)
        elif number == 1:
            time = np.arange(len(record)) / record.fs
            rows = np.column_stack([time, record.signal[:, 0]])
            np.savetxt(mine / f"{name}.csv", rows, delimiter=",", header="time,MLII (mV)", comments="")
        else:
            signal = edfio.EdfSignal(
                record.signal[:, 0], round(record.fs), label="MLII", physical_dimension="mV"
            )
            edfio.Edf([signal]).write(mine / f"{name}.EDF")
    (mine / "notes.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    assert main(["evaluate", str(mine), "-b", "nano"]) == 0
    shown = capsys.readouterr().out
    assert "mine, 2 records of 2 patients" in shown
    assert "mine, paced, 1 record of 1 patient" in shown
    made = load_training_data(DataSettings(root=str(tmp_path), sets={"mine": 1.0}), 0)
    assert [record.name for record in made.training] == ["mine/r0", "mine/r1", "mine/r2"]


def test_folders_of_folders_are_scored(records, annotated, tmp_path, capsys):
    """Records of two wards with the same name: nobody is scored against the other's annotations."""
    whole, found = tmp_path / "all", tmp_path / "found"
    for ward, case in zip("ab", labelled_records([str(records)]), strict=False):
        (whole / ward).mkdir(parents=True)
        (found / ward).mkdir(parents=True)
        write_wfdb(replace(case.load()[0], name="rec"), whole / ward)
        shutil.copy(annotated / f"{case.name}.edg", found / ward / "rec.edg")
    assert main(["evaluate", str(whole), "-a", str(found)]) == 0
    shown = capsys.readouterr().out
    assert "a/rec" in shown
    assert "b/rec" in shown
    shutil.move(found / "a" / "rec.edg", found / "rec.edg")  # whose is it now?
    assert main(["evaluate", str(whole), "-a", str(found)]) == 2
    assert "a/rec.edg" in " ".join(capsys.readouterr().err.split())
    shutil.rmtree(whole / "b")  # now it can be nobody else's
    assert main(["evaluate", str(whole), "-a", str(found)]) == 0


def test_annotations_may_be_counted_at_another_rate(records, tmp_path):
    """A file that states its own resolution; it is told in samples of the record."""
    for case in labelled_records([str(records)]):
        record, _ = case.load()
        beats = record.annotations.beats()
        fine = np.round(beats.sample * (1000 / record.fs)).astype(int)
        write_annotations(tmp_path / record.name, Annotations(fine, beats.symbol), 1000.0)
    report = tmp_path / "scores.json"
    assert main(["evaluate", str(records), "-a", str(tmp_path), "--json", str(report), "--no-records"]) == 0
    assert read_report(report).groups[0].beats[0].classes["QRS"].sensitivity.value == 1


def test_annotation_files_are_scored(records, annotated, tmp_path, capsys):
    report = tmp_path / "scores.json"
    assert main(["evaluate", str(records), "-a", str(annotated), "--json", str(report)]) == 0
    shown, rows = lines(capsys, "confusion, whole record")
    assert [row[0] for row in rows] == ["N", "S", "V", "F", "Q", "extra"]
    saved = read_report(report)
    assert saved.system == {"annotations": str(annotated), "extension": "edg"}
    titles = [group.title for group in saved.groups]
    assert titles == [records.name, f"{records.name}, paced"]
    qrs = saved.groups[0].beats[0].classes["QRS"]
    assert qrs.sensitivity.value == pytest.approx(0.9, abs=0.01)
    assert qrs.predictivity.value == 1
    assert f"{100 * qrs.sensitivity.value:.2f}" in shown
    assert saved.groups[0].af.beats.gross.hits == 0 < saved.groups[0].af.beats.gross.misses
    assert saved.groups[0].calibration == {}


def test_a_file_without_resolution_counts_in_frames(records, tmp_path):
    """Of a record with two samples a frame, as WFDB's own programs write it, away from its header."""
    case = labelled_records([str(records)])[0]
    record, _ = case.load()
    write_wfdb(record, tmp_path / "mine")
    header = tmp_path / "mine" / f"{record.name}.hea"
    first, *leads = header.read_text(encoding="ascii").splitlines()
    name, count, fs, length = first.split()
    first = f"{name} {count} {float(fs) / 2} {int(length) // 2}"
    header.write_text("\n".join([first, *(lead.replace(" 16 ", " 16x2 ", 1) for lead in leads), ""]))
    shutil.copytree(tmp_path / "mine", tmp_path / "theirs")
    beats = record.annotations.beats()
    bare = _without_resolution(beats.sample // 2)
    for folder in ("mine", "theirs"):
        (tmp_path / folder / f"{record.name}.qrs").write_bytes(bare)
    (tmp_path / "theirs" / header.name).unlink()
    report = tmp_path / "scores.json"
    scored = ["evaluate", str(tmp_path / "mine"), "-a", str(tmp_path / "theirs"), "--extension", "qrs"]
    assert main([*scored, "--annotator", "qrs", "--json", str(report)]) == 0
    qrs = read_report(report).groups[0].beats[0].classes["QRS"].gross
    assert (qrs.hits, qrs.misses, qrs.false) == (len(beats), 0, 0)
    scored[1] = str(header)  # the record by its header's name
    assert main([*scored, "--annotator", "qrs", "--json", str(report)]) == 0
    assert read_report(report).groups[0].beats[0].classes["QRS"].gross == qrs


def _without_resolution(samples):
    """A WFDB annotation file of normal beats that says nothing of its rate."""
    words = [(1 << 10) | int(step) for step in np.diff(samples, prepend=0)]
    return b"".join(word.to_bytes(2, "little") for word in [*words, 0])


def test_references_may_have_another_name_and_lie_beside_an_edf(records, tmp_path, capsys):
    case = labelled_records([str(records)])[0]
    record, truth = case.load()
    write_wfdb(record, tmp_path, annotator="ecg")
    assert main(["evaluate", str(tmp_path), "-a", str(tmp_path), "--extension", "ecg"]) == 2
    assert "put its .atr file beside it" in capsys.readouterr().err
    found = labelled_records([str(tmp_path)], annotator="ecg")[0].load()[1]
    assert found.sample.tolist() == truth.sample.tolist()
    table = tmp_path / "t.csv"
    lead = "\n".join(f"{n / record.fs:.6f},{value:.4f}" for n, value in enumerate(record.signal[:, 0]))
    table.write_text(f"time,II (mV)\n{lead}\n", encoding="utf-8")
    write_annotations(tmp_path / "t", record.annotations, record.fs, extension="atr")
    assert len(labelled_records([str(table)])[0].load()[1].sample) == len(truth.sample)


def test_a_recording_counts_once(records, tmp_path, capsys):
    one, two = tmp_path / "a" / "ecg", tmp_path / "b" / "ecg"
    for folder in (one, two):
        shutil.copytree(records, folder)
    assert main(["evaluate", str(one), f"{one}/../ecg", "-a", str(one)]) == 2
    assert "is named twice, and would count twice" in capsys.readouterr().err
    stem = next(one.glob("*.hea"))
    assert main(["evaluate", str(stem), str(stem.with_suffix("")), "-a", str(one)]) == 2
    assert "is named twice, and would count twice" in capsys.readouterr().err
    assert main(["evaluate", str(one), str(two), "-a", str(one)]) == 2
    assert "two folders ecg hold a record" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path), "-a", str(tmp_path), "--extension", "atr"]) == 0


@pytest.mark.data
def test_a_record_of_a_set_that_lost_its_reference_is_named(data_root, tmp_path, capsys):
    (tmp_path / "mitdb").mkdir()
    for file in [*(data_root / "mitdb").glob("101.*"), *(data_root / "mitdb").glob("106.*")]:
        shutil.copy(file, tmp_path / "mitdb")
    (tmp_path / "mitdb" / "101.atr").unlink()
    scored = ["evaluate", "mitdb", "--data", str(tmp_path), "-a", str(tmp_path), "--extension", "atr"]
    assert main(scored) == 2
    shown = capsys.readouterr()
    assert "mitdb 101 has no reference annotations" in shown.err
    assert "mitdb, 1 record of 1 patient: beats" in shown.out


def test_without_and_against(records, annotated, tmp_path, capsys):
    before = tmp_path / "before.json"
    name = labelled_records([str(records)])[0].name
    assert main(["evaluate", str(records), "-a", str(annotated), "--json", str(before), "--no-records"]) == 0
    assert "each record" not in capsys.readouterr().out
    again = ["evaluate", str(records), "-a", str(records), "--extension", "atr"]
    assert main([*again, "--against", str(before), "--without", name]) == 0
    shown, rows = lines(capsys, "paired over patients")
    assert f"without {name}" in shown
    gain = next(row for row in rows if row[0] == "QRS")
    assert gain[1:5] == [records.name, "dechazal", "whole", "record"]
    assert float(gain[5]) == pytest.approx(10, abs=1)


def test_a_bundle_is_run_over_the_records(records, tmp_path, capsys):
    torch = pytest.importorskip("torch", reason="needs the extra train")
    from edgeecg.deploy.build import build_bundle
    from edgeecg.model.presets import preset
    from edgeecg.model.transformer import Network

    torch.manual_seed(0)
    bundle = build_bundle(Network(preset("nano")), tmp_path / "tiny.edgeecg", "tiny")
    report = tmp_path / "scores.json"
    options = ["-b", str(tmp_path / "tiny.edgeecg"), "--backend", "onnxruntime", "--json", str(report)]
    assert main(["evaluate", str(records), *options]) == 0
    assert "calibration of matched beats" in capsys.readouterr().out
    saved = read_report(report)
    assert saved.system == {
        "bundle": "tiny",
        "digest": bundle.digest,
        "backend": "onnxruntime",
        "precision": "fp32",
    }
    assert len(saved.groups) == 2
    true = sum(len(case.load()[1].sample) for case in labelled_records([str(records)]))
    qrs = [group.beats[0].classes["QRS"].gross for group in saved.groups]
    assert sum(rates.hits + rates.misses for rates in qrs) == true  # an untrained model still has its misses


@pytest.mark.data
def test_a_set_is_the_same_in_every_folder(records, data_root, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    before = [case.stem for case in labelled_records(["mitdb"], data_root)]
    shutil.copytree(records, tmp_path / "mitdb")
    assert [case.stem for case in labelled_records(["mitdb"], data_root)] == before
    assert "for the folder that lies here say ./mitdb" in caplog.text
    assert len(labelled_records(["./mitdb"], data_root)) == 3
    caplog.clear()
    monkeypatch.chdir(data_root)
    assert [case.stem for case in labelled_records(["mitdb"], data_root)] == before
    assert not caplog.text


def test_a_record_and_the_built_in_patients_can_be_named(records):
    one = labelled_records([str(next(records.glob("*.hea")))])
    assert [case.group for case in one] == ["records"]
    own = labelled_records(["synthetic"], seed=1)
    assert len(own) == 12
    record, truth = own[0].load()
    assert record.name == own[0].name
    assert len(truth.sample) > 60
    assert truth.af is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere"], "nowhere is neither a record, nor a folder, nor a set: sets are synthetic, mitdb"),
        (["mitdb:DS3", "--data", "."], "set mitdb has no split 'DS3'"),
        (["{empty}"], "holds no WFDB or EDF record, and no table with a .atr file beside it"),
        (["{records}", "-a", "nowhere"], "--annotations nowhere is not a folder"),
        (["{records}", "-a", "{empty}"], "no annotation file"),
        (["{records}", "-a", "{empty}", "-b", "small"], "give one of them"),
        (["{records}", "-a", "{empty}", "--precision", "int8"], "give one of them"),
        (["{records}", "--held-out"], "the training of small left none of these recordings"),
        (["mine"], "is neither a record, nor a folder"),
        (["{records}", "-a", "{out}", "--without", "999"], "--without 999: no such record"),
        (["{records}", "-a", "{out}", "--against", "none.json"], "no report none.json"),
        (["{records}", "-b", "no-such-bundle"], "no-such-bundle"),
        (["{records}", "-a", "{out}", "--af-fraction", "2"], "--af-fraction"),
    ],
)
def test_wrong_input_ends_in_one_line_that_helps(options, message, records, annotated, tmp_path, capsys):
    places = {"records": records, "out": annotated, "empty": tmp_path}
    report = tmp_path / "scores.json"
    assert main(["evaluate", *(option.format(**places) for option in options), "--json", str(report)]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("error:") == 1
    assert "Traceback" not in shown
    assert not report.exists()


def test_a_folder_is_no_report(records, annotated, tmp_path, capsys):
    assert main(["evaluate", str(records), "-a", str(annotated), "--json", str(tmp_path)]) == 2
    assert "it is a folder; name a file" in capsys.readouterr().err


def test_a_reference_that_is_missing_is_named(records, annotated, tmp_path, capsys):
    stem = next(records.glob("*.hea")).with_suffix("")
    for suffix in (".hea", ".dat"):
        (tmp_path / f"bare{suffix}").write_bytes(
            stem.with_suffix(suffix).read_bytes().replace(stem.name.encode(), b"bare")
        )
    assert main(["evaluate", str(tmp_path / "bare"), "-a", str(annotated)]) == 2
    assert "has no reference annotations: put its .atr file beside it" in capsys.readouterr().err
