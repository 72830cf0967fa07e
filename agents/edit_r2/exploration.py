"""Variety of what a policy tries: temperatures over a run, and the entropy of tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from editenv.agents.edit_r2.rollout import RolloutSettings


def temperature_at(iteration: int, iterations: int, start: float, end: float | None) -> float:
    """On a straight line from `start` in iteration 0 to `end` in the last one; `start` where that is None."""
    if end is None or iterations < 2:
        return start
    return start + (end - start) * min(iteration / (iterations - 1), 1.0)


def at_iteration(settings: RolloutSettings, iteration: int, iterations: int) -> RolloutSettings:
    """The settings with the temperature of an iteration, for its rollout and its updates."""
    if settings.temperature_end is None:
        return settings
    start = settings.turn.temperature
    heat = temperature_at(iteration, iterations, start, settings.temperature_end)
    return replace(settings, turn=replace(settings.turn, temperature=heat))


def token_entropy(logits: Tensor, mask: Tensor, temperature: float = 1.0) -> Tensor:
    """Entropy of the distribution each token was drawn from: -sum of p log p, p = softmax(logits / T).

    Args:
        logits: [M, L, V]; gradients flow through them.
        mask: True at tokens, [M, L].
        temperature: T.

    Returns:
        [M, L] in nats, 0 at padding.
    """
    log_probs = torch.log_softmax(logits.float() / temperature, -1)
    # Where p rounds to 0, log p may be -inf, and their product is 0 in the limit.
    terms = log_probs.exp() * log_probs.clamp(min=torch.finfo(log_probs.dtype).min)
    return -terms.sum(-1).masked_fill(~mask, 0.0)
