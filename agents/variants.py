"""What Edit-R2 may be instead, part by part: other advantages, filters, KLs and ratios."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from editenv.agents.edit_r2 import (
    ActionLogProbs,
    Filtered,
    counted_rewards,
    first_failure,
    plain_log_ratio,
    standardise,
    until_first,
)
from editenv.agents.flow import in_full_precision, latent_mean
from editenv.agents.policy import Turn
from editenv.agents.rollout import RolloutBatch

# Advantages


class ScoreParts(NamedTuple):
    """The scores that a reward is the weighted sum of."""

    scores: Tensor  # [group, rollout, turn, score]; NaN where a score does not apply
    weights: Tensor  # of the scores in the reward, [score]


def score_parts(rollout: RolloutBatch, group_size: int, weights: Mapping[str, float]) -> ScoreParts:
    """The paid scores of each turn of a rollout's sessions, by weights of the scores' names."""
    names = [name for name, weight in weights.items() if weight]
    scores = torch.full((*rollout.reward.shape, len(names)), torch.nan, dtype=torch.float64)
    for row, session in enumerate(rollout.sessions):
        for turn, judged in enumerate(session.scores[: scores.shape[1]]):
            values = [getattr(judged, name) if judged.scored else None for name in names]
            scores[row, turn] = torch.tensor([torch.nan if v is None else v for v in values]).double()
    wanted = torch.tensor([weights[name] for name in names], dtype=torch.float64)
    return ScoreParts(scores.unflatten(0, (-1, group_size)), wanted)


def per_turn(rewards: Tensor, scored: Tensor, *, std: str = "batch", parts: ScoreParts | None = None) -> Tensor:
    """A baseline of its own for each turn.

    A = (R - mean of the group's rewards at the same turn) / (std of the whole batch + 1e-4)
    """
    return standardise(*counted_rewards(rewards, scored), dims=(1,), std=std)


def return_to_go(rewards: Tensor, scored: Tensor, *, std: str = "batch", parts: ScoreParts | None = None) -> Tensor:
    """Pays a turn for its own reward and all later ones, against the group's mean at the same turn.

    G_k = sum over j >= k of R_j,  A_k = (G_k - mean of the group's G_k) / (std of the whole batch's G + 1e-4)

    A turn that does not count adds nothing to a return. A judge that failed (NaN) leaves the returns unknown
    that it is part of: its turn and all before it get 0.
    """
    values, counted = counted_rewards(rewards, scored)
    counted = counted & (_sum_from_here(rewards.isnan().long()) == 0)
    return standardise(_sum_from_here(values).masked_fill(~counted, 0.0), counted, (1,), std)


def broadcast(rewards: Tensor, scored: Tensor, *, std: str = "batch", parts: ScoreParts | None = None) -> Tensor:
    """One advantage for all turns of a session, as MT-EditFlow (arXiv 2606.01985).

    A = (mean reward of the session - mean of the group's sessions) / (std over the batch's sessions + 1e-4)

    A session with a turn whose judge failed (NaN) has no return and gets 0.
    """
    values, counted = counted_rewards(rewards, scored)
    mean, known = _session_mean(values, counted, rewards)
    return standardise(mean, known, (1,), std).expand_as(values).masked_fill(~counted, 0.0)


def fused(rewards: Tensor, scored: Tensor, *, std: str = "batch", parts: ScoreParts | None = None) -> Tensor:
    """`broadcast` whose scores meet as advantages and not as rewards, as MT-EditFlow (arXiv 2606.01985).

    A_i = (session mean of score i - mean of the group's) / (std of score i + 1e-4),  A = sum of w_i A_i / W

    with W the sum of the weights w_i of the scores that apply to the session. A score that hardly varies then
    weighs as much as one that varies a lot. There the std is each group's (`advantage_std=group`).
    """
    if parts is None:
        raise ValueError("advantage is 'fused', which needs the scores that the reward is summed up from")
    _, counted = counted_rewards(rewards, scored)
    total = rewards.new_zeros((*rewards.shape[:2], 1), dtype=torch.float64)
    applying = torch.zeros_like(total)
    for score, weight in zip(parts.scores.double().unbind(-1), parts.weights.tolist(), strict=True):
        there = counted & ~score.isnan()
        mean, known = _session_mean(score.masked_fill(~there, 0.0), there, rewards)
        total += weight * standardise(mean, known, (1,), std)
        applying += weight * known
    return (total / applying.clamp(min=1e-12)).expand_as(counted).masked_fill(~counted, 0.0)


def per_state(rollout: RolloutBatch, std: str = "batch") -> Tensor:
    """Advantages [S, K] of further tries of a turn, against all turns begun from the same state until then.

    A = (R - mean of the rewards of turns with the same state, sampled in the same or an earlier column) /
    (std + 1e-4)

    How many turns start from a state, and with what rewards earlier ones ended, is settled before a try is
    sampled; so the mean depends on the try by its own share 1 / N alone, and before the std and the bound

        E[(R - mean) grad log p | state] = (1 - 1 / N) grad E[R | state]

    for each try. Which states are tried depends on earlier outcomes: clean ones weigh more than they would.

    The std is the "batch"'s, of all scored turns, or the "group"'s, of those that a try is measured against. What
    is no scored try has 0.
    """
    rows, columns = rollout.reward.shape
    scored, state = rollout.scored_mask.flatten(), rollout.start_state.flatten(0, 1)
    when = torch.arange(columns).expand(rows, -1).flatten()
    values = rollout.reward.flatten().double().masked_fill(~scored, 0.0)
    tries = (rollout.is_branch.flatten() & scored).nonzero()[:, 0]
    others = scored & (state == state[tries, None]).all(-1) & (when <= when[tries, None])
    count = others.sum(-1).clamp(min=1)
    mean = (values * others).sum(-1) / count
    if std == "batch":
        spread = values[scored].std(correction=0) if bool(scored.any()) else values.new_zeros(())
    else:
        spread = ((values - mean[:, None]).square() * others).sum(-1).div(count).sqrt()
    advantage = torch.zeros_like(values)
    advantage[tries] = (values[tries] - mean) / (spread + 1e-4)
    return advantage.reshape(rows, columns)


def _sum_from_here(values: Tensor) -> Tensor:
    return values.flip(-1).cumsum(-1).flip(-1)


def _session_mean(values: Tensor, counted: Tensor, rewards: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over the turns that count, [group, rollout, 1], and whether the session has one."""
    turns = counted.sum(-1, keepdim=True)
    known = (turns > 0) & ~rewards.isnan().any(-1, keepdim=True)
    return (values.sum(-1, keepdim=True) / turns.clamp(min=1)).masked_fill(~known, 0.0), known


# Filters


def exclude(instruction_following: Tensor, scored: Tensor, *, threshold: float = 0.5) -> Filtered:
    """`first_failure` whose filtered turns leave the statistics too: baselines are those of clean starts."""
    keep = first_failure(instruction_following, scored).loss_mask
    return Filtered(keep, keep)


def below_threshold(instruction_following: Tensor, scored: Tensor, *, threshold: float = 0.5) -> Filtered:
    """`first_failure` for graded judges: a turn has failed whose score lies below the threshold."""
    keep = until_first((instruction_following < threshold) & scored)
    return Filtered(keep, torch.ones_like(keep))


def no_filter(instruction_following: Tensor, scored: Tensor, *, threshold: float = 0.5) -> Filtered:
    """Every turn trains and counts."""
    everything = torch.ones_like(scored, dtype=torch.bool)
    return Filtered(everything, everything)


# KLs and ratios of the flow


def published_kl(policy: ActionLogProbs, reference: ActionLogProbs, turns: Turn) -> Tensor:
    """As Edit-R2's code computes it: the step size is missing, mean of (m - m_ref)^2 / (2 sigma^2), [M, W].

    sigma = std / sqrt(-dt), so it is `gaussian_kl` times -dt (0.025 to 0.19 on a grid of 14 steps with shift
    3): a weight tuned for one does not suit the other.
    """
    mean, other, std = in_full_precision(policy.flow_mean, reference.flow_mean.detach(), policy.flow_std)
    sigma = std / (-turns["times"].diff(dim=-1)).sqrt()
    return latent_mean((mean - other).square(), turns.get("latent_mask")) / (2 * sigma.square())


def velocity_kl(policy: ActionLogProbs, reference: ActionLogProbs, turns: Turn) -> Tensor:
    """UniGRPO's penalty: mean over latent dimensions of (v - v_ref)^2, without guidance, [M, W].

    It weighs all times alike, where the Gaussian distances shrink with the step's noise.
    """
    velocity, other = in_full_precision(policy.velocity, reference.velocity.detach())
    return latent_mean((velocity - other).square(), turns.get("latent_mask"))


def guarded_log_ratio(policy: ActionLogProbs, turns: Turn) -> Tensor:
    """Ratio normalisation of GRPO-Guard (arXiv 2510.22319): centred on 1 and of one scale at every step.

    s (log_prob - old_log_prob + mean((m - m_old)^2) / (2 s^2)), which is mean(eps d): with expectation 0, and
    a spread that depends on how far the mean moved alone.
    """
    mean, old_mean, std = in_full_precision(policy.flow_mean, turns["flow_mean"].detach(), policy.flow_std)
    moved = latent_mean((mean - old_mean).square(), turns.get("latent_mask"))
    return std * (plain_log_ratio(policy, turns) + moved / (2 * std.square()))
