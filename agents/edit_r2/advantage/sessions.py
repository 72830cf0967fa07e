"""Advantages that pay a turn for what came after it too, or for its whole session."""

import torch
from torch import Tensor

from editenv.agents.edit_r2.advantage.standard import Parts, scored, standardised


def return_to_go(
    rewards: Tensor,
    valid: Tensor | None = None,
    *,
    clip: float = 5.0,
    eps: float = 1e-4,
    std: str = "batch",
    parts: Parts | None = None,
) -> Tensor:
    """Pays a turn for its own reward and all later ones, against the group's mean at the same turn.

    G_k = sum over j >= k of R_j,  A_k = (G_k - mean of the group's G_k) / (std of the whole batch's G + eps)

    A turn that is not valid adds nothing to a return. A judge that failed (NaN) leaves the returns unknown
    that it is part of: its turn and all before it get 0. Arguments as `Advantage`.
    """
    values, counted = scored(rewards, valid)
    counted = counted & (_from_here_on(rewards.isnan().long()) == 0)
    return standardised(_from_here_on(values).masked_fill(~counted, 0.0), counted, (1,), clip, eps, std)


def broadcast(
    rewards: Tensor,
    valid: Tensor | None = None,
    *,
    clip: float = 5.0,
    eps: float = 1e-4,
    std: str = "batch",
    parts: Parts | None = None,
) -> Tensor:
    """One advantage for all turns of a session, as MT-EditFlow (arXiv 2606.01985).

    A = (mean reward of the session - mean of the group's sessions) / (std over the batch's sessions + eps)

    A session with a turn whose judge failed (NaN) has no return and gets 0. Arguments as `Advantage`.
    """
    values, counted = scored(rewards, valid)
    mean, known = _session_mean(values, counted, rewards)
    return standardised(mean, known, (1,), clip, eps, std).expand_as(values).masked_fill(~counted, 0.0)


def fused(
    rewards: Tensor,
    valid: Tensor | None = None,
    *,
    clip: float = 5.0,
    eps: float = 1e-4,
    std: str = "batch",
    parts: Parts | None = None,
) -> Tensor:
    """`broadcast` whose scores meet as advantages and not as rewards, as MT-EditFlow (arXiv 2606.01985).

    A_i = (session mean of score i - mean of the group's) / (std of score i + eps),  A = sum of w_i A_i / W

    with W the sum of the weights w_i of the scores that apply to the session. A score that hardly varies then
    weighs as much as one that varies a lot. There the std is each group's (`std="group"`). Arguments as
    `Advantage`; A is clipped, not each A_i.

    Raises:
        ValueError: `parts` are missing.
    """
    if parts is None:
        raise ValueError("advantage is 'fused', which needs the scores that the reward is summed up from")
    _, counted = scored(rewards, valid)
    total = rewards.new_zeros((*rewards.shape[:2], 1), dtype=torch.float64)
    applying = torch.zeros_like(total)
    for score, weight in zip(parts.scores.double().unbind(-1), parts.weights.tolist(), strict=True):
        there = counted & ~score.isnan()
        mean, known = _session_mean(score.masked_fill(~there, 0.0), there, rewards)
        total += weight * standardised(mean, known, (1,), torch.inf, eps, std)
        applying += weight * known
    advantage = (total / applying.clamp(min=1e-12)).clamp(-clip, clip)
    return advantage.expand_as(counted).masked_fill(~counted, 0.0)


def _from_here_on(values: Tensor) -> Tensor:
    return values.flip(-1).cumsum(-1).flip(-1)


def _session_mean(values: Tensor, counted: Tensor, rewards: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over the turns that count, [spec, rollout, 1], and whether the session has one."""
    turns = counted.sum(-1, keepdim=True)
    known = (turns > 0) & ~rewards.isnan().any(-1, keepdim=True)
    return (values.sum(-1, keepdim=True) / turns.clamp(min=1)).masked_fill(~known, 0.0), known
