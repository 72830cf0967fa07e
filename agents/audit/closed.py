"""Log-densities and gradients of the known policy in closed form, in float64 numpy."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from editenv.agents.audit.bench import Ints, flow_of, heats_of, numbers, text_of
from editenv.agents.audit.known import PULL, KnownPolicy
from editenv.agents.audit.protocol import Facts, NotOffered, Turns
from editenv.agents.audit.theory import Bools, Floats, Step, slope, stochastic_step


@dataclass(frozen=True)
class FlowDensity:
    """Stochastic steps under a policy, M turns of W steps.

    Attributes:
        log_prob: mean over D dimensions without constants, [M, W].
        mean: of the transitions, [M, W, D].
        std: of the transitions, [M, W].
        score: d log_prob / d velocity, [M, W, D].
        x: where the steps start, [M, W, D].
        velocity: of the policy, [M, W, D].
    """

    log_prob: Floats
    mean: Floats
    std: Floats
    score: Floats
    x: Floats
    velocity: Floats


def flow_density(policy: KnownPolicy, facts: Facts, turns: Turns) -> FlowDensity:
    """-(x' - mean)^2 / (2 std^2) with mean = x_factor x + v_factor velocity, a mean over dimensions."""
    latents, times, source = flow_of(turns)
    image, gain = PULL * source, float(numbers(policy.gain_moe_gen))
    shift = np.tile(numbers(policy.shift_moe_gen), latents.shape[-1] // len(policy.shift_moe_gen))
    steps = [[_step(facts, *pair) for pair in pairwise(row)] for row in times]
    x_factor, v_factor, std = np.moveaxis(np.array(steps), -1, 0)[..., None]
    x, t = latents[:, :-1], times[:, :-1, None]
    slopes = np.vectorize(slope)(t)
    velocity = slopes * (x - (1 - t) * image[:, None]) - image[:, None] + gain * x + shift
    mean = x_factor * x + v_factor * velocity
    distance = latents[:, 1:] - mean
    log_prob = -(distance**2).mean(-1) / (2 * std[..., 0] ** 2)
    score = distance * v_factor / std**2 / latents.shape[-1]
    return FlowDensity(log_prob, mean, std[..., 0], score, x, velocity)


def text_log_prob(policy: KnownPolicy, heat: Floats | float, tokens: Ints, before: Ints) -> Floats:
    """Log-probs [..., L] of tokens, given the token before each: log softmax(table / temperature)."""
    return np.take_along_axis(text_rows(policy, heat, before), tokens[..., None], -1)[..., 0]


def text_rows(policy: KnownPolicy, heat: Floats | float, before: Ints) -> Floats:
    """Log-probs of each token after the ones before, [..., L, V], at a temperature or one of each turn."""
    scores = numbers(policy.bigram)[before] / np.asarray(heat)[..., None, None]
    scores = scores - scores.max(-1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


def loss_gradient(
    policy: KnownPolicy, old: KnownPolicy, facts: Facts, turns: Turns, advantage: Floats, keep: Bools
) -> dict[str, Floats]:
    """Gradient of the joint clipped loss by parameter, at a policy, on turns that `old` sampled.

    d/d theta of mean over turns of keep sum over terms of weight mean over elements of max(-A r, -A clip(r)),
    that is -A r d log_prob where the clip does not act and 0 where it does
    """
    turn_weight = (keep / keep.size).ravel()
    gains = advantage.ravel()
    found: dict[str, Floats] = {}
    if facts.window and facts.flow_weight:
        now, then = (flow_density(p, facts, turns) for p in (policy, old))
        log_ratio, score = _flow_ratio(facts, now, then)
        weight = (facts.flow_weight * turn_weight)[:, None] * _pull(log_ratio, gains, facts.flow_clip)
        by_velocity = weight[..., None] / facts.window * score
        found["gain_moe_gen"] = (by_velocity * now.x).sum()
        channels = len(policy.shift_moe_gen)
        found["shift_moe_gen"] = by_velocity.reshape(-1, channels).sum(0)
    if facts.temperature is not None and facts.text_weight:
        tokens, mask, before = text_of(turns)
        heat = heats_of(facts, turns)
        now_text, then_text = (text_log_prob(p, heat, tokens, before) for p in (policy, old))
        pull = _pull(now_text - then_text, gains, facts.text_clip) * mask
        weight = (facts.text_weight * turn_weight / np.maximum(mask.sum(-1), 1))[:, None] * pull
        found["bigram"] = _table_gradient(policy, heat, tokens, before, weight)
    return found


def _step(facts: Facts, t: float, t_next: float) -> Step:
    # Times come as float32; the facts' own are what a time means.
    nearest = [min(facts.times, key=lambda known: abs(known - value)) for value in (t, t_next)]
    return stochastic_step(facts, *nearest)


def _flow_ratio(facts: Facts, now: FlowDensity, then: FlowDensity) -> tuple[Floats, Floats]:
    """Log-ratio [M, W] and its derivative by the velocity [M, W, D].

    GRPO-Guard's is std (log_prob - old + mean((mean - old_mean)^2) / (2 std^2)), which is linear in the mean.
    """
    plain = now.log_prob - then.log_prob
    if facts.ratio == "plain":
        return plain, now.score
    if facts.ratio != "guard":
        raise NotOffered(f"no theory of ratio {facts.ratio!r}")
    apart = ((now.mean - then.mean) ** 2).mean(-1) / (2 * now.std**2)
    return now.std * (plain + apart), now.std[..., None] * then.score


def _pull(log_ratio: Floats, advantage: Floats, clip: float) -> Floats:
    ratio, gain = np.exp(log_ratio), advantage[:, None]
    clipped = ((gain > 0) & (ratio > 1 + clip)) | ((gain < 0) & (ratio < 1 - clip))
    return np.where(clipped, 0.0, -gain * ratio)


def _table_gradient(policy: KnownPolicy, heat: Floats, tokens: Ints, before: Ints, weight: Floats) -> Floats:
    chances, pull = np.exp(text_rows(policy, heat, before)), weight / heat[:, None]
    gradient = np.zeros(policy.bigram.shape)
    np.add.at(gradient, (before, tokens), pull)
    np.add.at(gradient, before, -pull[..., None] * chances)
    return gradient
