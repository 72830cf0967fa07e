"""A parity fixture: weights, inputs and outputs of the reference code, and the model that they describe."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from editenv.agents.unified.blocks import Block, ImageBlock, TextBlock, VitBlock
from editenv.agents.unified.config import UnifiedConfig
from editenv.agents.unified.context import Context
from editenv.agents.unified.model import UnifiedModel
from editenv.agents.unified.patches import to_patches

_WEIGHTS = "weights."
_LLM_FIELDS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "rope_theta",
    "rms_norm_eps",
    "max_position_embeddings",
    "hidden_act",
)


@dataclass(frozen=True)
class Fixture:
    """One fixture with its model.

    Attributes:
        tensors: everything in the safetensors file, by name (`in.*`, `out.*` and weights).
        outputs: the JSON's entry on each output, by name.
        config: the JSON's `config`: llm, vit, vae, bagel and special tokens.
        model: the model of that config with the fixture's weights, in evaluation mode.
    """

    tensors: Mapping[str, Tensor]
    outputs: Mapping[str, Mapping[str, Any]]
    config: Mapping[str, Any]
    model: UnifiedModel

    def tolerance(self, name: str) -> float:
        """Largest deviation allowed: 20 times the float32 noise, at least 2e-5 of the largest value.

        Integers and truth values must be equal.
        """
        entry = self.outputs[name]
        if "max_abs" not in entry:
            return 0.0
        return max(20 * entry["fp32_vs_fp64_max_abs_diff"], 2e-5 * entry["max_abs"])

    def prompt(self, number: int) -> TextBlock:
        """Prompt `number` between its begin and end tokens."""
        special = self.config["special_tokens"]
        ids = self.tensors[f"in.prompt{number}.ids"].tolist()
        return TextBlock(torch.tensor([[special["bos_token_id"], *ids, special["eos_token_id"]]]))

    def latent_block(self, number: int) -> ImageBlock:
        """Image `number` as latents, from the stored output of the reference autoencoder."""
        latent = self.tensors[f"out.img{number}.vae_latent"].movedim(1, -1)
        patch = self.model.config.latent_patch_size
        return ImageBlock(to_patches(latent, patch), (latent.shape[1] // patch, latent.shape[2] // patch))

    def vit_block(self, number: int) -> VitBlock:
        """Image `number` as vision tokens, from the stored output of the reference vision encoder."""
        return VitBlock(self.tensors[f"out.img{number}.vit_tokens"][None])

    def grid(self, name: str) -> tuple[int, int]:
        """Rows and columns of latent tokens of the picture whose height and width the input `name` holds."""
        height, width = self.tensors[name].tolist()
        side = self.config["vae"]["downsample"] * self.config["bagel"]["latent_patch_size"]
        return height // side, width // side

    def read(self, *names: str) -> Context:
        """A context of one row that has read the blocks of these names: `prompt0`, `latent0`, `vit0`, ..."""
        kinds: dict[str, Callable[[int], Block]] = {
            "prompt": self.prompt,
            "latent": self.latent_block,
            "vit": self.vit_block,
        }
        return self.model.read([kinds[name[:-1]](int(name[-1])) for name in names], 1)


def load_fixture(path: Path) -> Fixture:
    """Read `path` and the JSON of the same stem beside it, and build the model.

    Raises:
        FileNotFoundError: if one of the two files is missing.
        ValueError: if the weights are not exactly the model's.
    """
    description_path = path.with_suffix(".json")
    for file in (path, description_path):
        if not file.is_file():
            raise FileNotFoundError(
                f"{file} does not exist; a fixture is NAME.safetensors and NAME.json beside it"
            )
    description = json.loads(description_path.read_text())
    tensors = load_file(path)
    model = _build(description["config"], tensors)
    return Fixture(tensors, description["outputs"], description["config"], model)


def _build(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> UnifiedModel:
    model = UnifiedModel(_model_config(config)).eval()
    skipped = [re.compile(pattern) for pattern in UnifiedModel.skipped_weights]
    weights = {
        name.removeprefix(_WEIGHTS): tensor
        for name, tensor in tensors.items()
        if name.startswith(_WEIGHTS)
        and not any(pattern.match(name.removeprefix(_WEIGHTS)) for pattern in skipped)
    }
    keys = model.load_state_dict(weights, strict=False)
    if keys.missing_keys or keys.unexpected_keys:
        raise ValueError(
            f"weights do not fit: missing {keys.missing_keys}, unexpected {keys.unexpected_keys}"
        )
    return model


def _model_config(config: Mapping[str, Any]) -> UnifiedConfig:
    llm, special = config["llm"], config["special_tokens"]
    if not llm["qk_norm"] or llm["tie_word_embeddings"] or "Mo" not in llm["layer_module"]:
        raise ValueError(f"llm is {llm}, expected qk_norm, untied embeddings and two experts")
    taken = set(special.values())
    return UnifiedConfig(
        **{name: llm[name] for name in _LLM_FIELDS},
        latent_patch_size=config["bagel"]["latent_patch_size"],
        latent_channels=config["vae"]["z_channels"],
        max_latent_size=config["bagel"]["max_latent_size"],
        bos_token_id=special["bos_token_id"],
        eos_token_id=special["eos_token_id"],
        start_of_image_id=special["start_of_image"],
        end_of_image_id=special["end_of_image"],
        pad_token_id=next(index for index in range(llm["vocab_size"]) if index not in taken),
    )
