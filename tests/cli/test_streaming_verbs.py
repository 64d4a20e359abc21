"""``edgeecg stream``, ``annotate`` and ``serve``, as a user meets them."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from edgeecg.cli.common import human_console, warnings_on
from edgeecg.cli.live import LiveView, strip
from edgeecg.cli.main import main
from edgeecg.cli.stream import Halt, Session
from edgeecg.io import Record, read_annotations, write_annotations, write_wfdb
from edgeecg.pipeline import Latency
from edgeecg.runtime.engine import open_engine
from edgeecg.specs import Alarm, Beat, Gap, Quality, Rhythm
from edgeecg.stream.session import Stream
from edgeecg.stream.sinks import Fanout, open_sink
from edgeecg.stream.sinks.lines import EventLine, event_line, read_lines
from edgeecg.stream.sinks.lines import parse_line as parse_event
from edgeecg.stream.sources import Packet
from tests.contract.engines import assert_same_events, heart, make_bundle

FS = 250.0


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_bundle(tmp_path_factory.mktemp("bundle"), "nano"))


@pytest.fixture
def record(tmp_path: Path) -> Path:
    write_wfdb(Record("r", heart(15, FS), FS, ("MLII",)), tmp_path)
    return tmp_path / "r"


def fails(capsys: pytest.CaptureFixture[str], *line: str) -> str:
    """The one line on stderr with which a command ends."""
    assert main(line) == 2
    shown = capsys.readouterr()
    told = [text for text in shown.err.splitlines() if text.strip()]
    assert len(told) == 1, shown.err
    assert "Traceback" not in shown.err
    return told[0]


def test_stream_and_annotate_tell_the_same(record: Path, bundle: str, tmp_path: Path) -> None:
    lines = tmp_path / "r.jsonl"
    assert main(["stream", str(record), "-b", bundle, "--speed", "0", "-q", "--sink", f"jsonl:{lines}"]) == 0
    assert main(["annotate", str(record), "-b", bundle, "--out", str(tmp_path / "out")]) == 0
    marks = read_annotations(tmp_path / "out" / "r", "edg").beats()
    told = [item.event for item in read_lines(lines) if isinstance(item, EventLine)]
    assert [event.sample for event in told if isinstance(event, Beat)] == marks.sample.tolist()
    assert len(marks) > 5


@pytest.mark.parametrize("more", [["--mode", "window"], ["--hop", "1"], ["--lead-policy", "fused"]])
def test_options_reach_the_stream(record: Path, bundle: str, tmp_path: Path, more: list[str]) -> None:
    lines = tmp_path / "r.jsonl"
    base = ["stream", str(record), "-b", bundle, "--speed", "0", "-q", "--sink", f"jsonl:{lines}"]
    assert main([*base, *more]) == 0
    assert sum(isinstance(item, EventLine) for item in read_lines(lines)) > 5


def piped(signal: np.ndarray, bundle: str) -> subprocess.CompletedProcess[str]:
    """Samples as text into ``edgeecg stream``."""
    command = "import sys; from edgeecg.cli.main import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", command, "stream", "-", "--fs", "250", "-b", bundle],
        input="\n".join(f"{x:.4f}" for x in signal) + "\n",
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_a_pipe_gets_json_lines(bundle: str) -> None:
    """What is piped in as text comes out as events, a line each, as soon as it is known."""
    done = piped(heart(12, FS)[:, 0], bundle)
    assert done.returncode == 0, done.stderr
    header, *events = (json.loads(line) for line in done.stdout.splitlines())
    assert header["edgeecg"] == "header"
    assert header["model"] == "nano"
    assert sum(event["event"] == "beat" for event in events) > 5
    assert "warning" not in done.stderr


def test_microvolts_are_warned_of_in_a_line(bundle: str) -> None:
    warned = [line for line in piped(1000 * heart(60, FS)[:, 0], bundle).stderr.splitlines() if line]
    assert [line[:23] for line in warned] == ["warning: samples span 1"]


def test_a_warning_that_nobody_can_read_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stderr is a pipe that was closed; stdout goes on, and what steers a terminal does not reach it."""
    read, write = os.pipe()
    os.close(read)
    with io.TextIOWrapper(os.fdopen(write, "wb", buffering=0), write_through=True) as closed:
        monkeypatch.setattr(sys, "stderr", closed)
        with warnings_on(human_console()):
            logging.getLogger("edgeecg.anything").warning("gone")
        monkeypatch.undo()
    shown = io.StringIO()
    with warnings_on(Console(file=shown, width=80)):
        logging.getLogger("edgeecg.anything").warning("a\n\x1b[31mb")
    assert shown.getvalue() == "warning: a ?[31mb\n"


