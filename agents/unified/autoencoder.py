"""A small autoencoder, patch-aligned: its kernels are as large as its strides."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init


class CellAutoencoderConfig(PreTrainedConfig):
    """Sizes of a `CellAutoencoder`, positive integers."""

    model_type = "editenv_cell_autoencoder"

    image_channels: int = 3  # channels of a picture
    stride: int = 16  # side of the square of pixels that is coded on its own
    patch: int = 1  # side of the square of codes that makes one token; a token covers stride * patch pixels a side
    code_channels: int = 32  # dimensions of one code; a token has patch * patch * code_channels
    width: int = 320  # hidden units of encoder and decoder

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        for name in ("image_channels", "stride", "patch", "code_channels", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a positive integer")

    @property
    def latent_dim(self) -> int:
        """Dimensions C of one latent token."""
        return self.patch**2 * self.code_channels

    @property
    def token_side(self) -> int:
        """Pixels that one token covers in each direction."""
        return self.stride * self.patch


class CellAutoencoder(PreTrainedModel):
    """Codes every square of pixels on its own, so that no cell leaks into its neighbour's code.

    Codes leave the encoder through a batch norm without affine parameters: unit variance in each dimension,
    with running statistics in evaluation.
    """

    config_class = CellAutoencoderConfig
    config: CellAutoencoderConfig
    main_input_name = "pixels"

    def __init__(self, config: CellAutoencoderConfig) -> None:
        super().__init__(config)

        def network(inputs: int, outputs: int) -> nn.Sequential:
            width = config.width
            hidden = (nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width), nn.GELU())
            return nn.Sequential(*hidden, nn.Linear(width, outputs))

        pixels = config.stride**2 * config.image_channels
        self.encoder = network(pixels, config.code_channels)
        self.norm = nn.BatchNorm1d(config.code_channels, affine=False)
        self.decoder = network(config.code_channels, pixels)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Normal weights of variance 1 / inputs, so that codes start far above the batch norm's epsilon."""
        if isinstance(module, nn.Linear):
            init.normal_(module.weight, std=module.in_features**-0.5)
            init.zeros_(module.bias)
        else:
            super()._init_weights(module)

    def encode(self, pixels: Tensor) -> Tensor:
        """Row-major latent tokens of unit variance, [B, N, C] float32.

        Args:
            pixels: uint8, [B, H, W, 3], H and W multiples of stride * patch.
        """
        config = self.config
        if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[-1] != config.image_channels:
            expected = f"uint8 [B, H, W, {config.image_channels}]"
            raise ValueError(f"pixels are {pixels.dtype} {list(pixels.shape)}, expected {expected}")
        height, width = pixels.shape[1:3]
        if height % config.token_side or width % config.token_side:
            raise ValueError(f"pictures are {height} x {width}, expected multiples of {config.token_side}")
        codes = self.encoder(patchify(pixels, config.stride).float() / 127.5 - 1)
        codes = self.norm(codes.flatten(0, 1)).view(codes.shape)
        return patchify(codes.unflatten(1, (height // config.stride, width // config.stride)), config.patch)

    def decode_float(self, tokens: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """Pictures [B, H, W, 3] float32 of latent tokens [B, N, C], not clamped; 0 is black and 1 is white.

        Args:
            tokens: [B, N, C].
            grid: rows and columns of tokens, None for a square.
        """
        rows, columns = grid or (math.isqrt(tokens.shape[1]),) * 2
        if rows * columns != tokens.shape[1]:
            raise ValueError(
                f"grid is {(rows, columns)}, expected rows * columns = {tokens.shape[1]}, the number of tokens"
            )
        patch = self.config.patch
        codes = unpatchify(tokens.float(), patch, (rows, columns)).flatten(1, 2)
        pixels = self.decoder(codes) / 2 + 0.5
        return unpatchify(pixels, self.config.stride, (rows * patch, columns * patch))

    def decode(self, tokens: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """Pictures of latent tokens [B, N, C], rounded to uint8 [B, H, W, 3]."""
        return (self.decode_float(tokens, grid).clamp(0, 1) * 255).round().to(torch.uint8)

    def forward(self, pixels: Tensor, latent_noise: Tensor | float = 0.0) -> Tensor:
        """Decode the latents of uint8 pictures [B, H, W, 3] plus `latent_noise`, as `decode_float` does."""
        side = self.config.token_side
        return self.decode_float(
            self.encode(pixels) + latent_noise, (pixels.shape[1] // side, pixels.shape[2] // side)
        )


def reconstruction_loss(
    model: CellAutoencoder, pixels: Tensor, generator: torch.Generator, largest_noise: float = 0.3
) -> Tensor:
    """L1 + 4 * squared error of pictures decoded from noisy latents, for pictures scaled to [0, 1].

    The decoder is fed latents with Gaussian noise of standard deviation U(0, largest_noise), one draw a
    picture, so that it also decodes what a flow model leaves slightly off.

    Args:
        model: in training mode, so that the batch norm takes the batch's statistics.
        pixels: uint8 [B, H, W, 3].
        generator: source of the noise.
        largest_noise: in units of the latents' standard deviation.
    """
    (height, width), side, device = pixels.shape[1:3], model.config.token_side, pixels.device
    shape = len(pixels), (height // side) * (width // side), model.config.latent_dim
    level = torch.rand(len(pixels), 1, 1, generator=generator, device=device) * largest_noise
    noise = torch.randn(shape, generator=generator, device=device) * level
    error = model(pixels, noise) - pixels.float() / 255
    return error.abs().mean() + 4 * error.square().mean()


def patchify(maps: Tensor, side: int) -> Tensor:
    """Cut [B, H, W, C] into patches of side x side: [B, (H / side) * (W / side), side * side * C].

    Patches are row-major, and so is each of them (row, column, channel).
    """
    batch, height, width, channels = maps.shape
    if height % side or width % side:
        raise ValueError(f"maps are {height} x {width}, expected multiples of the patch side {side}")
    cut = maps.reshape(batch, height // side, side, width // side, side, channels)
    return cut.transpose(2, 3).reshape(batch, -1, side * side * channels)


def unpatchify(patches: Tensor, side: int, grid: tuple[int, int]) -> Tensor:
    """Invert `patchify` for a grid of (rows, columns) patches: [B, rows * side, columns * side, C]."""
    rows, columns = grid
    cut = patches.reshape(patches.shape[0], rows, columns, side, side, -1)
    return cut.transpose(2, 3).reshape(patches.shape[0], rows * side, columns * side, -1)
