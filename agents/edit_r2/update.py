"""One minibatch's loss: policy and reference judge what was sampled, and both terms are joined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from editenv.agents.edit_r2.credit import NO_ADVANTAGE
from editenv.agents.edit_r2.kl import FLOW_KLS, Steps, text_kl
from editenv.agents.edit_r2.loss import JointLoss, PolicyTerm, joint_loss, ratio_error
from editenv.agents.edit_r2.padding import past_blocks, trimmed
from editenv.agents.edit_r2.picture_error import PICTURE_ERRORS
from editenv.agents.edit_r2.ratio import RATIOS
from editenv.agents.edit_r2.rollout import RolloutSettings
from editenv.agents.flow.sample import window_log_prob
from editenv.agents.flow.sde import SAMPLERS
from editenv.agents.unified import ImageBlock, UnifiedOutput
from editenv.registry import lookup

Forward = Callable[..., UnifiedOutput]


@dataclass(frozen=True)
class UpdateSettings:
    """How the policy is updated from a rollout.

    Attributes:
        text_weight, flow_weight: of the two terms; 0 leaves a term out and its expert's weights frozen.
        text_rate, flow_rate: learning rates of the understanding and the generation expert.
        text_clip, flow_clip: half widths of the clip ranges.
        text_kl, flow_kl: weights of the distances to the reference inside each term.
        kl: which distance the flow's is, a name in FLOW_KLS.
        ratio: a name in RATIOS, of the flow's ratio.
        max_grad_norm: largest gradient norm of each expert.
        objective: what is learnt from a rollout, a name in OBJECTIVES.
        nft_beta: for objective=nft, how far the implicit policies lie from the one that sampled.
        nft_range: for objective=nft, the advantage that counts as certainly better.
        nft_weight: for objective=nft, how noisy pictures count beside each other, a name in PICTURE_ERRORS.
        nft_decay: for objective=nft, most of the slow average that plays, below 1; 0: what learns plays.
        nft_decay_rise: its growth an iteration, see `slow_average.ema_decay`.
        times: for objectives other than policy, at how many times of the flow a picture is learnt.
        recompute: whether the ratios' old log-probs are worked out anew by the training forward, where
            rollout and training differ by more than a tight clip bears.
        updates_per_iteration: optimiser steps an iteration, each on its share of the sessions.
        context_gradient: whether gradients reach through what precedes intent and picture; published: False.
        text_scope: which weights text updates reach, a name in `experts.TEXT_SCOPES`; published: "expert".
        gradient_checkpointing: whether layers are run again on the way back, to keep less of them in memory.
        chunk_sessions: most sessions whose gradients are worked out at a time, for the memory's sake; None
            for all of a minibatch.

    Raises:
        ValueError: a name is not known, or there is nothing in a chunk.
    """

    text_weight: float = 1.0
    flow_weight: float = 1.0
    text_rate: float = 2e-4
    flow_rate: float = 5e-5
    text_clip: float = 0.2
    flow_clip: float = 1e-3
    text_kl: float = 0.0
    flow_kl: float = 0.0
    kl: str = "gaussian"
    ratio: str = "plain"
    objective: str = "policy"
    nft_beta: float = 1.0
    nft_range: float = 5.0
    nft_weight: str = "bounded"
    nft_decay: float = 0.0
    nft_decay_rise: float = 0.001
    times: int = 2
    recompute: bool = False
    max_grad_norm: float = 1.0
    updates_per_iteration: int = 2
    context_gradient: bool = False
    text_scope: str = "expert"
    gradient_checkpointing: bool = False
    chunk_sessions: int | None = None

    def __post_init__(self) -> None:
        lookup("kl", self.kl, FLOW_KLS)
        lookup("ratio", self.ratio, RATIOS)
        lookup("nft_weight", self.nft_weight, PICTURE_ERRORS)
        if not 0 <= self.nft_decay < 1:
            raise ValueError(f"nft_decay is {self.nft_decay}, expected 0 or more and below 1")
        if not 0 < self.nft_decay_rise < float("inf"):
            raise ValueError(f"nft_decay_rise is {self.nft_decay_rise}, expected above 0")
        if self.chunk_sessions is not None and self.chunk_sessions < 1:
            raise ValueError(f"chunk_sessions is {self.chunk_sessions}, expected 1 or more, or null")


@dataclass(frozen=True)
class Judgement:
    """Log-probs of a minibatch's turns under one policy, M = sessions * turns.

    Attributes:
        text_log_prob: of each token, [M, L], None where the text is not trained.
        flow_log_prob_mean: of each stochastic step, [M, W], None where the flow is not trained.
        flow_mean: of each stochastic step, [M, W, N, C].
        flow_std: noise of each stochastic step, [M, W].
        flow_velocity: at each stochastic step, without guidance, [M, W, N, C].
    """

    text_log_prob: Tensor | None
    flow_log_prob_mean: Tensor | None
    flow_mean: Tensor | None
    flow_std: Tensor | None
    flow_velocity: Tensor | None


def policy_trains(turns: dict[str, Tensor], update: UpdateSettings) -> Tensor:
    """Which turns add to a policy gradient, bool [...].

    Filtered and unscored turns add nothing to the loss; nor do turns without an advantage, as long as no
    distance to the reference is part of the loss.
    """
    trains = turns["keep"] & turns["valid"]
    if not (update.text_kl or update.flow_kl):
        trains = trains & (turns["advantage"].abs() > NO_ADVANTAGE)
    return trains


def trained_turns(turns: dict[str, Tensor], trains: Tensor) -> tuple[dict[str, Tensor], float]:
    """The turns that train, each tensor [M, ...], and their share of all, which the loss is a mean over.

    The others need no forward. Where none trains the first one stands for all: a distributed backward needs
    a loss on every rank.
    """
    if not trains.any():
        return {name: value[:1] for name, value in turns.items()}, 1 / len(trains)
    return {name: value[trains] for name, value in turns.items()}, float(trains.double().mean())


def judge(
    model: Forward, batch: dict[str, Tensor], rollout: RolloutSettings, update: UpdateSettings
) -> Judgement:
    """What a policy thinks of sampled turns, in one forward call.

    Args:
        model: the policy's forward.
        batch: turns of a rollout, each tensor [M, ...].
        rollout: how they were sampled.
        update: which terms are wanted.
    """
    latents, times = batch.get("latents"), batch.get("times")
    if latents is not None and times is not None:
        latents, times = latents[:, :-1], times[:, :-1]
    output = model(**forward_inputs(batch, rollout, update, latents, times))
    text = None
    if output.logits is not None:
        text = token_log_prob(output.logits, batch, rollout.turn.temperature or 1.0)
    if output.velocity is None:
        return Judgement(text, None, None, None, None)
    flow = window_log_prob(
        output.velocity,
        batch["latents"],
        batch["times"],
        SAMPLERS[rollout.sampler],
        rollout.noise_level,
        float(rollout.turn.times()[1]),
        rollout.sigma_t_max,
    )
    return Judgement(text, *flow, output.unguided)


def forward_inputs(
    batch: dict[str, Tensor],
    rollout: RolloutSettings,
    update: UpdateSettings,
    x: Tensor | None,
    t: Tensor | None,
) -> dict[str, Any]:
    """What `UnifiedModel.forward` is called with: the contexts as the rollout's turns had them.

    Args:
        batch: turns of a rollout, each tensor [M, ...].
        rollout: how they were sampled.
        update: which halves are wanted.
        x: noisy latents, [M, W, N, C]; None leaves the picture out.
        t: their times, [M, W].
    """
    current = ImageBlock(batch["source"])
    past = past_blocks(batch) if rollout.turn.interleaved else []
    wanted: dict[str, Any] = {"context_gradient": update.context_gradient}
    if update.text_weight:
        transcript = trimmed(batch["transcript_ids"], batch["transcript_mask"], left=True)
        wanted |= {
            "text_context": [*past, current, transcript] if rollout.turn.interleaved else [transcript],
            "intent_ids": batch["intent_ids"],
            "intent_mask": batch["intent_mask"],
        }
    if update.flow_weight and x is not None:
        condition = trimmed(batch["condition_ids"], batch["condition_mask"])
        wanted |= {
            "image_context": [*past, current, condition],
            "x": x,
            "t": t,
            "source": batch["source"],
            "guidance": rollout.turn.guidance,
        }
    return wanted


def policy_loss(
    now: Judgement, reference: Judgement | None, batch: dict[str, Tensor], update: UpdateSettings
) -> JointLoss:
    """The joint loss of a minibatch of turns, with the distances to a reference where one was asked."""
    text = flow = None
    if now.text_log_prob is not None:
        old = batch["text_log_prob"]
        distance = None if reference is None else text_kl(now.text_log_prob, _given(reference.text_log_prob))
        text = PolicyTerm(
            now.text_log_prob,
            old,
            batch["intent_mask"],
            update.text_clip,
            update.text_weight,
            distance,
            update.text_kl,
        )
    if now.flow_log_prob_mean is not None:
        mean, std = _given(now.flow_mean), _given(now.flow_std)
        log_ratio = RATIOS[update.ratio](
            now.flow_log_prob_mean, batch["flow_log_prob_mean"], mean, batch["flow_mean"], std
        )
        distance = None
        if reference is not None:
            distance = FLOW_KLS[update.kl](_steps(now, batch), _steps(reference, batch))
        every = torch.ones_like(log_ratio, dtype=torch.bool)
        same = torch.zeros_like(log_ratio)
        flow = PolicyTerm(
            log_ratio, same, every, update.flow_clip, update.flow_weight, distance, update.flow_kl
        )
    return joint_loss(flow, text, batch["advantage"].float(), batch["keep"], batch["valid"])


def ratio_errors(now: Judgement, batch: dict[str, Tensor]) -> dict[str, float]:
    """Largest |ratio - 1| of each space; before an update, how far rollout and training disagree."""
    errors = {}
    if now.text_log_prob is not None:
        errors["text"] = ratio_error(now.text_log_prob, batch["text_log_prob"], batch["intent_mask"])
    if now.flow_log_prob_mean is not None:
        errors["flow"] = ratio_error(now.flow_log_prob_mean, batch["flow_log_prob_mean"])
    return errors


def check_ratio(errors: dict[str, float], update: UpdateSettings) -> None:
    """Stops a run whose training computes other log-probs than its rollout did.

    Raises:
        RuntimeError: |ratio - 1| is above a tenth of the clip range, or above 1e-4.
    """
    for space, error in errors.items():
        clip = update.text_clip if space == "text" else update.flow_clip
        bound = min(clip / 10, 1e-4)
        if not error <= bound:
            raise RuntimeError(
                f"before the first update the {space} ratio differs from 1 by {error:.2e}, expected at most "
                f"{bound:.0e}: rollout and training compute other log-probs (dtype, kernels, batch shape); "
                "where that is rounding alone, recompute=true takes those of training"
            )


def token_log_prob(logits: Tensor, batch: dict[str, Tensor], temperature: float = 1.0) -> Tensor:
    """Log-prob of each token of the intents under logits / temperature, [M, L]; 0 at padding."""
    log_probs = torch.log_softmax(logits.float() / temperature, -1)
    return log_probs.gather(-1, batch["intent_ids"][..., None])[..., 0].masked_fill(
        ~batch["intent_mask"], 0.0
    )


def _steps(judged: Judgement, batch: dict[str, Tensor]) -> Steps:
    mean, std, velocity = _given(judged.flow_mean), _given(judged.flow_std), _given(judged.flow_velocity)
    return Steps(mean, std, velocity, batch["times"].diff(dim=-1))


def _given(tensor: Tensor | None) -> Tensor:
    assert tensor is not None, "policy and reference judge the same terms"
    return tensor
