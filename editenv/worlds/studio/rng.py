"""Random choices of one session: PCG64, drawn in blocks because single draws are slow."""

from collections.abc import Sequence
from typing import TypeVar

from numpy.random import PCG64, Generator, SeedSequence

T = TypeVar("T")
_BLOCK = 128


class Rng:
    """Choices that are a function of the entropy alone, whole numbers that name the session."""

    def __init__(self, entropy: Sequence[int]) -> None:
        self._rng = Generator(PCG64(SeedSequence(entropy)))
        self._left: list[float] = []  # the rest of the block, used from its end

    def uniform(self) -> float:
        """A number in [0, 1)."""
        if not self._left:
            self._left = self._rng.random(_BLOCK).tolist()
        return self._left.pop()

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return self.uniform() < probability

    def below(self, count: int) -> int:
        """A whole number from 0 to count - 1."""
        if not self._left:  # not by `uniform`: a session asks for hundreds of these
            self._left = self._rng.random(_BLOCK).tolist()
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
