"""Two synthetic patients and what the packaged model found in them."""

from __future__ import annotations

import pytest
import torch

from edgeecg.bundle import Bundle
from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize
from edgeecg.explain.question import Question, ask
from edgeecg.explain.trace import Trace, load_network, trace
from edgeecg.io.record import Record
from edgeecg.model.transformer import Network

SECONDS = 90.0


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return Bundle.open("small")


@pytest.fixture(scope="session")
def network(bundle: Bundle) -> Network:
    return load_network(bundle).requires_grad_(False)


def recorded(kind: str, seed: int) -> Record:
    settings = SyntheticSettings(draw_patient(kind, seed), seconds=SECONDS, fs=250.0, snr_db=22.0)
    return synthesize(settings, seed).record


def last_of(found: Trace, label: str) -> int:
    """The last beat of a label that has some future."""
    return max(b for b in range(30, len(found) - 3) if found.labels[b] == label)


@pytest.fixture(scope="session")
def ventricular(bundle: Bundle, network: Network) -> Trace:
    record = recorded("ventricular", 5)
    return trace(bundle, network, record, len(record) - 1)


@pytest.fixture(scope="session")
def atrial(bundle: Bundle, network: Network) -> Trace:
    record = recorded("atrial", 5)
    return trace(bundle, network, record, len(record) - 1)


@pytest.fixture(scope="session")
def why_v(bundle: Bundle, network: Network, ventricular: Trace) -> Question:
    return ask(bundle, network, ventricular, last_of(ventricular, "V"))


@pytest.fixture(scope="session")
def why_s(bundle: Bundle, network: Network, atrial: Trace) -> Question:
    return ask(bundle, network, atrial, last_of(atrial, "S"))
