"""A small bundle with real graphs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeecg.bundle import Bundle
from edgeecg.runtime.engine import Engine, open_engine


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch", reason="needs the extra train")
    from edgeecg.deploy.build import build_bundle
    from edgeecg.model.presets import preset
    from edgeecg.model.transformer import Network

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("bundle") / "tiny.edgeecg"
    build_bundle(Network(preset("nano")), path, "tiny")
    return path


@pytest.fixture(scope="session")
def bundle(bundle_path: Path) -> Bundle:
    return Bundle.open(bundle_path)


@pytest.fixture
def engine(bundle: Bundle) -> Iterator[Engine]:
    with open_engine(bundle, "onnxruntime") as opened:
        yield opened
