"""Turns of different lengths in one tensor, and back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from editenv.agents.unified import Block, ImageBlock, TextBlock

_ON_THE_LEFT = ("transcript_ids", "transcript_mask")
_OF_THE_SESSION = ("group_id", "names")


def real(block: TextBlock) -> Tensor:
    """True at a block's real tokens, [B, L]."""
    return torch.ones_like(block.ids, dtype=torch.bool) if block.mask is None else block.mask


def stack_turns(turns: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors [S, ...] of K turns as [S, K, ...]; the third dimension is padded with zeros where it differs.

    Transcripts are padded on the left, everything else on the right.
    """
    return {name: _stack(name, [turn[name] for turn in turns]) for name in turns[0]}


def single_turns(sessions: dict[str, Tensor]) -> dict[str, Tensor]:
    """Sessions [S, K, ...] as single turns [S * K, ...], a session's turns side by side."""
    return {name: value.flatten(0, 1) for name, value in sessions.items() if name not in _OF_THE_SESSION}


def with_past(sessions: dict[str, Tensor]) -> dict[str, Tensor]:
    """What came before each turn of sessions [S, K, ...], in K - 1 places that end with the turn before.

    Returns:
        `past_there` [S, K, K - 1], False where a place lies before the session's start; `past_source` [S, K,
        K - 1, N, C]; `past_ids` and `past_mask` [S, K, K - 1, L], of the intents.
    """
    count, turns = sessions["source"].shape[:2]
    place = torch.arange(turns)[:, None] + torch.arange(turns - 1) - (turns - 1)
    there = (place >= 0).to(sessions["source"].device)
    index = place.clamp(min=0)
    return {
        "past_there": there.expand(count, -1, -1),
        "past_source": sessions["source"][:, index],
        "past_ids": sessions["condition_ids"][:, index],
        "past_mask": sessions["condition_mask"][:, index] & there[..., None],
    }


def past_blocks(turns: dict[str, Tensor]) -> list[Block]:
    """Pictures and intents before single turns [M, ...], as `with_past` lays them out."""
    blocks: list[Block] = []
    for place in range(turns["past_there"].shape[1]):
        there = turns["past_there"][:, place]
        if there.any():
            source = turns["past_source"][:, place]
            intent = trimmed(turns["past_ids"][:, place], turns["past_mask"][:, place])
            blocks += [ImageBlock(source, present=None if there.all() else there), intent]
    return blocks


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