SLOW = """
import sys, time
from edgeecg.cli.main import main
from edgeecg.stream.session import Stream
whole, begun, done = Stream.push, 0, 0
def push(self, chunk):  # slow, so that a signal nearly always finds it half-way
    global begun, done
    begun += 1
    events = whole(self, chunk)
    time.sleep(0.05)
    done += 1
    return events
Stream.push = push
code = main(sys.argv[1:])
print(f"pushes: {begun} begun, {done} done", file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_tears_no_push(bundle: str, tmp_path: Path, number: int) -> None:
    """What is told before and after the signal is what a stream tells of the samples that were taken."""
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("the signal is ignored here, as under nohup, and so it is by the child")
    samples = heart(60, FS)
    write_wfdb(Record("r", samples, FS, ("MLII",)), tmp_path)
    line = ["stream", str(tmp_path / "r"), "-b", bundle, "--speed", "0", "-q", "-s", "-"]
    line += ["-s", f"wfdb:{tmp_path / 'out'}"]
    for wait in (0.31, 0.4):
        child = subprocess.Popen(
            [sys.executable, "-c", SLOW, *line], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(wait)
        child.send_signal(number)
        out, err = child.communicate(timeout=100)
        assert child.returncode == 0, err
        begun, ended = map(int, re.findall(rb"pushes: (\d+) begun, (\d+) done", err)[0])
        assert begun == ended > 0
        told = [item.event for item in map(parse_event, out.splitlines()) if isinstance(item, EventLine)]
        assert not [event for event in told if isinstance(event, (Quality, Gap, Alarm))], out
        beats = [event.sample for event in told if isinstance(event, Beat)]
        with open_engine(bundle) as engine:
            live = Stream(engine, FS)
            expected = live.push(samples) + live.flush()
        every = [event.sample for event in expected if isinstance(event, Beat)]
        assert beats == every[: len(beats)]
        assert 0 < len(beats) < len(every)
        assert len(read_annotations(tmp_path / "out" / "patient", "edg").beats()) == len(beats)


def test_a_signal_ends_the_wait_for_a_source(bundle: str) -> None:
    near, far = os.pipe()
    os.write(far, b"0.1\n" * 500)
    command = "import sys; from edgeecg.cli.main import main; sys.exit(main(sys.argv[1:]))"
    line = [sys.executable, "-c", command, "stream", "-", "--fs", "250", "-b", bundle, "-s", "-"]
    child = subprocess.Popen(line, stdin=near, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert b"header" in child.stdout.readline()
    time.sleep(0.5)
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=30)
    assert child.returncode == 0
    os.close(near)
    os.close(far)


def test_a_reader_who_has_had_enough_ends_it_without_a_word(bundle: str) -> None:
    """As `edgeecg stream ... | head` does."""
    command = "import sys; from edgeecg.cli.main import main; sys.exit(main(sys.argv[1:]))"
    line = [sys.executable, "-c", command, "stream", "synthetic:1?seconds=60&speed=0", "-b", bundle]
    child = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert b"header" in child.stdout.readline()
    child.stdout.close()
    assert child.wait(60) == 1
    assert child.stderr is not None
    assert child.stderr.read() == b""
    child.stderr.close()


def test_a_second_signal_does_not_wait() -> None:
    class Endless:
        def __iter__(self) -> Endless:
            return self

        def __next__(self) -> Packet:
            return Packet(np.zeros((1, 1)))

    before = signal.getsignal(signal.SIGTERM)
    with Halt().listening() as halt:
        taken = 0
        for _ in halt.packets(Endless()):  # type: ignore[arg-type]
            taken += 1
            signal.raise_signal(signal.SIGTERM)
        assert taken == 1
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_came_before_an_error_is_told(bundle: str, tmp_path: Path) -> None:
    """The source's error ends the command, after the events of all that came before it."""
    samples = heart(12, FS)
    text = "".join(f"{x:.4f}\n" for x in samples[:, 0])
    read = np.array([float(x) for x in text.split()])
    command = "import sys; from edgeecg.cli.main import main; sys.exit(main(sys.argv[1:]))"
    line = [sys.executable, "-c", command, "stream", "-", "--fs", "250", "-b", bundle]
    done = subprocess.run(
        line, input=text + "nonsense\n" + text, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 2
    assert "line 3001: 'nonsense' is no number" in done.stderr
    with open_engine(bundle) as engine:
        live = Stream(engine, FS)
        expected = live.push(read) + live.flush()
    told = [parse_event(text.encode()) for text in done.stdout.splitlines()]
    wanted = [parse_event(event_line(event, "patient", None)) for event in expected]
    assert_same_events(
        [item.event for item in told if isinstance(item, EventLine)],
        [item.event for item in wanted if isinstance(item, EventLine)],
    )


def test_annotate_reports_what_it_did(
    record: Path, bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["annotate", str(record.parent), "-b", bundle, "-o", str(tmp_path / "out")]
    assert main(line) == 0
    assert "1 of 1 records annotated" in capsys.readouterr().out
    assert main(line) == 0
    assert "before" in capsys.readouterr().out


def test_annotate_says_which_tables_it_left_out(
    record: Path, bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tables beside headers are lists of these as a rule; a recording among them is not lost in silence."""
    rows = (f"{n / FS:.3f},{x:.4f}\n" for n, x in enumerate(heart(12, FS)[:, 0]))
    table = "time,II (mV)\n" + "".join(rows)
    (tmp_path / "chest.csv").write_text(table)
    (tmp_path / "more.csv").write_text(table)
    (tmp_path / "patients.csv").write_text("record,patient\nr,one\n")
    line = ["annotate", str(tmp_path), "-b", bundle, "-o", str(tmp_path / "out")]
    assert main(line) == 0
    said = capsys.readouterr().err
    chest = tmp_path / "chest.csv"
    assert f"note: 2 tables, {chest} the first, were left out" in said
    assert f"edgeecg annotate {chest} --out DIR" in said
    assert main([*line, str(chest)]) == 0
    said = capsys.readouterr().err
    assert f"note: 1 table, {tmp_path / 'more.csv'}, was left out" in said
    assert main(["annotate", str(record), "-b", bundle, "-o", str(tmp_path / "o")]) == 0
    assert "left out" not in capsys.readouterr().err


def test_a_recording_without_a_beat_is_named(
    bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "v.csv").write_text("II (mV)\n" + "0\n" * round(20 * FS))
    line = ["annotate", str(tmp_path / "v.csv"), "--fs", "250", "-b", bundle, "-o", str(tmp_path / "out")]
    assert main(line) == 0
    assert "no beat was found in" in " ".join(capsys.readouterr().err.split())


def test_annotate_tells_what_failed(
    record: Path, bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.hea").write_text("nonsense\n")
    assert main(["annotate", str(tmp_path), "-b", bundle, "-o", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr()
    assert "1 of 2 records annotated" in shown.out
    assert "bad.hea" in shown.err
    assert "1 of 2 records could not be annotated" in shown.err
    assert (tmp_path / "out" / "r.edg").is_file()


def test_annotate_names_each_record_that_failed(
    bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its whole path: its name may be a word of the reason, or that of another."""
    slow = Record("5", heart(10, 45), 45.0, ("MLII",))
    for ward in ("rate", "b"):
        (tmp_path / ward).mkdir()
        write_wfdb(slow, tmp_path / ward)
        (tmp_path / ward / "sampling.edf").write_text("nonsense")
    assert main(["annotate", str(tmp_path), "-b", bundle, "-o", str(tmp_path / "out")]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("not annotated: ")]
    assert len(told) == 4
    for name in ("rate/5", "rate/sampling.edf", "b/5", "b/sampling.edf"):
        assert sum(str(tmp_path / name) in line for line in told) == 1, told


def test_annotate_names_a_record_that_is_called_like_a_number(
    bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_wfdb(Record("45", heart(10, 45), 45.0, ("MLII",)), tmp_path)
    assert "record 45: " in fails(capsys, "annotate", "45", "-b", bundle, "-o", "out")


def test_annotate_counts_what_a_full_disk_left(
    bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written: list[Path] = []

    def fills(stem: Path, *rest: Any, **named: Any) -> None:
        if len(written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(stem)
        write_annotations(stem, *rest, **named)

    monkeypatch.setattr("edgeecg.stream.archive.write_annotations", fills)
    for n in range(5):
        write_wfdb(Record(f"r{n}", heart(10, FS), FS, ("MLII",)), tmp_path)
    out = tmp_path / "out"
    assert main(["annotate", str(tmp_path), "-b", bundle, "-o", str(out)]) == 2
    shown = capsys.readouterr()
    assert "2 of 5 records annotated" in shown.out
    last = shown.err.splitlines()[-1]
    assert f"2 of 5 records are annotated in {out}, 1 failed, 2 were not begun: the disk is full" in last
    assert "make room, then give the same command again" in last


def test_the_summary_of_annotate_is_plain_text_in_a_pipe(
    bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ward = tmp_path / ("a-ward-with-a-long-name-" * 4)
    ward.mkdir()
    write_wfdb(Record("r", heart(10, FS), FS, ("MLII",)), ward)
    assert main(["annotate", str(tmp_path), "-b", bundle, "-o", str(tmp_path / "out")]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0] == "1 of 1 records annotated"
    assert [row.split()[0] for row in rows[3:5]] == [str(ward / "r.hea"), "all"]
    assert rows[3].split()[1] == "0:10"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["annotate", "{tmp}/none", "-o", "{tmp}/o"], "no record"),
        (["annotate", "{tmp}/short", "-o", "{tmp}/o"], "short"),
        (["annotate", "{tmp}/r", "-o", "{tmp}/o", "-b", "nothing"], "no bundle 'nothing'"),
        (["annotate", "{tmp}/r", "-o", "{tmp}/o", "-b", "{tmp}/r.hea"], "not a whole zip"),
        (["annotate", "{tmp}/r", "-o", "{tmp}/o", "-j", "0"], "-j"),
        (["annotate", "{tmp}/r", "-o", "{tmp}/o", "--precision", "int8"], "has no token graph in int8"),
        (["annotate", "{tmp}/slow.csv", "-o", "{tmp}/o", "--fs", "50", "--units", "mV"], "50 Hz is outside"),
        (["annotate", "{tmp}/slow.csv", "-o", "{tmp}/o"], "slow.csv"),
        (["annotate", "{tmp}/r", "-o", "{tmp}/o", "--extension", "a/b"], "letters and digits"),
        (["annotate", "{tmp}/r", "-o", "{tmp}", "--extension", "dat"], "belongs to other files"),
        (["annotate", "{tmp}/r", "-o", "{tmp}", "--extension", "qrs"], "another annotator's"),
        (["annotate", "{tmp}/r", "-o", "{tmp}/r.hea/o"], "is a file, not a folder"),
        (["annotate", "{tmp}/r", "-o", "/proc/o"], "takes no files"),
        (["stream", "{tmp}/none", "--speed", "0"], "none"),
        (["stream", "{tmp}/r", "--speed", "-1"], "speed"),
        (["stream", "{tmp}/r", "--hop", "0.3"], "multiple of 0.0625"),
        (["stream", "fax:1"], "names no source"),
        (["stream", "{tmp}/r", "--sink", "fax:1"], "names no sink"),
        (["stream", "{tmp}/r", "--faults", "rain=1"], "fault 'rain' is unknown"),
        (["stream", "lsl:x", "--speed", "2"], "no option 'speed'"),
        (["serve", "{tmp}/none.toml"], "no configuration at"),
    ],
)
def test_wrong_input_ends_in_one_clear_line(
    record: Path,
    bundle: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    line: list[str],
    message: str,
) -> None:
    write_wfdb(Record("short", heart(5, FS), FS, ("MLII",)), tmp_path)
    (tmp_path / "short.dat").write_bytes(b"\0\0")
    (tmp_path / "r.qrs").write_bytes(b"\0\0")
    np.savetxt(tmp_path / "slow.csv", heart(10, 50), header="MLII", comments="")
    line = [part.replace("{tmp}", str(tmp_path)) for part in line]
    if "-b" not in line and line[0] != "serve":
        line += ["-b", bundle]
    before = set(tmp_path.rglob("*.edg*"))
    assert message in fails(capsys, *line)
    assert set(tmp_path.rglob("*.edg*")) == before


def test_the_view_shows_what_is_going_on() -> None:
    view = LiveView("bed", ("MLII", "V1"), FS, "nano fp32", Latency({"token": 0.5}, 0.5))
    view.pushed(heart(6, FS), 1500, 0.001)
    for event in (
        Beat(100, "N", 0.9, 1.0, None),
        Beat(350, "V", 0.9, 1.0, 1.0),
        Beat(600, "N", 0.9, 1.0, 1.0),
        Rhythm(0, None, "AFIB", 0.9),
        Quality(0, None, "noisy"),
        Quality(0, 50, "noisy"),
        Quality(60, None, "flat", lead=0),
        Quality(60, 90, "flat", lead=0),
        Quality(80, None, "lead-off", lead=1),
        Alarm(0, None, "tachycardia"),
        Gap(700, 250),
    ):
        view.told(event)
    out = io.StringIO()
    Console(file=out, width=110).print(view)
    shown = out.getvalue()
    for text in (
        "AFIB",
        "tachycardia",
        "N 2",
        "V 1",
        "1.0 s missing",
        "0.50 s declared",
        "good, V1 lead-off, ",
    ):
        assert text in shown


def test_names_that_read_like_markup_or_twice_are_shown_as_they_are() -> None:
    view = LiveView("bed [/3]", ("[/V1]", "ECG", "ECG"), FS, "nano", Latency({"token": 0.5}, 0.5))
    for event in (
        Quality(0, None, "flat", lead=0),
        Quality(0, None, "flat", lead=1),
        Quality(0, None, "lead-off", lead=2),
        Quality(0, 90, "lead-off", lead=2),
    ):
        view.told(event)
    out = io.StringIO()
    Console(file=out, width=110).print(view)
    assert "bed [/3]" in out.getvalue()
    assert "good, [/V1] flat, ECG flat " in out.getvalue()


@pytest.mark.parametrize(
    "hole",
    [
        [Gap(1000, 2500)],
        [Quality(1000, None, "lead-off"), Quality(1000, 3500, "lead-off")],
        [Quality(1000, None, "flat"), Quality(1000, 3000, "flat"), Quality(3000, None, "lead-off"),
         Quality(3000, 3500, "lead-off")],
    ],
)  # fmt: skip
def test_the_rate_does_not_count_across_what_could_not_be_read(hole: list[Gap | Quality]) -> None:
    view = LiveView("bed", ("MLII",), FS, "nano fp32", Latency({"token": 0.5}, 0.5))

    def rate_after(*events: Beat | Gap | Quality) -> str:
        for event in events:
            view.told(event)
        out = io.StringIO()
        Console(file=out, width=110).print(view)
        return next(line for line in out.getvalue().splitlines() if "heart rate" in line)

    def beats(*samples: int) -> list[Beat]:
        return [Beat(sample, "N", 0.9, 1.0, None) for sample in samples]

    assert "75 /min" in rate_after(*beats(100, 300, 500, 700))
    assert "..." in rate_after(hole[0]), "what was is no longer"
    assert "..." in rate_after(*beats(900)), "decided after the stretch was told, but before it"
    assert "..." in rate_after(*hole[1:], *beats(3600, 3700))
    assert "150 /min" in rate_after(*beats(3800, 3900))


def test_noise_that_can_be_read_keeps_the_rate() -> None:
    view = LiveView("bed", ("MLII",), FS, "nano fp32", Latency({"token": 0.5}, 0.5))
    for sample in (100, 300, 500):
        view.told(Beat(sample, "N", 0.9, 1.0, None))
    view.told(Quality(400, None, "noisy"))
    view.told(Beat(700, "N", 0.9, 1.0, None))
    out = io.StringIO()
    Console(file=out, width=110).print(view)
    assert "75 /min" in out.getvalue()


def test_a_strip_is_drawn_in_dots() -> None:
    assert strip([], 10, 2).plain == "\n".join([chr(0x2800) * 10] * 2)
    rising = strip([float(n) for n in range(200)], 10, 2).plain.splitlines()
    assert rising[1][0] != chr(0x2800)
    assert rising[0][0] == chr(0x2800)
    assert rising[0][-1] != chr(0x2800)
    hole = strip([0.0] * 100 + [float("nan")] * 100 + [1.0] * 100, 15, 1).plain
    assert hole[7] == chr(0x2800)


def test_a_wrong_rate_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of a board that counts nothing and prints half as many lines as it should."""

    class Board:
        fs, leads, jitter = 250.0, ("MLII",), 0.0

        def __iter__(self) -> Iterator[Packet]:
            for number in range(600):
                heard = 1000.0 + 0.4 * number
                yield Packet(np.zeros((50, 1)), time=heard, heard=heard)

    with (
        open_engine("nano", "onnxruntime") as engine,
        Fanout([open_sink(f"jsonl:{tmp_path / 'e'}")]) as sinks,
    ):
        joined = Session(engine, Board(), Stream(engine, 250.0), sinks, "p")  # type: ignore[arg-type]
        with Halt().listening() as halt:
            joined.run(halt)
    assert sum("about 125 samples come in a second" in line for line in caplog.messages) == 1
