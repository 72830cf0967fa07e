"""Pictures and latent maps as sequences of square patches, in BAGEL's order."""

from __future__ import annotations

from torch import Tensor


def to_patches(maps: Tensor, side: int) -> Tensor:
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


def from_patches(patches: Tensor, side: int, grid: tuple[int, int]) -> Tensor:
    """Invert `to_patches` for a grid of (rows, columns) patches: [B, rows * side, columns * side, C]."""
    rows, columns = grid
    cut = patches.reshape(patches.shape[0], rows, columns, side, side, -1)
    return cut.transpose(2, 3).reshape(patches.shape[0], rows * side, columns * side, -1)
