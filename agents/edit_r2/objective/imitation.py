"""Imitation: likely intents and flow matching, of an oracle's turns or of a rollout's better ones."""

from __future__ import annotations

import torch
from torch import Tensor

from editenv.agents.edit_r2.credit import NO_ADVANTAGE
from editenv.agents.edit_r2.objective.forward import noised_inputs
from editenv.agents.edit_r2.objective.protocol import Batch, Policies
from editenv.agents.edit_r2.padding import single_turns
from editenv.agents.edit_r2.picture_error import image_error
from editenv.agents.edit_r2.rollout import RolloutSettings
from editenv.agents.edit_r2.update import UpdateSettings, token_log_prob, trained_turns


def supervised_loss(
    policies: Policies, sessions: Batch, rollout: RolloutSettings, update: UpdateSettings, first: bool
) -> tuple[Tensor, dict[str, float]]:
    """`imitation_loss` of every scored turn, which an oracle played."""
    turns = single_turns(sessions)
    return _loss_of(policies, turns, every_scored(turns, update), rollout, update)


def every_scored(turns: Batch, update: UpdateSettings) -> Tensor:
    """Which turns imitation learns from: an oracle's need no filter."""
    return turns["valid"]


def rejection_loss(
    policies: Policies, sessions: Batch, rollout: RolloutSettings, update: UpdateSettings, first: bool
) -> tuple[Tensor, dict[str, float]]:
    """Rejection fine-tuning: `imitation_loss` of turns that the filter keeps and that beat their group."""
    turns = single_turns(sessions)
    better = accepted(turns, update)
    loss, numbers = _loss_of(policies, turns, better, rollout, update)
    return loss, numbers | {"accepted_share": float(better.double().mean())}


def accepted(turns: Batch, update: UpdateSettings) -> Tensor:
    """Which turns rejection keeps."""
    return turns["keep"] & turns["valid"] & (turns["advantage"] > NO_ADVANTAGE)


def imitation_loss(
    text_log_prob: Tensor | None,
    intent_mask: Tensor,
    picture_error: Tensor | None,
    trains: Tensor,
    update: UpdateSettings,
) -> tuple[Tensor, dict[str, float]]:
    """w_text mean over tokens of -log p + w_flow mean over times of the image error, mean over turns.

    Args:
        text_log_prob: of the intents' tokens, [M, L], or None.
        intent_mask: True at tokens, [M, L].
        picture_error: of the noised pictures, [M, W], or None.
        trains: bool [M]; the other turns count as zeros.
        update: both weights.

    Returns:
        The loss, and each part unweighted.

    Raises:
        ValueError: there is neither part.
    """
    if text_log_prob is None and picture_error is None:
        raise ValueError("imitation_loss: got neither intents nor pictures, expected at least one")
    total, numbers = trains.new_zeros((), dtype=torch.float32), {}
    if text_log_prob is not None:
        tokens = intent_mask & trains[:, None]
        mean = -text_log_prob.masked_fill(~tokens, 0.0).sum(-1) / tokens.sum(-1).clamp(min=1)
        total, numbers["text_loss"] = total + update.text_weight * mean.mean(), float(mean.mean().detach())
    if picture_error is not None:
        error = (picture_error.mean(-1) * trains).mean()
        total, numbers["flow_loss"] = total + update.flow_weight * error, float(error.detach())
    return total, numbers


def _loss_of(
    policies: Policies, turns: Batch, trains: Tensor, rollout: RolloutSettings, update: UpdateSettings
) -> tuple[Tensor, dict[str, float]]:
    batch, share = trained_turns(turns | {"trains": trains}, trains)
    output = policies.model(**noised_inputs(batch, rollout, update))
    text = None if output.logits is None else token_log_prob(output.logits, batch)
    error = None
    if output.velocity is not None:
        x, t = batch["noised"], batch["noised_times"]
        error = image_error(x, t, output.velocity, batch["image"][:, None])
    loss, numbers = imitation_loss(text, batch["intent_mask"], error, batch["trains"], update)
    return loss * share, numbers
