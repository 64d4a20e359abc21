"""What holds for sources and sinks alike."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeecg.cli.serve import nameless
from edgeecg.errors import EdgeECGError, LinkError
from edgeecg.io import Record, write_wfdb
from edgeecg.runtime.engine import Engine
from edgeecg.specs import Beat
from edgeecg.stream.gateway import Gateway
from edgeecg.stream.gateway_config import GatewayConfig, PatientConfig
from edgeecg.stream.sinks import SINKS, Header, open_sink
from edgeecg.stream.sources import SOURCES, open_source
from tests.stream.peers import (
    eventually,
    free_port,
    mqtt_broker,
    websocket_server,
)

FS = 250.0


def test_every_form_names_a_source_or_a_sink_that_exists() -> None:
    import importlib

    for form in (*SOURCES, *SINKS):
        module, _, name = form.factory.partition(":")
        factory = getattr(importlib.import_module(module), name)
        assert hasattr(factory, "close")
        assert form.what


def test_logs_carry_no_patient_data(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither names nor samples, at any level, from any library that is used here."""
    caplog.set_level(logging.DEBUG)
    header = Header("Wilhelmina-Einthoven", FS, ("I",), "small", "9f2c")
    with ExitStack() as stack:
        port = stack.enter_context(mqtt_broker())
        for text in ("ws:0", "prometheus:0", f"jsonl:{tmp_path / 'x'}", f"mqtt://127.0.0.1:{port}/t"):
            sink = stack.enter_context(open_sink(text))
            sink.open(header)
            sink.write(Beat(424242, "V", 0.987654, 1.0, None), header.patient)
        url = stack.enter_context(
            websocket_server([json.dumps({"fs": 250, "samples": [0.424242] * 5}), "rubbish"])
        )
        logging.getLogger("websockets.server").setLevel(logging.ERROR)  # the far end is not ours
        with open_source(url) as source:
            assert len(list(source)) == 1
    told = caplog.text
    assert "could not be read" in told
    assert not any(secret in told for secret in ("Wilhelmina", "424242", "987654", "rubbish"))


NAME = "Einthoven"  # as a path, a topic, a stream, a field: nobody who reads the log shall meet it

ILL = {
    "a server that is away": f"ws://127.0.0.1:{{free}}/{NAME}?fs=250",
    "a server that says nothing": f"ws://127.0.0.1:{{quiet}}/{NAME}?wait=0.2",
    "a broker that is away": f"mqtt://127.0.0.1:{{free}}/{NAME}?fs=250",
    "a topic without messages": f"mqtt://127.0.0.1:{{broker}}/{NAME}?wait=0.2",
    "a machine that nobody knows": f"ws://{NAME}.invalid/ecg",
    "a recording that is missing": f"{{folder}}/{NAME}-1.csv",
    "a table that is none": f"{{folder}}/{NAME}-2.csv",
    "a recording that is damaged": f"{{folder}}/{NAME}-3.edf",
    "a line that is no number": "-?fs=250&fd={pipe}",
    "a board that is not there": f"serial:/dev/{NAME}?fs=250&gain=200",
    "an option that does not fit": f"{{folder}}/{NAME}-4?start=9",
}
"""Sources that fail, and what they are called in a gateway's file."""


def ill_sources(stack: ExitStack, folder: Path) -> dict[str, str]:
    """``ILL``, with what stands behind it."""
    (folder / f"{NAME}-2.csv").write_text(f"name\n{NAME}\n{NAME}\n")
    (folder / f"{NAME}-3.edf").write_bytes(b"0" * 600)
    write_wfdb(Record(f"{NAME}-4", np.zeros((500, 1)), FS, ("I",)), folder)
    read, write = os.pipe()
    os.write(write, f"{NAME}\n".encode())
    os.close(write)
    stack.callback(os.close, read)
    quiet = stack.enter_context(websocket_server([], end=False)).split(":")[2].partition("/")[0]
    places = {"folder": folder, "pipe": read, "free": free_port(), "quiet": quiet}
    places["broker"] = stack.enter_context(mqtt_broker())
    return {f"{NAME}-{what}": source.format(**places) for what, source in ILL.items()}


def test_what_goes_wrong_in_a_gateway_is_in_its_log_without_patient_data(
    nano: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Sources and sinks that fail, and a snapshot: the log says why, by number; the page has the rest."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.INFO, "fsspec")  # names each file that wfdb opens, to whoever asks for that
    logging.getLogger("websockets.server").setLevel(logging.ERROR)  # the far end is not ours
    (tmp_path / NAME).write_text("in the way")
    (tmp_path / f"{NAME}.snapshot").write_bytes(b"EdgeECG rubbish")
    under = f"{tmp_path}/{NAME}/{NAME}"
    with ExitStack() as stack:
        ill = ill_sources(stack, tmp_path) | {"well": "synthetic:1?speed=8"}
        patients = tuple(PatientConfig(name, source) for name, source in ill.items())
        sinks = (f"jsonl:{under}", f"wfdb:{under}", f"fhir:{under}", f"mqtt://127.0.0.1:{free_port()}/{NAME}")
        config = GatewayConfig(patients, sinks=sinks, snapshot=f"{NAME}.snapshot", folder=tmp_path, poll=0.01)
        gateway, stop = Gateway(config, nano), threading.Event()

        def run() -> None:
            with pytest.raises(LinkError, match=r"not all that was told has arrived, in sink 4 \(mqtt\)"):
                gateway.run(stop)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            eventually(lambda: all(bed["error"] for bed in beds_of(gateway, ill)), 60)
            eventually(lambda: all(sink["error"] for sink in gateway.report()["sinks"]), 60)
        finally:
            stop.set()
            thread.join()
    assert NAME.lower() not in caplog.text.lower()
    said = "\n".join(caplog.messages)
    for number in range(1, len(ILL) + 1):
        assert f"source {number} broke off" in said or f"source {number} cannot be used" in said
    for why in (
        "No such file",
        "Connection refused",
        "the peer sent nothing readable",
        "line 1: a field is no number",
    ):
        assert why in said
    assert "sink 1 (jsonl) failed: File exists" in said
    assert "this is not a snapshot" in said
    page = gateway.report()
    assert f"{NAME}-1.csv" in page["patients"][f"{NAME}-a recording that is missing"]["error"]
    assert all(NAME in sink["error"] for sink in page["sinks"])


def beds_of(gateway: Gateway, ill: Mapping[str, str]) -> list[dict[str, Any]]:
    """What the page says of those who fail."""
    told = gateway.report()["patients"]
    return [told[name] for name in ill if name.startswith(NAME)]


def test_a_line_of_the_log_of_serve_names_no_file() -> None:
    """As the readers of recordings do, for verbs whose user gave the name."""
    record = logging.LogRecord("edgeecg.io", 30, "", 0, "%s has %d rows", (Path(NAME), 3), None)
    assert nameless(record)
    assert record.getMessage() == "a file has 3 rows"


def test_errors_of_sources_and_sinks_are_of_this_project() -> None:
    assert issubclass(LinkError, EdgeECGError)
