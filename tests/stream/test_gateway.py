from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeecg.errors import ConfigError, EdgeECGError, LinkError, MissingExtra, StateError
from edgeecg.io import Record, read_annotations, write_wfdb
from edgeecg.runtime.engine import Engine
from edgeecg.specs import Beat, Event, Gap, Quality
from edgeecg.stream import boottime, listener, snapshot
from edgeecg.stream import feed as feeds
from edgeecg.stream.alone import alone
from edgeecg.stream.feed import Feed
from edgeecg.stream.gateway import Gateway
from edgeecg.stream.gateway_config import GatewayConfig, PatientConfig, read_gateway_config
from edgeecg.stream.health import HealthPage, notify
from edgeecg.stream.link import Opened
from edgeecg.stream.session import Stream
from edgeecg.stream.sinks.base import Header
from edgeecg.stream.sinks.lines import EventLine, read_lines
from edgeecg.stream.sources.base import Packet
from edgeecg.stream.sources.live import LiveSource
from tests.contract.engines import assert_same_events, heart, make_bundle
from tests.stream.peers import free_port

FS = 250.0


def record(folder: Path, name: str, seconds: float, seed: int = 0) -> Path:
    write_wfdb(Record(name, heart(seconds, FS, seed=seed), FS, ("MLII",)), folder)
    return folder / name


def events_of(path: Path) -> dict[str, list[Event]]:
    told: dict[str, list[Event]] = {}
    for line in read_lines(path) if path.is_file() else ():
        if isinstance(line, EventLine):
            told.setdefault(line.patient, []).append(line.event)
    return told


def headers_of(path: Path) -> list[Header]:
    return [line for line in read_lines(path) if isinstance(line, Header)]


