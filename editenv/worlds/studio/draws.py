"""Cheap random choices: one block of uniform numbers, used up one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from numpy.random import PCG64, Generator, SeedSequence

T = TypeVar("T")
_BLOCK = 128


class Draws:
    """Choices of one session, a function of its entropy alone.

    Args:
        entropy: whole numbers that name the session.
    """

    def __init__(self, entropy: Sequence[int]) -> None:
        self._rng = Generator(PCG64(SeedSequence(entropy)))
        self._left: list[float] = []

    def uniform(self) -> float:
        """A number in [0, 1)."""
        if not self._left:
            self._refill()
        return self._left.pop()

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return self.uniform() < probability

    def below(self, count: int) -> int:
        """A whole number from 0 to count - 1."""
        if not self._left:
            self._refill()
        return int(self._left.pop() * count)

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.below(len(options))]

    def weighted(self, weights: dict[str, float]) -> str:
        """A key, in proportion to its weight."""
        level = self.uniform() * sum(weights.values())
        for name, weight in weights.items():
            level -= weight
            if level < 0:
                return name
        return next(reversed(weights))

    def _refill(self) -> None:
        self._left = self._rng.random(_BLOCK).tolist()
