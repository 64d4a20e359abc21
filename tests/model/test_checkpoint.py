"""Checkpoints: two plain files, whole or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from edgeecg.errors import ConfigError
from edgeecg.model.checkpoint import load_checkpoint, network_from_weights, save_checkpoint, weights_of
from edgeecg.model.presets import preset
from edgeecg.model.transformer import Network


@pytest.fixture
def network() -> Network:
    return Network(preset("nano"))


def test_what_was_saved_is_loaded(network: Network, tmp_path: Path) -> None:
    meta = {"steps": 7, "figures": {"V": 0.9}}
    found = load_checkpoint(save_checkpoint(tmp_path / "run" / "checkpoint", network, meta))
    assert found.meta == meta
    assert found.network.spec == network.spec
    assert not found.network.training
    for key, value in network.state_dict().items():
        assert torch.equal(found.network.state_dict()[key], value), key


def test_the_folder_of_a_run_will_do(network: Network, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "run" / "checkpoint", network, {"steps": 7})
    assert load_checkpoint(tmp_path / "run").meta == {"steps": 7}


def test_only_plain_files_are_written(network: Network, tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, network, {})
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint.json", "weights.safetensors"]
    assert json.loads((folder / "checkpoint.json").read_text())["model"]["token"]["dim"] == 16


def test_a_second_save_replaces_the_first(network: Network, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, network, {"step": 1})
    with torch.no_grad():
        network.token.heads.bias += 1
    found = load_checkpoint(save_checkpoint(tmp_path, network, {"step": 2}))
    assert found.meta == {"step": 2}
    assert torch.equal(found.network.token.heads.bias, network.token.heads.bias)


@pytest.mark.parametrize("name", ["checkpoint.json", "weights.safetensors"])
def test_a_missing_file_is_named(network: Network, tmp_path: Path, name: str) -> None:
    save_checkpoint(tmp_path, network, {})
    (tmp_path / name).unlink()
    with pytest.raises(ConfigError, match=f"{name} is missing"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model": {}}'])
def test_settings_that_cannot_be_read(network: Network, tmp_path: Path, text: str) -> None:
    save_checkpoint(tmp_path, network, {})
    (tmp_path / "checkpoint.json").write_text(text)
    with pytest.raises(ConfigError, match="train again") as error:
        load_checkpoint(tmp_path)
    assert "\n" not in str(error.value)


def test_settings_of_impossible_sizes_name_the_file(network: Network, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, network, {})
    told = (tmp_path / "checkpoint.json").read_text()
    (tmp_path / "checkpoint.json").write_text(told.replace('"patch": 8', '"patch": 7'))
    with pytest.raises(ConfigError, match=r"checkpoint\.json cannot be read \(patch is 7"):
        load_checkpoint(tmp_path)


def test_weights_that_do_not_fit(network: Network) -> None:
    data = weights_of(network)
    with pytest.raises(ConfigError, match="do not fit the model's sizes") as error:
        network_from_weights(preset("micro"), data)
    assert "\n" not in str(error.value)
    for damaged in (data[:100], b"", data[:-8]):
        with pytest.raises(ConfigError, match="cannot be read"):
            network_from_weights(network.spec, damaged)
