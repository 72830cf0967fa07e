"""What the checks of one audit share: the trainer, the known policy, and rollouts that are made once."""

from __future__ import annotations

from functools import cached_property

from torch import Tensor

from editenv.agents.audit.known import KnownPolicy
from editenv.agents.audit.protocol import Auditable, Facts, Turns

ITERATIONS = 6
"""Iterations whose rollouts are pooled where shares and moments are measured."""


class Subject:
    """A trainer under audit.

    Args:
        trainer: to be audited.
        seed: of its rollouts.
    """

    def __init__(self, trainer: Auditable, seed: int = 0) -> None:
        self.trainer, self.seed = trainer, seed
        self._rollouts: dict[int, Turns] = {}

    @property
    def facts(self) -> Facts:
        """What the trainer says of itself."""
        return self.trainer.facts

    @cached_property
    def policy(self) -> KnownPolicy:
        """The known policy."""
        return KnownPolicy(self.trainer.dimensions)

    def rollout(self, iteration: int) -> Turns:
        """The rollout of an iteration, made once."""
        if iteration not in self._rollouts:
            self._rollouts[iteration] = self.trainer.rollout(self.policy, self.seed, iteration)
        return self._rollouts[iteration]

    def rollouts(self, trainer: Auditable | None = None) -> list[Turns]:
        """Rollouts of the first iterations, of the trainer or of a variant of it."""
        if trainer is None or trainer is self.trainer:
            return [self.rollout(iteration) for iteration in range(ITERATIONS)]
        return [trainer.rollout(self.policy, self.seed, iteration) for iteration in range(ITERATIONS)]

    @cached_property
    def scored(self) -> tuple[Turns, Tensor, Tensor]:
        """The first rollout, with its advantages and what the filter keeps."""
        turns = self.rollout(0)
        advantage = self.trainer.advantages(turns.reward, turns.following)
        return turns, advantage, self.trainer.keep(turns.following)
