"""Training under DeepSpeed's ZeRO-2, whose engine steps of itself before anyone has seen the gradients.

Each process owns a piece of every group's gradient and no parameter has its own. Here the engine only goes
backward, pieces are bounded as whole gradients are, and the step comes when the trainer asks for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.distributed import all_reduce


class BackwardAlone:
    """What accelerate calls to go backward, without the step that its own makes there.

    Args:
        engine: DeepSpeed's.
    """

    def __init__(self, engine: Any) -> None:
        self.engine, self.last = engine, True

    def backward(self, loss: Tensor, sync_gradients: bool = True, **kwargs: Any) -> None:
        """Adds a loss's gradient to what there is; the last one of a step completes it."""
        self.engine.set_gradient_accumulation_boundary(is_boundary=sync_gradients and self.last)
        self.engine.backward(loss, **kwargs)

    @contextmanager
    def more_follows(self) -> Iterator[None]:
        """What goes backward inside is not the last of its step."""
        self.last = False
        try:
            yield
        finally:
            self.last = True


def step_apart(accelerator: Any) -> BackwardAlone:
    """Parts the engine's step from going backward, in an accelerator that holds a model for DeepSpeed."""
    wrapped = accelerator.deepspeed_engine_wrapped
    if not isinstance(wrapped, BackwardAlone):
        # One bound on the norm of everything, which accelerate asks for unasked.
        wrapped.engine.optimizer.clip_grad = 0.0
        wrapped = accelerator.deepspeed_engine_wrapped = BackwardAlone(wrapped.engine)
    return wrapped


def clip_pieces(zero: Any, max_norm: float) -> dict[str, float]:
    """Bounds each group's gradient norm and returns the norms before, as `clip_gradients` does.

    Args:
        zero: DeepSpeed's ZeRO optimiser after a backward; its `averaged_gradients` are this process's pieces
            of all groups. It leaves out by itself a step whose gradient is no number.
        max_norm: of one group's whole gradient.
    """
    found = {}
    for number, group in enumerate(zero.param_groups):
        pieces = [piece for piece in zero.averaged_gradients[number] if piece is not None]
        square = sum((piece.square().sum() for piece in pieces), start=group["params"][0].new_zeros(()))
        all_reduce(square)
        norm = math.sqrt(float(square))
        if math.isfinite(norm) and norm > max_norm:
            torch._foreach_mul_(pieces, max_norm / (norm + 1e-6))
        found[str(group["name"])] = norm
    return found
