"""Public sets from PhysioNet: only what is missing, resumed where it stopped, checked against its checksums.

wfdb knows the address of PhysioNet and the records of a set; the files come over requests, which wfdb rests
on, because wfdb itself has neither progress nor checksums. A file appears under its name only when its
SHA-256 is right.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from edgeecg.data.sets import DataSet, data_set
from edgeecg.errors import ConfigError, InputError, MissingExtra
from edgeecg.io.library import load_wfdb

if TYPE_CHECKING:
    from requests import Response, Session

__all__ = ["FetchSummary", "FetchedFile", "fetch", "physionet"]

CHECKSUMS = "SHA256SUMS.txt"
CHUNK = 1 << 16
LONGEST_LISTING = 1 << 26  # bytes; the longest of a set here has less than a hundredth
CONNECTIONS = 2  # as wfdb: the servers are free and shared
RETRIES = 4
TIMEOUT_SECONDS = (15.0, 60.0)  # to connect, between bytes
_EXTRAS = re.compile(r"(RECORDS|ANNOTATORS|LICENSE\.txt|REFERENCE.*\.csv)")


class FetchedFile(NamedTuple):
    """A file of a set: its path there and here, and its SHA-256."""

    path: str
    sha256: str


class FetchSummary(NamedTuple):
    """What a fetch did: where the set is, files that came and files that were here, bytes that came."""

    folder: Path
    fetched: int
    present: int
    received: int


Report = Callable[[int, int, int], None]
"""Called after each step with files done, files in all, and bytes received since the last call."""


def physionet() -> str:
    """Address under which PhysioNet keeps its files, as wfdb knows it."""
    url: str = load_wfdb("fetching from PhysioNet").io.download.PN_INDEX_URL
    return url


def fetch(
    name: str,
    root: str | os.PathLike[str],
    *,
    base: str | None = None,
    records: Sequence[str] | None = None,
    report: Report = lambda done, total, received: None,
) -> FetchSummary:
    """Download a set into ``root/name``.

    Parameters
    ----------
    name : str
        Of the set.
    root : path
        Folder of recordings; made if need be.
    base : str, optional
        Address of a mirror that is laid out as PhysioNet is; PhysioNet by default.
    records : sequence of str, optional
        Only these records.
    report : callable, optional
        Is told how far it is.

    Raises
    ------
    ConfigError
        If the set or a record is unknown.
    InputError
        If the server cannot be reached, lacks a file or sends wrong bytes; what has come is kept, and the
        same call goes on from there.
    MissingExtra
        If wfdb is not installed.
    """
    entry = data_set(name)
    address = f"{(base or physionet()).rstrip('/')}/{entry.slug}/{entry.version}"
    folder = Path(root, entry.name)
    with _session() as session:
        wanted = _wanted(entry, _listing(session, address), records)
        folder.mkdir(parents=True, exist_ok=True)
        missing = [file for file in wanted if not _is_right(folder / file.path, file.sha256)]
        present = len(wanted) - len(missing)
        report(present, len(wanted), 0)
        received = _download_all(session, address, folder, missing, present, report)
    return FetchSummary(folder, len(missing), present, received)


def _session() -> Session:
    """A session that tries again when a server is busy or drops the line."""
    try:
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3.util import Retry
    except ImportError as error:
        raise MissingExtra("requests", "records", "fetching from PhysioNet") from error
    busy = (429, 500, 502, 503, 504)
    retry = Retry(total=RETRIES, connect=2, backoff_factor=0.5, status_forcelist=busy)
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry, pool_maxsize=CONNECTIONS))
    return session


def _listing(session: Session, address: str) -> list[FetchedFile]:
    """All files of a set with their checksums."""
    import requests

    wrong = InputError(f"{address}/{CHECKSUMS} is not a list of checksums: correct --base")
    content = bytearray()
    with _open(session, f"{address}/{CHECKSUMS}") as response:
        try:
            for chunk in response.iter_content(CHUNK):
                content += chunk
                if len(content) > LONGEST_LISTING:
                    raise wrong
        except requests.RequestException as error:
            raise _broken_line(f"{address}/{CHECKSUMS}") from error
    files = []
    for line in content.decode("utf-8", errors="replace").splitlines():
        digest, _, path = line.partition(" ")
        path = path.strip().lstrip("*")
        if not path:
            continue
        if not re.fullmatch(r"[0-9a-fA-F]{64}", digest) or not _stays_inside(path):
            raise wrong
        files.append(FetchedFile(path, digest.lower()))
    return files


def _stays_inside(path: str) -> bool:
    """Whether a path from a server stays in the folder it is put into, and is one."""
    parts = PurePosixPath(path).parts
    inside = bool(parts) and ".." not in parts and not PurePosixPath(path).is_absolute()
    return inside and "\\" not in path and path.isprintable()


def _wanted(
    entry: DataSet, listing: Sequence[FetchedFile], records: Sequence[str] | None
) -> list[FetchedFile]:
    """The files of the set's records, or of some of them, and the tables that belong to all."""
    pattern = re.compile(entry.pattern)
    headers = {
        file.path[: -len(".hea")]
        for file in listing
        if file.path.endswith(".hea")
        and file.path.startswith(entry.inside)
        and pattern.fullmatch(PurePosixPath(file.path).stem)
        and not PurePosixPath(file.path).parts[0].startswith(("old", "x_"))  # superseded annotations
    }
    if records is not None:
        unknown = sorted(set(records) - {PurePosixPath(stem).name for stem in headers})
        if unknown:
            raise ConfigError(
                f"set {entry.name} has no record {', '.join(unknown)}: leave it out of --records"
            )
        headers = {stem for stem in headers if PurePosixPath(stem).name in records}
    if not headers:
        raise InputError(f"the server has no records of {entry.name}: correct --base")
    return [
        file
        for file in listing
        if file.path.rpartition(".")[0] in headers or _EXTRAS.fullmatch(file.path) is not None
    ]


