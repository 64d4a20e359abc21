from __future__ import annotations

import errno
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from edgeecg.bundle import Bundle
from edgeecg.errors import ConfigError, LinkError, RecordError
from edgeecg.io import Record, read_annotations, read_record, write_wfdb
from edgeecg.io.identity import fingerprint
from edgeecg.pipeline import annotate
from edgeecg.runtime.engine import Engine, open_engine
from edgeecg.specs import AAMI
from edgeecg.stream import workers
from edgeecg.stream.archive import ArchiveSettings, Outcome, annotate_archive, annotate_jobs
from edgeecg.stream.jobs import Job, find_jobs
from edgeecg.stream.workers import ATTEMPTS
from edgeecg.stream.workers import _work as work
from tests.contract.engines import beats, heart

FS = 250.0


@pytest.fixture
def settings(nano: Engine) -> ArchiveSettings:
    return ArchiveSettings(nano.bundle, "onnxruntime")


def make_archive(folder: Path, count: int, seconds: float = 12) -> Path:
    """Records in two folders of folders."""
    for n in range(count):
        place = folder / f"ward-{n % 2}"
        place.mkdir(parents=True, exist_ok=True)
        write_wfdb(Record(f"r{n}", heart(seconds, FS, seed=n), FS, ("MLII",)), place)
    return folder


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return make_archive(tmp_path / "archive", 6)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_outputs_mirror_the_folders(archive: Path, tmp_path: Path, settings: ArchiveSettings) -> None:
    out = tmp_path / "out"
    outcomes = list(annotate_archive(find_jobs([archive], out), settings))
    assert [outcome.error for outcome in outcomes] == [None] * 6
    expected = {f"ward-{n % 2}/r{n}.{suffix}" for n in range(6) for suffix in ("edg", "edg.json")}
    assert files(out) == expected
    with open_engine(settings.bundle, "onnxruntime") as engine:
        found = beats(annotate(engine, read_record(archive / "ward-1" / "r3")))
    marks = read_annotations(out / "ward-1" / "r3", "edg").beats()
    assert marks.sample.tolist() == [beat.sample for beat in found]
    assert marks.symbol.tolist() == [AAMI[beat.label] for beat in found]
    told = msgspec.json.decode((out / "ward-1" / "r3.edg.json").read_bytes(), type=Outcome)
    assert sum(told.beats.values()) == len(found)
    assert told.seconds == pytest.approx(12)


def test_finished_records_are_skipped(archive: Path, tmp_path: Path, settings: ArchiveSettings) -> None:
    out = tmp_path / "out"
    jobs = find_jobs([archive], out)
    first = list(annotate_archive(jobs[:4], settings))
    (out / "ward-0" / "r0.edg").unlink()  # half of its output is missing: to be done again
    written = (out / "ward-0" / "r2.edg").stat().st_mtime_ns
    again = {outcome.record: outcome for outcome in annotate_archive(jobs, settings)}
    assert len(again) == 6
    assert sum(outcome.before for outcome in again.values()) == 3
    assert (out / "ward-0" / "r2.edg").stat().st_mtime_ns == written
    assert (out / "ward-0" / "r0.edg").is_file()
    assert all(again[outcome.record].beats == outcome.beats for outcome in first)
    other = replace(settings, withhold=False)  # other settings: everything anew
    assert not any(outcome.before for outcome in annotate_archive(jobs, other))