def eventually(true: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def write(folder: Path, text: str) -> Path:
    path = folder / "ward.toml"
    path.write_text(text)
    return path


GOOD = '[[patients]]\nname = "a"\nsource = "synthetic:1"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no patient|missing required field"),
        ("patients = [", "not TOML"),
        (f"patients = {'[' * 100_000}", "not TOML"),
        (GOOD + "colour = 3\n", "no key 'colour'; there are name, source"),
        ("colour = 3\n" + GOOD, "no key 'colour'"),
        (
            'backend = "cuda"\n' + GOOD,
            r"'cuda' - at `\$.backend`: choose auto, onnxruntime, native, tensorrt",
        ),
        ('lead_policy = "all"\n' + GOOD, "choose first, best, fused"),
        ('hop = "long"\n' + GOOD, r"Expected `float`.*\$\.hop"),
        (GOOD + GOOD, "two patients are called 'a'"),
        (
            'sinks = ["wfdb:x"]\n' + GOOD.replace('"a"', '"bed 1"') + GOOD.replace('"a"', '"bed/1"'),
            "patients 'bed 1' and 'bed/1' would share files called 'bed_1'",
        ),
        (
            'sinks = ["wfdb:x"]\n' + GOOD.replace('"a"', '"张三"') + GOOD.replace('"a"', '"李四"'),
            "'张三' and '李四' would share files called '__': give one a name that differs in letters from A",
        ),
        (GOOD.replace("synthetic:1", "nowhere://x"), "names no source"),
        (GOOD.replace("synthetic:1", "synthetic:1?speeed=2"), "the source of 'a': .* no option 'speeed'"),
        ('sinks = ["-", "fax:1"]\n' + GOOD, "sink 2: .* names no sink"),
        ('snapshot = ""\n' + GOOD, "snapshot = '' is a folder: name a file in it"),
        ('snapshot = "/"\n' + GOOD, "snapshot = '/' is a folder"),
        ('health = "high"\n' + GOOD, "names no port"),
        ("poll = 0\n" + GOOD, "poll must lie"),
        ("queue = 0.5\n" + GOOD, "at least two hops"),
        ("queue = inf\n" + GOOD, "a day at most"),
        ("queue = 1e308\n" + GOOD, "a day at most"),
        ("queue = nan\n" + GOOD, "at least two hops"),
        (GOOD + "[alarms]\nbradicardia = 40\n", "no key 'bradicardia'"),
        (GOOD + "[alarms]\nbradycardia = 200.0\n", "alarms need"),
        ('health = "8080"\nsinks = ["ws:8080"]\n' + GOOD, "health and sink ws want the same port, 8080"),
        ('sinks = ["ws:0.0.0.0:9", "prometheus:9?names=true"]\n' + GOOD, "sink ws and sink prometheus want"),
        ('health = "localhost:7"\nsinks = ["prometheus:127.0.0.1:7"]\n' + GOOD, "want the same port, 7"),
        ('health = "a..b:80"\n' + GOOD, "'a..b' cannot be the name of a machine"),
        ("patients = []\n", "add a \\[\\[patients\\]\\] table"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_gateway_config(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def ward(*sources: str, sinks: tuple[str, ...] = (), snapshot: str = "") -> str:
    """A gateway's file."""
    head = f"sinks = {list(sinks)}\n" + (f'snapshot = "{snapshot}"\n' if snapshot else "")
    return head + "".join(
        f'[[patients]]\nname = "p{n}"\nsource = "{source}"\n' for n, source in enumerate(sources)
    )


@pytest.mark.parametrize(
    "sources",
    [
        ("-?fs=250", "-?fs=360&live=true"),
        ("lsl:name=ECG", "lsl:ECG?units=mV"),
        ("serial:/dev/ttyUSB0?fs=250&gain=1", "serial:/dev/../dev/ttyUSB0?fs=250&board=ad8232"),
        ("polar:A0:9E:1A:00:00:01", "polar:a0:9e:1a:00:00:01?wait=5"),
        ("ws://localhost?fs=250", "ws://127.0.0.1:80/?timeout=9"),
        ("wss://Host/x?bed=1", "wss://host:443/x?fs=250&bed=1"),
        ("mqtt://host/ward/1?fs=250", "mqtt://me:secret@HOST:1883/ward/1"),
    ],
)
def test_two_patients_on_one_live_source_are_refused(tmp_path: Path, sources: tuple[str, str]) -> None:
    """One line is copied, and its source forgotten: both would be told the same, or half of it each."""
    with pytest.raises(ConfigError, match="the source of 'p0' and the source of 'p2' are the same") as caught:
        read_gateway_config(write(tmp_path, ward(sources[0], "synthetic:1", sources[1])))
    assert "secret" not in str(caught.value)


def test_sources_that_differ_or_may_be_shared_are_no_conflict(tmp_path: Path) -> None:
    """A recording, the generator and any strap that is heard may stand there twice."""
    pairs = ("r.csv", "r.csv", "synthetic:1", "synthetic:1", "polar:auto", "polar:auto")
    pairs += ("wss://h/x?bed=1", "wss://h/x?bed=2", "mqtt://h/1", "mqtt://h/2", "ws://h/x", "ws://h:81/x")
    pairs += ("-?fs=250", "-?fs=250&fd=3", "lsl:amp?leads=A", "lsl:amp?leads=B")
    assert len(read_gateway_config(write(tmp_path, ward(*pairs))).patients) == len(pairs)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"sinks": ("jsonl:e.jsonl", "jsonl:{cwd}/e.jsonl")},
            r"sink 1 \(jsonl\) and sink 2 \(jsonl\) are the same file",
        ),
        ({"sinks": ("jsonl:{tmp}/link/e.jsonl", "jsonl:{tmp}/e.jsonl")}, "are the same file"),
        ({"sinks": ("-", "ws:0", "-")}, r"sink 1 \(-\) and sink 3 \(-\) are the same standard output"),
        ({"sinks": ("-", "jsonl:-")}, "are the same standard output"),
        ({"sinks": ("wfdb:out", "wfdb:./out")}, "are the same wfdb folder"),
        ({"sinks": ("jsonl:out", "fhir:out")}, "are the same file"),
        ({"sinks": ("lsl:told", "lsl:told")}, "are the same stream"),
        ({"sinks": ("mqtt://h/t", "mqtt://H:1883/t?patience=5")}, "are the same topic"),
        (
            {"snapshot": "e.jsonl", "sinks": ("jsonl:{tmp}/e.jsonl",)},
            r"sink 1 \(jsonl\) and the snapshot are the same",
        ),
        ({"sources": ("polar:1?rr=a", "polar:2?rr=./a")}, "rr= of 'p0' and rr= of 'p1' are the same file"),
        ({"sources": ("polar:1?rr=e",), "sinks": ("jsonl:e",)}, r"sink 1 \(jsonl\) and rr= of 'p0' are"),
        ({"snapshot": "out", "sinks": ("wfdb:{tmp}/out",)}, "and the snapshot are the same wfdb folder"),
        ({"snapshot": "ward.toml"}, "the gateway's own file and the snapshot are the same file"),
        (
            {"sources": ("r.csv",), "sinks": ("jsonl:./r.csv",)},
            r"the source of 'p0' and sink 1 .* same recording",
        ),
        (
            {"sources": ("mqtt://h/t",), "sinks": ("mqtt://h/t",)},
            "the source of 'p0' and sink 1 .* same topic",
        ),
    ],
)
def test_what_would_be_written_twice_is_refused(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    """However it is spelt: sinks' paths begin where it is started, that of the snapshot beside its file."""
    (tmp_path / "link").symlink_to(tmp_path)
    sinks = tuple(sink.format(cwd=Path.cwd(), tmp=tmp_path) for sink in given.get("sinks", ()))
    text = ward(*given.get("sources", ("synthetic:1",)), sinks=sinks, snapshot=given.get("snapshot", ""))
    with pytest.raises(ConfigError, match=message):
        read_gateway_config(write(tmp_path, text))


def test_sinks_that_differ_are_no_conflict(tmp_path: Path) -> None:
    sinks = (
        "-",
        "jsonl:a",
        "jsonl:b",
        "wfdb:out",
        "fhir:out",
        "lsl:a",
        "mqtt://h/a",
        "mqtt://h/b",
        "ws:0",
        "ws:0",
    )
    text = ward("synthetic:1", "lsl:b", "mqtt://h/c", sinks=sinks, snapshot="a")
    assert read_gateway_config(write(tmp_path, text)).sinks == sinks


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no configuration at .*none\.toml"):
        read_gateway_config(tmp_path / "none.toml")
    (tmp_path / "marked.toml").write_text(GOOD, encoding="utf-8-sig")  # as some editors do
    assert read_gateway_config(tmp_path / "marked.toml").patients[0].name == "a"


def test_a_good_file(tmp_path: Path) -> None:
    config = read_gateway_config(write(tmp_path, 'snapshot = "s"\nhealth = "0"\n' + GOOD))
    assert config.patients == (PatientConfig("a", "synthetic:1"),)
    assert config.snapshot_path == tmp_path / "s"
    at_home = read_gateway_config(write(tmp_path, 'snapshot = "~/s"\n' + GOOD))
    assert at_home.snapshot_path == Path.home() / "s"
    slower = read_gateway_config(write(tmp_path, GOOD + "[alarms]\nbradycardia = 40.0\n"))
    assert slower.alarms.bradycardia == 40


def gateway(engine: Engine, tmp_path: Path, sources: dict[str, str], **more: Any) -> Gateway:
    patients = tuple(PatientConfig(name, source) for name, source in sources.items())
    sinks = more.pop("sinks", (f"jsonl:{tmp_path / 'events.jsonl'}",))
    return Gateway(GatewayConfig(patients, sinks=sinks, poll=0.01, folder=tmp_path, **more), engine)


def test_sources_to_sinks(nano: Engine, tmp_path: Path) -> None:
    """Every patient's events are those of a stream of its own; the gateway ends with its sources."""
    sources = {f"bed-{n}": f"{record(tmp_path, f'r{n}', 10 + n, n)}?speed=0" for n in range(3)}
    gateway(nano, tmp_path, sources).run(threading.Event())
    told = events_of(tmp_path / "events.jsonl")
    from edgeecg.io import read_record

    for n in range(3):
        stream = Stream(nano, FS)
        expected = stream.push(read_record(tmp_path / f"r{n}").signal) + stream.flush()
        assert_same_events(told[f"bed-{n}"], expected)
    assert {header.model for header in headers_of(tmp_path / "events.jsonl")} == {"nano"}


def test_a_small_queue_loses_nothing_by_itself(nano: Engine, tmp_path: Path) -> None:
    """What is held back for a late packet comes all at once: it is computed before it is dropped."""
    source = f"{record(tmp_path, 'r', 40)}?speed=0&packet=0.1&seed=3&faults=drop=0.05,reorder=0.05"
    made = gateway(nano, tmp_path, {"a": source}, queue=1.0)
    made.run(threading.Event())
    bed = made.beds[0]
    assert bed.feed is not None
    gaps = [event.length for event in events_of(tmp_path / "events.jsonl")["a"] if isinstance(event, Gap)]
    assert sum(gaps) == bed.feed.lost > 0
    assert bed.dropped == 0


class Overrun(LiveSource):
    """Lost packets of its own, as a transport does that cannot be held up."""

    def __init__(self, lost: int) -> None:
        super().__init__(None)
        self.fs, self.leads, self.dropped = FS, ("MLII",), lost

    def _connect(self) -> None: ...

    def _produce(self) -> None: ...


def test_what_is_dropped_is_on_the_page_and_in_the_log(
    nano: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = gateway(nano, tmp_path, {"a": "synthetic:1"}, queue=1.0)
    bed = made.beds[0]
    bed.warn()
    assert not caplog.messages
    for lost in (3, 4):  # the link breaks off in between: counts go on
        bed.link.inbox.put(Opened(Overrun(lost)))
    bed.drain()
    for _ in range(2):
        made.pool.push("a", heart(1, FS))
        bed.warn()
        bed.warn()
    told = made.report()["patients"]["a"]
    assert (told["overrun_packets"], told["dropped_samples"]) == (7, FS)
    assert len(caplog.messages) == 1
    assert "source 1: 7 packets and 0 samples dropped" in caplog.messages[0]
    bed.fail(EdgeECGError("no more"))
    assert made.report()["patients"]["a"]["dropped_samples"] == FS


def test_the_page_says_why_nothing_comes(nano: Engine, tmp_path: Path) -> None:
    sources = {"a": str(tmp_path / "nowhere.csv"), "b": f"{record(tmp_path, 'r', 5)}?speed=0"}
    made = gateway(nano, tmp_path, sources)
    made.run(threading.Event())
    told = made.report()["patients"]
    assert "nowhere.csv" in told["a"]["error"]
    assert not told["b"]["error"]
    bed = made.beds[1]
    bed.fail(EdgeECGError("no more"))
    bed.link._error = ""  # a packet that came meanwhile
    assert made.report()["patients"]["b"]["error"] == "no more"


def test_a_port_may_be_a_number(tmp_path: Path) -> None:
    assert read_gateway_config(write(tmp_path, f"health = 8080\n{GOOD}")).health == "8080"
    with pytest.raises(ConfigError, match=r"units=uV"):
        read_gateway_config(write(tmp_path, GOOD + 'units = "uV"\n'))


def test_ports_that_differ_or_are_any_free_one_are_no_conflict(tmp_path: Path) -> None:
    text = 'health = "0"\nsinks = ["ws:0", "prometheus:127.0.0.2:9464", "ws:9464"]\n' + GOOD
    assert len(read_gateway_config(write(tmp_path, text)).sinks) == 3


def test_a_restart_goes_on(nano: Engine, tmp_path: Path) -> None:
    """Stopped and started again, a gateway tells no beat twice and goes on with its context and its count."""
    source = f"{record(tmp_path, 'r', 60)}?speed=20&packet=0.2"
    made: dict[str, Any] = {"snapshot": "context", "snapshot_every": 0.2}
    first = gateway(nano, tmp_path, {"a": source}, **made)
    stop = threading.Event()
    thread = threading.Thread(target=first.run, args=(stop,))
    thread.start()
    eventually(lambda: len(events_of(tmp_path / "events.jsonl").get("a", [])) > 10)
    eventually((tmp_path / "context").is_file)
    stop.set()
    thread.join()
    before = events_of(tmp_path / "events.jsonl")["a"]
    count = first.pool.samples("a")
    second = gateway(nano, tmp_path, {"a": source}, **made)
    second.run(threading.Event())
    after = events_of(tmp_path / "events.jsonl")["a"][len(before) :]
    samples = [event.sample for event in [*before, *after] if hasattr(event, "sample")]
    assert samples == sorted(set(samples))
    assert samples[-1] > count + 50 * FS  # the source began anew: behind what was there
    assert not (tmp_path / "context").exists()  # it has ended: there is nothing to go on with


def test_a_stop_without_room_for_the_snapshot_tells_what_the_streams_still_hold(
    nano: Engine, tmp_path: Path
) -> None:
    source = f"{record(tmp_path, 'r', 60)}?speed=10"
    kept = gateway(nano, tmp_path, {"a": source}, snapshot="folder/context")
    stop, wrong = threading.Event(), []

    def run() -> None:
        try:
            kept.run(stop)
        except EdgeECGError as error:
            wrong.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    eventually(lambda: len(events_of(tmp_path / "events.jsonl").get("a", [])) > 10)
    shutil.rmtree(tmp_path / "folder", ignore_errors=True)
    (tmp_path / "folder").write_text("")  # where the snapshot's folder would be
    stop.set()
    thread.join()
    assert "folder is a file, not a folder" in wrong[0]
    feed = kept.beds[0].feed
    assert feed is not None
    beats = [e.sample for e in events_of(tmp_path / "events.jsonl")["a"] if isinstance(e, Beat)]
    assert max(beats) > feed.snapshot()["time"]["next"] - 1.1 * FS  # an interval before the end, no more


def test_a_snapshot_is_not_laid_in_place_of_another_file(nano: Engine, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("hop = 0.5\n")
    made = gateway(nano, tmp_path, {"a": str(record(tmp_path, "r", 10))}, snapshot="x.toml")
    with pytest.raises(ConfigError, match=r"x\.toml is another kind of file"):
        made.run(threading.Event())
    assert (tmp_path / "x.toml").read_text() == "hop = 0.5\n"


def test_a_check_finds_the_library_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    config = GatewayConfig(patients=(PatientConfig("a", "mqtt://broker/a?fs=250"),), sinks=("jsonl:x",))
    config.check_extras()
    for module in ("paho", "paho.mqtt", "paho.mqtt.client"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=r"using mqtt://HOST/TOPIC needs paho-mqtt: .*edgeecg\[mqtt\]"):
        config.check_extras()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"reading \.csv files needs pyarrow: .*edgeecg\[records\]"):
        GatewayConfig(patients=(PatientConfig("a", "bed/1.csv?speed=2"),), sinks=("-",)).check_extras()


@pytest.mark.parametrize("why", ["bundle", "hop", "damage", "empty", "no beds"])
def test_a_snapshot_that_does_not_fit_is_set_aside(
    nano: Engine, small: Engine, tmp_path: Path, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Under a service manager a refusal would be repeated for ever, and nobody watched."""
    source = f"{record(tmp_path, 'r', 30)}?speed=5"
    first = gateway(nano, tmp_path, {"a": source}, snapshot="context")
    stop = threading.Event()
    thread = threading.Thread(target=first.run, args=(stop,))
    thread.start()
    eventually(lambda: first.beds[0].feed is not None)
    stop.set()
    thread.join()
    kept = (tmp_path / "context").read_bytes()
    if why in ("damage", "empty", "no beds"):
        body = {"empty": {}, "no beds": {"pool": first.pool.snapshot(), "beds": []}}.get(why)
        kept = kept[:-10] if body is None else snapshot.write("gateway", nano.bundle, body)
        (tmp_path / "context").write_bytes(kept)
    hop = 0.25 if why == "hop" else 0.5
    again = gateway(small if why == "bundle" else nano, tmp_path, {"a": source}, snapshot="context", hop=hop)
    before = len(events_of(tmp_path / "events.jsonl").get("a", []))
    again.run(threading.Event())
    assert (tmp_path / "context.refused").read_bytes() == kept
    says = {"bundle": "runs small", "hop": "taken with hop=0.5 s, not with hop=0.25 s", "damage": "damaged"}
    assert any(
        says.get(why, "not a gateway's snapshot") in line and "begins anew" in line
        for line in caplog.messages
    )
    after = events_of(tmp_path / "events.jsonl")["a"][before:]
    assert min(event.sample for event in after if isinstance(event, Beat)) < 5 * FS


def test_a_snapshot_that_cannot_be_read_stops_no_start(
    nano: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a card that is worn out, or written by a gateway that ran as root once."""
    (tmp_path / "context").write_bytes(b"once written")

    read = Path.read_bytes

    def worn(path: Path) -> bytes:
        if path.name == "context":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", worn)
    source = f"{record(tmp_path, 'r', 30)}?speed=0"
    gateway(nano, tmp_path, {"a": source}, snapshot="context").run(threading.Event())
    monkeypatch.undo()
    assert (tmp_path / "context.refused").read_bytes() == b"once written"
    assert any("cannot be read: Input/output error; " in line and "anew" in line for line in caplog.messages)
    assert events_of(tmp_path / "events.jsonl")["a"]


class Silent(LiveSource):
    """Known rate and leads, and nothing more."""

    def __init__(self) -> None:
        super().__init__(None)
        self.fs, self.leads = FS, ("MLII",)

    def _connect(self) -> None: ...

    def _produce(self) -> None: ...


def tampered(engine: Engine, tmp_path: Path, tamper: Callable[[dict[str, Any]], object]) -> bytes:
    """A snapshot of one patient with something else in it, well hashed."""
    made = gateway(engine, tmp_path, {"a": "synthetic:1"}, snapshot="context")
    made.beds[0]._reached(Opened(Silent()))
    made.beds[0]._push(Packet(heart(5, FS), sample=0, time=1.7e9))
    made._save()
    made._close_outlets()
    body = snapshot.read("gateway", engine.bundle, (tmp_path / "context").read_bytes())
    tamper(body)
    return snapshot.write("gateway", engine.bundle, body)


def put(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def tamper(body: dict[str, Any]) -> None:
        place = body["beds"]["a"]
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return tamper


NONSENSE = {
    "an option out of range": put("feed", "jitter", value=-1.0),
    "no rate": put("feed", "fs", value=0.0),
    "no number": put("feed", "time", "lost", value=None),
    "no finite number": put("feed", "time", "wall", value=float("nan")),
    "a number below zero": put("feed", "time", "next", value=-5),
    "a count that no stream has": put("feed", "time", "since", value=2**60),
    "no time": put("feed", "clock", value=[[0, float("inf")]]),
    "no lists": put("feed", "time", "stamps", value=3),
    "a stranger": put("feed", "more", value=3),
    "a name that is none": put("patient", value=[["a"]]),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_well_hashed_nonsense_stops_no_start(nano: Engine, tmp_path: Path, what: str) -> None:
    nonsense = tampered(nano, tmp_path, NONSENSE[what])
    (tmp_path / "context").write_bytes(nonsense)
    made = gateway(nano, tmp_path, {"a": f"{record(tmp_path, 'r', 5)}?speed=0"}, snapshot="context")
    made.run(threading.Event())
    assert (tmp_path / "context.refused").read_bytes() == nonsense
    assert made.report()["patients"]["a"]["events"] > 0


def test_what_is_nested_without_end_is_set_aside_and_so_is_what_cannot_be(
    nano: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder that has the other name is no reason to stop either."""
    payload = b"\x85\xa7version\x0a\xa4kind\xa7gateway\xa6bundle\xa1x\xa4name\xa1x\xa4body\x81\xa1a"
    payload += b"\x91" * 100_000 + b"\x01"
    deep = snapshot.MAGIC + hashlib.sha256(payload).digest() + payload
    (tmp_path / "context").write_bytes(deep)
    (tmp_path / "context.refused" / "x").mkdir(parents=True)
    source = f"{record(tmp_path, 'r', 5)}?speed=0"
    for aside in (False, True):
        made = gateway(nano, tmp_path, {"a": source}, snapshot="context")
        made._restore()
        assert made.beds[0].feed is None
        assert (tmp_path / "context").exists() is not aside
        assert ("cannot be set aside" in caplog.messages[-1]) is not aside
        shutil.rmtree(tmp_path / "context.refused", ignore_errors=True)


def test_two_gateways_share_no_snapshot(nano: Engine, tmp_path: Path) -> None:
    """Whatever name the second one has for it; the first one goes on, and leaves it to the next."""
    (tmp_path / "other").symlink_to(tmp_path / "context")
    source = f"{record(tmp_path, 'r', 120)}?speed=4"
    first = gateway(nano, tmp_path, {"a": source}, snapshot="context")
    stop = threading.Event()
    thread = threading.Thread(target=first.run, args=(stop,))
    thread.start()
    try:
        eventually(lambda: first.beds[0].events > 3)
        second = gateway(nano, tmp_path, {"a": source}, snapshot="other", sinks=(f"jsonl:{tmp_path / 'b'}",))
        with pytest.raises(ConfigError, match="another gateway's that runs"):
            second.run(threading.Event())
        assert not (tmp_path / "b").exists()
    finally:
        stop.set()
        thread.join()
    assert (tmp_path / "context").is_file()
    gateway(nano, tmp_path, {"a": source}, snapshot="other", sinks=(f"jsonl:{tmp_path / 'b'}",)).run(stop)


def test_a_killed_gateway_leaves_its_snapshot_to_the_next(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; from edgeecg.stream.alone import alone\n"
        "with alone(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "context")]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as child:
        assert child.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match="another gateway's"), alone(tmp_path / "context"):
            pass
        child.kill()
    with alone(tmp_path / "context"):
        pass


@pytest.fixture
def page(nano: Engine, tmp_path: Path) -> Iterator[Callable[[], tuple[int, dict[str, Any]]]]:
    """A gateway of a live and an unreachable patient; gives its health page."""
    pytest.importorskip("websockets")
    sources = {
        "well": f"{record(tmp_path, 'r', 120)}?speed=2",
        "ill": f"ws://127.0.0.1:{free_port()}/x?fs=250",
    }
    running = gateway(nano, tmp_path, sources, health="0")
    stop = threading.Event()
    thread = threading.Thread(target=running.run, args=(stop,))
    thread.start()
    eventually(lambda: running.page is not None)
    assert running.page is not None
    address = f"http://127.0.0.1:{running.page.port}/health"

    def look() -> tuple[int, dict[str, Any]]:
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    yield look
    stop.set()
    thread.join()


def test_the_health_page_tells_who_is_ill(
    page: Callable[[], tuple[int, dict[str, Any]]], caplog: pytest.LogCaptureFixture
) -> None:
    eventually(lambda: page()[1]["patients"]["ill"]["state"] == "waiting")
    eventually(lambda: page()[1]["patients"]["well"]["events"] > 0)
    status, told = page()
    assert (status, told["status"]) == (503, "degraded")
    assert told["patients"]["well"]["state"] == "live"
    assert told["bundle"] == "nano"
    assert not any("well" in line or "ill" in line.split() for line in caplog.messages)


def test_the_page_for_people_shows_whom_nothing_comes_from(nano: Engine, tmp_path: Path) -> None:
    sources = {"well": f"{record(tmp_path, 'r', 120)}?speed=2", "ill": f"{tmp_path / 'missing'}"}
    running = gateway(nano, tmp_path, sources, sinks=("page:0",))
    stop = threading.Event()
    thread = threading.Thread(target=running.run, args=(stop,))
    thread.start()
    try:
        eventually(lambda: "well" in running.outlets[0].sink.patients)
        port = running.outlets[0].sink.port  # type: ignore[attr-defined]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            told = answer.read().decode()
    finally:
        stop.set()
        thread.join()
    assert "2 patients" in told
    assert told.index(">well<") < told.index(">ill<")


def test_a_sink_that_fails_stops_nobody(
    nano: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    sinks = (f"jsonl:{tmp_path / 'file' / 'x.jsonl'}", f"jsonl:{tmp_path / 'events.jsonl'}")
    source = f"{record(tmp_path, 'r', 8)}?speed=0"
    made = gateway(nano, tmp_path, {"a": source}, sinks=sinks)
    with caplog.at_level(logging.ERROR):
        made.run(threading.Event())
    assert len(events_of(tmp_path / "events.jsonl")["a"]) > 5
    assert [outlet.ok for outlet in made.outlets] == [False, True]
    assert made.report()["status"] == "degraded"
    assert sum("sink 1 (jsonl) failed" in line for line in caplog.messages) == 1


def test_a_source_that_cannot_be_used_is_told(
    nano: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sources = {"a": f"{tmp_path / 'missing'}?speed=0", "b": f"{record(tmp_path, 'r', 8)}?speed=0"}
    made = gateway(nano, tmp_path, sources)
    made.run(threading.Event())
    assert set(events_of(tmp_path / "events.jsonl")) == {"b"}
    assert made.report()["patients"]["a"]["state"] == "failed"
    assert any("source 1 cannot be used" in line for line in caplog.messages)


def test_a_feed_goes_on_after_a_restart() -> None:
    """By the wall clock, where packets carry nothing else: what passed meanwhile is missing."""
    feed = Feed(FS)
    for number in range(8):
        feed.step(Packet(np.zeros((125, 1)), time=1000.0 + 0.5 * number))
    feed.flush()
    assert feed.settled
    other = Feed.restored(json.loads(json.dumps(feed.snapshot())))
    pieces = other.step(Packet(np.zeros((125, 1)), time=1000.0 + 64.0))
    assert [(piece.start, piece.missing) for piece in pieces] == [(16_000, 15_000)]
    assert other.clock.time(16_000) == pytest.approx(1064.0, abs=0.01)
    with pytest.raises(StateError, match="cannot be read"):
        Feed.restored({"fs": 250.0})


YEARS = 20 * 365 * 86_400.0


def heard_feed() -> Feed:
    """Four seconds of a source that neither counts nor stamps, the last of them heard just now."""
    feed, now = Feed(FS), time.monotonic()
    for number in range(8):
        behind = 0.5 * (7 - number)
        feed.step(Packet(np.zeros((125, 1)), time=1000.0 - behind - 0.5, heard=now - behind))
    feed.flush()
    return feed


def test_a_clock_that_is_set_between_two_starts_is_no_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the machine itself is started anew another clock tells how much is missing."""
    saved = json.loads(json.dumps(heard_feed().snapshot()))
    asleep = boottime._asleep()
    monkeypatch.setattr(boottime, "_asleep", lambda: asleep + 50.0)  # 50 s of sleep, and 10 s at work
    other = Feed.restored(saved)
    later = Packet(np.zeros((125, 1)), time=1000.0 + YEARS, heard=time.monotonic() + 10.5)
    (piece,) = other.step(later)
    assert (piece.missing, piece.cause) == (pytest.approx(60 * FS, abs=2 * FS), "silence")
    assert other.clock.time(piece.start) == pytest.approx(1000.0 + YEARS, abs=0.01)


@pytest.mark.parametrize(
    ("passed", "missing"), [(600.0, 150_000), (-600.0, 0), (-YEARS, 0), (YEARS, 1), (86_500.0, 1)]
)
def test_after_the_machine_was_off_its_clock_is_believed_for_a_day(
    monkeypatch: pytest.MonkeyPatch, passed: float, missing: int
) -> None:
    """A board without a battery learns the date later: then nobody knows how much is missing."""
    saved = json.loads(json.dumps(heard_feed().snapshot()))
    monkeypatch.setattr(feeds, "boot", lambda: "another")
    other = Feed.restored(saved)
    for number in range(3):
        behind = 0.5 * number
        packet = Packet(np.zeros((125, 1)), time=1000.0 + passed + behind, heard=7.0 + behind)
        (piece,) = other.step(packet)
        assert piece.missing == (0 if number else missing)
        assert other.clock.time(piece.start) == pytest.approx(1000.0 + passed + behind, abs=0.01)


def test_who_comes_on_top_of_many_takes_the_oldest_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that send a byte now and then can neither take all memory nor make a gateway look dead."""
    monkeypatch.setattr(listener, "PATIENCE", 600)
    page = HealthPage("0", lambda: {"status": "ok"})
    before = threading.active_count()
    slow = [socket.create_connection(("127.0.0.1", page.port)) for _ in range(3 * listener.CLIENTS)]
    try:
        for client in slow[-listener.CLIENTS :]:
            client.sendall(b"G")
        with urllib.request.urlopen(f"http://127.0.0.1:{page.port}/health", timeout=10) as answer:
            assert answer.status == 200
        eventually(lambda: threading.active_count() <= before + listener.CLIENTS, 10)
        assert slow[0].recv(1) == b""
    finally:
        for client in slow:
            client.close()
        page.close()


def test_a_health_port_in_use_is_named() -> None:
    page = HealthPage("0", lambda: {"status": "ok"})
    with pytest.raises(LinkError, match="cannot be used for health"):
        HealthPage(str(page.port), lambda: {"status": "ok"})
    page.close()


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")
def test_systemd_is_notified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        assert notify("READY=1")
        assert line.recv(100) == b"READY=1"


def test_nobody_who_listens_is_no_reason_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/nonexistent/x")
    assert not notify("WATCHDOG=1")


def test_a_probe_that_says_nothing_holds_no_thread(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(listener, "PATIENCE", 0.2)
    page = HealthPage("0", lambda: {"status": "ok"})
    before = threading.active_count()
    with socket.create_connection(("127.0.0.1", page.port)) as line:
        line.sendall(b"GET /hea")
        assert line.recv(100) == b"", "it is hung up on"
    eventually(lambda: threading.active_count() <= before)
    page.close()
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_command_stops_gracefully(tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM, and a terminal that closes: what has come is told, the log is calm, the exit code is 0."""
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("the signal is ignored here, as under nohup, and so it is by the child")
    bundle = make_bundle(tmp_path, "nano")
    source = f"{record(tmp_path, 'r', 120)}?speed=4"
    text = f'bundle = "{bundle}"\nbackend = "onnxruntime"\nsinks = ["jsonl:{tmp_path}/events.jsonl"]\n'
    config = write(tmp_path, f'{text}snapshot = "context"\n[[patients]]\nname = "a"\nsource = "{source}"\n')
    command = [sys.executable, "-c", "from edgeecg.cli.main import run; run()", "serve", str(config)]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}
    )
    events = tmp_path / "events.jsonl"
    eventually(lambda: events.is_file() and len(events_of(events).get("a", [])) > 5, 120)
    process.send_signal(number)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert "Traceback" not in log
    assert (tmp_path / "context").is_file()
    assert not any(isinstance(event, Gap) for event in events_of(events)["a"])


def test_a_log_that_nobody_reads_holds_up_no_gateway(tmp_path: Path) -> None:
    """The pipe is full before the first line; events arrive, and it stops as it is asked to."""
    bundle = make_bundle(tmp_path, "nano")
    source = f"{record(tmp_path, 'r', 120)}?speed=4"
    text = f'bundle = "{bundle}"\nbackend = "onnxruntime"\nsinks = ["jsonl:{tmp_path}/events.jsonl"]\n'
    config = write(tmp_path, f'{text}[[patients]]\nname = "a"\nsource = "{source}"\n')
    command = [sys.executable, "-c", "from edgeecg.cli.main import run; run()", "serve", str(config)]
    read, full = os.pipe()
    os.set_blocking(full, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(full, bytes(4096))
    os.set_blocking(full, True)
    process = subprocess.Popen(command, stderr=full)
    os.close(full)
    events = tmp_path / "events.jsonl"
    try:
        eventually(lambda: events.is_file() and len(events_of(events).get("a", [])) > 5, 120)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(read)


def test_so_does_the_stream_of_one_patient(tmp_path: Path) -> None:
    """SIGTERM ends it as Ctrl-C does: an annotation file is written."""
    pytest.importorskip("wfdb")
    bundle = make_bundle(tmp_path, "nano")
    words = [
        "stream",
        f"{record(tmp_path, 'r', 120)}?speed=4",
        "--bundle",
        str(bundle),
        "--quiet",
        "--patient",
        "a",
    ]
    words += ["--sink", f"wfdb:{tmp_path / 'found'}", "--sink", f"jsonl:{tmp_path / 'events.jsonl'}"]
    command = [sys.executable, "-c", "from edgeecg.cli.main import run; run()", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    eventually(lambda: len(events_of(tmp_path / "events.jsonl").get("a", [])) > 5, 120)
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert "Traceback" not in log
    assert len(read_annotations(tmp_path / "found" / "a", "edg")) >= 5
    told = events_of(tmp_path / "events.jsonl")["a"]
    grades = [event.label for event in told if isinstance(event, Quality)]
    assert "lead-off" not in grades  # as half a push would look
