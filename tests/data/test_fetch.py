"""Fetching from a server that is laid out as PhysioNet is, over real HTTP."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from edgeecg.cli.main import main
from edgeecg.data.catalog import find_records, load_record
from edgeecg.data.fetch import fetch, physionet
from edgeecg.errors import ConfigError, InputError
from edgeecg.io import Annotations, Record, write_wfdb


class Mirror(ThreadingHTTPServer):
    """A small PhysioNet: serves a folder with ranges, and fails on demand."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.root = root
        self.asked: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.cut: dict[str, int] = {}  # path: bytes after which the line breaks, once
        self.status: dict[str, list[int]] = {}  # path: answers to give first

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/files"


class Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        path = self.path.removeprefix("/files/")
        self.server.asked[path] += 1
        file = self.server.root / path
        if self.server.status.get(path):
            self.answer(self.server.status[path].pop(0), b"")
        elif not file.is_file():
            self.answer(404, b"")
        else:
            self.file(path, file.read_bytes())

    def file(self, path: str, content: bytes) -> None:
        start = int(self.headers["Range"].split("=")[1].rstrip("-")) if "Range" in self.headers else 0
        if start >= len(content) > 0:
            self.answer(416, b"")
            return
        cut = self.server.cut.pop(path, None)
        self.answer(206 if start else 200, content[start:], cut)
        self.server.sent[path] += len(content) - start if cut is None else cut

    def answer(self, status: int, body: bytes, cut: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Be quiet."""


def checksums(folder: Path) -> None:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "SHA256SUMS.txt")
    lines = [
        f"{hashlib.sha256(p.read_bytes()).hexdigest()} {p.relative_to(folder).as_posix()}\n" for p in files
    ]
    (folder / "SHA256SUMS.txt").write_text("".join(lines))


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    mitdb = tmp_path / "site" / "mitdb" / "1.0.0"
    rng = np.random.default_rng(0)
    for name in ("100", "101", "102"):
        marks = Annotations([5, 50], ["+", "N"], ["(N", ""])
        write_wfdb(Record(name, rng.normal(0, 1, (40000, 2)), 360.0, ("MLII", "V5"), marks), mitdb)
    write_wfdb(Record("x_108", rng.normal(0, 1, (900, 1)), 360.0, ("MLII",)), mitdb / "x_mitdb")
    (mitdb / "RECORDS").write_text("100\n101\n102\n")
    (mitdb / "100.xws").write_text("x")
    (mitdb / "mitdbdir").mkdir()
    (mitdb / "mitdbdir" / "intro.htm").write_text("<html>")
    checksums(mitdb)
    server = Mirror(tmp_path / "site")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_set_comes_whole_and_can_be_read(tmp_path: Path, mirror: Mirror) -> None:
    told: list[tuple[int, int, int]] = []
    summary = fetch("mitdb", tmp_path / "here", base=mirror.url, report=lambda *step: told.append(step))
    assert [p.name for p in find_records(tmp_path / "here", "mitdb")] == ["100", "101", "102"]
    for path in find_records(tmp_path / "here", "mitdb"):
        assert load_record(path, "mitdb").annotations is not None
    names = {p.name for p in (tmp_path / "here" / "mitdb").rglob("*")}
    assert "RECORDS" in names
    assert not {"intro.htm", "x_108.hea"} & names
    assert not [name for name in names if name.endswith(".part")]
    assert told[-1][:2] == (summary.fetched, summary.fetched)
    assert sum(step[2] for step in told) == summary.received > 400000
    assert summary.present == 0


def test_a_second_fetch_asks_for_no_file_again(tmp_path: Path, mirror: Mirror) -> None:
    first = fetch("mitdb", tmp_path, base=mirror.url)
    mirror.asked.clear()
    second = fetch("mitdb", tmp_path, base=mirror.url)
    assert (second.fetched, second.present, second.received) == (0, first.fetched, 0)
    assert list(mirror.asked) == ["mitdb/1.0.0/SHA256SUMS.txt"]


def test_a_broken_line_is_an_error_and_the_next_call_goes_on_from_there(
    tmp_path: Path, mirror: Mirror
) -> None:
    victim = "mitdb/1.0.0/101.dat"
    size = (mirror.root / victim).stat().st_size
    mirror.cut[victim] = size // 2
    with pytest.raises(InputError, match="same command again"):
        fetch("mitdb", tmp_path, base=mirror.url)
    assert not (tmp_path / "mitdb" / "101.dat").exists()
    held = (tmp_path / "mitdb" / "101.dat.part").stat().st_size
    assert 0 < held <= size // 2
    mirror.sent.clear()
    fetch("mitdb", tmp_path, base=mirror.url)
    assert mirror.sent[victim] == size - held
    assert (tmp_path / "mitdb" / "101.dat").read_bytes() == (mirror.root / victim).read_bytes()


def test_a_list_whose_line_breaks_is_told_like_a_file(tmp_path: Path, mirror: Mirror) -> None:
    mirror.cut["mitdb/1.0.0/SHA256SUMS.txt"] = 10
    with pytest.raises(InputError, match=r"SHA256SUMS\.txt: run the same command again"):
        fetch("mitdb", tmp_path, base=mirror.url)


def test_a_damaged_or_changed_file_is_fetched_again(tmp_path: Path, mirror: Mirror) -> None:
    fetch("mitdb", tmp_path, base=mirror.url)
    path = tmp_path / "mitdb" / "100.dat"
    right = path.read_bytes()
    path.write_bytes(right[:-1] + b"?")
    (tmp_path / "mitdb" / "101.dat").rename(tmp_path / "mitdb" / "101.dat.part")  # whole, but not renamed yet
    (tmp_path / "mitdb" / "102.dat").unlink()
    (tmp_path / "mitdb" / "102.dat.part").write_bytes(b"wrong from the start")
    assert fetch("mitdb", tmp_path, base=mirror.url).fetched == 3
    assert path.read_bytes() == right
    for name in ("101.dat", "102.dat"):
        assert (tmp_path / "mitdb" / name).read_bytes() == (mirror.root / "mitdb/1.0.0" / name).read_bytes()


def test_wrong_bytes_from_the_server_never_get_a_name(tmp_path: Path, mirror: Mirror) -> None:
    (mirror.root / "mitdb" / "1.0.0" / "100.dat").write_bytes(b"not what the list says")
    with pytest.raises(InputError, match="checksum"):
        fetch("mitdb", tmp_path, base=mirror.url)
    assert not (tmp_path / "mitdb" / "100.dat").exists()


def test_a_busy_server_is_asked_again(tmp_path: Path, mirror: Mirror) -> None:
    mirror.status["mitdb/1.0.0/100.hea"] = [503, 429]
    fetch("mitdb", tmp_path, base=mirror.url, records=["100"])
    assert mirror.asked["mitdb/1.0.0/100.hea"] == 3


def test_only_some_records(tmp_path: Path, mirror: Mirror) -> None:
    fetch("mitdb", tmp_path, base=mirror.url, records=["101"])
    assert [p.name for p in find_records(tmp_path, "mitdb")] == ["101"]
    with pytest.raises(ConfigError, match="no record 999"):
        fetch("mitdb", tmp_path, base=mirror.url, records=["101", "999"])


def test_a_list_that_leads_out_of_the_folder_is_refused(tmp_path: Path, mirror: Mirror) -> None:
    listing = mirror.root / "mitdb" / "1.0.0" / "SHA256SUMS.txt"
    for path in ("../evil.hea", "/etc/evil.hea", "a/../../evil.hea", "e\0vil.hea", "\x1b[31mevil.hea"):
        listing.write_text(f"{'0' * 64} {path}\n")
        with pytest.raises(InputError, match="not a list of checksums"):
            fetch("mitdb", tmp_path / "here", base=mirror.url)
    listing.write_text("<html>Please log in</html>\n")
    with pytest.raises(InputError, match="not a list of checksums"):
        fetch("mitdb", tmp_path / "here", base=mirror.url)
    assert not (tmp_path / "here").exists()


def test_a_list_without_end_is_refused(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mirror may send what it likes: its files have a hash, the list of them none."""
    monkeypatch.setattr("edgeecg.data.fetch.LONGEST_LISTING", 1 << 18)
    listing = mirror.root / "mitdb" / "1.0.0" / "SHA256SUMS.txt"
    listing.write_text(listing.read_text() + "\n" * (1 << 18))
    with pytest.raises(InputError, match="not a list of checksums"):
        fetch("mitdb", tmp_path / "here", base=mirror.url)


def test_what_is_not_there_is_one_error(tmp_path: Path, mirror: Mirror) -> None:
    with pytest.raises(InputError, match="404"):
        fetch("svdb", tmp_path, base=mirror.url)
    with pytest.raises(ConfigError, match="unknown set"):
        fetch("nodb", tmp_path, base=mirror.url)
    with pytest.raises(InputError, match="cannot reach"):
        fetch("mitdb", tmp_path, base="http://127.0.0.1:9/files")


def test_by_default_the_server_is_physionet() -> None:
    assert physionet() == "https://physionet.org/files/"


def test_the_verb_fetches_and_says_under_which_terms(
    tmp_path: Path, mirror: Mirror, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGEECG_DATA", raising=False)
    command = ["data", "fetch", "mitdb", "--records", "100, 101", "--base", mirror.url]
    assert main([*command, "--data", str(tmp_path)]) == 0
    said = capsys.readouterr().err
    assert "ODC-BY" in said
    assert "Moody" in said
    assert len(find_records(tmp_path, "mitdb")) == 2
    assert main(command) == 2
    assert "--data" in capsys.readouterr().err
    assert main(["data", "fetch", "nodb", "--data", str(tmp_path)]) == 2
    assert "choose among mitdb" in capsys.readouterr().err
