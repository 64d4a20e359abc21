"""What is special to single sources."""

from __future__ import annotations

import threading
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from edgeecg.errors import (
    BackendError,
    ConfigError,
    EdgeECGError,
    LinkError,
    MissingExtra,
    PacketError,
    SignalError,
)
from edgeecg.io import Record, write_wfdb
from edgeecg.stream import address
from edgeecg.stream.cause import cause
from edgeecg.stream.clock import TimeBase
from edgeecg.stream.mqtt_link import MqttAddress
from edgeecg.stream.sinks import Header, open_sink
from edgeecg.stream.sources import Packet, open_source, pmd
from edgeecg.stream.sources.fake_polar import FRAME, FakeStrap
from edgeecg.stream.sources.live import LiveSource
from edgeecg.stream.sources.polar import PolarSource
from edgeecg.stream.sources.replay import RecordSource, ReplaySource
from edgeecg.stream.sources.wire import encode_binary, encode_json
from tests.stream.peers import (
    Terminal,
    eventually,
    everything,
    free_port,
    lsl_outlet,
    mqtt_broker,
    repair,
    waves,
    websocket_server,
)

FS = 250.0
START = datetime(2026, 5, 1, 8)  # WFDB headers know no time zone


# Replay


@pytest.fixture
def recording(tmp_path: Path) -> str:
    write_wfdb(Record("r", waves(2500, 2), FS, ("I", "V1"), start=START), tmp_path)
    return str(tmp_path / "r")


def test_replay_keeps_real_pace(recording: str) -> None:
    begun = time.monotonic()
    with open_source(recording, speed=5, packet=0.2, seconds=5) as source:
        arrivals = [time.monotonic() - begun for _ in source]
    due = 0.04 * np.arange(1, 26)
    assert len(arrivals) == 25
    assert np.all(arrivals >= due - 1e-3)
    assert np.median(arrivals - due) < 0.1


def test_replay_takes_a_part_and_a_lead(recording: str) -> None:
    with open_source(recording, speed=0, start=2, seconds=3, leads=("V1",)) as source:
        assert source.leads == ("V1",)
        x = everything(source)
    np.testing.assert_allclose(x[:, 0], waves(2500, 2)[500:1250, 1], atol=2e-3)


def test_replay_tells_the_time_of_the_recording(recording: str) -> None:
    with open_source(recording, speed=0, packet=1) as source:
        times = [packet.time for packet in source]
    assert times == [START.timestamp() + second for second in range(10)]


def test_replay_stops_at_once_when_closed_in_a_pause(recording: str) -> None:
    source = open_source(recording, packet=5)
    threading.Timer(0.1, source.close).start()
    begun = time.monotonic()
    assert list(source) == []
    assert time.monotonic() - begun < 2


def test_replay_with_faults_is_repaired(recording: str) -> None:
    with ReplaySource(recording, speed=0, faults="drop=0.1,reorder=0.1", seed=3) as source:
        pieces = list(repair(source, TimeBase(FS)))
        assert source.faults is not None
        drops = sorted(fault.start for fault in source.faults.log if fault.kind == "drop")
        kept = {piece.start for piece in pieces}
        assert drops
        assert not kept & set(drops)
        for piece in pieces:
            np.testing.assert_array_equal(
                piece.samples, source.record.signal[piece.start : piece.start + len(piece.samples)]
            )


def test_replay_refuses_a_start_behind_the_end(recording: str) -> None:
    with pytest.raises(ConfigError, match="behind"):
        open_source(recording, start=60)


def test_the_same_seed_is_the_same_patient() -> None:
    a, b = (open_source("synthetic:5?seconds=5&speed=0&kind=fibrillation") for _ in range(2))
    with a, b:
        np.testing.assert_array_equal(everything(a), everything(b))
    assert isinstance(a, RecordSource)


