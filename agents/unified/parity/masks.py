"""Recomputes who may look at whom in a packed sequence, from the masks that the model builds for blocks."""

from __future__ import annotations

import torch
from torch import Tensor

from editenv.agents.unified.backbone import image_visibility, text_visibility
from editenv.agents.unified.context import Context
from editenv.agents.unified.parity.fixture import Fixture

_CAUSAL, _NOISE = 0, 2


def mask_outputs(fixture: Fixture) -> dict[str, Tensor]:
    """`out.mask.*`: visibility of every pattern of splits, which both reference variants agree on."""
    found = {}
    for name in fixture.outputs:
        if name.startswith("out.mask."):
            pattern = f"in.mask.{name.split('.')[2]}"
            lengths = fixture.tensors[f"{pattern}.split_lens"].tolist()
            modes = fixture.tensors[f"{pattern}.modes"].tolist()
            found[name] = _visibility(lengths, modes).to(fixture.tensors[name].dtype)
    return found


def _visibility(lengths: list[int], modes: list[int]) -> Tensor:
    """True where a token (row) sees another (column), [S, S]; a noisy block stays out of the context."""
    visible = torch.zeros(sum(lengths), sum(lengths), dtype=torch.bool)
    context, columns, start = Context.empty(1), torch.zeros(0, dtype=torch.long), 0
    for length, mode in zip(lengths, modes, strict=True):
        own = torch.arange(start, start + length)
        seen = torch.cat([columns, own])
        causal = mode == _CAUSAL
        mask = text_visibility(context, None, length) if causal else image_visibility(context, length)
        visible[own[:, None], seen] = True if mask is None else mask[0, 0]
        if mode != _NOISE:
            context.grow(None, length, 1, torch.zeros(length, dtype=torch.bool))
            columns = seen
        start += length
    return visible
