"""DiffusionNFT: pictures learn by the forward process, away from worse ones and towards better ones."""

from __future__ import annotations

import torch
from torch import Tensor

from editenv.agents.edit_r2.objective.forward import noised_inputs
from editenv.agents.edit_r2.objective.policy import check_rounding
from editenv.agents.edit_r2.objective.protocol import Batch, Policies
from editenv.agents.edit_r2.padding import single_turns
from editenv.agents.edit_r2.picture_error import PICTURE_ERRORS, PictureError, image_error
from editenv.agents.edit_r2.rollout import RolloutSettings
from editenv.agents.edit_r2.update import (
    Judgement,
    UpdateSettings,
    policy_loss,
    policy_trains,
    ratio_errors,
    token_log_prob,
    trained_turns,
)


def nft_error(
    x: Tensor,
    t: Tensor,
    velocity: Tensor,
    old_velocity: Tensor,
    image: Tensor,
    better: Tensor,
    beta: float,
    error: PictureError = image_error,
) -> Tensor:
    """DiffusionNFT's objective (arXiv 2509.16117, eq. 5) for each noisy picture.

    r E(v+) + (1 - r) E(v-)  with  v+ = (1 - beta) v_old + beta v,  v- = (1 + beta) v_old - beta v

    At v = v_old the gradient is beta (2 r - 1) times that of E: towards pictures with r above 1/2, away from
    the others.

    Args:
        x: noisy latents, [..., N, C].
        t: their times, [...].
        velocity: of the policy, in the shape of x; gradients flow through it.
        old_velocity: of the policy that sampled the image; detached.
        image: that was sampled, broadcastable to x.
        better: r, in [0, 1], broadcastable to t.
        beta: above 0.
        error: E, one of PICTURE_ERRORS.

    Returns:
        [...].
    """
    old = old_velocity.detach()
    towards = error(x, t, (1 - beta) * old + beta * velocity, image)
    away = error(x, t, (1 + beta) * old - beta * velocity, image)
    return better * towards + (1 - better) * away


def better_share(advantage: Tensor, largest: float) -> Tensor:
    """How likely a turn counts as better: r = 1/2 + clip(A, -largest, largest) / (2 largest), in [0, 1]."""
    return 0.5 + advantage.clamp(-largest, largest) / (2 * largest)


def nft_loss(
    policies: Policies, sessions: Batch, rollout: RolloutSettings, update: UpdateSettings, first: bool
) -> tuple[Tensor, dict[str, float]]:
    """`nft_error` of the pictures beside the intents' policy loss, on the turns that a policy gradient uses.

    The policy that sampled is that of the rollout, which with `nft_decay` is a slow average of those before;
    without, the intents' ratios have to be 1 before an iteration's first update.

    Raises:
        RuntimeError: training computes other log-probs than the rollout did.
    """
    turns = single_turns(sessions)
    batch, share = trained_turns(turns, policy_trains(turns, update))
    output = policies.model(**noised_inputs(batch, rollout, update))
    total, numbers = batch["advantage"].new_zeros((), dtype=torch.float32), {}
    trains = policy_trains(batch, update).float()
    if output.velocity is not None:
        error = nft_error(
            batch["noised"],
            batch["noised_times"],
            output.velocity,
            batch["old_velocity"],
            batch["image"][:, None],
            better_share(batch["advantage"].float(), update.nft_range)[:, None],
            update.nft_beta,
            PICTURE_ERRORS[update.nft_weight],
        )
        flow = (error.mean(-1) * trains).mean()
        total, numbers = total + update.flow_weight * flow, {"flow_loss": float(flow.detach())}
    if output.logits is not None:
        text = token_log_prob(output.logits, batch, rollout.turn.temperature or 1.0)
        judged = Judgement(text, None, None, None, None)
        loss = policy_loss(judged, None, batch, update)
        total = total + loss.total
        numbers |= {name: float(value) for name, value in loss.parts.items()}
        if first and not update.nft_decay:
            numbers["text_ratio_error"] = ratio_errors(judged, batch)["text"]
            check_rounding("text", numbers["text_ratio_error"])
    return total * share, numbers
