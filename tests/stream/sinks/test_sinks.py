"""What is special to single sinks."""

from __future__ import annotations

import socket
import sys
import threading
import time
import urllib.request
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeecg.data.catalog import load_reference
from edgeecg.errors import ConfigError, LinkError, MissingExtra
from edgeecg.io import read_annotations
from edgeecg.io.record import Record
from edgeecg.specs import Alarm, Beat, Event, Gap, Quality, Rhythm
from edgeecg.stream.health import HealthPage
from edgeecg.stream.sinks import Fanout, Header, open_sink
from edgeecg.stream.sinks.base import event_sample, port_of
from edgeecg.stream.sinks.fhir import MOST_WAITING
from edgeecg.stream.sinks.lines import EventLine, parse_line
from edgeecg.stream.sinks.mqtt import MqttSink
from edgeecg.stream.sinks.wfdb_files import file_name, to_annotations
from tests.io.test_atomic import room_for
from tests.stream.peers import eventually, free_port, mqtt_broker

HEADER = Header("bed-3", 250.0, ("II", "MLII"), "small", "9f2c", start=1.7e9)


# WFDB


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"patient 3: .* give str\(patient\)"):
        Header(3, 250.0, ("I",), "small", "9f2c")  # type: ignore[arg-type]


def test_annotations_ascend_and_carry_aami_classes() -> None:
    marks = to_annotations(
        [Beat(90, "P", 1, 1, None), Rhythm(10, None, "AFIB", 1), Beat(50, "S", 1, 1, None)]
    )
    assert list(zip(marks.sample.tolist(), marks.symbol.tolist(), marks.aux.tolist(), strict=True)) == [
        (0, "+", "(N"),  # or readers would stretch the AF back to the start
        (10, "+", "(AFIB"),
        (50, "S", ""),
        (90, "Q", ""),
    ]


def test_a_flush_writes_what_there_is_and_more_may_come(tmp_path: Path) -> None:
    with open_sink(f"wfdb:{tmp_path}") as sink:
        sink.open(HEADER)
        sink.write(Beat(50, "N", 1, 1, None), "bed-3")
        sink.flush()
        assert len(read_annotations(tmp_path / "bed-3", "edg")) == 1
        sink.write(Beat(150, "N", 1, 1, 0.4), "bed-3")
    assert len(read_annotations(tmp_path / "bed-3", "edg")) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bed-3.edg"]


