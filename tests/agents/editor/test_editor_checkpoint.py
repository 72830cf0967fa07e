"""A checkpoint is one folder, found by name, run or path."""

import json

import pytest
import torch

from editenv.agents.editor.checkpoint import (
    SHIPPED,
    checkpoint_folder,
    load_autoencoder,
    load_checkpoint,
    save_checkpoint,
    shipped_names,
)
from tests.tiny_editor import tiny_checkpoint, weights


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    checkpoint = tiny_checkpoint()
    save_checkpoint(checkpoint, folder)
    return checkpoint, folder


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    mine, theirs = weights(one), weights(other)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_what_is_loaded_is_what_was_saved(saved):
    checkpoint, folder = saved
    loaded = load_checkpoint(folder)
    assert same(loaded.model, checkpoint.model) and same(loaded.autoencoder, checkpoint.autoencoder)
    assert loaded.tokenizer.get_vocab() == checkpoint.tokenizer.get_vocab()
    assert (
        loaded.tokenizer("add <eos> star")["input_ids"] == checkpoint.tokenizer("add <eos> star")["input_ids"]
    )
    assert not loaded.model.training and loaded.name == str(folder)
    assert not any(parameter.requires_grad for parameter in loaded.autoencoder.parameters())


def test_a_folder_holds_safetensors_and_json_alone(saved):
    assert {path.suffix for path in saved[1].rglob("*")} == {".safetensors", ".json"}


def test_the_shipped_autoencoder_is_not_copied_and_another_one_is(saved, tmp_path):
    checkpoint, folder = saved
    assert not (folder / "autoencoder").exists()
    other = tiny_checkpoint()
    with torch.no_grad():
        next(other.autoencoder.parameters()).add_(1.0)
    save_checkpoint(other, tmp_path)
    assert same(load_checkpoint(tmp_path).autoencoder, other.autoencoder)
    assert not same(load_checkpoint(tmp_path).autoencoder, checkpoint.autoencoder)


def test_half_precision_is_loaded_in_full(saved, tmp_path):
    checkpoint, _ = saved
    save_checkpoint(checkpoint, tmp_path, torch.float16)
    loaded = load_checkpoint(tmp_path).model
    for name, value in checkpoint.model.state_dict().items():
        assert loaded.state_dict()[name].dtype == torch.float32
        assert torch.equal(loaded.state_dict()[name], value.half().float())
    assert all(p.dtype == torch.float32 for p in checkpoint.model.parameters()), "saving changes nothing"


def test_a_run_is_found_by_its_folder(saved, tmp_path):
    save_checkpoint(saved[0], tmp_path / "model")
    assert checkpoint_folder(tmp_path) == tmp_path / "model"
    assert checkpoint_folder(tmp_path / "model") == tmp_path / "model"


def test_an_unknown_name_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(
        ValueError, match=r"model is 'nowhere', expected .*or a run or folder with model.safetensors"
    ):
        checkpoint_folder("nowhere")
    with pytest.raises(ValueError, match=r"model is .*, or a run or folder"):
        checkpoint_folder(tmp_path)


def test_shipped_names_are_models_with_cards():
    for name in shipped_names():
        assert json.loads((SHIPPED / name / "card.json").read_text())["name"]
    assert not load_autoencoder(SHIPPED / "autoencoder").training
