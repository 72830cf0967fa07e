"""BAGEL's published folder: `llm_config.json`, `vit_config.json`, `ema.safetensors`, `ae.safetensors`, a tokenizer.

Configurations and the headers of all weight files are read and compared before any weight is: what is missing,
unexpected, of another shape or cut off is an error that names file and key. Nothing is executed or unpickled.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import init_empty_weights
from huggingface_hub import save_torch_state_dict
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import Qwen2Tokenizer

from editenv.agents.unified.config import UnifiedConfig
from editenv.agents.unified.flux_autoencoder import PUBLISHED, FluxAutoencoder
from editenv.agents.unified.layers import position_table
from editenv.agents.unified.model import UnifiedModel
from editenv.agents.unified.transforms import Resize, Transforms

LLM, VIT, AE, TRANSFORMS = "llm_config.json", "vit_config.json", "ae_config.json", "transforms.json"
WEIGHTS, AUTOENCODER = "ema", "ae"
KEPT_FILES = (
    LLM, VIT, AE, TRANSFORMS, "config.json", "generation_config.json", "vocab.json", "merges.txt", "tokenizer.json",
    "tokenizer_config.json", "prompts.yaml",
)  # fmt: skip
"""What stands beside the weights and is written again as it was read."""

_LLM_FIELDS = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "rope_theta", "rms_norm_eps", "max_position_embeddings", "hidden_act",
)  # fmt: skip
_VIT_FIELDS = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "patch_size", "image_size",
)  # fmt: skip
_MARKERS = {
    "bos_token_id": "<|im_start|>", "eos_token_id": "<|im_end|>", "pad_token_id": "<|endoftext|>",
    "start_of_image_id": "<|vision_start|>", "end_of_image_id": "<|vision_end|>",
}  # fmt: skip
_TABLES = ("latent_pos_embed.pos_embed", "vit_pos_embed.pos_embed")  # fixed: may be missing, and are built then
PUBLISHED_LLM = {
    "model_type": "qwen2", "vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944,
    "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4, "rope_theta": 1e6,
    "rms_norm_eps": 1e-6, "max_position_embeddings": 32768, "hidden_act": "silu",
}  # fmt: skip
PUBLISHED_VIT = {
    "model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27,
    "num_attention_heads": 16, "patch_size": 14, "image_size": 980,
}  # fmt: skip
"""BAGEL-7B-MoT's configuration files, for what needs no folder; the last layer of the vision encoder is not built."""


class BagelParts(NamedTuple):
    """What a folder holds; weights in the files' own precision."""

    model: UnifiedModel
    autoencoder: FluxAutoencoder
    tokenizer: Qwen2Tokenizer
    transforms: Transforms
    files: dict[str, bytes]  # KEPT_FILES, by name


def bagel_config(
    llm: Mapping[str, Any],
    vit: Mapping[str, Any],
    markers: Mapping[str, Any],
    side: int = 64,
    channels: int = 16,
    patch: int = 2,
) -> UnifiedConfig:
    """The model's configuration from BAGEL's two files, under the rules of BAGEL's loader.

    The loader builds one vision layer less than the file says, and forces query-key norms and an untied head.

    Args:
        llm, vit: contents of llm_config.json and vit_config.json.
        markers: ids of special tokens, by the names of UnifiedConfig.
        side: of the latents' table of places.
        channels: of the autoencoder's latents.
        patch: side of the square of latents that makes one token.

    Raises:
        ValueError: an architecture that is not BAGEL's, a field that is missing or does not fit.
    """
    for file, given, kind, fields in (
        (LLM, llm, "qwen2", _LLM_FIELDS),
        (VIT, vit, "siglip_vision_model", _VIT_FIELDS),
    ):
        if given.get("model_type") != kind:
            raise ValueError(f"{file}: model_type is {given.get('model_type')!r}, expected {kind!r}")
        for name in fields:
            number = isinstance(given.get(name), int | float) and not isinstance(given.get(name), bool)
            if name not in given or not ((number and given[name] > 0) or name == "hidden_act"):
                raise ValueError(f"{file}: {name} is {given.get(name)!r}, expected a positive number")
    if llm["hidden_act"] != "silu" or llm.get("rope_scaling"):
        raise ValueError(
            f"{LLM}: hidden_act is {llm['hidden_act']!r} and rope_scaling {llm.get('rope_scaling')!r}, expected "
            "'silu' and none"
        )
    layers = vit["num_hidden_layers"] - 1
    vision = {"num_channels": 3, "layer_norm_eps": 1e-6} | {name: vit[name] for name in _VIT_FIELDS}
    vision |= {"num_hidden_layers": layers, "num_channels": vit.get("num_channels", 3)}
    sizes: dict[str, Any] = {name: llm[name] for name in _LLM_FIELDS} | dict(markers)
    sizes |= {"latent_channels": channels, "latent_patch_size": patch, "max_latent_size": side}
    try:
        return UnifiedConfig(**sizes, vision=vision)
    except ValueError as error:
        raise ValueError(f"{LLM}: {error}") from error


