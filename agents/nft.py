"""DiffusionNFT (arXiv 2509.16117): images learn by the forward process, towards better, away from worse.

Intents learn as in edit_r2.py. The policy that sampled may be a moving average (`nft_decay`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from editenv.agents.edit_r2 import (
    ActionLogProbs,
    Policies,
    policy_loss,
    ratio_errors,
    select_trained,
    single_turns,
    take_trained,
)
from editenv.agents.flow import latent_mean
from editenv.agents.objective import Numbers, Objective, check_rounding, measured_kl
from editenv.agents.policy import PolicyOutput, Turn
from editenv.agents.settings import X0_LOSSES, AlgorithmSettings
from editenv.agents.sft import add_noise, asked_at_noise
from editenv.registry import load_class


@torch.no_grad()
def add_noise_and_old_velocity(policy: Any, sessions: Turn, settings: AlgorithmSettings) -> Turn:
    """`add_noise`, and `old_velocity` [S, K, W, N, C] of the policy that sampled; 0 where no loss asks."""
    found = add_noise(policy, sessions, settings)
    turns = single_turns(sessions | found)
    trains = select_trained(turns, settings)
    batch, _ = take_trained(turns, trains)
    velocity = policy(batch, settings, **asked_at_noise(batch, settings, text=False)).velocity
    if velocity is not None:
        old = torch.zeros_like(turns["noised"])
        old[trains] = velocity[: int(trains.sum())].to(old.dtype)
        found["old_velocity"] = old.reshape(found["noised"].shape)
    return found


def nft_loss(
    x: Tensor,
    t: Tensor,
    velocity: Tensor,
    old_velocity: Tensor,
    image: Tensor,
    better: Tensor,
    beta: float,
    error: Any,
    mask: Tensor | None = None,
) -> Tensor:
    """DiffusionNFT's objective (eq. 5) for each noisy image, [...].

    r E(v+) + (1 - r) E(v-)  with  v+ = (1 - beta) v_old + beta v,  v- = (1 + beta) v_old - beta v

    At v = v_old the gradient is beta (2 r - 1) times that of E: towards images with r above 1/2, away from
    the others.

    Args:
        x: noisy latents, [..., N, C].
        t: their times, [...].
        velocity: of the policy, in the shape of x; gradients flow through it.
        old_velocity: of the policy that sampled the image; detached.
        image: that was sampled, broadcastable to x.
        better: r, in [0, 1], broadcastable to t.
        beta: above 0.
        error: E, one of X0_LOSSES.
        mask: see `flow.latent_mean`.
    """
    old = old_velocity.detach()
    towards = error(x, t, (1 - beta) * old + beta * velocity, image, mask)
    away = error(x, t, (1 + beta) * old - beta * velocity, image, mask)
    return better * towards + (1 - better) * away


def better_share(advantage: Tensor, largest: float) -> Tensor:
    """How likely a turn counts as better: r = 1/2 + clip(A, -largest, largest) / (2 largest), in [0, 1]."""
    return 0.5 + advantage.clamp(-largest, largest) / (2 * largest)


def adaptive_x0_loss(x: Tensor, t: Tensor, velocity: Tensor, image: Tensor, mask: Tensor | None = None) -> Tensor:
    """The paper's weight: mean of d^2 / max(mean of |d|, 1e-5) with d = x - t v - image.

    No gradient flows through the denominator. So noisy images that lead far astray count about as much for
    each of their latents as those that lead close. Arguments and result as `sft.x0_loss`.
    """
    distance = x - t[..., None, None] * velocity - image
    size = latent_mean(distance.detach().abs(), mask).clamp_min(1e-5)
    return latent_mean(distance.square(), mask) / size


def joint_nft_loss(
    policies: Policies, sessions: Turn, settings: AlgorithmSettings, first: bool
) -> tuple[Tensor, Numbers]:
    """`nft_loss` of the images beside the intents' policy loss, on the turns that a policy gradient uses.

    Without `nft_decay` the policy that sampled is the one before the iteration's first update, and the
    intents' ratios have to be 1 there.

    Raises:
        RuntimeError: training computes other log-probs than the rollout did.
    """
    turns = single_turns(sessions)
    batch, share = take_trained(turns, select_trained(turns, settings))
    asked = asked_at_noise(batch, settings, settings.text_weight > 0)
    output, reference = policies.model(batch, settings, **asked), PolicyOutput()
    if settings.text_kl or settings.flow_kl:
        with torch.no_grad(), policies.reference() as frozen:
            reference = frozen(batch, settings, **asked)
    total, numbers = batch["advantage"].new_zeros((), dtype=torch.float32), {}
    if output.velocity is not None:
        error = nft_loss(
            batch["noised"],
            batch["noised_times"],
            output.velocity,
            batch["old_velocity"],
            batch["image"][:, None],
            better_share(batch["advantage"].float(), settings.nft_range)[:, None],
            settings.nft_beta,
            load_class("x0_loss", settings.x0_loss, X0_LOSSES),
            batch.get("latent_mask"),
        )
        trains = select_trained(batch, settings).float()
        if reference.velocity is not None:
            # The paper's: no transition, hence no Gaussian KL, but the velocities themselves.
            distance = latent_mean((output.velocity - reference.velocity).square(), batch.get("latent_mask"))
            numbers["flow_kl"] = float((distance.mean(-1) * trains).sum().detach() / trains.sum().clamp(min=1))
            error = error + settings.flow_kl * distance
        flow = (error.mean(-1) * trains).mean()
        total, numbers["flow_loss"] = total + settings.flow_weight * flow, float(flow.detach())
    if output.text_log_prob is not None:
        actions = ActionLogProbs(output.text_log_prob)
        before = None if reference.text_log_prob is None else ActionLogProbs(reference.text_log_prob)
        loss, more = policy_loss(actions, before, batch, settings)
        total, numbers = total + loss, numbers | more
        if first and not settings.nft_decay:
            numbers["text_ratio_error"] = ratio_errors(actions, batch)["text"]
            check_rounding("text", numbers["text_ratio_error"])
    return total * share, numbers


NFT = Objective(joint_nft_loss, prepare=add_noise_and_old_velocity, measure=measured_kl, distances=("velocity",))
