"""What holds for sources and sinks alike."""

from __future__ import annotations

import json
import logging
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgeecg.errors import EdgeECGError, LinkError
from edgeecg.specs import Beat
from edgeecg.stream.sinks import SINKS, Header, open_sink
from edgeecg.stream.sources import SOURCES, open_source
from tests.stream.peers import (
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


def test_errors_of_sources_and_sinks_are_of_this_project() -> None:
    assert issubclass(LinkError, EdgeECGError)
