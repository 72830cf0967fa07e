"""What checks share: the trainer, the known policy, and rollouts that are made once."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from editenv.agents.audit.known import KnownPolicy
from editenv.agents.audit.protocol import Auditable, Facts, NotOffered, Turns
from editenv.agents.audit.theory import Bools, Floats

Ints = NDArray[np.int64]
ROLLOUTS = 6
"""Iterations whose rollouts are looked at together where shares and moments are measured."""


class Bench:
    """A trainer on the bench.

    Args:
        trainer: to be audited.
        seed: of its rollouts.
    """

    def __init__(self, trainer: Auditable, seed: int = 0) -> None:
        self.trainer, self.seed = trainer, seed

    @property
    def facts(self) -> Facts:
        """What the trainer says of itself."""
        return self.trainer.facts

    @cached_property
    def policy(self) -> KnownPolicy:
        """The known policy."""
        return KnownPolicy(self.trainer.dimensions)

    @cached_property
    def rollouts(self) -> list[Turns]:
        """Rollouts of the first iterations."""
        return self.rollouts_of(self.trainer)

    def rollouts_of(self, trainer: Auditable) -> list[Turns]:
        """Rollouts of a trainer's first iterations."""
        return [trainer.rollout(self.policy, self.seed, iteration) for iteration in range(ROLLOUTS)]

    @cached_property
    def trained(self) -> tuple[Turns, Tensor, Tensor]:
        """The first rollout, with its advantages and what the filter keeps."""
        turns = self.rollouts[0]
        advantage = self.trainer.advantages(turns.reward, turns.following)
        return turns, advantage, self.trainer.keep(turns.following)


def flow_of(turns: Turns) -> tuple[Floats, Floats, Floats]:
    """Latents [M, W + 1, D], times [M, W + 1] and sources [M, D] of M turns."""
    if turns.latents is None or turns.times is None or turns.source is None:
        raise NotOffered("pictures")
    times = numbers(turns.times).reshape(-1, turns.times.shape[-1])
    latents = numbers(turns.latents).reshape(*times.shape, -1)
    return latents, times, numbers(turns.source).reshape(len(times), -1)


def text_of(turns: Turns) -> tuple[Ints, Bools, Ints]:
    """Tokens [M, L], mask [M, L] and the token before each token [M, L] of M turns."""
    if turns.tokens is None or turns.mask is None or turns.previous is None:
        raise NotOffered("text")
    tokens = turns.tokens.cpu().numpy().reshape(-1, turns.tokens.shape[-1])
    first = turns.previous.cpu().numpy().reshape(-1, 1)
    before = np.concatenate([first, tokens[:, :-1]], axis=1)
    return tokens, turns.mask.cpu().numpy().reshape(tokens.shape).astype(bool), before


def heats_of(facts: Facts, turns: Turns) -> Floats:
    """Temperature that the tokens of M turns were drawn at, [M]."""
    return np.full(turns.reward.numel(), facts.temperature or 1.0)


def numbers(tensor: Tensor) -> Floats:
    """A tensor as float64 numbers."""
    return tensor.detach().cpu().double().numpy()
