"""Turns of different lengths in one tensor, and back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from editenv.agents.unified import TextBlock

_ON_THE_LEFT = ("transcript_ids", "transcript_mask")


def real(block: TextBlock) -> Tensor:
    """True at a block's real tokens, [B, L]."""
    return torch.ones_like(block.ids, dtype=torch.bool) if block.mask is None else block.mask


def stack_turns(turns: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors [S, ...] of K turns as [S, K, ...]; the third dimension is padded with zeros where it differs.

    Transcripts are padded on the left, everything else on the right.
    """
    return {name: _stack(name, [turn[name] for turn in turns]) for name in turns[0]}


def trimmed(ids: Tensor, mask: Tensor, left: bool = False) -> TextBlock:
    """Ids and mask [B, L] without the columns that are padding in every row."""
    used = mask.any(0).nonzero()
    if not len(used):
        return TextBlock(ids[:, :1], mask[:, :1])
    ids, mask = (
        (ids[:, used.min() :], mask[:, used.min() :]) if left else _head(ids, mask, int(used.max()) + 1)
    )
    return TextBlock(ids, None if mask.all() else mask)


def _head(ids: Tensor, mask: Tensor, length: int) -> tuple[Tensor, Tensor]:
    return ids[:, :length], mask[:, :length]


def _stack(name: str, values: Sequence[Tensor]) -> Tensor:
    if values[0].ndim != 2:
        return torch.stack(list(values), 1)
    length = max(value.shape[1] for value in values)
    before = name in _ON_THE_LEFT
    padded = []
    for value in values:
        missing = length - value.shape[1]
        padded.append(torch.nn.functional.pad(value, (missing, 0) if before else (0, missing)))
    return torch.stack(padded, 1)