@pytest.mark.data
@pytest.mark.parametrize("name", ["mitdb/100", "polar_h10/polar_h10_kbroman"])
def test_a_real_recording_is_replayed_as_it_is(data_root: Path, name: str) -> None:
    stem = data_root / name
    if not stem.with_suffix(".hea").is_file():
        stem = next(data_root.glob(f"{stem.parent.name}/*.hea")).with_suffix("")
    with open_source(str(stem), speed=0, seconds=30) as source:
        x = everything(source)
        assert len(x) == round(30 * source.fs)
        assert 0.2 < np.ptp(x[:, 0]) < 20


# Serial


def test_serial_counts_become_millivolts_by_the_board() -> None:
    pytest.importorskip("serial", reason="no pyserial: pip install pyserial")
    with Terminal() as terminal:
        lines = b"12\r\n512\r\n543\r\n!\r\nq5\r\n481\r\n"
        threading.Timer(0.3, terminal.write, args=(lines,)).start()
        with open_source(f"serial:{terminal.device}?board=ad8232", fs=FS) as source:
            packets = iter(source)
            x = next(packets).samples
            while len(x) < 5:
                x = np.concatenate([x, next(packets).samples])
    # 31 counts are 1 mV; "!" says that the lead is off; a garbled line is one sample without a number
    np.testing.assert_allclose(x[:, 0], [0, 1, np.nan, np.nan, -1], atol=1e-3)
    assert source.unreadable == 1  # type: ignore[attr-defined]


def test_serial_counter_shows_lost_lines() -> None:
    pytest.importorskip("serial", reason="no pyserial: pip install pyserial")
    with Terminal() as terminal:
        kept = [i for i in range(500) if not 100 <= i < 130]
        lines = "".join(f"{i % 64},{i}\n" for i in kept).encode()
        threading.Timer(0.3, terminal.write, args=(b"cut\n" + lines,)).start()
        with open_source(f"serial:{terminal.device}?gain=1&counter=0&wrap=64", fs=FS) as source:
            pieces = []
            for piece in repair(source, TimeBase(FS)):
                pieces.append(piece)
                if piece.start + len(piece.samples) == 500:
                    break
    assert [(piece.start, piece.missing) for piece in pieces if piece.missing] == [(130, 30)]
    for piece in pieces:
        np.testing.assert_array_equal(piece.samples[:, 0], piece.start + np.arange(len(piece.samples)))


def test_a_serial_device_that_is_pulled_out_is_a_link_error() -> None:
    pytest.importorskip("serial", reason="no pyserial: pip install pyserial")
    with Terminal() as terminal:
        threading.Timer(0.3, terminal.write, args=(b"1\n1\n1\n",)).start()
        with open_source(f"serial:{terminal.device}?gain=1", fs=FS) as source:
            stream = iter(source)
            next(stream)
            terminal.close()
            with pytest.raises(LinkError, match="broke off"):
                list(stream)


def test_serial_noise_is_excused_for_a_while_and_then_told() -> None:
    pytest.importorskip("serial", reason="no pyserial: pip install pyserial")
    with Terminal() as terminal:
        threading.Timer(0.3, terminal.write, args=(b"1\n1\n1\n" + b"?\n" * 25,)).start()
        with open_source(f"serial:{terminal.device}?gain=1", fs=FS) as source, pytest.raises(PacketError):
            list(source)


# Polar


def strap_signal(frames: int) -> np.ndarray:
    return np.round(waves(FRAME * frames)[:, 0] * 1000) / 1000


def test_polar_goes_on_after_a_loss_and_knows_what_was_lost() -> None:
    x = strap_signal(60)
    strap = FakeStrap(x, lose_at=(20,), away=5)
    beats: list[pmd.HeartRate] = []
    with PolarSource("AA:BB", transport=strap, heart_rate=beats.append) as source:
        pieces = []
        for piece in repair(source, TimeBase(source.fs, source.jitter)):
            pieces.append(piece)
            if piece.start + len(piece.samples) == len(x):
                break
    assert [(piece.start, piece.missing) for piece in pieces if piece.missing] == [(25 * FRAME, 5 * FRAME)]
    for piece in pieces:
        np.testing.assert_allclose(piece.samples[:, 0], x[piece.start : piece.start + FRAME], atol=1e-9)
    assert beats[0] == pmd.HeartRate(60, True, None, (1.0,))
    assert (strap.connected, strap.streaming) == (False, False)


