"""Variety of what a policy tries: temperatures over a run and over turns, and the entropy of tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def check_heats(heats: Sequence[float], end: float | None) -> None:
    """Refuses temperatures of turns that nothing can be sampled at, or beside one of the last iteration.

    Raises:
        ValueError: a temperature is not above 0, or `end` is given too.
    """
    if any(not heat > 0 for heat in heats):
        raise ValueError(f"turn_temperatures is {list(heats)}, expected numbers above 0")
    if heats and end is not None:
        raise ValueError(
            f"turn_temperatures is {list(heats)} with temperature_end {end}, expected one of the two"
        )


def turn_heats(settings: RolloutSettings, turns: Sequence[int]) -> Tensor | None:
    """Temperature of the turn that each row plays, [B] float32; None where it is the same in all turns."""
    heats = settings.turn_temperatures
    if not heats:
        return None
    return torch.tensor([heats[min(turn, len(heats) - 1)] for turn in turns])


def heat_of(turns: Mapping[str, Tensor], settings: RolloutSettings) -> float | Tensor:
    """What the logits of sampled turns [M, ...] were divided by: one number, or one of each, [M, 1, 1]."""
    heats = turns.get("temperature")
    if heats is None:
        return settings.turn.temperature or 1.0
    # Turns that were never played, which fill up shorter parts of a rollout, have 0.
    return heats.where(heats > 0, 1.0)[:, None, None]


def token_entropy(logits: Tensor, mask: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """Entropy of the distribution each token was drawn from: -sum of p log p, p = softmax(logits / T).

    Args:
        logits: [M, L, V]; gradients flow through them.
        mask: True at tokens, [M, L].
        temperature: T; of each turn, [M, 1, 1].

    Returns:
        [M, L] in nats, 0 at padding.
    """
    log_probs = torch.log_softmax(logits.float() / temperature, -1)
    # Where p rounds to 0, log p may be -inf, and their product is 0 in the limit.
    terms = log_probs.exp() * log_probs.clamp(min=torch.finfo(log_probs.dtype).min)
    return -terms.sum(-1).masked_fill(~mask, 0.0)