def _download_all(
    session: Session,
    address: str,
    folder: Path,
    missing: Sequence[FetchedFile],
    present: int,
    report: Report,
) -> int:
    """Download files over a few connections; the first failure stops the rest."""
    lock = threading.Lock()
    stop = threading.Event()
    state = {"done": present, "received": 0}
    total = present + len(missing)

    def tell(files: int, received: int) -> None:
        with lock:
            state["done"] += files
            state["received"] += received
            report(state["done"], total, received)

    def one(file: FetchedFile) -> None:
        if not stop.is_set():
            _download(session, f"{address}/{file.path}", folder / file.path, file.sha256, tell, stop)

    with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="fetch") as pool:
        try:
            futures = [pool.submit(one, file) for file in missing]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        finally:
            stop.set()  # also on Ctrl-C: the threads end at their next chunk
    return state["received"]


def _download(
    session: Session,
    url: str,
    target: Path,
    sha256: str,
    tell: Callable[[int, int], None],
    stop: threading.Event,
) -> None:
    """One file: resumed from its part, checked, and only then given its name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    for attempt in ("resumed", "whole"):
        for size in _stream(session, url, part):
            tell(0, size)
            if stop.is_set():
                return
        if _digest(part) == sha256:
            os.replace(part, target)
            tell(1, 0)
            return
        part.unlink()
        if attempt == "whole":
            raise InputError(
                f"{url} came with a wrong checksum twice: try later, or another mirror by --base"
            )


def _stream(session: Session, url: str, part: Path) -> Iterator[int]:
    """Append the rest of a file to its part; yields bytes as they are written."""
    import requests

    held = part.stat().st_size if part.is_file() else 0
    with _open(session, url, start=held) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # all of it is here already
        resumed = response.status_code == requests.codes.partial_content
        with part.open("ab" if resumed else "wb") as out:
            try:
                for chunk in response.iter_content(CHUNK):
                    out.write(chunk)
                    yield len(chunk)
            except requests.RequestException as error:
                raise _broken_line(url) from error


def _broken_line(url: str) -> InputError:
    return InputError(f"the line broke while fetching {url}: run the same command again")


def _open(session: Session, url: str, start: int = 0) -> Response:
    """Ask for a file, from byte ``start`` on."""
    import requests

    headers = {"Accept-Encoding": "identity"}  # ranges count the file's own bytes
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response = session.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS)
    except requests.RequestException as error:
        raise InputError(
            f"cannot reach {url} ({type(error).__name__}): check the connection or --base, then run it again"
        ) from error
    if response.ok or (start and response.status_code == requests.codes.requested_range_not_satisfiable):
        return response
    response.close()
    raise InputError(f"the server answers {response.status_code} {response.reason} for {url}: correct --base")


def _is_right(path: Path, sha256: str) -> bool:
    return path.is_file() and _digest(path) == sha256


def _digest(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
