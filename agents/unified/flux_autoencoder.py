"""FLUX's autoencoder, which BAGEL uses: diffusers' AutoencoderKL behind the interface of `CellAutoencoder`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from editenv.agents.unified.autoencoder import patchify, unpatchify

PUBLISHED = {
    "in_channels": 3, "out_ch": 3, "ch": 128, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "z_channels": 16,
    "scale_factor": 0.3611, "shift_factor": 0.1159,
}  # fmt: skip
"""The published autoencoder, under the names of FLUX's code."""

_FLUX_NAMES = (
    (r"_blocks\.(\d+)\.resnets\.", r".\1.block."),
    (r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample"),
    (r"up_blocks\.(\d+)\.upsamplers\.0", r"up.\1.upsample"),
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"mid_block\.attentions\.0", "mid.attn_1"),
    (r"\.group_norm\.", ".norm."),
    (r"\.to_([qkv])\.", r".\1."),
    (r"\.to_out\.0\.", ".proj_out."),
    ("conv_norm_out", "norm_out"),
    ("conv_shortcut", "nin_shortcut"),
)
"""From diffusers' names to FLUX's, the inverse of diffusers' `convert_ldm_vae_checkpoint`; for saving, too."""


class FluxAutoencoderConfig(NamedTuple):
    """What policies ask of an autoencoder."""

    latent_dim: int  # dimensions of one latent token
    token_side: int  # pixels that one token covers in each direction


class FluxAutoencoder(nn.Module):
    """Images to latents scale_factor * (z - shift_factor), with z the posterior's mean, and back.

    Computes in float32: bfloat16 weights are widened once, since what is encoded conditions all that follows.

    Args:
        sizes: under the names of `PUBLISHED`, whose values stand in for what is missing.
        patch: side of the square of latents that makes one token.
    """

    def __init__(self, sizes: Mapping[str, Any], patch: int) -> None:
        super().__init__()
        self.sizes = PUBLISHED | {name: sizes[name] for name in PUBLISHED if name in sizes}
        self.levels, self.patch = len(self.sizes["ch_mult"]), patch
        self.config = FluxAutoencoderConfig(patch**2 * self.sizes["z_channels"], 2 ** (self.levels - 1) * patch)
        kind: Any = AutoencoderKL  # which declares tuples of one element
        self.coder = kind(
            in_channels=self.sizes["in_channels"],
            out_channels=self.sizes["out_ch"],
            latent_channels=self.sizes["z_channels"],
            block_out_channels=tuple(self.sizes["ch"] * factor for factor in self.sizes["ch_mult"]),
            down_block_types=("DownEncoderBlock2D",) * self.levels,
            up_block_types=("UpDecoderBlock2D",) * self.levels,
            layers_per_block=self.sizes["num_res_blocks"],
            use_quant_conv=False,
            use_post_quant_conv=False,
        )
        if self.sizes["ch_mult"][0] != 1:  # FLUX enters its first level with `ch` channels, diffusers with the level's
            first, width = self.coder.encoder, self.sizes["ch"]
            first.conv_in = nn.Conv2d(self.sizes["in_channels"], width, 3, padding=1)
            block: Any = ResnetBlock2D  # which declares that `temb_channels` is a number
            first.down_blocks[0].resnets[0] = block(
                in_channels=width, out_channels=width * self.sizes["ch_mult"][0], temb_channels=None, eps=1e-6
            )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.coder.device

    # Weights under FLUX's names

    def flux_weights(self) -> dict[str, Tensor]:
        """The weights by FLUX's names, in whose files attention's linear layers are convolutions [O, I, 1, 1]."""
        return {
            self._flux_name(name): value[..., None, None] if value.ndim == 2 else value
            for name, value in self.coder.state_dict().items()
        }

    def load_flux(self, weights: Mapping[str, Tensor]) -> None:
        """Take all weights by FLUX's names, as `ae.safetensors` has them."""
        own = self.coder.state_dict()
        self.coder.load_state_dict({name: weights[self._flux_name(name)].view(own[name].shape) for name in own})

    def _flux_name(self, name: str) -> str:
        for pattern, flux in _FLUX_NAMES:
            name = re.sub(pattern, flux, name)
        # diffusers counts the decoder's levels from the smallest maps, FLUX from the largest.
        return re.sub(r"\bup\.(\d+)", lambda found: f"up.{self.levels - 1 - int(found[1])}", name)

    # Maps of latents

    def encode_maps(self, pixels: Tensor) -> Tensor:
        """Latents [B, z, H / side, W / side] of images [B, 3, H, W] in [-1, 1]."""
        mean = self.coder.encode(pixels.to(self.coder.dtype)).latent_dist.mean
        return self.sizes["scale_factor"] * (mean - self.sizes["shift_factor"])

    def decode_maps(self, latents: Tensor) -> Tensor:
        """Images [B, 3, H, W] around [-1, 1], not clamped, of latents [B, z, h, w]."""
        scaled = latents.to(self.coder.dtype) / self.sizes["scale_factor"] + self.sizes["shift_factor"]
        return self.coder.decode(scaled).sample

    # Tokens of latents

    def tokens(self, maps: Tensor) -> Tensor:
        """Row-major tokens [B, N, C] of latents [B, z, h, w]; inside a token row, column, channel."""
        return patchify(maps.movedim(1, -1), self.patch)

    def maps(self, tokens: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """Inverts `tokens`; `grid` are rows and columns, None for a square."""
        rows, columns = grid or (math.isqrt(tokens.shape[1]),) * 2
        if rows * columns != tokens.shape[1]:
            raise ValueError(f"grid is {(rows, columns)}, expected rows * columns = {tokens.shape[1]}, the tokens")
        return unpatchify(tokens, self.patch, (rows, columns)).movedim(-1, 1).contiguous()

    def encode(self, pixels: Tensor) -> Tensor:
        """Tokens [B, N, C] float32 of uint8 images [B, H, W, 3] whose sides are multiples of `token_side`."""
        side = self.config.token_side
        if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[1] % side or pixels.shape[2] % side:
            expected = f"uint8 [B, H, W, 3] with sides that are multiples of {side}"
            raise ValueError(f"pixels are {pixels.dtype} {list(pixels.shape)}, expected {expected}")
        return self.tokens(self.encode_maps(normalised(pixels))).float()

    def decode(self, tokens: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """Images, uint8 [B, H, W, 3], of tokens [B, N, C]; cut down to bytes, not rounded, as BAGEL's code does."""
        images = self.decode_maps(self.maps(tokens.float(), grid)).float()
        return ((images * 0.5 + 0.5).clamp(0, 1) * 255).to(torch.uint8).movedim(1, -1)


def normalised(pixels: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] as float32 [B, 3, H, W] in [-1, 1], with mean and std of 0.5.

    Contiguous: on tensors whose last dimension is the channel, torch's group norm loses three digits on a CPU.
    """
    return ((pixels.float() / 255 - 0.5) / 0.5).movedim(-1, 1).contiguous()