def test_without_the_library_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wfdb", None)
    with (
        open_sink(f"wfdb:{tmp_path / 'deep' / 'found'}") as sink,
        pytest.raises(MissingExtra, match="records"),
    ):
        sink.open(HEADER)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_folder_and_loses_no_event(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "found"
    with open_sink(f"wfdb:{folder}") as sink:
        sink.open(HEADER)
        sink.write(Beat(50, "N", 1, 1, None), "bed-3")
        with pytest.raises(LinkError, match=r"cannot be written in .*found: No space"), room_for(1):
            sink.flush()
        assert list(tmp_path.iterdir()) == []
    assert read_annotations(folder / "bed-3", "edg").sample.tolist() == [50]


def test_names_of_patients_cannot_leave_the_folder(tmp_path: Path) -> None:
    assert file_name("../../etc/passwd") == "______etc_passwd"
    with open_sink(f"wfdb:{tmp_path}") as sink:
        sink.open(Header("a/b", 250.0, ("I",), "small", ""))
        for other in ("a b", "A/B"):
            with pytest.raises(ConfigError, match="share files"):
                sink.open(Header(other, 250.0, ("I",), "small", ""))


@pytest.mark.parametrize("kind", ["wfdb", "fhir"])
def test_a_name_that_is_too_long_for_a_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    """At the end of the night its events would be lost, and meanwhile the findings of all others wait."""
    with open_sink(f"{kind}:{tmp_path}") as sink:
        for patient in ("x" * 180, "y" * 180):
            sink.open(Header(patient, 250.0, ("I",), "small", ""))
        with pytest.raises(ConfigError, match="name of 181 characters is too long for a file's"):
            sink.open(Header("x" * 181, 250.0, ("I",), "small", ""))
        sink.write(Alarm(7, None, "no-beat"), "x" * 180)
        sink.flush()
    assert any(file.name.startswith("x" * 180) for file in tmp_path.iterdir())


MOMENTS = {Beat(5, "N", 1, 1, None): 5, Gap(6, 2): 6, Alarm(7, None, "pause"): 7, Alarm(7, 9, "pause"): 9}


@pytest.mark.parametrize(("event", "sample"), MOMENTS.items())
def test_an_event_tells_of_its_beat_its_onset_or_its_end(event: Event, sample: int) -> None:
    assert event_sample(event) == sample


# FHIR


def observation(path: Path) -> Any:
    from fhir.resources.R4B.observation import Observation

    return Observation.model_validate_json(path.read_text())


def test_a_finding_comes_with_the_strip_that_shows_it(tmp_path: Path) -> None:
    pytest.importorskip("fhir.resources", reason="no fhir.resources: pip install fhir.resources")
    x = np.round(np.random.default_rng(0).normal(size=(5000, 2)), 3)
    x[1300] = np.nan
    with open_sink(f"fhir:{tmp_path}?before=1&after=2") as sink:
        sink.open(HEADER)
        for start in range(0, 1500, 100):
            sink.signal(start, x[start : start + 100], "bed-3")  # type: ignore[attr-defined]
        sink.write(Rhythm(1250, None, "AFIB", 0.9), "bed-3", 1.7e9 + 5)
        sink.write(Rhythm(1250, None, "N", 0.9), "bed-3")
        sink.write(Rhythm(900, 1250, "AFIB", 0.9), "bed-3")
        sink.write(Beat(1250, "V", 0.9, 1, None), "bed-3")
        assert list(tmp_path.iterdir()) == []  # the strip is not whole yet
        for start in range(1500, 1800, 100):
            sink.signal(start, x[start : start + 100], "bed-3")  # type: ignore[attr-defined]
        assert [path.name for path in tmp_path.iterdir()] == ["bed-3-1250-AFIB.json"]
    told = observation(tmp_path / "bed-3-1250-AFIB.json")
    assert told.status == "preliminary"
    assert told.valueCodeableConcept.coding[0].code == "164889003"
    assert told.subject.identifier.value == "bed-3"
    assert told.effectivePeriod.start.timestamp() == 1.7e9 + 4
    assert told.effectivePeriod.end.timestamp() == 1.7e9 + 7
    assert [part.code.coding[0].code for part in told.component] == [
        "131330",
        "131328",
    ]  # II, and a lead without code
    for lead, part in enumerate(told.component):
        data = part.valueSampledData
        assert (float(data.period), float(data.factor), data.dimensions) == (4.0, 0.001, 1)
        values = [np.nan if v == "E" else int(v) * float(data.factor) for v in data.data.split()]
        np.testing.assert_allclose(values, x[1000:1750, lead], atol=1e-9)


def test_what_waits_for_its_strip_is_written_at_the_end(tmp_path: Path) -> None:
    pytest.importorskip("fhir.resources", reason="no fhir.resources: pip install fhir.resources")
    with Fanout([open_sink(f"fhir:{tmp_path}")]) as sink:
        sink.open(HEADER)
        sink.signal(0, np.zeros((600, 2)), "bed-3")
        sink.write(Alarm(500, None, "pause"), "bed-3")
    told = observation(tmp_path / "bed-3-500-pause.json")
    assert len(told.component[0].valueSampledData.data.split()) == 600
    assert told.effectivePeriod is None


def test_findings_outlive_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each goes on waiting until it is written."""
    monkeypatch.setattr("edgeecg.stream.sinks.fhir.PAUSE", 2.0)
    pytest.importorskip("fhir.resources", reason="no fhir.resources: pip install fhir.resources")
    with open_sink(f"fhir:{tmp_path}?before=0&after=1") as sink:
        for name in ("bed-3", "bed-4"):
            sink.open(replace(HEADER, patient=name))
            sink.signal(0, np.zeros((100, 2)), name)  # type: ignore[attr-defined]
            for at in (10, 20, 30):
                sink.write(Alarm(at, None, "pause"), name)
        with pytest.raises(LinkError, match=r"6 findings wait, as .* takes no files"), room_for(1):
            sink.signal(100, np.zeros((300, 2)), "bed-3")  # type: ignore[attr-defined]
        assert sink.behind
        with room_for(1):  # it is not tried again at each push
            sink.signal(100, np.zeros((300, 2)), "bed-4")  # type: ignore[attr-defined]
        assert list(tmp_path.iterdir()) == []
        time.sleep(2.1)
        sink.signal(400, np.zeros((100, 2)), "bed-3")  # type: ignore[attr-defined]
        assert len(list(tmp_path.iterdir())) == 3
        assert not sink.behind
    assert len(list(tmp_path.iterdir())) == 6


def test_findings_that_waited_are_written_without_more_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeecg.stream.sinks.fhir.PAUSE", 0.0)
    pytest.importorskip("fhir.resources", reason="no fhir.resources: pip install fhir.resources")
    with open_sink(f"fhir:{tmp_path}?before=0&after=1") as sink:
        sink.open(HEADER)
        for at in (10, 200):  # the strip of the second is not whole yet
            sink.write(Alarm(at, None, "pause"), "bed-3")
        with pytest.raises(LinkError, match="2 findings wait"), room_for(1):
            sink.signal(0, np.zeros((300, 2)), "bed-3")  # type: ignore[attr-defined]
        sink.retry()
        assert [path.name for path in tmp_path.iterdir()] == ["bed-3-10-pause.json"]
        assert not sink.behind


def test_findings_wait_for_a_folder_that_is_gone(tmp_path: Path) -> None:
    pytest.importorskip("fhir.resources", reason="no fhir.resources: pip install fhir.resources")
    folder = tmp_path / "found"
    with open_sink(f"fhir:{folder}?before=0&after=1") as sink:
        sink.open(HEADER)
        folder.rmdir()
        folder.write_text("in the way")
        sink.write(Alarm(10, None, "pause"), "bed-3")
        with pytest.raises(LinkError, match="1 findings wait") as caught:
            sink.signal(0, np.zeros((300, 2)), "bed-3")  # type: ignore[attr-defined]
        assert "bed-3" not in str(caught.value), "a patient's name is no matter of a log"
        assert sink.behind
        folder.unlink()
    assert [path.name for path in folder.iterdir()] == ["bed-3-10-pause.json"]


def test_findings_that_wait_are_bounded_and_a_loss_is_told(tmp_path: Path) -> None:
    pytest.importorskip("fhir.resources", reason="no fhir.resources: pip install fhir.resources")
    sink = open_sink(f"fhir:{tmp_path}")
    sink.open(HEADER)
    for at in range(MOST_WAITING):
        sink.write(Alarm(at, None, "pause"), "bed-3")
    with pytest.raises(LinkError, match="one is lost"):
        sink.write(Alarm(MOST_WAITING, None, "pause"), "bed-3")
    assert len(sink._strips["bed-3"].waiting) == MOST_WAITING  # type: ignore[attr-defined]


def test_a_finding_of_an_earlier_run_is_kept(tmp_path: Path) -> None:
    pytest.importorskip("fhir.resources", reason="no fhir.resources: pip install fhir.resources")
    for moment in (1.7e9, 1.7e9, 1.8e9):  # the second tells the first again, as after a kill
        with open_sink(f"fhir:{tmp_path}") as sink:
            sink.open(HEADER)
            sink.write(Alarm(500, None, "pause"), "bed-3", moment)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["bed-3-500-pause-2.json", "bed-3-500-pause.json"]


def test_what_is_no_number_of_microvolts_is_an_error_in_the_strip(tmp_path: Path) -> None:
    pytest.importorskip("fhir.resources", reason="no fhir.resources: pip install fhir.resources")
    with open_sink(f"fhir:{tmp_path}") as sink:
        sink.open(replace(HEADER, leads=("I",)))
        sink.signal(0, np.array([[0.5], [1e306], [np.inf], [np.nan]]), "bed-3")  # type: ignore[attr-defined]
        sink.write(Alarm(2, None, "pause"), "bed-3")
    assert observation(tmp_path / "bed-3-2-pause.json").component[0].valueSampledData.data == "500 E E E"


def test_a_lead_without_a_name_makes_no_finding_and_no_traceback(tmp_path: Path) -> None:
    pytest.importorskip("fhir.resources", reason="no fhir.resources: pip install fhir.resources")
    sink = open_sink(f"fhir:{tmp_path}")
    sink.open(replace(HEADER, leads=("", "I")))
    sink.signal(0, np.zeros((9, 2)), "bed-3")  # type: ignore[attr-defined]
    sink.write(Alarm(2, None, "pause"), "bed-3")
    with pytest.raises(LinkError, match="1 findings are left out"):
        sink.flush()
    sink.close()


def test_memory_for_strips_is_bounded(tmp_path: Path) -> None:
    pytest.importorskip("fhir.resources", reason="no fhir.resources: pip install fhir.resources")
    with open_sink(f"fhir:{tmp_path}") as sink:
        sink.open(HEADER)
        for start in range(0, 250 * 3600, 2500):
            sink.signal(start, np.zeros((2500, 2)), "bed-3")  # type: ignore[attr-defined]
        pieces = sink._strips["bed-3"].pieces  # type: ignore[attr-defined]
        assert sum(len(x) for _, x in pieces) <= 250 * 300 + 2 * 2500


# MQTT


def test_events_wait_for_a_broker_that_comes_back_and_gets_the_headers_again() -> None:
    paho = pytest.importorskip("paho.mqtt.client", reason="no paho-mqtt: pip install paho-mqtt")
    port = free_port()
    heard: list[bytes] = []
    with mqtt_broker(port):
        sink = open_sink(f"mqtt://127.0.0.1:{port}/t", patience=15)
        sink.open(HEADER)
    sink.write(Gap(1, 1), "bed-3")
    with mqtt_broker(port):
        reader = paho.Client(paho.CallbackAPIVersion.VERSION2)
        reader.on_message = lambda client, data, message: heard.append(message.payload)
        subscribed = threading.Event()
        reader.on_subscribe = lambda *rest: subscribed.set()
        reader.connect("127.0.0.1", port)
        reader.subscribe([("t", 1), ("t/header/#", 1)])
        reader.loop_start()
        assert subscribed.wait(5)
        sink.write(Gap(2, 1), "bed-3")
        sink.close()
        eventually(lambda: any(b'"start":2' in payload for payload in heard))
        eventually(lambda: any(b'"leads"' in payload for payload in heard))
        reader.disconnect()
        reader.loop_stop()


def test_a_sink_that_may_not_wait_keeps_events_for_a_broker_that_is_not_there_yet() -> None:
    """A gateway's: while a broker is looked for its patients' events go on to other sinks."""
    pytest.importorskip("paho.mqtt.client", reason="no paho-mqtt: pip install paho-mqtt")
    port = free_port()
    sink = MqttSink(f"mqtt://127.0.0.1:{port}/t", patience=30)
    sink.waits = False
    sink.open(HEADER)
    assert sink.behind
    eventually(lambda: "cannot be reached (1 messages wait)" in str(sink.trouble))
    sink.write(Gap(1, 1), "bed-3")  # it is kept, which is no failure
    assert sink.trouble is not None
    assert sink.trouble.public == "the broker cannot be reached (2 messages wait)"
    with mqtt_broker(port):
        eventually(lambda: not sink.behind, 30)
        assert sink.trouble is None
        sink.write(Gap(2, 1), "bed-3")
        sink.close()  # returns once all three are confirmed
    assert sink._confirmed == 3


def test_a_sink_that_may_not_wait_opens_while_a_broker_says_nothing() -> None:
    pytest.importorskip("paho.mqtt.client", reason="no paho-mqtt: pip install paho-mqtt")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sink = MqttSink(f"mqtt://127.0.0.1:{silent.getsockname()[1]}/t", patience=3600)
        sink.waits = False
        sink.open(HEADER)
        assert "is not connected yet" in str(sink.trouble)
        sink.write(Gap(1, 1), "bed-3")
        sink._patience = 0.1
        with pytest.raises(LinkError, match="has not confirmed 2 events"):
            sink.close()


def test_a_library_that_has_ended_takes_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so to nobody: events would be queued for ever."""
    pytest.importorskip("paho.mqtt.client", reason="no paho-mqtt: pip install paho-mqtt")
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    sink = MqttSink("mqtt://broker/t", patience=0.1)
    sink.waits = False
    sink._address = replace(sink._address, host="broker..ward")  # ends its thread
    with suppress(LinkError):
        sink.open(HEADER)
    eventually(lambda: sink._client._thread is None)
    with pytest.raises(LinkError, match="start this anew"):
        sink.write(Gap(1, 1), "bed-3")
    with suppress(LinkError):
        sink.close()


def test_a_broker_that_hangs_up_again_and_again_fills_no_memory_with_headers() -> None:
    """As one does that forbids the topic: each connection would leave a copy of every header."""
    pytest.importorskip("paho.mqtt.client", reason="no paho-mqtt: pip install paho-mqtt")
    heard: list[int] = []

    def serve(broker: socket.socket) -> None:
        with suppress(OSError):  # closed at the end
            while True:
                with broker.accept()[0] as line:
                    line.recv(4096)
                    line.sendall(b"\x20\x02\x00\x00")  # CONNACK: accepted
                    heard.append(1)
                    time.sleep(0.1)

    with socket.create_server(("127.0.0.1", 0)) as broker:
        threading.Thread(target=serve, args=(broker,), daemon=True).start()
        sink = MqttSink(f"mqtt://127.0.0.1:{broker.getsockname()[1]}/t", patience=1, waiting=50)
        for name in ("bed-3", "bed-4"):
            sink.open(replace(HEADER, patient=name))
        eventually(lambda: len(heard) >= 5, 30)
        assert sink._unconfirmed <= 4
        with pytest.raises(LinkError, match="not confirmed"):
            sink.close()
        sink.close()
        broker.shutdown(socket.SHUT_RDWR)  # ends the accept


def test_events_that_no_broker_has_confirmed_are_told_at_the_end() -> None:
    with mqtt_broker() as port:
        sink = MqttSink(f"mqtt://127.0.0.1:{port}/t", patience=0.5, waiting=3)
        sink.open(HEADER)
        sink.flush()
    for i in range(3):
        sink.write(Gap(i, 1), "bed-3")
    with pytest.raises(LinkError, match="last 3 events"):
        sink.write(Gap(9, 1), "bed-3")
    with pytest.raises(LinkError, match="not confirmed 3 events"):
        sink.close()
    sink.close()


# WebSocket and Prometheus


def test_a_client_that_comes_late_gets_the_headers_first() -> None:
    client_module = pytest.importorskip(
        "websockets.sync.client", reason="no websockets: pip install websockets"
    )
    with open_sink("ws:0") as sink:
        sink.open(HEADER)
        sink.open(Header("bed-4", 128.0, ("I",), "small", "9f2c"))
        sink.write(Gap(1, 1), "bed-3")
        with client_module.connect(f"ws://127.0.0.1:{sink.port}") as client:  # type: ignore[attr-defined]
            headers = [parse_line(line) for line in client.recv(timeout=5).splitlines()]
            assert [told.patient for told in headers] == ["bed-3", "bed-4"]
            sink.write(Gap(2, 1), "bed-4")
            told = parse_line(client.recv(timeout=5))
            assert isinstance(told, EventLine)
            assert told.event == Gap(2, 1)


@pytest.mark.parametrize(
    "probe",
    [
        b"",
        b"GET /smith HTTP/1.1\r\nHost: h\r\n\r\n",
        b"\x16\x03\x01\x02\x00smith\r\n\r\n",  # a TLS hello
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nOrigin: http://smith\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        ),
    ],
)
def test_what_strangers_try_at_the_port_is_not_in_the_log(
    probe: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("websockets", reason="no websockets: pip install websockets")
    caplog.set_level("DEBUG", logger="edgeecg")
    with open_sink("ws:0") as sink:
        sink.open(HEADER)
        with socket.create_connection(("127.0.0.1", sink.port)) as stranger:  # type: ignore[attr-defined]
            stranger.sendall(probe)
            stranger.shutdown(socket.SHUT_WR)
            while stranger.recv(4096):
                pass
    assert not caplog.records


def test_a_client_that_talks_is_heard_out_and_stays() -> None:
    """Behind what is not read its answers to pings would be neither, and it would be thrown out."""
    library = pytest.importorskip("websockets.sync.client", reason="no websockets: pip install websockets")
    with open_sink("ws:0") as sink:
        sink.open(HEADER)
        with library.connect(f"ws://127.0.0.1:{sink.port}") as client:  # type: ignore[attr-defined]
            for _ in range(3):
                for _ in range(100):
                    client.send("how is bed 3?")
                assert client.ping().wait(10)
            assert parse_line(client.recv(timeout=5)) == HEADER


@pytest.mark.parametrize(
    ("origin", "origins", "welcome"),
    [
        (None, "", True),
        ("http://localhost:8000", "", True),
        ("https://evil.example", "", False),
        ("http://localhost.evil.example", "", False),
        ("https://ward.example", "?origins=https://ward.example", True),
    ],
)
def test_web_pages_of_others_read_no_events(origin: str | None, origins: str, welcome: bool) -> None:
    """A page in a browser on this machine reaches its ports, whoever wrote the page."""
    library = pytest.importorskip("websockets.sync.client", reason="no websockets: pip install websockets")
    from websockets.exceptions import InvalidStatus

    with open_sink(f"ws:0{origins}") as sink:
        sink.open(HEADER)
        address = f"ws://127.0.0.1:{sink.port}"  # type: ignore[attr-defined]
        if welcome:
            with library.connect(address, origin=origin) as client:
                assert parse_line(client.recv(timeout=5)).patient == "bed-3"
        else:
            with pytest.raises(InvalidStatus):
                library.connect(address, origin=origin)


@pytest.mark.parametrize("kind", ["page", "prometheus", "health"])
@pytest.mark.parametrize(
    ("host", "welcome"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("[::1]", True),
        ("", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("[::1", False),
    ],
)
def test_a_name_that_is_made_to_lead_here_reads_nothing(kind: str, host: str, welcome: bool) -> None:
    """A page of evil.example whose address becomes 127.0.0.1 may read what its own host answers."""
    pytest.importorskip("prometheus_client", reason="no prometheus-client: pip install prometheus-client")
    with ExitStack() as stack:
        if kind == "health":
            server: Any = stack.enter_context(closing(HealthPage("0", lambda: {"status": "ok", "bed-3": {}})))
        else:
            server = stack.enter_context(open_sink(f"{kind}:0" + "?names=true" * (kind == "prometheus")))
            server.open(HEADER)
        with socket.create_connection(("127.0.0.1", server.port), 10) as line:
            asked = f"Host: {host}:{server.port}\r\n" if host else ""
            line.sendall(f"GET / HTTP/1.0\r\n{asked}\r\n".encode())
            told = b"".join(iter(lambda: line.recv(65536), b""))
    assert (b" 200 OK" in told, b"bed-3" in told) == (welcome, welcome)


def test_a_name_that_the_address_itself_gives_is_answered() -> None:
    """On Debian a machine's own name leads to 127.0.1.1, which is not localhost; here 127.1 is such."""
    with closing(HealthPage("127.1:0", lambda: {"status": "ok"})) as server:
        for host, welcome in (("127.1", True), ("127.1.evil.example", False)):
            with socket.create_connection(("127.0.0.1", server.port), 10) as line:
                line.sendall(f"GET / HTTP/1.0\r\nHost: {host}:{server.port}\r\n\r\n".encode())
                told = b"".join(iter(lambda: line.recv(65536), b""))
            assert (b" 200 OK" in told) == welcome


def test_clients_without_end_leave_files_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also such as only connect: with no file left a gateway loses its sources and its snapshot."""
    library = pytest.importorskip("websockets.sync.client", reason="no websockets: pip install websockets")
    monkeypatch.setattr("edgeecg.stream.sinks.websocket.CLIENTS", 3)
    with open_sink("ws:0") as sink, ExitStack() as stack:
        sink.open(HEADER)
        port = sink.port  # type: ignore[attr-defined]
        strangers = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 10)) for _ in range(8)]
        with library.connect(f"ws://127.0.0.1:{port}") as client:
            assert parse_line(client.recv(timeout=5)) == HEADER
            for stranger in strangers[:6]:
                with suppress(ConnectionResetError):
                    assert stranger.recv(1) == b"", "it has made room"
            sink.write(Beat(5, "N", 1.0, 1.0, None), "bed-3")
            assert "beat" in client.recv(timeout=5)


def test_an_address_of_ipv6_may_stand_in_brackets() -> None:
    assert port_of("[::1]:8080", "page") == port_of("::1:8080", "page") == ("::1", 8080)


@pytest.mark.parametrize("port", ["²", "1²", "65536", "9" * 5000, ""])
def test_what_is_no_port_is_refused(port: str) -> None:
    with pytest.raises(ConfigError, match="names no port"):
        port_of(port, "page")


def test_headers_of_all_patients_stay_at_the_broker() -> None:
    """Each under its own topic, whatever the names are made of."""
    paho = pytest.importorskip("paho.mqtt.client", reason="no paho-mqtt: pip install paho-mqtt")
    names = ("张三", "李四", "bed 1", "bed/1", "+#")
    heard: dict[str, str] = {}

    def keep(client: Any, data: Any, message: Any) -> None:
        heard[message.topic] = parse_line(message.payload).patient

    with mqtt_broker() as port:
        with open_sink(f"mqtt://127.0.0.1:{port}/ward") as sink:
            for name in names:
                sink.open(replace(HEADER, patient=name))
        reader = paho.Client(paho.CallbackAPIVersion.VERSION2)
        reader.on_message = keep
        reader.on_connect = lambda client, *rest: client.subscribe("ward/header/#", qos=1)
        reader.connect("127.0.0.1", port)
        reader.loop_start()
        try:
            eventually(lambda: len(heard) >= len(names))
        finally:
            reader.disconnect()
            reader.loop_stop()
    assert heard["ward/header/bed%2F1"] == "bed/1"
    assert sorted(heard.values()) == sorted(names)


def test_metrics_carry_names_only_when_asked() -> None:
    pytest.importorskip("prometheus_client", reason="no prometheus-client: pip install prometheus-client")
    for names, expected in ((False, 'stream="1"'), (True, 'stream="bed-3"')):
        with open_sink("prometheus:0", names=names) as sink:
            sink.open(HEADER)
            sink.write(Beat(5, "V", 1, 1, 0.5), "bed-3")
            sink.write(Quality(9, None, "flat", lead=1), "bed-3")
            with urllib.request.urlopen(f"http://127.0.0.1:{sink.port}/metrics") as answer:  # type: ignore[attr-defined]
                told = answer.read().decode()
        assert f"edgeecg_heart_rate_bpm{{{expected}}} 120.0" in told
        assert f'edgeecg_lead_without_signal{{label="flat",lead="1",{expected}}} 1.0' in told
        assert "edgeecg_quality{" not in told, "the patient's best lead is good"
        assert ("bed-3" in told) == names


def test_a_client_that_says_nothing_holds_no_thread_of_the_metrics(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("prometheus_client", reason="no prometheus-client: pip install prometheus-client")
    monkeypatch.setattr("edgeecg.stream.sinks.prometheus.PATIENCE", 0.2)
    with open_sink("prometheus:0") as sink:
        sink.open(HEADER)
        with socket.create_connection(("127.0.0.1", sink.port), 10) as line:  # type: ignore[attr-defined]
            line.sendall(b"GET /met")
            assert line.recv(100) == b"", "it is hung up on"
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_metrics_are_served_on_ipv6_too() -> None:
    pytest.importorskip("prometheus_client", reason="no prometheus-client: pip install prometheus-client")
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
    with open_sink("prometheus:::1:0") as sink:
        sink.open(HEADER)
        with urllib.request.urlopen(f"http://[::1]:{sink.port}/metrics") as answer:  # type: ignore[attr-defined]
            assert b"edgeecg_model" in answer.read()


def test_metrics_number_patients_as_the_file_does() -> None:
    """Whoever connects first: dashboards and alert rules name a patient by it, after a restart too."""
    pytest.importorskip("prometheus_client", reason="no prometheus-client: pip install prometheus-client")
    with open_sink("prometheus:0") as sink:
        for name, number in (("bed-2", 2), ("bed-1", 1), ("bed-2-2", 2)):  # the last came back otherwise
            sink.open(replace(HEADER, patient=name, number=number))
            sink.write(Beat(5, "V", 1, 1, 0.5), name)
        with urllib.request.urlopen(f"http://127.0.0.1:{sink.port}/metrics") as answer:  # type: ignore[attr-defined]
            told = answer.read().decode()
    assert 'edgeecg_beats_total{label="V",stream="1"} 1.0' in told
    assert 'edgeecg_beats_total{label="V",stream="2"} 2.0' in told


def test_af_that_begins_later_reads_back_as_it_was_told() -> None:
    events: list[Event] = [Rhythm(20100, None, "AFIB", 0.9), Rhythm(20100, 25100, "AFIB", 0.9)]
    record = Record("r", np.zeros((30000, 1)), 360.0, ("I",), to_annotations(events))
    assert [r for r in load_reference(record).rhythms if r[2] == "AFIB"] == [(20100, 25100, "AFIB")]


def test_a_file_that_cannot_be_written_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.edg").mkdir()  # where the first patient's file would be
    with open_sink(f"wfdb:{tmp_path}") as sink:
        for name in ("a", "b"):
            sink.open(Header(name, 250.0, ("I",), "small", "9f2c"))
            sink.write(Beat(100, "N", 0.9, 1.0, None), name)
        with pytest.raises(LinkError, match="an annotation file cannot be written"):
            sink.flush()
        assert len(read_annotations(tmp_path / "b", "edg")) == 1
        (tmp_path / "a.edg").rmdir()
    assert len(read_annotations(tmp_path / "a", "edg")) == 1