@pytest.mark.parametrize("running", [False, True])
def test_polar_is_always_asked_to_stop(running: bool) -> None:
    strap = FakeStrap(strap_signal(50), pause=0.001, running=running)
    with pytest.raises(ZeroDivisionError), PolarSource("AA:BB", transport=strap) as source:  # noqa: PT012
        next(iter(source))
        raise ZeroDivisionError
    assert strap.stops == 1 + running  # a stream left over by another program is stopped first
    assert not strap.connected


def test_polar_that_refuses_or_is_away_is_told_when_opened() -> None:
    class Refusing(FakeStrap):
        async def write(self, characteristic: str, data: bytes) -> None:
            self._heard[characteristic](bytes((0xF0, data[0], 0, 0x0D)))

    class Away(FakeStrap):
        async def connect(self, lost: object) -> None:
            raise LinkError("nobody there")

    for strap, told, logged in (
        (Refusing(strap_signal(1)), "device in charger", "refuses to send its ECG: device in charger"),
        (Away(strap_signal(1)), "nobody there", "it cannot be reached, or broke off"),
    ):
        source = PolarSource("AA:BB", transport=strap, wait=0.1)
        with pytest.raises(LinkError, match=told) as error:
            source.open()
        assert logged in cause(error.value)
        assert told in source.trouble
        assert not strap.connected


def test_polar_frames_that_cannot_be_read_are_left_out() -> None:
    class Noisy(FakeStrap):
        async def _send(self) -> None:
            from edgeecg.stream.sources.polar import DATA

            self._heard[DATA](b"\x01garbage")
            await super()._send()

    x = strap_signal(5)
    with PolarSource("AA:BB", transport=Noisy(x)) as source:
        stream = iter(source)
        got = np.concatenate([next(stream).samples[:, 0] for _ in range(5)])
        assert source.unreadable == 1
    np.testing.assert_allclose(got, x, atol=1e-9)


@pytest.mark.parametrize("address", ["00:00:00:00:00:00", "auto"])
def test_the_real_bluetooth_is_reached_through_bleak(address: str) -> None:
    """Without an adapter the one clear line of the real transport is all that can be had."""
    pytest.importorskip("bleak", reason="no bleak: pip install bleak")
    with pytest.raises(LinkError, match="Bluetooth"):
        open_source(f"polar:{address}", wait=0.1)


# Lab Streaming Layer


def test_lsl_outlets_that_cannot_be_used_are_told() -> None:
    with lsl_outlet(FS, ("I",), units="furlongs") as (name, _):
        with pytest.raises(SignalError, match="units"):
            open_source(f"lsl:{name}")
        with pytest.raises(SignalError, match="no channel V9"):
            open_source(f"lsl:{name}", units="mV", leads=("V9",))
    with lsl_outlet(0.0, ("I",)) as (name, _), pytest.raises(SignalError, match="declares no rate"):
        open_source(f"lsl:{name}")
    with pytest.raises(LinkError, match="no stream with name=bed-3") as error:
        open_source("lsl:bed-3?wait=0.2")
    assert cause(error.value) == "no such LSL stream was found in 0.2 s: is its outlet running?"


@pytest.mark.parametrize(
    ("labels", "leads"), [(("\x1b[2JI", "V\n1"), ("?[2JI", "V?1")), (("I", ""), ("ECG1", "ECG2"))]
)
def test_labels_of_an_outlet_are_names(labels: tuple[str, str], leads: tuple[str, str]) -> None:
    """Anybody in the network can have an outlet; what it writes is shown in a terminal."""
    with lsl_outlet(FS, labels, units="mV") as (name, _), open_source(f"lsl:{name}") as source:
        assert source.leads == leads


