"""A model with all it needs to edit pictures, in one folder of safetensors and JSON."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

from editenv.agents.unified import UnifiedModel
from editenv.agents.unified.autoencoder import CellAutoencoder
from editenv.agents.weights import load_weights

SHIPPED = Path(__file__).resolve().parents[1] / "checkpoints"
"""Folder of the checkpoints that come with the package."""


@dataclass
class Checkpoint:
    """Everything an editing agent consists of.

    Attributes:
        model: writes intents and predicts velocities.
        autoencoder: between pixels and latents; frozen.
        tokenizer: of the model's words.
        name: what it was loaded as.
    """

    model: UnifiedModel
    autoencoder: CellAutoencoder
    tokenizer: PreTrainedTokenizerFast
    name: str = ""


def shipped_names() -> list[str]:
    """Names of the checkpoints that come with the package."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/tokenizer.json"))


def checkpoint_folder(name: str | Path) -> Path:
    """The folder of a shipped checkpoint, of a run's newest weights, or the folder itself.

    Raises:
        ValueError: there is no checkpoint of that name and no such folder.
    """
    for folder in (SHIPPED / name, Path(name) / "model", Path(name)):
        if (folder / "model.safetensors").is_file():
            return folder
    near = difflib.get_close_matches(str(name), shipped_names()) or shipped_names()
    raise ValueError(
        f"model is {str(name)!r}, expected {' or '.join(near)}, or a run or folder with model.safetensors"
    )


def load_checkpoint(name: str | Path, device: str | torch.device = "cpu") -> Checkpoint:
    """A checkpoint by name, run or folder, in float32; nothing is unpickled.

    Raises:
        ValueError: there is none, or it is not whole.
    """
    folder = checkpoint_folder(name)
    coder = folder / "autoencoder" if (folder / "autoencoder").is_dir() else SHIPPED / "autoencoder"
    model = load_weights(UnifiedModel, folder).to(device)
    autoencoder = load_autoencoder(coder).to(device)
    return Checkpoint(model, autoencoder, PreTrainedTokenizerFast.from_pretrained(folder), str(name))


def load_autoencoder(folder: Path) -> CellAutoencoder:
    """The autoencoder of a folder, frozen, in float32."""
    return load_weights(CellAutoencoder, folder).requires_grad_(False)


def save_checkpoint(checkpoint: Checkpoint, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Writes model and tokenizer; the autoencoder too, unless it is the shipped one."""
    weights = {name: value.to(dtype) for name, value in checkpoint.model.state_dict().items()}
    checkpoint.model.save_pretrained(folder, state_dict=weights)
    checkpoint.tokenizer.save_pretrained(folder)
    if not _is_shipped(checkpoint.autoencoder):
        checkpoint.autoencoder.save_pretrained(folder / "autoencoder")


def _is_shipped(autoencoder: CellAutoencoder) -> bool:
    folder = SHIPPED / "autoencoder"
    if not (folder / "model.safetensors").is_file():
        return False
    shipped = load_autoencoder(folder).state_dict()
    own = autoencoder.state_dict()
    return own.keys() == shipped.keys() and all(torch.equal(own[name].cpu(), shipped[name]) for name in own)
