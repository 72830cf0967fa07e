"""In which arithmetic the network runs; log-probs, densities, advantages and losses are float32 anyway."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from editenv.registry import lookup

PRECISIONS: dict[str, torch.dtype | None] = {"float32": None, "bfloat16": torch.bfloat16}
"""Names, and what matrix products are cast to; None leaves them as the weights are."""


def check_precision(name: str, cuda: bool | None = None) -> None:
    """Refuses what this machine cannot run.

    Args:
        name: in PRECISIONS.
        cuda: whether there is a CUDA device; None looks.

    Raises:
        ValueError: the name is not known, or wants a device that is not there.
    """
    if lookup("precision", name, PRECISIONS) is None:
        return
    if not (torch.cuda.is_available() if cuda is None else cuda):
        raise ValueError(f"precision is {name!r}, expected 'float32' where there is no CUDA device")


def computing(name: str) -> AbstractContextManager[Any]:
    """Runs what is inside in a precision, rollouts as updates, so that both compute the same log-probs."""
    dtype = PRECISIONS[name]
    return nullcontext() if dtype is None else torch.autocast("cuda", dtype=dtype)


def masters_in_float32(model: nn.Module) -> None:
    """Holds whatever trains in float32, be the frozen weights beside it as small as they may.

    An update is often below a half-precision weight's rounding: 1 + 1e-3 is 1 in bfloat16.
    """
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:
            parameter.data = parameter.data.float()
