"""A small autoencoder, patch-aligned: its kernels are as large as its strides."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init


class CellAutoencoderConfig(PreTrainedConfig):
    """Sizes of a `CellAutoencoder`.

    Attributes:
        image_channels: channels of a picture.
        stride: side of the square of pixels that is coded on its own.
        patch: side of the square of codes that makes one token; a token covers stride * patch pixels a side.
        code_channels: dimensions of one code; a token has patch * patch * code_channels.
        width: hidden units of encoder and decoder.

    Raises:
        ValueError: if a size is no positive integer.
    """

    model_type = "editenv_cell_autoencoder"

    image_channels: int = 3
    stride: int = 16
    patch: int = 1
    code_channels: int = 32
    width: int = 320

    def __post_init__(self, **kwargs: Any) -> None:
        """Check the sizes."""
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
        pixels = config.stride**2 * config.image_channels
        self.encoder = _network(pixels, config.width, config.code_channels)
        self.norm = nn.BatchNorm1d(config.code_channels, affine=False)
        self.decoder = _network(config.code_channels, config.width, pixels)
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
        """Latent tokens of pictures.

        Args:
            pixels: uint8, [B, H, W, 3], H and W multiples of stride * patch.

        Returns:
            Row-major tokens of unit variance, [B, N, C] float32.

        Raises:
            ValueError: for another dtype or shape.
        """
        if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[-1] != self.config.image_channels:
            expected = f"uint8 [B, H, W, {self.config.image_channels}]"
            raise ValueError(f"pixels are {pixels.dtype} {list(pixels.shape)}, expected {expected}")
        height, width = pixels.shape[1:3]
        if height % self.config.token_side or width % self.config.token_side:
            expected = f"multiples of {self.config.token_side}"
            raise ValueError(f"pictures are {height} x {width}, expected {expected}")
        stride = self.config.stride
        codes = self.encoder(patchify(pixels, stride).float() / 127.5 - 1)
        codes = self.norm(codes.flatten(0, 1)).view(codes.shape)
        return patchify(codes.unflatten(1, (height // stride, width // stride)), self.config.patch)

    def decode_float(self, tokens: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """Pictures of latent tokens, differentiable and not clamped.

        Args:
            tokens: [B, N, C].
            grid: rows and columns of tokens, None for a square.

        Returns:
            [B, H, W, 3] float32, where 0 is black and 1 is white.
        """
        if grid is None:
            side = math.isqrt(tokens.shape[1])
            grid = (side, side)
        if grid[0] * grid[1] != tokens.shape[1]:
            raise ValueError(f"grid is {grid}, expected rows * columns = {tokens.shape[1]}, the number of tokens")
        patch = self.config.patch
        codes = unpatchify(tokens.float(), patch, grid).flatten(1, 2)
        pixels = self.decoder(codes) / 2 + 0.5
        return unpatchify(pixels, self.config.stride, (grid[0] * patch, grid[1] * patch))

    def decode(self, tokens: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """Pictures of latent tokens [B, N, C], rounded to uint8 [B, H, W, 3]."""
        return (self.decode_float(tokens, grid).clamp(0, 1) * 255).round().to(torch.uint8)

    def forward(self, pixels: Tensor, latent_noise: Tensor | None = None) -> Tensor:
        """Decode the latents of uint8 pictures [B, H, W, 3] plus `latent_noise`, as `decode_float` does."""
        tokens = self.encode(pixels)
        if latent_noise is not None:
            tokens = tokens + latent_noise
        side = self.config.token_side
        return self.decode_float(tokens, (pixels.shape[1] // side, pixels.shape[2] // side))

    def token_count(self, height: int, width: int) -> int:
        """Number of tokens N of a picture of this size."""
        return (height // self.config.token_side) * (width // self.config.token_side)


def reconstruction_loss(
    model: CellAutoencoder, pixels: Tensor, generator: torch.Generator, largest_noise: float = 0.3
) -> Tensor:
    """L1 + 4 * squared error of pictures decoded from noisy latents.

    The decoder is fed latents with Gaussian noise of standard deviation U(0, largest_noise), one draw a
    picture, so that it also decodes what a flow model leaves slightly off.

    Args:
        model: in training mode, so that the batch norm takes the batch's statistics.
        pixels: uint8 [B, H, W, 3].
        generator: source of the noise.
        largest_noise: in units of the latents' standard deviation.

    Returns:
        Scalar, for pictures scaled to [0, 1].
    """
    count = model.token_count(*pixels.shape[1:3])
    shape = (len(pixels), count, model.config.latent_dim)
    device = pixels.device
    level = torch.rand(len(pixels), 1, 1, generator=generator, device=device) * largest_noise
    noise = torch.randn(shape, generator=generator, device=device) * level
    error = model(pixels, noise) - pixels.float() / 255
    return error.abs().mean() + 4 * error.square().mean()


def _network(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, outputs)
    )


def patchify(maps: Tensor, side: int) -> Tensor:
    """Cut [B, H, W, C] into patches of side x side: row-major patches, each (row, column, channel).

    Returns:
        [B, (H / side) * (W / side), side * side * C].

    Raises:
        ValueError: if H or W is no multiple of `side`.
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
