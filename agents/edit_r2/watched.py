"""Who looks at a training from outside: the trainer's seam for evaluations, records and the like."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from torch import Tensor

from editenv.agents.edit_r2.rollout import Rollout
from editenv.agents.unified import UnifiedModel
from editenv.types import Scores


class Judged(Protocol):
    """What is known of every session of an iteration, whichever process played it."""

    @property
    def index(self) -> int:
        """Number of its script."""

    @property
    def scores(self) -> Sequence[Scores]:
        """Of its turns."""


class Watch(Protocol):
    """Looks, and changes nothing; what its methods return is logged."""

    def __call__(
        self,
        iteration: int,
        rollout: Rollout,
        paid: Mapping[str, Tensor],
        trained: Callable[[], UnifiedModel],
        everyones: Sequence[Judged],
    ) -> dict[str, float]:
        """Looks at an iteration before its update.

        Args:
            iteration: its number.
            rollout: what this process played.
            paid: `advantage`, `keep` and `valid`, each [S, K], of the same.
            trained: gives the model as it is now, adapters added into the weights.
            everyones: the sessions of all processes.
        """

    def last(self, iteration: int, trained: Callable[[], UnifiedModel]) -> dict[str, float]:
        """Looks at the model after the last update; `iteration` is the number of iterations made."""
