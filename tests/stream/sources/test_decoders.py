"""Packet decoders: right on bytes from public documents, and nothing but the named error on any others."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgeecg.errors import PacketError
from edgeecg.stream.sources import Packet, pmd
from edgeecg.stream.sources.lines import LineSplitter, parse_line
from edgeecg.stream.sources.serial_port import unwrap
from edgeecg.stream.sources.stdin import decode_floats
from edgeecg.stream.sources.wire import decode_message, encode_binary, encode_json


def test_polar_ecg_samples_as_the_sdk_documents_them() -> None:
    """polar-ble-sdk: ``02 80 FF`` is -32766 microvolts, ``02 80 00`` is 32770."""
    frame = bytes.fromhex("00 00 94 35 77 00 00 00 00 00 02 80 ff 02 80 00")
    stamp, millivolts = pmd.decode_ecg(frame)
    assert stamp == 2_000_000_000
    np.testing.assert_allclose(millivolts, [-32.766, 32.770])


def test_polar_ecg_as_a_strap_sent_it() -> None:
    """The head and the first samples of a captured notification (h10_ecg by phdiethelm, on GitHub)."""
    frame = bytes.fromhex("00 91 f7 70 aa 30 49 52 08 007a 00 00 67 00 00 83 00 00 fa fe ff 64 ff ff")
    stamp, millivolts = pmd.decode_ecg(frame)
    np.testing.assert_allclose(millivolts, [0.122, 0.103, 0.131, -0.262, -0.156])
    # its device clock had run for a few minutes since the strap's default date, 2019-01-01
    assert 599_616_000 < stamp / 1e9 < 599_616_000 + 86_400


def test_polar_commands_are_those_of_the_specification() -> None:
    assert pmd.START_ECG.hex(" ") == "02 00 00 01 82 00 01 01 0e 00"
    assert pmd.STOP_ECG.hex(" ") == "03 00"
    assert pmd.decode_response(bytes.fromhex("f0 02 00 00 00 00")) == (2, "success")
    assert pmd.decode_response(bytes.fromhex("f0 01 00 0a")) == (1, "invalid MTU")
    assert pmd.decode_response(bytes.fromhex("f0 02 00 06")) == (2, "already in state")
    assert pmd.decode_response(bytes.fromhex("f0 02 00 63")) == (2, "status 99")


@pytest.mark.parametrize(
    ("hexed", "expected"),
    [
        ("00 3c", pmd.HeartRate(60, None, None, ())),
        ("10 3b 53 04", pmd.HeartRate(59, None, None, (1107 / 1024,))),
        ("16 4d 16 03", pmd.HeartRate(77, True, None, (790 / 1024,))),
        ("14 4d 16 03 00 04", pmd.HeartRate(77, False, None, (790 / 1024, 1.0))),
        ("19 2c 01 05 00 00 04", pmd.HeartRate(300, None, 5, (1.0,))),
    ],
)
def test_heart_rate_measurements(hexed: str, expected: pmd.HeartRate) -> None:
    assert pmd.decode_heart_rate(bytes.fromhex(hexed)) == expected


@given(
    stamp=st.integers(0, 2**64 - 1),
    microvolts=st.lists(st.integers(-(2**23), 2**23 - 1), min_size=1, max_size=80),
)
def test_polar_ecg_comes_back_as_it_was_sent(stamp: int, microvolts: list[int]) -> None:
    told, millivolts = pmd.decode_ecg(pmd.encode_ecg(stamp, np.array(microvolts)))
    assert told == stamp
    np.testing.assert_allclose(millivolts * 1000, microvolts, atol=1e-6)


@given(st.binary(max_size=300))
def test_any_bytes_give_values_or_the_named_error(data: bytes) -> None:
    for text in (data, b"\x00" + data, b"ECG1" + data, b"{" + data, b'{"samples":' + data):
        for decode in (
            pmd.decode_ecg,
            pmd.decode_heart_rate,
            pmd.decode_response,
            decode_message,
            parse_line,
        ):
            told = error_of(decode, text)
            assert told is None or "\n" not in told


def error_of(decode: Callable[[bytes], object], data: bytes) -> str | None:
    """The named error's text; any other error fails the test."""
    try:
        decode(data)
    except PacketError as error:
        return str(error)
    return None


values = arrays(
    np.float64,
    st.tuples(st.integers(0, 20), st.integers(1, 4)),
    elements=st.one_of(st.floats(-1e3, 1e3, width=32), st.just(math.nan)),
)
counts = st.none() | st.integers(0, 2**62)


@given(values, counts, counts, st.none() | st.floats(0, 1e10))
def test_messages_come_back_as_they_were_sent(
    samples: np.ndarray, sample: int | None, stamp: int | None, time: float | None
) -> None:
    sent = Packet(samples, sample, stamp, time)
    leads = tuple(f"L{i}" for i in range(samples.shape[1]))
    for raw in (encode_binary(sent, 250.0), encode_json(sent, 250.0, leads)):
        message = decode_message(raw)
        got = message.packet
        assert (got.sample, got.stamp, got.time, message.fs) == (sample, stamp, time, 250.0)
        np.testing.assert_array_equal(got.samples, samples)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