def test_a_run_that_was_killed_between_its_two_files_is_taken_up(
    tmp_path: Path, settings: ArchiveSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wfdb(Record("r", heart(12, FS), FS, ("MLII",)), tmp_path)
    jobs, made = find_jobs([tmp_path / "r"], tmp_path / "out"), tmp_path / "out" / "r.edg"
    list(annotate_archive(jobs, settings))
    other = replace(settings, withhold=False)

    def killed(path: Path) -> None:
        made.write_bytes(made.read_bytes()[:-2] + b"other")  # what other settings found
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("edgeecg.stream.archive.atomic_path", killed)
        with pytest.raises(KeyboardInterrupt):
            list(annotate_archive(jobs, other))
    again = next(annotate_archive(jobs, other))
    assert again.error is None
    assert not again.before


def test_annotations_that_were_changed_are_told_and_not_written_over(
    tmp_path: Path, settings: ArchiveSettings
) -> None:
    write_wfdb(Record("r", heart(12, FS), FS, ("MLII",)), tmp_path)
    jobs, made = find_jobs([tmp_path / "r"], tmp_path / "out"), tmp_path / "out" / "r.edg"
    list(annotate_archive(jobs, settings))
    whole = made.read_bytes()
    for changed in (b"junk", whole[:-4], whole[:-1] + b"\1"):
        made.write_bytes(changed)
        told = next(annotate_archive(jobs, settings))
        assert "move it away to have it made again" in str(told.error)
        assert made.read_bytes() == changed
    made.unlink()
    assert not next(annotate_archive(jobs, settings)).before
    assert made.read_bytes() == whole
    assert next(annotate_archive(jobs, settings)).before


def test_another_recording_of_the_same_name_is_not_taken_for_it(
    tmp_path: Path, settings: ArchiveSettings
) -> None:
    out = tmp_path / "out"
    for place, seed in (("a", 0), ("b", 1)):
        (tmp_path / place).mkdir()
        write_wfdb(Record("r", heart(12, FS, seed=seed), FS, ("MLII",)), tmp_path / place)
    (first,) = annotate_archive(find_jobs([tmp_path / "a" / "r"], out), settings)
    kept = (out / "r.edg").read_bytes()
    (second,) = annotate_archive(find_jobs([tmp_path / "b" / "r"], out), settings)
    assert "another recording: name another --out" in str(second.error)
    assert (out / "r.edg").read_bytes() == kept
    shutil.copytree(tmp_path / "a", tmp_path / "copy")  # the same, elsewhere
    (third,) = annotate_archive(find_jobs([tmp_path / "copy" / "r"], out), settings)
    assert third.before
    write_wfdb(Record("r", heart(12, FS, seed=2), FS, ("MLII",)), tmp_path / "a")  # exported once more
    (fourth,) = annotate_archive(find_jobs([tmp_path / "a" / "r"], out), settings)
    assert not fourth.before
    assert fourth.error is None
    assert (out / "r.edg").read_bytes() != kept
    assert first.error is None


def test_what_others_found_in_a_record_is_not_read(tmp_path: Path, settings: ArchiveSettings) -> None:
    write_wfdb(Record("r", heart(12, FS), FS, ("MLII",)), tmp_path)
    (tmp_path / "r.atr").write_bytes(b"broken")
    (outcome,) = annotate_archive(find_jobs([tmp_path / "r"], tmp_path / "out"), settings)
    assert outcome.error is None


def test_a_full_disk_is_told_with_the_way_out(
    tmp_path: Path, settings: ArchiveSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*rest: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_wfdb(Record("r", heart(12, FS), FS, ("MLII",)), tmp_path)
    monkeypatch.setattr("edgeecg.stream.archive.write_annotations", full)
    (outcome,) = annotate_archive(find_jobs([tmp_path / "r"], tmp_path / "out"), settings)
    assert str(outcome.error).startswith("the disk is full: make room")


def test_what_cannot_be_read_stops_nothing(archive: Path, tmp_path: Path, settings: ArchiveSettings) -> None:
    data = archive / "ward-1" / "r1.dat"
    data.write_bytes(data.read_bytes()[:1000])
    (archive / "ward-0" / "r0.hea").write_text("nonsense\n")
    out = tmp_path / "out"
    outcomes = list(annotate_archive(find_jobs([archive], out), settings))
    failed = {Path(outcome.record).name: outcome.error for outcome in outcomes if outcome.error}
    assert set(failed) == {"r0.hea", "r1.hea"}
    assert all("\n" not in str(error) for error in failed.values())
    assert "ward-1/r1.edg" not in files(out)
    assert len(files(out)) == 8


def test_an_error_of_a_library_stops_nothing(
    archive: Path, tmp_path: Path, settings: ArchiveSettings
) -> None:
    """A date past the year 9999 is an OverflowError of datetime's."""
    dates = pa.array(2**62 + np.arange(3000) * 4000, pa.timestamp("us"))
    table = pa.table({"time": np.arange(3000) / FS, "II (mV)": dates})
    (archive / "tables").mkdir()
    pyarrow.parquet.write_table(table, archive / "tables" / "far.parquet")
    outcomes = list(annotate_archive(find_jobs([archive], tmp_path / "out"), settings))
    assert len(outcomes) == 7
    (failed,) = [outcome for outcome in outcomes if outcome.error]
    assert "far.parquet is damaged" in str(failed.error)


def test_a_name_that_is_no_text_stops_nothing(
    archive: Path, tmp_path: Path, settings: ArchiveSettings
) -> None:
    """No report can hold it; one that only a link leads to is another matter."""
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff"))
    try:
        shutil.copytree(archive / "ward-1", odd)
    except OSError:
        pytest.skip("this file system takes no such names")
    (archive / "link").symlink_to(odd)
    found = [*find_jobs([archive / "ward-0", odd], tmp_path / "out")]
    found += find_jobs([archive / "link"], tmp_path / "linked")
    outcomes = {os.fsencode(o.record): o.error for o in annotate_archive(found, settings)}
    assert len(outcomes) == 9
    for record, error in outcomes.items():
        assert ("no text in UTF-8" in str(error)) == (b"\xff" in record), error
    again = annotate_archive(find_jobs([archive / "link"], tmp_path / "linked"), settings)
    assert all(outcome.before for outcome in again)


def test_processes_tell_what_one_tells(archive: Path, tmp_path: Path, settings: ArchiveSettings) -> None:
    one = list(annotate_archive(find_jobs([archive], tmp_path / "one"), settings))
    two = list(annotate_archive(find_jobs([archive], tmp_path / "two"), settings, workers=2))
    assert {o.record: o.beats for o in one} == {o.record: o.beats for o in two}
    for name in files(tmp_path / "one"):
        if name.endswith(".edg"):
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def children() -> list[int]:
    """Processes that this one has spawned to work, by their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[1]
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if int(parent) == os.getpid() and b"spawn_main" in command:
            found.append(int(entry.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_killed_worker_loses_nothing(tmp_path: Path, settings: ArchiveSettings) -> None:
    archive = make_archive(tmp_path / "archive", 8, seconds=60)
    out = tmp_path / "out"
    outcomes, killed = [], []
    for outcome in annotate_archive(find_jobs([archive], out), settings, workers=2):
        outcomes.append(outcome)
        if len(outcomes) == 2:
            killed = children()
            for worker in killed:
                os.kill(worker, signal.SIGKILL)
    assert len(killed) == 2
    assert [outcome.error for outcome in outcomes] == [None] * 8
    assert len({outcome.record for outcome in outcomes}) == 8
    assert len(files(out)) == 16


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_records_that_kill_their_workers_are_given_up(tmp_path: Path, settings: ArchiveSettings) -> None:
    """Every worker is killed as soon as it is there: nothing is done, nothing hangs, everything is told."""
    archive = make_archive(tmp_path / "archive", 2)
    done = threading.Event()

    def hunt() -> None:
        while not done.wait(0.01):
            for worker in children():
                os.kill(worker, signal.SIGKILL)

    hunter = threading.Thread(target=hunt)
    hunter.start()
    try:
        outcomes = list(annotate_archive(find_jobs([archive], tmp_path / "out"), settings, workers=2))
    finally:
        done.set()
        hunter.join()
    assert len(outcomes) == 2
    assert all(f"died {ATTEMPTS} times" in str(outcome.error) for outcome in outcomes)
    assert not (tmp_path / "out").exists()


def _dies_of_r12(line: Connection) -> None:
    """Life of a worker that does not survive one of the records."""

    def deadly(engine: Engine, jobs: list[Job], settings: ArchiveSettings) -> Iterator[Outcome]:
        for job in jobs:
            if job.stem.name == "r12":
                os.kill(os.getpid(), signal.SIGKILL)
            yield from annotate_jobs(engine, [job], settings)

    workers.annotate_jobs = deadly
    work(line)


def test_a_record_that_kills_its_workers_takes_no_other_with_it(
    tmp_path: Path, settings: ArchiveSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker gets several records at once; after its death each goes alone, and only one is given up."""
    monkeypatch.setattr(workers, "_work", _dies_of_r12)
    archive = make_archive(tmp_path / "archive", 30, seconds=5)
    outcomes = list(annotate_archive(find_jobs([archive], tmp_path / "out"), settings, workers=2))
    failed = [outcome for outcome in outcomes if outcome.error]
    assert [Path(outcome.record).name for outcome in failed] == ["r12.hea"]
    assert f"died {ATTEMPTS} times" in str(failed[0].error)
    assert len({outcome.record for outcome in outcomes}) == len(outcomes) == 30
    assert len(files(tmp_path / "out")) == 58


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        yield cluster


def test_a_cluster_survives_a_killed_worker(
    cluster: object, tmp_path: Path, settings: ArchiveSettings
) -> None:
    distributed = pytest.importorskip("distributed")
    archive = make_archive(tmp_path / "archive", 8, seconds=60)
    address = cluster.scheduler_address  # type: ignore[attr-defined]
    out = tmp_path / "out"
    outcomes = []
    with distributed.Client(address, set_as_default=False) as client:
        pids = client.run(os.getpid)
        for outcome in annotate_archive(find_jobs([archive], out), settings, cluster=address):
            outcomes.append(outcome)
            if len(outcomes) == 2:
                os.kill(next(iter(pids.values())), signal.SIGKILL)
    assert [outcome.error for outcome in outcomes] == [None] * 8
    assert files(out) == {f"ward-{n % 2}/r{n}.{suffix}" for n in range(8) for suffix in ("edg", "edg.json")}
    again = list(annotate_archive(find_jobs([archive], out), settings, cluster="tcp://nowhere:1"))
    assert all(outcome.before for outcome in again)  # nothing left to do: nobody is asked


def test_what_a_killed_run_left_goes(archive: Path, tmp_path: Path, settings: ArchiveSettings) -> None:
    ward = tmp_path / "out" / "ward-0"
    (ward / ".partial-7-r0.edg").mkdir(parents=True)
    for left in (".partial-7-r0.edg/marks.edg", ".partial-8-r2.edg.json", ".partial-9-r9.edg.json"):
        (ward / left).write_text("half")
    list(annotate_archive(find_jobs([archive], tmp_path / "out"), settings))
    hidden = {path for path in files(tmp_path / "out") if ".partial" in path}
    assert hidden == {"ward-0/.partial-9-r9.edg.json"}  # this one is of another run


def test_what_is_half_written_is_no_recording(archive: Path, tmp_path: Path) -> None:
    before = find_jobs([archive], tmp_path)
    (archive / ".partial-7-r8").mkdir()
    (archive / ".partial-7-r8" / "r8.hea").write_bytes((archive / "ward-0" / "r0.hea").read_bytes())
    after = find_jobs([archive], tmp_path)
    shutil.rmtree(archive / ".partial-7-r8")
    assert after == before


def test_a_cluster_that_is_not_there_is_named(
    archive: Path, tmp_path: Path, settings: ArchiveSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("edgeecg.stream.cluster.PATIENCE", "1s")
    jobs = find_jobs([archive], tmp_path / "out")
    for address in ("tcp://127.0.0.1:9", "nonsense://x:1"):
        with pytest.raises(LinkError, match="no Dask scheduler at"):
            list(annotate_archive(jobs, settings, cluster=address))
    with pytest.raises(LinkError, match=r"no port in head: .* tcp://HOST:8786"):
        list(annotate_archive(jobs, settings, cluster="head"))


def test_records_are_found(archive: Path, tmp_path: Path) -> None:
    (archive / "ward-0" / "notes.csv").write_text("not,a,record\n")
    (archive / "tables").mkdir()
    (archive / "tables" / "patients.csv").write_text("record,patient\nchest,one\n")
    (archive / "tables" / "._chest.csv").write_bytes(b"left by a Mac")
    tables = archive / "tables"
    np.savetxt(tables / "chest.csv", heart(5, FS), header="MLII", comments="")
    jobs = find_jobs([archive], tmp_path)
    names = [str(job.stem.relative_to(tmp_path)) for job in jobs]
    assert names == [
        "tables/chest",
        "ward-0/r0",
        "ward-0/r2",
        "ward-0/r4",
        "ward-1/r1",
        "ward-1/r3",
        "ward-1/r5",
    ]
    one = find_jobs([archive / "ward-0" / "r0", archive / "ward-0" / "r0.hea"][:1], tmp_path)
    assert [job.stem for job in one] == [tmp_path / "r0"]
    with pytest.raises(RecordError, match="no record"):
        find_jobs([archive / "ward-0" / "r9"], tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(RecordError, match="holds no recording"):
        find_jobs([empty], tmp_path)


def test_a_record_that_would_share_an_output_fails_alone(
    archive: Path, tmp_path: Path, settings: ArchiveSettings
) -> None:
    other, out = make_archive(tmp_path / "other", 1), tmp_path / "out"
    jobs = find_jobs([archive, other], out)
    outcomes = list(annotate_archive(jobs, settings))
    assert len(outcomes) == 7
    (failed,) = [outcome for outcome in outcomes if outcome.error]
    assert failed.record == str(other / "ward-0" / "r0.hea")
    assert f"would share its output {out / 'ward-0' / 'r0'} with {archive}" in str(failed.error)
    told = msgspec.json.decode((out / "ward-0" / "r0.edg.json").read_bytes(), type=Outcome)
    assert told.record == str(archive / "ward-0" / "r0.hea")


def test_a_table_of_the_name_of_an_edf_file_belongs_to_it(tmp_path: Path) -> None:
    for name in ("night1.edf", "night1.csv", "night2.BDF", "night2.parquet", "other.parquet"):
        (tmp_path / name).write_text("anything")
    jobs = find_jobs([tmp_path], tmp_path / "out")
    assert [job.path.name for job in jobs] == ["night1.edf", "night2.BDF", "other.parquet"]
    assert not any(job.wrong for job in jobs)


def test_a_record_of_many_names_is_done_once(tmp_path: Path) -> None:
    write_wfdb(Record("101", heart(5, FS), FS, ("MLII",)), tmp_path / "arc" / "deep")
    folder, out = tmp_path / "arc" / "deep", tmp_path / "out"
    (tmp_path / "link").symlink_to(folder)
    names = [folder / "101.dat", folder / "101", folder / "101.hea", tmp_path / "arc", tmp_path / "link"]
    assert find_jobs(names, out) == [Job(folder / "101.dat", out / "101")]
    assert find_jobs(names[::-1], out) == [Job(tmp_path / "link" / "101.hea", out / "101")]


def test_folders_behind_links_are_searched_once(tmp_path: Path) -> None:
    """Outputs follow the name that leads there: a folder's own before that of a link to it."""
    real, place = tmp_path / "real", tmp_path / "place"
    for name in ("a", "sub/b", "sub/deep/c", ".cache/d"):
        (real / name).parent.mkdir(parents=True, exist_ok=True)
        (real / f"{name}.parquet").write_text("anything")
    (real / "sub" / "back").symlink_to(real)
    place.mkdir()
    (place / "link").symlink_to(real)
    jobs = find_jobs([place], Path("out"))
    assert [str(job.stem) for job in jobs] == ["out/link/a", "out/link/sub/b", "out/link/sub/deep/c"]
    (place / "zone").mkdir()
    (place / "zone" / "e.edf").write_text("anything")
    (place / "again").symlink_to(place / "zone")
    assert str(find_jobs([place], Path("out"))[-1].stem) == "out/zone/e"
    assert len(find_jobs([place], Path("out"))) == 4


def test_no_worker_is_no_choice(archive: Path, tmp_path: Path, settings: ArchiveSettings) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        next(annotate_archive(find_jobs([archive], tmp_path), settings, workers=0))


def test_settings_name_the_bundle(nano: Engine, small: Engine) -> None:
    one, other = ArchiveSettings(nano.bundle), ArchiveSettings(small.bundle)
    assert one.key != other.key
    assert one.key == ArchiveSettings(Bundle.from_bytes(_bytes(nano.bundle))).key


def _bytes(bundle: Bundle) -> bytes:
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for part, data in bundle.parts.items():
            archive.writestr(part, data)
    return buffer.getvalue()


def test_what_makes_a_recording_another_one(tmp_path: Path) -> None:
    write_wfdb(Record("r", heart(60, FS), FS, ("MLII",)), tmp_path)
    first, header, data = fingerprint(tmp_path / "r"), tmp_path / "r.hea", tmp_path / "r.dat"
    header.write_text(header.read_text() + "# seen by the ward\n")
    assert fingerprint(tmp_path / "r.hea") == first
    samples = bytearray(data.read_bytes())
    middle = len(samples) // 2
    samples[middle : middle + 400] = bytes(400)
    data.write_bytes(samples)
    other = fingerprint(tmp_path / "r")
    assert other != first
    header.write_text(header.read_text().replace("r.dat 16 ", "r.dat 16 2", 1))  # another gain
    assert fingerprint(tmp_path / "r") != other
    header.write_text("r 1 250 100\nsub/r.dat 16\n. 16\n/r.dat 16\n")
    assert fingerprint(tmp_path / "r")


def test_an_older_version_left_no_fingerprint(tmp_path: Path, settings: ArchiveSettings) -> None:
    """Its outputs are taken for what they say, and those of another place are not written over."""
    out = tmp_path / "out"
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        write_wfdb(Record("r", heart(12, FS), FS, ("MLII",)), tmp_path / place)
    assert not next(annotate_archive(find_jobs([tmp_path / "a" / "r"], out), settings)).error
    told = msgspec.json.decode((out / "r.edg.json").read_bytes())
    del told["source"], told["place"], told["marks"]
    (out / "r.edg.json").write_bytes(msgspec.json.encode(told))
    assert next(annotate_archive(find_jobs([tmp_path / "a" / "r"], out), settings)).before
    assert "another recording" in str(
        next(annotate_archive(find_jobs([tmp_path / "b" / "r"], out), settings)).error
    )
