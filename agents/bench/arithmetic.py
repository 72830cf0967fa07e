"""How many operations work takes by the shapes of its products, and how many this machine can do."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

_SIDE = 1024
_TRIES = 20


def _attention(query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> int:
    """Both products of an attention: 2 B H L S (D + E) for [B, H, L, D], [B, H, S, D] and [B, H, S, E]."""
    batch, heads, length, width = query
    return int(2 * batch * heads * length * key[2] * (width + value[3]))


def _attention_back(gradient: Any, query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> int:
    """On the way back there are two products for each of them, and the weights' own once more."""
    batch, heads, length, width = query
    return 2 * _attention(query, key, value) + int(2 * batch * heads * length * key[2] * width)


_ON_CPU: dict[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_back,
}
"""What torch's own table of operations lacks."""


def operations(work: Callable[[], object]) -> int:
    """Floating point operations of all matrix products, convolutions and attentions in a piece of work.

    They follow from the shapes, a multiplication and an addition counting as two; what is added up, normed or
    copied beside them is not counted. The work is done once, slower than without counting.
    """
    counter = FlopCounterMode(display=False, custom_mapping=_ON_CPU)
    with counter:
        work()
    return int(counter.get_total_flops())


def peak(device: torch.device | str = "cpu") -> float:
    """Operations a second of the best of a few products of 1024 x 1024 matrices in float32."""
    matrix = torch.randn(_SIDE, _SIDE, device=device)
    best = math.inf
    for _ in range(_TRIES):
        start = perf_counter()
        product = matrix @ matrix
        # Waits for a GPU, which works on by itself.
        float(product[0, 0])
        best = min(best, perf_counter() - start)
    return 2 * _SIDE**3 / best