OTHERS = ("fs", "leads", "units", "sample", "stamp", "time")


@given(st.fixed_dictionaries({"samples": json_values}, optional=dict.fromkeys(OTHERS, json_values)))
def test_any_json_gives_a_packet_or_the_named_error(told: dict[str, object]) -> None:
    raw = json.dumps(told).encode()
    problem = error_of(decode_message, raw)
    assert problem or decode_message(raw).packet.samples.ndim == 2
    assert "\n" not in (problem or "")


def test_json_messages_may_be_plain_and_in_microvolts() -> None:
    message = decode_message('{"samples": [100, null, -250.5], "units": "uV"}')
    np.testing.assert_allclose(message.packet.samples, [[0.1], [math.nan], [-0.2505]])
    assert (message.fs, message.leads, message.packet.sample) == (None, (), None)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'{"samples": [[1, 2], [3]]}',
        b'{"samples": [[]]}',
        b'{"samples": ["1"]}',
        b'{"samples": [1], "fs": 0}',
        b'{"samples": [1], "fs": 1e999}',
        b'{"samples": [1], "sample": -1}',
        b'{"samples": [1], "leads": ["I", "II"]}',
        b'{"samples": [1], "units": "counts"}',
        b'{"samples": [1], "time": 1700000000000}',  # milliseconds
        encode_binary(Packet(np.zeros((3, 2))))[:-1],
        b"ECG1" + bytes(44),
    ],
)
def test_messages_that_cannot_be_are_refused(raw: bytes) -> None:
    with pytest.raises(PacketError):
        decode_message(raw)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"1.5", [1.5]),
        (b" 1, -2;3\t4 5 ", [1.0, -2.0, 3.0, 4.0, 5.0]),
        (b"1,,3", [1.0, math.nan, 3.0]),
        (b"!", [math.nan]),
        (b"nan,1e3", [math.nan, 1000.0]),
        (b"inf", [math.nan]),
        (b"  ", None),
        (b"# a comment", None),
    ],
)
def test_lines(line: bytes, expected: list[float] | None) -> None:
    got = parse_line(line)
    assert (got is None) == (expected is None)
    if got is not None and expected is not None:
        np.testing.assert_array_equal(got, expected)


@given(
    lines=st.lists(st.from_regex(rb"[0-9.]{0,6}", fullmatch=True), max_size=20),
    cuts=st.lists(st.integers(0, 200), max_size=10),
)
def test_lines_are_whole_however_bytes_arrive(lines: list[bytes], cuts: list[int]) -> None:
    text = b"\n".join(lines)
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    splitter = LineSplitter()
    got = [line for a, b in pairwise(places) for line in splitter.feed(text[a:b])]
    assert [*got, splitter.finish()] == (lines or [b""])


def test_a_stream_without_line_ends_is_told() -> None:
    with pytest.raises(PacketError, match="line end"):
        LineSplitter().feed(b"x" * 5000)


@given(st.binary(max_size=200), st.integers(1, 5), st.integers(0, 200))
def test_packed_floats_are_whole_however_bytes_arrive(data: bytes, leads: int, cut: int) -> None:
    whole, rest = decode_floats(data, leads)
    first, left = decode_floats(data[:cut], leads)
    second, end = decode_floats(left + data[cut:], leads)
    np.testing.assert_array_equal(np.concatenate([first, second]), whole)
    assert end == rest
    assert len(rest) < 4 * leads


@given(st.integers(0, 10**9), st.integers(2, 2**32), st.integers(1, 10))
def test_counters_go_on_over_their_wrap(before: int, wrap: int, step: int) -> None:
    step = min(step, wrap - 1)
    assert unwrap((before + step) % wrap, before, wrap) == before + step


def test_what_is_no_number_of_millivolts_is_missing() -> None:
    packet = decode_message('{"samples": [1e307, 1e305], "units": "V"}').packet
    np.testing.assert_array_equal(packet.samples, [[np.nan], [1e308]])


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b'{"samples": [1], "note": ' + b"[" * 5000 + b"]" * 5000 + b"}", "neither a JSON packet"),
        (b'{"samples": [[' + b"0.1," * 60000 + b"0.1]]}", "60001 leads, more than 256"),
        (encode_binary(Packet(np.zeros((1, 300)))), "300 leads, more than 256"),
        (b'{"samples": [' + b"0," * (1 << 19) + b"0]}", "1048592 bytes, more than 1048576"),
        (encode_binary(Packet(np.zeros((1 << 18, 1)))), "more than 1048576"),
        (b'{"samples": [1], "leads": [""]}', "a lead that is empty"),
        (b'{"samples": [1], "leads": ["\\u001b]0;x\\u0007"]}', "cannot be printed"),
    ],
)
def test_a_hostile_message_is_one_packet_less(raw: bytes, told: str) -> None:
    """It would take the memory, the link's thread or the terminal of everybody else."""
    with pytest.raises(PacketError, match=told):
        decode_message(raw)
