"""Standard input: lines and packed floats, live ones too."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from edgeecg.errors import ConfigError, PacketError, SignalError
from edgeecg.stream.sources import open_source
from tests.stream.peers import everything

FS = 250.0


@contextmanager
def pipe(data: bytes) -> Iterator[int]:
    near, far = os.pipe()
    with os.fdopen(far, "wb") as writer:
        writer.write(data)
    try:
        yield near
    finally:
        os.close(near)


@pytest.mark.parametrize(
    ("data", "options", "told"),
    [
        (b"", {}, "before the first sample"),
        (b"# only a comment\n\n", {}, "before the first sample"),
        (b"time,ecg\n1,2\n", {}, "line 1: 'time' is no number"),
        (b"1,2\n3\n", {}, "1 numbers in a line, but 2 leads"),
        (b"1\n2\n", {"leads": ("I", "V1")}, "1 numbers in a line, but 2 leads"),
        (b"\xff\xfe\n", {}, "no text"),
        (b"x" * 5000, {}, "no line end"),
        (bytes(10), {"format": "f32"}, "2 bytes into a sample"),
    ],
)
def test_standard_input_that_cannot_be_used_is_told_with_its_line(
    data: bytes, options: dict[str, object], told: str
) -> None:
    with (
        pipe(data) as fd,
        pytest.raises(SignalError, match=told),
        open_source("-", fs=FS, fd=fd, **options) as source,
    ):
        list(source)


@pytest.mark.parametrize("wrong", [b"nonsense\n", b"1,2\n", b"x" * 5000])
def test_good_lines_before_a_bad_one_are_given(wrong: bytes) -> None:
    """Also those of one read; the message names the line."""
    with pipe(b"1\n2\n" + wrong) as fd, open_source("-", fs=FS, fd=fd) as source:
        stream = iter(source)
        np.testing.assert_array_equal(next(stream).samples, [[1.0], [2.0]])
        with pytest.raises(PacketError, match="line 3: "):
            next(stream)


@pytest.mark.parametrize("leads", [2, ("2",)])
def test_the_number_of_leads_will_do_for_packed_floats(leads: object) -> None:
    rows = np.arange(12, dtype="<f4").reshape(6, 2)
    with pipe(rows.tobytes()) as fd, open_source("-", fs=FS, fd=fd, format="f32", leads=leads) as source:
        np.testing.assert_array_equal(everything(source), rows)
        assert source.leads == ("ECG1", "ECG2")
    with pytest.raises(ConfigError, match="at least 1"):
        open_source("-", fs=FS, leads=0)


def test_many_live_lines_in_a_row_that_are_garbled_end_the_source() -> None:
    """However they arrive; a few among good ones do not."""
    spread = (b"1,2\n" * 300 + b"x\n" * 3) * 20
    with pipe(spread) as fd, open_source("-", fs=FS, fd=fd, live=True) as source:
        assert len(everything(source)) == 20 * 303
    with pipe(b"1,2\n" + b"x,y\n" * 200) as fd, open_source("-", fs=FS, fd=fd, live=True) as source:
        with pytest.raises(PacketError, match="no number"):
            everything(source)
        assert source.unreadable < 200


def test_patience_with_garbled_live_lines_ends_also_where_they_come_one_by_one() -> None:
    near, far = os.pipe()
    os.write(far, b"1,2\n")
    with open_source("-", fs=FS, fd=near, live=True) as source:
        stream = iter(source)
        next(stream)
        told = None
        for _ in range(40):
            os.write(far, b"x,y\n")
            try:
                next(stream)
            except PacketError as error:
                told = error
                break
    os.close(far)
    os.close(near)
    assert "no number" in str(told)


def test_a_live_line_that_is_garbled_costs_its_sample() -> None:
    with pipe(b"1,2\n3,x\n\xff\n4,5\n") as fd, open_source("-", fs=FS, fd=fd, live=True) as source:
        x = everything(source)
    np.testing.assert_array_equal(x, [[1, 2], [np.nan] * 2, [np.nan] * 2, [4, 5]])


def test_standard_input_gives_samples_as_soon_as_they_come() -> None:
    near, far = os.pipe()
    os.write(far, b"0.5\n")
    source = open_source("-", fs=FS, fd=near, live=True)
    stream = iter(source)
    np.testing.assert_array_equal(next(stream).samples, [[0.5]])
    os.write(far, b"0.25\n0.12")
    packet = next(stream)
    np.testing.assert_array_equal(packet.samples, [[0.25]])
    assert packet.time == pytest.approx(time.time(), abs=2)
    os.write(far, b"5\n")
    np.testing.assert_array_equal(next(stream).samples, [[0.125]])
    source.close()
    os.close(near)
    os.close(far)


def test_a_flood_waits_in_the_pipe_and_not_in_memory() -> None:
    near, far = os.pipe()
    taken, most = 0, 1 << 25  # bytes: nine hours of 250 Hz
    with open_source("-", fs=FS, fd=near, format="f32"):  # nobody reads it
        while taken < most and select.select([], [far], [], 1.0)[1]:
            taken += os.write(far, bytes(select.PIPE_BUF))
    os.close(near)
    os.close(far)
    assert taken < most
