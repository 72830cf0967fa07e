"""What latents are given on the way in: their time and their place."""

from __future__ import annotations

import torch
from torch import Tensor, nn

TIME_FEATURES = 256


def time_features(t: Tensor, count: int = TIME_FEATURES) -> Tensor:
    """Cosines, then sines of t at `count` / 2 frequencies 10000^(-i / (count / 2)).

    Args:
        t: flow times in [0, 1], [B], used as they are.
        count: number of features, even.

    Returns:
        [B, count] float32.
    """
    half = count // 2
    exponent = torch.arange(half, dtype=torch.float32, device=t.device) / half
    angles = t.float()[:, None] * torch.exp(-torch.log(torch.tensor(10000.0)) * exponent)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class ZeroLinear(nn.Linear):
    """A linear layer that starts at zero."""


class TimeEmbedder(nn.Module):
    """Two linear layers over `time_features`: [B] -> [B, hidden_size]."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(TIME_FEATURES, hidden_size), nn.SiLU(), nn.Linear(hidden_size, hidden_size)
        )

    def forward(self, t: Tensor) -> Tensor:
        """Embed times t, [B], as [B, hidden_size]."""
        return self.mlp(time_features(t).to(next(self.mlp.parameters()).dtype))


def position_table(width: int, side: int) -> Tensor:
    """Fixed sine table of a side x side grid; row r * side + c belongs to row r and column c.

    The first half of the channels tells the column, the second the row, each as sines then cosines at the
    frequencies 10000^(-k / (width / 4)); computed in float64.

    Returns:
        [side * side, width] float32.
    """
    quarter = width // 4
    frequency = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    angles = torch.arange(side, dtype=torch.float64)[:, None] * frequency
    line = torch.cat([angles.sin(), angles.cos()], dim=-1)
    column = line.repeat(side, 1)
    row = line.repeat_interleave(side, dim=0)
    return torch.cat([column, row], dim=-1).float()


def latent_position_ids(grid: tuple[int, int], side: int, device: torch.device | str = "cpu") -> Tensor:
    """Rows of `position_table` for a grid of (rows, columns) tokens in row-major order, [N] int64.

    Raises:
        ValueError: if the grid is larger than the table's side.
    """
    rows, columns = grid
    if not (0 < rows <= side and 0 < columns <= side):
        raise ValueError(f"grid is {grid}, expected rows and columns between 1 and max_latent_size = {side}")
    row = torch.arange(rows, device=device)[:, None] * side
    return (row + torch.arange(columns, device=device)).flatten()


class PositionTable(nn.Module):
    """`position_table` as a frozen parameter, so that it is part of the state dict as in BAGEL's files."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.width, self.side = width, side
        self.pos_embed = nn.Parameter(torch.empty(side * side, width), requires_grad=False)

    def forward(self, grid: tuple[int, int]) -> Tensor:
        """Position embeddings of a grid of (rows, columns) tokens, [N, width]."""
        return self.pos_embed[latent_position_ids(grid, self.side, self.pos_embed.device)]
