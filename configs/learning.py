"""How a model learns from rollouts: the settings of `algorithm`, with types."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True)
class AlgorithmConfig:
    """The update of Edit-R2 and its rollouts; formulas stand at the functions that are named.

    Attributes:
        objective: a name in `edit_r2.objective.OBJECTIVES`.
        behaviour: who plays rollouts, a name in `edit_r2.sampling.BEHAVIOURS`.
        advantage: a name in `edit_r2.advantage.ADVANTAGES`.
        advantage_clip: bound of the advantages.
        advantage_std: "batch" or "group", whose standard deviation advantages are divided by.
        filter: a name in `edit_r2.filter.FILTERS`.
        filter_threshold: instruction following below which a turn has failed, for filter=threshold.
        schedule: of the learning rates, "constant", "linear" or "cosine"; the latter two fall to zero.
        text_weight, flow_weight: of the two losses; 0 freezes that expert.
        text_rate, flow_rate: learning rates.
        text_clip, flow_clip: half widths of the ratios' clip ranges.
        text_kl, flow_kl: weights of the distances to the starting point.
        kl: which distance the flow's is, a name in `edit_r2.kl.FLOW_KLS`.
        ratio: of the flow's steps, a name in `edit_r2.ratio.RATIOS`.
        noise_level: a of the stochastic steps.
        sigma_t_max: largest time inside sigma; None for no bound.
        nft_beta, nft_range: for objective=nft, see `edit_r2.objective.nft`.
        nft_weight: for objective=nft, how noisy pictures count beside each other, a name in
            `edit_r2.picture_error.PICTURE_ERRORS`; the paper's is "adaptive".
        nft_decay, nft_decay_rise: for objective=nft, most of the slow average that plays in place of what
            learns, and its growth an iteration, see `agents.ema`; 0 for none. The paper's code has
            0.5 and 0.001.
        times: for objectives other than policy, at how many times of the flow a picture is learnt.
        recompute: whether old log-probs are worked out anew by the training forward.
        context: "current", or "interleaved" to read all earlier pictures and intents.
        text_guidance, image_guidance: scales of the pictures' guidance; 1 is off.
        window: stochastic steps a turn; 0 for none, with objectives other than policy.
        window_low, window_high: first and last step at which the window may start.
        window_placement: a name in `flow.schedule.PLACEMENTS`.
        window_every: iterations that a sliding window rests at a step.
        sampler: a name in `flow.sde.SAMPLERS`.
        temperature: of the intent's tokens in rollouts.
        steps: steps of the flow.
        shift: of the flow's time grid.
        updates_per_iteration: optimiser steps an iteration; with 1 no clip ever acts.
        max_grad_norm: of each expert's gradient.
        lora_rank: of the adapters; 0 trains all weights.
        lora_alpha: adapters are scaled by alpha / rank.
        shared_noise: whether a spec's rollouts start from one noise.
        fallbacks_train: whether tokens train of intents that fell back to the user's words.
        intent_from_turn: first turn, from 1, at which an intent is written.
        max_intent_tokens: most tokens of an intent.
        context_gradient: whether gradients flow through what precedes intent and picture too.
        text_scope: weights that text updates reach, a name in `edit_r2.experts.TEXT_SCOPES`.
        precision: of the network's arithmetic, a name in `agents.distributed.PRECISIONS`.
        gradient_checkpointing: whether layers run again on the way back, to keep less of them in memory.
        chunk_sessions: most sessions whose gradients are worked out at a time; None for all of an update's.
    """

    objective: str
    behaviour: str
    nft_beta: float
    nft_range: float
    nft_weight: str
    nft_decay: float
    nft_decay_rise: float
    times: int
    recompute: bool
    context: str
    text_guidance: float
    image_guidance: float
    advantage: str
    advantage_clip: float
    advantage_std: str
    filter: str
    filter_threshold: float
    schedule: str
    text_weight: float
    flow_weight: float
    text_rate: float
    flow_rate: float
    text_clip: float
    flow_clip: float
    text_kl: float
    flow_kl: float
    kl: str
    ratio: str
    noise_level: float
    sigma_t_max: float | None
    window: int
    window_low: int
    window_high: int
    window_placement: str
    window_every: int
    sampler: str
    temperature: float
    steps: int
    shift: float
    updates_per_iteration: int
    max_grad_norm: float
    lora_rank: int
    lora_alpha: float
    shared_noise: bool
    fallbacks_train: bool
    intent_from_turn: int
    max_intent_tokens: int
    context_gradient: bool
    text_scope: str
    precision: str
    gradient_checkpointing: bool
    chunk_sessions: int | None