def test_lsl_gap_is_found_by_its_stamps() -> None:
    with lsl_outlet(FS, ("I", "V1"), units="mV") as (name, outlet):
        x = waves(700, 2)
        with open_source(f"lsl:{name}?leads=V1") as source:
            for block in (0, 1, 3, 4, 5, 6):  # block 2 is lost, and known to be after a second of others
                part = x[block * 100 : (block + 1) * 100].astype(np.float32)
                outlet.push_chunk(part, 1000.0 + (block * 100 + 99) / FS)
            pieces = []
            for piece in repair(source, TimeBase(FS, source.jitter)):
                pieces.append(piece)
                if piece.start + len(piece.samples) >= 700:
                    break
    assert [(piece.start, piece.missing) for piece in pieces if piece.missing] == [(300, 100)]
    np.testing.assert_allclose(pieces[-1].samples[:, 0], x[700 - len(pieces[-1].samples) :, 1], atol=1e-6)


# WebSocket and MQTT


def test_messages_without_a_rate_need_one_and_a_change_of_rate_ends_the_stream() -> None:
    bare = encode_json(Packet(np.zeros((5, 1)))).decode()
    with websocket_server([bare]) as url, pytest.raises(PacketError, match="fs="):
        open_source(url)
    with websocket_server([bare] * 3) as url, open_source(url, fs=FS) as source:
        assert len(everything(source)) == 15
    changing = [encode_binary(Packet(np.zeros((5, 1))), fs) for fs in (250.0, 500.0)]
    with (
        websocket_server(changing) as url,
        open_source(url) as source,
        pytest.raises(LinkError, match="changed"),
    ):
        list(source)


def test_a_message_without_samples_does_not_tell_the_leads() -> None:
    empty, two = Packet(np.zeros((0, 1))), Packet(np.zeros((5, 2)))
    with (
        websocket_server([encode_json(empty, FS).decode(), encode_json(two).decode()]) as url,
        open_source(url) as source,
    ):
        assert (source.fs, len(source.leads)) == (FS, 2)
        assert len(everything(source)) == 5


def test_only_an_arrival_here_is_measured_by_the_clock_that_is_never_set() -> None:
    """A sender's own time says when the signal was; a broker's delay is no gap."""
    sent = [encode_json(Packet(np.zeros((5, 1)), time=at), FS).decode() for at in (100.0, None)]
    with websocket_server(sent) as url, open_source(url) as source:
        own, ours = list(source)
    assert (own.time, own.heard) == (100.0, None)
    assert ours.heard is not None
    assert ours.time == pytest.approx(time.time(), abs=60)


def test_what_waits_when_a_live_source_is_closed_can_still_be_read() -> None:
    class Five(LiveSource):
        def _connect(self) -> None:
            self.fs, self.leads = FS, ("I",)

        def _produce(self) -> None:
            for number in range(5):
                self._put(Packet(np.full((3, 1), number)))
            self._stop.wait()

    with Five(None) as source:
        reader = iter(source)
        assert next(reader).samples[0] == 0
        end = time.monotonic() + 10
        while source._inbox.qsize() < 4:
            assert time.monotonic() < end
            time.sleep(0.01)
        source.close()
        assert [int(packet.samples[0, 0]) for packet in reader] == [1, 2, 3, 4]


def test_a_silent_server_is_told() -> None:
    with websocket_server([], end=False) as url, pytest.raises(LinkError, match="nothing readable"):
        open_source(url, wait=0.3)
    first = encode_binary(Packet(np.zeros((5, 1))), FS)
    with websocket_server([first], end=False) as url, open_source(url, timeout=0.3) as source:
        stream = iter(source)
        next(stream)
        with pytest.raises(LinkError, match=r"0\.3 s"):
            next(stream)


