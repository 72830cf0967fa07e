"""BAGEL's eyes: transformers' SigLIP over patches of images of any size, and the way into the language model."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import gelu
from transformers import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipEncoder

from editenv.agents.unified.autoencoder import patchify
from editenv.agents.unified.layers import PositionTable, latent_position_ids

SIZES = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "patch_size", "image_size",
    "num_channels", "layer_norm_eps",
)  # fmt: skip
"""What `UnifiedConfig.vision` says, and perhaps `max_patches_per_side`, the side of the table of places."""


def vision_config(sizes: dict[str, Any]) -> Any:
    """SigLIP's configuration from `UnifiedConfig.vision`, with tanh-gelu as in BAGEL."""
    config: Any = SiglipVisionConfig(**{name: sizes[name] for name in SIZES}, hidden_act="gelu_pytorch_tanh")
    config._attn_implementation = "sdpa"
    return config


class PatchEmbeddings(nn.Module):
    """A linear layer over patches (row, column, channel) and a learnt position for each place of the grid."""

    def __init__(self, config: Any, side: int) -> None:
        super().__init__()
        self.side = side
        self.patch_embedding = nn.Linear(config.patch_size**2 * config.num_channels, config.hidden_size)
        places = (config.image_size // config.patch_size) ** 2
        self.position_embedding = nn.Embedding(places, config.hidden_size)

    def forward(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """Embeddings [B, N, W] of patches [B, N, P] that lie in a grid of (rows, columns)."""
        places = latent_position_ids(grid, self.side, patches.device)
        return self.patch_embedding(patches.to(self.patch_embedding.weight.dtype)) + self.position_embedding(places)


class VisionTransformer(nn.Module):
    """Embeddings, SigLIP's layers with full attention inside an image, and the last norm."""

    def __init__(self, config: Any, side: int) -> None:
        super().__init__()
        self.embeddings = PatchEmbeddings(config, side)
        self.encoder = SiglipEncoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """Features [B, N, W] of patches [B, N, P]."""
        return self.post_layernorm(self.encoder(self.embeddings(patches, grid)).last_hidden_state)


class VisionEncoder(nn.Module):
    """The transformer under the name `vision_model`, as in BAGEL's files."""

    def __init__(self, config: Any, side: int) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        self.vision_model = VisionTransformer(config, side)

    def forward(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Features [B, N, W] of images [B, 3, H, W] around [-1, 1], and their grid; N = rows * columns."""
        side = self.patch_size
        patches = patchify(pixels.movedim(1, -1), side)
        grid = pixels.shape[2] // side, pixels.shape[3] // side
        return self.vision_model(patches, grid), grid


class Connector(nn.Module):
    """Two linear layers with tanh-gelu between them: [B, N, W] -> [B, N, H]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(inputs, outputs), nn.Linear(outputs, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Map features to the width of the language model."""
        return self.fc2(gelu(self.fc1(features.to(self.fc1.weight.dtype)), approximate="tanh"))


def vision_modules(sizes: dict[str, Any], width: int) -> dict[str, nn.Module]:
    """What a UnifiedModel with vision has beside the others, by BAGEL's names."""
    config = vision_config(sizes)
    side = sizes.get("max_patches_per_side") or config.image_size // config.patch_size
    return {
        "vit_model": VisionEncoder(config, side),
        "connector": Connector(config.hidden_size, width),
        "vit_pos_embed": PositionTable(width, side),
    }
