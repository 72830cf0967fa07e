"""What a rollout's scores say about its turns: advantages, which turns train, and how many were in vain."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from editenv.agents.edit_r2.advantage import ADVANTAGES, SPREADS, Parts, constant_groups
from editenv.agents.edit_r2.advantage.again import same_state
from editenv.agents.edit_r2.filter import FILTERS
from editenv.agents.edit_r2.places import Lines, Places, attempts_of, whole_sessions
from editenv.agents.edit_r2.rollout import Rollout, RolloutSettings
from editenv.agents.metrics import rollout_metrics
from editenv.registry import lookup
from editenv.vector import MICEEditVectorEnv

NO_ADVANTAGE = 1e-9
"""More than what rounding leaves of an advantage of zero."""

Paid = dict[str, Tensor]
"""`advantage`, `keep` and `valid` of turns, in one shape."""


def has_advantage(paid: Paid) -> Tensor:
    """Which turns a policy gradient uses that has no further terms, bool."""
    return paid["keep"] & paid["valid"] & (paid["advantage"].abs() > NO_ADVANTAGE)


@dataclass(frozen=True)
class CreditSettings:
    """How turns are paid.

    Attributes:
        advantage: a name in ADVANTAGES.
        advantage_clip: bound of the advantages.
        advantage_std: a name in SPREADS, of what advantages are divided by.
        filter: a name in FILTERS.
        filter_threshold: instruction following below which a turn has failed, for filter=threshold.

    Raises:
        ValueError: a name is not known, or the bound is not above 0.
    """

    advantage: str = "pooled"
    advantage_clip: float = 5.0
    advantage_std: str = "batch"
    filter: str = "first_failure"
    filter_threshold: float = 0.5

    def __post_init__(self) -> None:
        lookup("advantage", self.advantage, ADVANTAGES)
        lookup("advantage_std", self.advantage_std, SPREADS)
        lookup("filter", self.filter, FILTERS)
        if not self.advantage_clip > 0:
            raise ValueError(f"advantage_clip is {self.advantage_clip}, expected above 0")


def credit(
    rollout: Rollout,
    rollouts: int,
    settings: CreditSettings,
    weights: Mapping[str, float],
    trains: Callable[[Paid], Tensor] = has_advantage,
) -> tuple[Paid, dict[str, float]]:
    """Pays the turns of a rollout.

    Attempts at a spec form a group, however many there are; tries of single turns (`Place.again`) are paid
    by `same_state` and belong to no attempt.

    Args:
        rollout: what was played, S = specs * rollouts sessions of K turns.
        rollouts: sessions a spec.
        settings: see CreditSettings.
        weights: of the scores in the reward; empty where the scorer does not tell, as only `fused` asks.
        trains: which turns the loss uses of what they were paid.

    Returns:
        `advantage`, `keep`, `valid`, each [S, K], and flat numbers for the log. Of these `wasted_share` is
        the share of the turns sampled that the loss does not use.
    """
    reward, valid = rollout.tensors["reward"], rollout.tensors["valid"]
    lines = _lines(rollout.places, reward, rollouts)
    rewards = lines.of(reward, 0.0)
    following = lines.of(rollout.tensors["instruction_following"], math.nan)
    scored = lines.of(valid, False)
    filtered = FILTERS[settings.filter](following, scored, threshold=settings.filter_threshold)
    advantage = ADVANTAGES[settings.advantage](
        *filtered.counted(rewards, scored),
        clip=settings.advantage_clip,
        std=settings.advantage_std,
        parts=_parts(rollout, weights, lines) if weights else None,
    )
    nothing = torch.zeros_like(reward, dtype=torch.float64)
    keep = lines.back(filtered.keep, torch.zeros_like(valid))
    paid = {"advantage": lines.back(advantage, nothing), "keep": keep, "valid": valid}
    if rollout.places is not None:
        paid = _with_tries(paid, reward, rollout.places, settings)
    played = valid | reward.isnan()
    return paid, {
        **rollout_metrics(rollout, paid["keep"], valid),
        "constant_groups": constant_groups(rewards, scored),
        "wasted_share": float((~trains(paid))[played].double().mean()) if played.any() else 0.0,
    }


def _lines(places: Places | None, reward: Tensor, rollouts: int) -> Lines:
    rows, columns = reward.shape
    return whole_sessions(rows, columns, rollouts) if places is None else attempts_of(places, columns)


def _with_tries(paid: Paid, reward: Tensor, places: Places, settings: CreditSettings) -> Paid:
    """All further tries train, for what they are worth beside others from their state."""
    rows, columns = reward.shape
    state, again = torch.full((rows, columns), -1), torch.zeros(rows, columns, dtype=torch.bool)
    for at, place in places.items():
        state[at], again[at] = place.state[0] * columns + place.state[1], place.again
    when = torch.arange(columns).expand(rows, -1)
    advantage = same_state(
        *(value.flatten() for value in (reward, paid["valid"], state, when, again)),
        clip=settings.advantage_clip,
        std=settings.advantage_std,
    ).reshape(rows, columns)
    return paid | {"advantage": paid["advantage"] + advantage, "keep": paid["keep"] | again}


def check_spending(rollout: RolloutSettings, paying: CreditSettings) -> None:
    """Refuses ways to spend turns that the other settings have no place for.

    Raises:
        ValueError: two settings do not fit.
    """
    spending = rollout.spending
    if spending.branches and rollout.behaviour == "oracle":
        raise ValueError("behaviour is 'oracle' with filter=resample, expected 'policy'")
    mine, theirs = ((one.filter, one.filter_threshold) for one in (spending, paying))
    if (spending.branches or paying.filter == "resample") and mine != theirs:
        raise ValueError(
            f"rollouts are played for filter {mine[0]!r} {mine[1]} and paid by {theirs[0]!r} {theirs[1]}"
        )


def score_weights(envs: MICEEditVectorEnv) -> dict[str, float]:
    """Weights of the scores in the environments' reward; empty where their scorer does not tell."""
    weights = getattr(envs.engine.scorer, "weights", None)
    return {} if weights is None else weights.by_name()


def _parts(rollout: Rollout, weights: Mapping[str, float], lines: Lines) -> Parts:
    """The paid scores of each turn of the attempts, NaN where there is none."""
    rows, turns = rollout.tensors["reward"].shape
    names = [name for name, weight in weights.items() if weight]
    scores = torch.full((len(names), rows, turns), math.nan, dtype=torch.float64)
    for row, session in enumerate(rollout.sessions):
        for turn, judged in enumerate(session.scores[:turns]):
            values = [getattr(judged, name) if judged.scored else None for name in names]
            scores[:, row, turn] = torch.tensor([math.nan if v is None else v for v in values]).double()
    wanted = torch.tensor([weights[name] for name in names], dtype=torch.float64)
    return Parts(torch.stack([lines.of(score, math.nan) for score in scores], -1), wanted)
