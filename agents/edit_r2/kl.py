"""Distances between policy and reference, in the latents' space and in the tokens'."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from editenv.agents.flow.transition import in_full_precision


class Steps(NamedTuple):
    """Stochastic steps under one policy.

    Attributes:
        mean: of the transitions, [..., N, C].
        std: of the transitions, [...].
        velocity: predicted without guidance, [..., N, C].
        dt: from each time to the next, [...], below 0.
    """

    mean: Tensor
    std: Tensor
    velocity: Tensor
    dt: Tensor


FlowKL = Callable[[Steps, Steps], Tensor]
"""(the policy's steps, the reference's) -> distance of each step, [...]; gradients reach the policy alone."""


def published_flow_kl(mean: Tensor, mean_ref: Tensor, sigma: Tensor) -> Tensor:
    """Flow penalty as Edit-R2's code computes it (arXiv 2606.05950): the step size is missing.

    mean over latent dimensions of (mean - mean_ref)^2 / (2 sigma^2)

    It is `gaussian_flow_kl` times -dt (0.025 to 0.19 on a grid of 14 steps with shift 3), so a beta tuned for
    one does not suit the other.

    Args:
        mean: of the policy's transition, [B, N, C]; gradients flow through it.
        mean_ref: of the reference's transition, in the same shape; detached.
        sigma: [B], the diffusion coefficient without sqrt(-dt) (`flow_sigma`).

    Returns:
        [B], 0 or more.
    """
    return _half_squared_distance(mean, mean_ref, sigma)


def gaussian_flow_kl(mean: Tensor, mean_ref: Tensor, std: Tensor) -> Tensor:
    """KL divergence of two Gaussian transitions with one variance, as a mean over latent dimensions.

    KL(N(mean, std^2) || N(mean_ref, std^2)) = (mean - mean_ref)^2 / (2 std^2) in each dimension, std = sigma
    sqrt(-dt)

    Args:
        mean: of the policy's transition, [B, N, C]; gradients flow through it.
        mean_ref: of the reference's transition, in the same shape; detached.
        std: [B], of the transition, as the samplers return it.

    Returns:
        [B], 0 or more.
    """
    return _half_squared_distance(mean, mean_ref, std)


def velocity_flow_kl(velocity: Tensor, velocity_ref: Tensor) -> Tensor:
    """Flow penalty of UniGRPO: mean over latent dimensions of (velocity - velocity_ref)^2, without guidance.

    It weighs all times alike, where the Gaussian distances shrink with the step's noise.

    Args:
        velocity: of the policy, [..., N, C]; gradients flow through it.
        velocity_ref: of the reference, in the same shape; detached.

    Returns:
        [...], 0 or more.
    """
    velocity, velocity_ref = in_full_precision(velocity, velocity_ref.detach())
    return (velocity - velocity_ref).square().mean(dim=(-2, -1))


FLOW_KLS: dict[str, FlowKL] = {
    "gaussian": lambda now, then: gaussian_flow_kl(now.mean, then.mean, now.std),
    "published": lambda now, then: published_flow_kl(now.mean, then.mean, now.std / (-now.dt).sqrt()),
    "velocity": lambda now, then: velocity_flow_kl(now.velocity, then.velocity),
}


def text_kl(log_prob: Tensor, log_prob_ref: Tensor) -> Tensor:
    """Estimate of KL(policy || reference) for each sampled token: k3, as in GRPO (arXiv 2402.03300, eq. 4).

    k3 = exp(d) - d - 1 with d = log_prob_ref - log_prob; never negative, and its mean over the policy's
    tokens is the KL. Its gradient, as a loss on those tokens, is in the mean that of the other direction,
    KL(reference || policy).

    Args:
        log_prob: of the sampled tokens under the policy, [..., L]; gradients flow through it.
        log_prob_ref: under the reference, at the same temperature, in the same shape; detached.

    Returns:
        One value a token, [..., L], 0 or more.
    """
    log_prob, log_prob_ref = in_full_precision(log_prob, log_prob_ref.detach())
    difference = log_prob_ref - log_prob
    return torch.expm1(difference) - difference


def _half_squared_distance(mean: Tensor, mean_ref: Tensor, scale: Tensor) -> Tensor:
    mean, mean_ref, scale = in_full_precision(mean, mean_ref.detach(), scale)
    squared = (mean - mean_ref).square().flatten(scale.ndim).mean(dim=-1)
    return squared / (2 * scale.square())
