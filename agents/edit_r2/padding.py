"""Turns of different lengths in one tensor, and back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

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


def with_past(sessions: dict[str, Tensor], index: Tensor | None = None) -> dict[str, Tensor]:
    """What came before each turn of sessions [S, K, ...], in K - 1 places that end with the turn before.

    Args:
        sessions: their tensors.
        index: see `past_of`, [S, K, K - 1]; None where a row is one session.

    Returns:
        As `past_of`.
    """
    count, turns = sessions["source"].shape[:2]
    if index is None:
        place = torch.arange(turns)[:, None] + torch.arange(turns - 1) - (turns - 1)
        row = torch.arange(count)[:, None, None] * turns
        index = (row + place).masked_fill(place < 0, -1)
    return past_of(sessions, index)


def past_of(sessions: dict[str, Tensor], index: Tensor) -> dict[str, Tensor]:
    """What stands at places of sessions [S, K, ...], as what came before some turns.

    Args:
        sessions: their tensors.
        index: [S, Q, P] for Q turns a row, flat places s * K + k; -1 for none.

    Returns:
        `past_there` [S, Q, P], False where there is nothing; `past_source` [S, Q, P, N, C]; `past_ids` and
        `past_mask` [S, Q, P, L], of the intents.
    """
    index = index.to(sessions["source"].device)
    there, index = index >= 0, index.clamp(min=0)
    return {
        "past_there": there,
        "past_source": sessions["source"].flatten(0, 1)[index],
        "past_ids": sessions["condition_ids"].flatten(0, 1)[index.to(sessions["condition_ids"].device)],
        "past_mask": sessions["condition_mask"].flatten(0, 1)[index.to(sessions["condition_mask"].device)]
        & there.to(sessions["condition_mask"].device)[..., None],
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
        padded.append(pad(value, (missing, 0) if before else (0, missing)))
    return torch.stack(padded, 1)