@pytest.mark.parametrize("code", [1001, 1012])
def test_a_server_that_goes_away_is_reached_again_and_only_its_farewell_ends_the_signal(code: int) -> None:
    """One that is stopped or started anew closes in good form too, but says 1001; 1000 is the end."""
    message = encode_binary(Packet(np.zeros((5, 1))), FS)
    with websocket_server([message], codes=(code, code)) as url, open_source(url) as source:
        assert len(everything(source)) == 15


@pytest.mark.parametrize("before", [0, 1])
def test_a_server_that_closes_while_it_is_asked_is_one_that_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    """At the first attempt, and where a link that broke off is tried anew, which is then tried once more."""
    client, errors = map(pytest.importorskip, ("websockets.sync.client", "websockets.exceptions"))
    connect, attempts = client.connect, iter(range(9))

    def hung_up(url: str, **options: object) -> object:
        if next(attempts) == before:
            raise errors.ConnectionClosedError(None, None)
        return connect(url, **options)

    monkeypatch.setattr(client, "connect", hung_up)
    message = encode_binary(Packet(np.zeros((5, 1))), FS)
    with websocket_server([message], codes=(1001,)) as url:
        if not before:
            with pytest.raises(LinkError, match="cannot be reached"):
                open_source(url)
        else:
            with open_source(url) as source:
                assert len(everything(source)) == 10
    assert next(attempts) == (3 if before else 1)


def test_messages_that_cannot_be_read_are_left_out_until_patience_ends() -> None:
    good = [encode_binary(Packet(np.full((5, 1), i)), FS) for i in range(3)]
    wide = encode_binary(Packet(np.zeros((5, 2))), FS)
    with (
        websocket_server([b"?", good[0], "rubbish", wide, good[1], b"", good[2]]) as url,
        open_source(url) as source,
    ):
        np.testing.assert_array_equal(everything(source)[::5, 0], [0, 1, 2])
        assert source.unreadable == 4  # type: ignore[attr-defined]
    with (
        websocket_server([good[0]] + ["x"] * 30) as url,
        open_source(url) as source,
        pytest.raises(PacketError),
    ):
        list(source)


def test_an_mqtt_source_comes_back_after_its_broker() -> None:
    paho = pytest.importorskip("paho.mqtt.client", reason="no paho-mqtt: pip install paho-mqtt")
    port = free_port()

    def send(i: int) -> None:
        client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", port)
        client.loop_start()
        message = encode_binary(Packet(np.full((10, 1), i), sample=10 * i), FS)
        client.publish("ecg", message, qos=1).wait_for_publish(5)
        client.disconnect()
        client.loop_stop()

    with mqtt_broker(port):
        source = open_source(f"mqtt://127.0.0.1:{port}/ecg?fs={FS}&leads=I")
        stream = iter(source)
        time.sleep(0.5)
        send(0)
        assert next(stream).sample == 0
    with source, mqtt_broker(port):
        received: list[Packet] = []
        reader = threading.Thread(target=lambda: received.append(next(stream)))
        reader.start()
        for i in range(1, 40):  # until it has subscribed anew
            send(i)
            if received:
                break
            time.sleep(0.2)
        reader.join(10)
        assert received
        assert received[0].sample == 10 * int(received[0].samples[0, 0])


def test_credentials_stay_out_of_messages() -> None:
    with pytest.raises(LinkError) as caught:
        open_source("mqtt://nurse:secret@127.0.0.1:1/ecg")
    assert "secret" not in str(caught.value)
    with pytest.raises(LinkError) as caught:
        open_source("ws://nurse:secret@127.0.0.1:1/ecg?token=secret")
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(MqttAddress.parse("mqtt://nurse:secret@broker/ward"))


