"""``edgeecg serve``: a gateway for several patients, from a TOML file."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.logging import RichHandler

from edgeecg.cli.builder import shown
from edgeecg.cli.common import STOPS, human_console, progress_bar
from edgeecg.cli.unhurried import unhurried_stderr
from edgeecg.runtime.engine import open_engine
from edgeecg.stream.gateway import Gateway
from edgeecg.stream.gateway_config import read_gateway_config
from edgeecg.words import counted

__all__ = ["nameless", "serve"]


def nameless(record: logging.LogRecord) -> bool:
    """Take the names of files out of a line of the log: what reads recordings tells them, for other verbs."""
    if isinstance(record.args, tuple):
        record.args = tuple("a file" if isinstance(item, Path) else item for item in record.args)
    return True


def serve(
    config: Annotated[Path, typer.Argument(metavar="FILE", help="The gateway's TOML file.")],
    check: Annotated[bool, typer.Option("--check", help="Only read the file and open the bundle.")] = False,
) -> None:
    """Run a gateway: many patients' sources, one model, every event to every sink.

    Sources that break off are opened again; sinks that fail stop nobody else. SIGTERM, Ctrl-C or a
    closed terminal stops it gracefully: what has come is told, or, with `snapshot = "FILE"`, the context
    of every patient is kept and the next start goes on with it. `health = "8080"` serves a page at
    /health; under systemd the gateway notifies readiness and feeds the watchdog.
    `on_device_error = "raise"` ends it when TensorRT loses its GPU, so that it is started again with it;
    else it goes on without. The log holds no patient data: sources and sinks have their numbers there, in
    the order of the file, and the health page tells the rest.

    A file:

        bundle = "small"
        sinks = ["jsonl:events.jsonl", "page:8081"]
        health = "8080"
        snapshot = "ward.snapshot"

        [[patients]]
        name = "bed-1"
        source = "polar:auto"

        [[patients]]
        name = "bed-2"
        source = "mqtt://broker/ward/bed-2?fs=250"

    For example:

    - `edgeecg serve ward.toml`
    - `edgeecg serve ward.toml --check`
    """
    if not check:
        unhurried_stderr()
    console = human_console()
    handler = RichHandler(console=console, show_path=False)
    handler.addFilter(nameless)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler])
    settings = read_gateway_config(config)
    chosen = settings.bundle, settings.backend, settings.precision
    with progress_bar() as bars:
        opened = open_engine(*chosen, tensorrt=shown(settings.tensorrt, bars))
    with opened as engine:
        if check:
            settings.check_extras()
            console.print(
                f"{config}: {counted(len(settings.patients), 'patient')}, "
                f"{counted(len(settings.sinks), 'sink')}: it reads well "
                "(sources and sinks were not opened)"
            )
            return
        stop = threading.Event()
        for number in STOPS:
            if number in (signal.SIGTERM, signal.SIGINT) or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda *_: stop.set())  # but under nohup a closed terminal is no reason
        Gateway(settings, engine).run(stop)
