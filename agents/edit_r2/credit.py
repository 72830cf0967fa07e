"""What a rollout's scores say about its turns: advantages, which turns train, and how many were in vain."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from editenv.agents.edit_r2.advantage import ADVANTAGES, SPREADS, Parts, constant_groups
from editenv.agents.edit_r2.choice import chosen
from editenv.agents.edit_r2.filter import FILTERS
from editenv.agents.edit_r2.metrics import rollout_metrics
from editenv.agents.edit_r2.rollout import Rollout
from editenv.session import Session
from editenv.vector import MICEEditVectorEnv

NO_ADVANTAGE = 1e-9
"""More than what rounding leaves of an advantage of zero."""


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
        chosen("advantage", self.advantage, ADVANTAGES)
        chosen("advantage_std", self.advantage_std, SPREADS)
        chosen("filter", self.filter, FILTERS)
        if not self.advantage_clip > 0:
            raise ValueError(f"advantage_clip is {self.advantage_clip}, expected above 0")


def credit(
    rollout: Rollout, rollouts: int, settings: CreditSettings, weights: Mapping[str, float]
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Pays the turns of a rollout.

    Args:
        rollout: what was played, S = specs * rollouts sessions of K turns.
        rollouts: sessions a spec.
        settings: see CreditSettings.
        weights: of the scores in the reward; empty where the scorer does not tell, as only `fused` asks.

    Returns:
        `advantage`, `keep`, `valid`, each [S, K], and flat numbers for the log.
    """
    shape = (-1, rollouts, rollout.tensors["reward"].shape[1])
    reward, following, valid = (
        rollout.tensors[name].reshape(shape) for name in ("reward", "instruction_following", "valid")
    )
    filtered = FILTERS[settings.filter](following, valid, threshold=settings.filter_threshold)
    advantage = ADVANTAGES[settings.advantage](
        reward,
        valid & filtered.counts,
        clip=settings.advantage_clip,
        std=settings.advantage_std,
        parts=_parts(rollout.sessions, weights, shape) if weights else None,
    )
    paid = {"advantage": advantage, "keep": filtered.keep, "valid": valid}
    paid = {name: value.flatten(0, 1) for name, value in paid.items()}
    trains = paid["keep"] & paid["valid"] & (paid["advantage"].abs() > NO_ADVANTAGE)
    return paid, {
        **rollout_metrics(rollout, paid["keep"], paid["valid"]),
        "constant_groups": constant_groups(reward, valid),
        "wasted_share": float((~trains).double().mean()),
    }


def score_weights(envs: MICEEditVectorEnv) -> dict[str, float]:
    """Weights of the scores in the environments' reward; empty where their scorer does not tell."""
    weights = getattr(envs.director.scorer, "weights", None)
    return {} if weights is None else weights.by_name()


def _parts(sessions: tuple[Session, ...], weights: Mapping[str, float], shape: tuple[int, ...]) -> Parts:
    """The paid scores of each turn, NaN where there is none."""
    turns = shape[-1]
    names = [name for name, weight in weights.items() if weight]
    scores = torch.full((len(sessions), turns, len(names)), math.nan, dtype=torch.float64)
    for row, session in enumerate(sessions):
        for turn, judged in enumerate(session.scores[:turns]):
            values = [getattr(judged, name) if judged.scored else None for name in names]
            scores[row, turn] = torch.tensor([math.nan if v is None else v for v in values])
    wanted = torch.tensor([weights[name] for name in names], dtype=torch.float64)
    return Parts(scores.reshape(*shape, len(names)), wanted)