def test_credentials_of_a_proxy_stay_out_of_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("websockets", reason="no websockets: pip install websockets")
    monkeypatch.setattr("urllib.request.proxy_bypass", lambda host: False)
    monkeypatch.setenv("http_proxy", "ftp://nurse:secret@127.0.0.1:1")
    with pytest.raises(LinkError, match="proxy in the environment") as caught:
        open_source("ws://ward.example/ecg")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "mqtss://nurse:secret@broker/ward/1",
        "wsss://h/x?token=secret",
        "mqtt://nurse:secret/x@broker/ward",
        "mqtt://nurse:secret#x@broker/ward",
        "ws:///x?token=secret",
        "wss:nurse:secret@broker/x?token=secret",
        "ws://nurse:se#secret@broker/x",
        "ws://nurse:secret@h:99999/x",
        "ws://nurse:secret@[::1/x",
        "ws://nurse@127.0.0.1:9/x?token=secret",
        "ws://a..b/x?token=secret",
    ],
)
def test_credentials_of_mistyped_addresses_stay_out_too(address: str) -> None:
    with pytest.raises(EdgeECGError) as caught:
        open_source(address)
    assert "secret" not in str(caught.value)


# The registry


def test_options_by_keyword_win_and_none_is_not_given() -> None:
    with open_source("synthetic:1?seconds=60&speed=0", seconds=5, kind=None) as source:
        assert len(everything(source)) == 5 * 360


@pytest.mark.parametrize("name", ["2024-01-01T12:00:00.csv", "q?x.csv", "lsl:x.csv", "r?a=1.csv"])
def test_a_file_that_is_there_may_look_like_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / name
    file.write_text("II (mV)\n" + "0.5\n0.25\n" * 100)
    for text in (name, str(file)):
        with open_source(f"{text}?fs=250&speed=0") as source:
            assert everything(source).shape == (200, 1)
        with open_source(text, fs=250, speed=0) as source:
            assert source.fs == 250


def test_an_address_longer_than_a_file_name_is_one() -> None:
    with pytest.raises(LinkError):
        open_source(f"ws://127.0.0.1:9/ecg?token={'x' * 5000}")


def test_a_tilde_is_the_home_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell leaves it alone behind a colon, and a gateway's file knows no shell."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "12:00.csv").write_text("II (mV)\n0.5\n0.25\n")
    for text in ("~/12:00.csv", "~/12:00.csv?fs=250"):
        with open_source(text, fs=250, speed=0) as source:
            assert everything(source).shape == (2, 1)
    with open_sink("jsonl:~/deep/x.jsonl") as sink:
        sink.open(Header("bed", FS, ("I",), "small", "9f2c"))
    assert (tmp_path / "deep" / "x.jsonl").is_file()
    assert not (tmp_path / "~").exists()


def test_query_keys_that_are_no_options_stay_in_a_url() -> None:
    made = address.build(
        "source",
        "ws://h/p?token=a%26b&fs=250",
        [address.Form("ws", "ws://", "edgeecg.stream.sources.websocket:WebSocketSource", "", whole=True)],
        {},
    )
    assert made._url == "ws://h/p?token=a%26b"
    assert made._declared == 250.0


def test_a_missing_library_is_named_with_its_extra() -> None:
    with pytest.raises(MissingExtra, match=r"edgeecg\[lsl\]") as caught:
        address.need("no_such_module", "pylsl", "lsl", "reading a stream")
    assert isinstance(caught.value, BackendError)


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    import subprocess
    import sys

    code = (
        "import sys, edgeecg.stream.sources, edgeecg.stream.sinks;"
        "print([m for m in ('pylsl','bleak','serial','websockets','paho','prometheus_client','fhir','wfdb',"
        "'onnxruntime','torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_slow_reader_of_a_strap_loses_packets_and_they_are_counted() -> None:
    strap = FakeStrap(strap_signal(4200))
    with PolarSource("AA:BB", transport=strap) as source:
        eventually(lambda: source.dropped > 0, 20)
        stamps = [packet.stamp for packet in (next(iter(source)) for _ in range(10))]
    assert stamps == sorted(stamps)  # type: ignore[type-var]
