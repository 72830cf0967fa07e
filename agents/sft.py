"""Imitation: of an oracle's turns (supervised), or of a rollout's better ones (rejection sampling).

Intents by their log-probs, images by flow matching: finished images get noise put on them, and the model is
asked for the velocity that leads back (the forward process; nft.py learns by it too).
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from editenv.agents.edit_r2 import NO_ADVANTAGE, Numbers
from editenv.agents.flow import latent_mean
from editenv.agents.objective import Objective
from editenv.agents.policy import Policies, Turn, normals, take_trained, uniforms
from editenv.agents.settings import AlgorithmSettings

_TIMES, _NOISE = range(10, 12)  # what a random number is for: the last part of its key


def add_noise(policy: Any, sessions: Turn, settings: AlgorithmSettings) -> Turn:
    """`noised` [S, K, W, N, C] and `noised_times` [S, K, W]: x_t = (1 - t) image + t noise at W times.

    t is uniform, then shifted as the sampler's grid is: t <- s t / (1 + (s - 1) t). Both are functions of the
    rows' keys and the turn.
    """
    image = sessions["image"]
    rows, turns = image.shape[:2]
    keys = [(*row, turn) for row in sessions["rng_keys"].tolist() for turn in range(turns)]
    even, shift = 1 - uniforms([(*key, _TIMES) for key in keys], settings.times), settings.shift
    t = (shift * even / (1 + (shift - 1) * even)).float().reshape(rows, turns, -1).to(image.device)
    shape = (settings.times, *image.shape[2:])
    noise = normals([(*key, _NOISE) for key in keys], shape).reshape(rows, turns, *shape).to(image.device)
    weight = t[..., None, None]
    return {"noised": (1 - weight) * image[:, :, None] + weight * noise, "noised_times": t}


def asked_at_noise(turns: Turn, settings: AlgorithmSettings, text: bool) -> dict[str, Any]:
    """What `JointPolicy.forward` is asked: the velocity at the noised images, without guidance."""
    flow = {"x": turns["noised"], "t": turns["noised_times"]} if settings.flow_weight else {}
    return {"text": text, "context_gradient": settings.context_gradient, "guided": False, **flow}


def x0_loss(x: Tensor, t: Tensor, velocity: Tensor, image: Tensor, mask: Tensor | None = None) -> Tensor:
    """How far the image lies that a velocity leads to: mean of (x - t v - image)^2 / max(t, 0.25)^2, [...].

    Where t is 0.25 or more this is the flow-matching error (v - (noise - image))^2; nearer to the image it
    is bounded, since models that predict a residual divide by t. Bases are trained with the same.

    Of noisy latents x [..., N, C] at times t [...], their predicted velocity, through which gradients flow, and
    clean latents, broadcastable to x; `mask` as `flow.latent_mean` has it.
    """
    error = latent_mean((x - t[..., None, None] * velocity - image).square(), mask)
    return error / t.clamp_min(0.25).square()


def imitation_loss(
    text_log_prob: Tensor | None,
    intent_mask: Tensor,
    image_error: Tensor | None,
    trains: Tensor,
    settings: AlgorithmSettings,
) -> tuple[Tensor, Numbers]:
    """w_text mean over tokens of -log p + w_flow mean over times of the image's error, mean over turns.

    Of the intents' tokens [M, L] and the noised images [M, W], either None; turns that do not train count as zeros.
    """
    total, numbers = torch.zeros((), device=trains.device), {}
    if text_log_prob is not None:
        tokens = intent_mask & trains[:, None]
        mean = -text_log_prob.masked_fill(~tokens, 0.0).sum(-1) / tokens.sum(-1).clamp(min=1)
        total, numbers["text_loss"] = total + settings.text_weight * mean.mean(), float(mean.mean().detach())
    if image_error is not None:
        error = (image_error.mean(-1) * trains).mean()
        total, numbers["flow_loss"] = total + settings.flow_weight * error, float(error.detach())
    return total, numbers


def every_scored(turns: Turn, settings: AlgorithmSettings) -> Tensor:
    """Which turns supervised learning uses: an oracle's need no filter."""
    return turns["scored_mask"]


def better_than_group(turns: Turn, settings: AlgorithmSettings) -> Tensor:
    """Which turns rejection sampling accepts: those that the filter keeps and that beat their group."""
    return turns["loss_mask"] & turns["scored_mask"] & (turns["advantage"] > NO_ADVANTAGE)


def supervised_loss(
    policies: Policies, sessions: Turn, settings: AlgorithmSettings, first: bool, select: Any = every_scored
) -> tuple[Tensor, Numbers]:
    """`imitation_loss` of the selected turns, by default of every scored one, which an oracle played."""
    trains = select(sessions, settings)
    batch, share = take_trained(sessions | {"trains": trains}, trains)
    # The oracle's tokens were not sampled: their log-probs are those at temperature 1.
    at_one = replace(settings, temperature=1.0)
    output = policies.model(batch, at_one, **asked_at_noise(batch, settings, settings.text_weight > 0))
    error = None
    if output.velocity is not None:
        noisy = batch["noised"], batch["noised_times"], output.velocity, batch["image"][:, None]
        error = x0_loss(*noisy, batch.get("latent_mask"))
    loss, numbers = imitation_loss(output.text_log_prob, batch["intent_mask"], error, batch["trains"], settings)
    return loss * share, numbers


def rejection_loss(
    policies: Policies, sessions: Turn, settings: AlgorithmSettings, first: bool
) -> tuple[Tensor, Numbers]:
    """Rejection sampling: `imitation_loss` of the accepted turns."""
    loss, numbers = supervised_loss(policies, sessions, settings, first, better_than_group)
    accepted = better_than_group(sessions, settings)
    return loss, numbers | {"accepted_share": float(accepted.double().mean())}


SUPERVISED = Objective(supervised_loss, every_scored, add_noise, behaviours=("oracle",))
REJECTION = Objective(rejection_loss, better_than_group, add_noise)
