"""A session's earlier pictures and intents, as blocks that the model reads before the current ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from editenv.agents.editor.checkpoint import Checkpoint
from editenv.agents.editor.prompts import intent_block
from editenv.agents.editor.turns import encode
from editenv.agents.unified import Block, ImageBlock, TextBlock
from editenv.types import Image

Past = tuple[tuple[Image, str], ...]
"""Earlier turns, oldest first: the picture a turn began with, and its intent."""


def history_blocks(checkpoint: Checkpoint, pasts: Sequence[Past]) -> list[Block]:
    """Image, intent, picture, intent and so on, of all rows side by side.

    Rows with fewer turns begin later: their first blocks are absent, and rope starts with what is there.
    """
    blocks: list[Block] = []
    longest = max(len(past) for past in pasts)
    for place in range(longest):
        turns = [
            past[place - longest + len(past)] if place >= longest - len(past) else None for past in pasts
        ]
        there = torch.tensor([turn is not None for turn in turns])
        some = next(turn for turn in turns if turn is not None)
        latents = encode(checkpoint, [(turn or some)[0] for turn in turns])
        intent = intent_block(checkpoint.tokenizer, [(turn or some)[1] for turn in turns])
        there = there.to(latents.device)
        if there.all():
            blocks += [ImageBlock(latents), intent.to(latents.device)]
            continue
        mask = torch.ones_like(intent.ids, dtype=torch.bool) if intent.mask is None else intent.mask
        shown = TextBlock(intent.ids, mask).to(latents.device)
        assert shown.mask is not None
        blocks += [
            ImageBlock(latents, present=there),
            TextBlock(shown.ids, shown.mask & there[:, None]),
        ]
    return blocks
