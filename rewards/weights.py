"""From scores to one reward: the weighted sum R = 0.3 IF + 0.3 CC + 0.4 GA (arXiv 2606.05950)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from math import isfinite
from numbers import Real

from editenv.types import Scores


@dataclass(frozen=True)
class RewardWeights:
    """Weight of each score, finite and 0 or more, at least one above 0; the defaults are the published ones."""

    instruction_following: float = 0.3
    content_consistency: float = 0.3
    global_awareness: float = 0.4
    turn_consistency: float = 0.0
    rule_kept: float = 0.0

    def __post_init__(self) -> None:
        for name, weight in self.by_name().items():
            if isinstance(weight, bool) or not isinstance(weight, Real) or not isfinite(weight) or weight < 0:
                raise ValueError(f"reward weight {name} is {weight!r}, expected a finite number of 0 or more")
        if not self.nonzero:
            raise ValueError("all reward weights are 0, expected at least one above 0")

    def by_name(self) -> dict[str, float]:
        """Weight by score name."""
        return asdict(self)

    @cached_property
    def nonzero(self) -> tuple[tuple[str, float], ...]:
        """Name and weight of every score whose weight is above 0; read at every turn, hence cached."""
        return tuple((name, weight) for name, weight in self.by_name().items() if weight)


def weights_from_json(data: Mapping[str, float] | None) -> RewardWeights:
    """The weights in a mapping, 0 for every score it leaves out; None gives the published ones."""
    if data is None:
        return RewardWeights()
    known = [field.name for field in fields(RewardWeights)]
    for name in data:
        if name not in known:
            raise ValueError(f"reward weight {name!r} names no score, expected one of {', '.join(known)}")
    return RewardWeights(**{name: data.get(name, 0.0) for name in known})


def weighted_reward(scores: Scores, weights: RewardWeights) -> float:
    """The weighted sum of one turn's scores, in [0, sum of weights].

    Scores that do not apply (None) are left out and the remaining weights are scaled up to the same sum:
    R = (sum_i w_i / sum_{i applies} w_i) * sum_{i applies} w_i s_i. 0.0 where the judge failed, or where no
    score with a weight applies.
    """
    if not scores.scored:
        return 0.0
    total = applying = reward = 0.0
    for name, weight in weights.nonzero:
        total += weight
        score = getattr(scores, name)
        if score is not None:
            applying += weight
            reward += weight * score
    return reward if applying in (0.0, total) else reward * (total / applying)


def with_reward(scores: Scores, weights: RewardWeights) -> Scores:
    """The same scores with `reward` filled in."""
    # Called at every turn, where dataclasses.replace takes three times as long.
    return Scores(
        scores.instruction_following,
        scores.content_consistency,
        scores.global_awareness,
        scores.turn_consistency,
        scores.rule_kept,
        weighted_reward(scores, weights),
        scores.detail,
        scores.error,
    )
