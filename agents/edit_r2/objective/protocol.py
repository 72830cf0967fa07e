"""What every objective has: what it adds to a rollout, its loss, and who has to have played."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from editenv.agents.edit_r2.rollout import RolloutSettings
from editenv.agents.edit_r2.update import Forward, UpdateSettings

Batch = dict[str, Tensor]


class Policies(NamedTuple):
    """Whose forwards a loss may ask.

    Attributes:
        model: the policy as it is trained, wrapped by whoever spreads it over processes.
        plain: the same weights, for what is only measured.
        reference: opens the policy that training started from.
    """

    model: Forward
    plain: Forward
    reference: Callable[[], AbstractContextManager[Forward]]


Prepare = Callable[[Forward, Batch, RolloutSettings, UpdateSettings], Batch]
"""(policy, sessions [S, K, ...]) -> further tensors [S, K, ...], worked out once after a rollout."""

Loss = Callable[[Policies, Batch, RolloutSettings, UpdateSettings, bool], tuple[Tensor, dict[str, float]]]
"""(policies, a minibatch's sessions or some, ..., an iteration's first?) -> loss, numbers for the log."""


Measure = Callable[[Policies, Batch, RolloutSettings, UpdateSettings], dict[str, float]]
"""(policies, sessions before the iteration's first update, ...) -> numbers for the log alone."""


Trains = Callable[[Batch, UpdateSettings], Tensor]
"""(what turns are paid, ...) -> which of them the loss uses, bool in their shape."""


@dataclass(frozen=True)
class Objective:
    """One way to learn from rollouts.

    Attributes:
        prepare: see Prepare.
        loss: see Loss.
        trains: see Trains.
        behaviours: who may have played, names in BEHAVIOURS.
        measure: see Measure.
        window: whether pictures have to have stochastic steps.
    """

    prepare: Prepare
    loss: Loss
    trains: Trains
    behaviours: tuple[str, ...]
    measure: Measure
    window: bool = False


def nothing_more(model: Forward, sessions: Batch, rollout: RolloutSettings, update: UpdateSettings) -> Batch:
    """For objectives that learn from a rollout as it is."""
    return {}


def nothing_measured(
    policies: Policies, sessions: Batch, rollout: RolloutSettings, update: UpdateSettings
) -> dict[str, float]:
    """For objectives without a distance to a reference."""
    return {}


def check_behaviour(objective: Objective, rollout: RolloutSettings, update: UpdateSettings) -> None:
    """Refuses objectives that need other rollouts, and weights of what nobody tried.

    Raises:
        ValueError: two settings do not fit.
    """
    behaviour = rollout.behaviour
    if behaviour not in objective.behaviours:
        fitting = " or ".join(repr(name) for name in objective.behaviours)
        raise ValueError(f"behaviour is {behaviour!r}, expected {fitting} for objective {update.objective!r}")
    for name, given in (("text_weight", "right_intents"), ("flow_weight", "exact_pictures")):
        if behaviour == given and getattr(update, name):
            raise ValueError(f"{name} is {getattr(update, name)}, expected 0 where behaviour is {given!r}")