def published_config() -> UnifiedConfig:
    """BAGEL-7B-MoT's configuration."""
    return bagel_config(PUBLISHED_LLM, PUBLISHED_VIT, {})


def empty_model(config: UnifiedConfig) -> UnifiedModel:
    """A model on the meta device but for its buffers: names and shapes of all weights, without memory."""
    with init_empty_weights():
        return UnifiedModel(config)


def read_bagel(folder: Path) -> BagelParts:
    """Everything in a folder; ValueError says file and key of what is wrong, before weights are read.

    Weights stay in the files' precision, bfloat16 as published; the autoencoder's are widened to float32, as BAGEL's
    code does.
    """
    llm, vit = _json(folder / LLM), _json(folder / VIT)
    sizes = PUBLISHED | (_json(folder / AE) if (folder / AE).is_file() else {})
    weights, coder_weights = WeightFiles(folder, WEIGHTS), WeightFiles(folder, AUTOENCODER)
    tokenizer = _tokenizer(folder)
    markers = {name: tokenizer.convert_tokens_to_ids(token) for name, token in _MARKERS.items()}
    side = _side(weights, _TABLES[0], 64)
    dims = weights.shapes.get("vae2llm.weight", (0, 4 * sizes["z_channels"]))[-1]
    patch = max(math.isqrt(dims // sizes["z_channels"]), 1)  # 2 as published
    config = bagel_config(llm, vit, markers, side, sizes["z_channels"], patch)
    model = empty_model(config)
    weights.check({name: tuple(value.shape) for name, value in model.state_dict().items()}, optional=_TABLES)
    with init_empty_weights():
        empty = FluxAutoencoder(sizes, config.latent_patch_size)
    coder_weights.check({name: tuple(value.shape) for name, value in empty.flux_weights().items()})
    transforms = _transforms(folder, empty.config.token_side, vit["patch_size"])

    found = weights.load()
    dtype = found["vae2llm.weight"].dtype
    for name, places in zip(_TABLES, (side, vit["image_size"] // vit["patch_size"]), strict=True):
        # Rounded as all weights of the file are, which is part of what the model was trained with.
        found.setdefault(name, position_table(config.hidden_size, places).to(dtype))
    model.load_state_dict(found, assign=True)
    coder = FluxAutoencoder(sizes, config.latent_patch_size)
    coder.load_flux({name: value.float() for name, value in coder_weights.load().items()})
    files = {name: (folder / name).read_bytes() for name in KEPT_FILES if (folder / name).is_file()}
    frozen = coder.eval().requires_grad_(False)
    return BagelParts(model.eval(), frozen, tokenizer, transforms, files)


def write_bagel(parts: BagelParts, folder: Path, dtype: torch.dtype | None = None, shard: str = "50GB") -> None:
    """Write a folder that `read_bagel` reads, in one file or in shards of a size where weights take more.

    `dtype` is the main weights'; None leaves them as they are. The autoencoder's stay float32, as published.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in parts.files.items():
        (folder / name).write_bytes(content)
    weights = {name: value.to(dtype or value.dtype) for name, value in parts.model.state_dict().items()}
    for stem, values in ((WEIGHTS, weights), (AUTOENCODER, parts.autoencoder.flux_weights())):
        tensors: Any = {name: value.detach().cpu().contiguous() for name, value in values.items()}
        pattern = stem + "{suffix}.safetensors"
        save_torch_state_dict(tensors, folder, filename_pattern=pattern, max_shard_size=shard)


# Weights


class WeightFiles:
    """The headers of STEM.safetensors, or of the shards that STEM.safetensors.index.json names.

    Raises:
        ValueError: a file is missing, cut off or no safetensors file, or the index names what is not there.
    """

    def __init__(self, folder: Path, stem: str) -> None:
        whole, index = folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"
        self.place, self.shapes, self._file_of = whole, dict[str, tuple[int, ...]](), dict[str, Path]()
        placed: dict[str, str] = {}
        if not whole.is_file():
            if not index.is_file():
                raise ValueError(f"{whole} does not exist, nor does {index.name}; expected one of them")
            placed, self.place = _json(index).get("weight_map"), index  # type: ignore[assignment]
            if not isinstance(placed, dict) or not all(_plain(name) for name in placed.values()):
                raise ValueError(
                    f"{index}: weight_map is {str(placed)[:80]!r}, expected file names of this folder by key"
                )
        for path in [folder / name for name in sorted(set(placed.values()))] or [whole]:
            self._read_header(path)
        lost = sorted(name for name, file in placed.items() if self._file_of.get(name) != folder / file)
        if lost:
            raise ValueError(f"{index}: {_some(lost)} not in the files that it names")

    def _read_header(self, path: Path) -> None:
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():
                    self.shapes[name] = tuple(file.get_slice(name).get_shape())
                    self._file_of[name] = path
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} cannot be read as safetensors, perhaps it is cut off: {error}") from error

    def check(self, wanted: Mapping[str, tuple[int, ...]], optional: tuple[str, ...] = ()) -> None:
        """ValueError that names all keys that are missing, unexpected or of another shape than `wanted`."""
        faults = []
        missing = sorted(wanted.keys() - self.shapes.keys() - set(optional))
        unexpected = sorted(self.shapes.keys() - wanted.keys())
        if missing:
            faults.append(f"missing {_some(missing)}")
        if unexpected:
            faults.append(f"unexpected {_some(unexpected)}")
        for name in sorted(wanted.keys() & self.shapes.keys()):
            if self.shapes[name] != wanted[name]:
                where = self._file_of[name].name
                faults.append(f"{name} in {where} has shape {list(self.shapes[name])}, expected {list(wanted[name])}")
        if faults:
            more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
            raise ValueError(f"{self.place}: {'; '.join(faults[:5])}{more}")

    def load(self) -> dict[str, Tensor]:
        """All tensors; ValueError for numbers that are not floating point."""
        found = {}
        for path in dict.fromkeys(self._file_of.values()):
            with safe_open(path, framework="pt") as file:
                for name in file.keys():
                    found[name] = file.get_tensor(name)
                    if not found[name].is_floating_point():
                        raise ValueError(f"{path}: {name} is {found[name].dtype}, expected floating point")
        return found


def _side(weights: WeightFiles, name: str, otherwise: int) -> int:
    """Side of a square table of places."""
    rows = weights.shapes.get(name, (otherwise**2,))[0]
    if math.isqrt(rows) ** 2 != rows:
        raise ValueError(f"{weights.place}: {name} has {rows} rows, expected a square number")
    return math.isqrt(rows)


def _some(names: list[str]) -> str:
    """Names of keys, the first ones of many."""
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _plain(name: Any) -> bool:
    """Whether something is the name of a file in the folder itself."""
    return isinstance(name, str) and re.fullmatch(r"[\w.-]+\.safetensors", name) is not None


# Everything else


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist, expected a folder in BAGEL's layout") from error
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds a {type(found).__name__}, expected a JSON object")
    return found


def _tokenizer(folder: Path) -> Qwen2Tokenizer:
    """Qwen2's tokenizer, with the markers that BAGEL needs."""
    if not (folder / "tokenizer.json").is_file():
        for name in ("vocab.json", "merges.txt"):
            if not (folder / name).is_file():
                raise ValueError(f"{folder / name} does not exist, nor does tokenizer.json")
    try:
        tokenizer = Qwen2Tokenizer.from_pretrained(folder)
    except Exception as error:  # a file of others may hold anything
        raise ValueError(f"{folder}: its tokenizer cannot be read: {error}") from error
    tokenizer.add_tokens(
        [token for token in _MARKERS.values() if token not in tokenizer.get_vocab()], special_tokens=True
    )
    tokenizer.pad_token, tokenizer.bos_token, tokenizer.eos_token = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
    return tokenizer


def _transforms(folder: Path, latent_side: int, patch: int) -> Transforms:
    """How pictures are resized: as published, or as transforms.json says, a row of numbers for each encoder."""
    sides = {"vae": [1024, 512, latent_side], "vit": [980, 224, patch]}
    if (folder / TRANSFORMS).is_file():
        sides |= _json(folder / TRANSFORMS)
    for name, stride in (("vae", latent_side), ("vit", patch)):
        given = sides[name]
        if not (isinstance(given, list) and len(given) == 3 and all(isinstance(n, int) and n > 0 for n in given)):
            raise ValueError(f"{folder / TRANSFORMS}: {name} is {given!r}, expected [longest, shortest, stride]")
        if given[2] % stride:
            raise ValueError(f"{folder / TRANSFORMS}: {name} has stride {given[2]}, expected a multiple of {stride}")
    return Transforms(Resize(*sides["vae"]), Resize(*sides["vit"]))
