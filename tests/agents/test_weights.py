"""A model folder is read whole or refused."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from editenv.agents.unified.autoencoder import CellAutoencoder
from editenv.agents.unified.policy import SHIPPED
from editenv.agents.weights import load_weights


@pytest.fixture
def folder(tmp_path):
    """A copy of the shipped autoencoder."""
    return shutil.copytree(SHIPPED / "autoencoder", tmp_path / "copy")


def weights_of(folder):
    return load_file(folder / "model.safetensors")


def test_a_whole_folder_is_read_as_it_is(folder):
    loaded = load_weights(CellAutoencoder, folder)
    assert not loaded.training and all(
        torch.equal(loaded.state_dict()[name], value.float()) for name, value in weights_of(folder).items()
    )


def test_a_folder_that_lacks_a_weight_is_refused_by_its_name(folder, capsys):
    """Fails where the missing one is drawn at random, as transformers does."""
    weights = weights_of(folder)
    gone = sorted(weights)[0]
    del weights[gone]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"lacks the weights {gone} of a CellAutoencoder"):
        load_weights(CellAutoencoder, folder)
    assert "MISSING" not in "".join(capsys.readouterr())


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:500])


def reshaped(folder):
    weights = weights_of(folder)
    name = next(name for name, value in weights.items() if value.dim() == 2)
    save_file(weights | {name: weights[name][:-1].clone()}, folder / "model.safetensors", metadata={"format": "pt"})


def broken_config(folder):
    (folder / "config.json").write_text("{")


def no_file(folder):
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize("damage", [cut, reshaped, broken_config, no_file])
def test_a_damaged_folder_is_said_in_words(folder, damage):
    damage(folder)
    with pytest.raises(ValueError, match="cannot be read as a CellAutoencoder: "):
        load_weights(CellAutoencoder, folder)


def test_config_of_another_kind_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({name: "?" for name in config}))
    with pytest.raises(ValueError, match="CellAutoencoder"):
        load_weights(CellAutoencoder, folder)
