"""What the known policy must give, in closed form and float64 numpy: nothing here calls a trainer's code.

The policy's velocity is linear in x, so each sampler step is an affine Gaussian map whose moments, densities
and gradients are known. M turns of a rollout are flattened to one axis; W is the number of stochastic steps,
D the number of latent dimensions, L the number of tokens, V the vocabulary's size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from editenv.agents.audit.known import PULL, SPREAD, KnownPolicy
from editenv.agents.audit.protocol import Facts, NotOffered, Turns

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


def to_numpy(tensor: Tensor) -> Floats:
    """A tensor as float64 numbers."""
    return tensor.detach().cpu().double().numpy()


def flow_arrays(turns: Turns) -> tuple[Floats, Floats, Floats]:
    """Latents [M, W + 1, D], times [M, W + 1] and sources [M, D] of M turns."""
    if turns.latents is None or turns.times is None or turns.source is None:
        raise NotOffered("pictures")
    times = to_numpy(turns.times).reshape(-1, turns.times.shape[-1])
    latents = to_numpy(turns.latents).reshape(*times.shape, -1)
    return latents, times, to_numpy(turns.source).reshape(len(times), -1)


def text_arrays(turns: Turns) -> tuple[Ints, Bools, Ints]:
    """Tokens [M, L], mask [M, L] and the token before each token [M, L] of M turns."""
    if turns.tokens is None or turns.mask is None or turns.previous is None:
        raise NotOffered("text")
    tokens = turns.tokens.cpu().numpy().reshape(-1, turns.tokens.shape[-1])
    first = turns.previous.cpu().numpy().reshape(-1, 1)
    before = np.concatenate([first, tokens[:, :-1]], axis=1)
    return tokens, turns.mask.cpu().numpy().reshape(tokens.shape).astype(bool), before


class Step(NamedTuple):
    """A transition x' = x_factor x + v_factor velocity + std noise."""

    x_factor: float
    v_factor: float
    std: float


def sigma_of(facts: Facts, t: float) -> float:
    """Flow-SDE's diffusion coefficient a sqrt(t / (1 - t)); its pole at t = 1 is avoided as the facts say."""
    if facts.sigma_t_max is not None:
        t = min(t, facts.sigma_t_max)
        return facts.noise_level * math.sqrt(t / (1 - t))
    return facts.noise_level * math.sqrt(t / (1 - (facts.times[1] if t == 1 else t)))


def stochastic_step(facts: Facts, t: float, t_next: float) -> Step:
    """A step of Flow-SDE (arXiv 2505.05470) or of Flow-CPS (arXiv 2509.05952)."""
    if facts.sampler == "cps":
        angle = facts.noise_level * math.pi / 2
        image, noise = 1 - t_next, t_next * math.cos(angle)
        return Step(image + noise, noise * (1 - t) - image * t, t_next * math.sin(angle))
    variance, dt = sigma_of(facts, t) ** 2, t_next - t
    return Step(1 + variance * dt / (2 * t), dt + variance * (1 - t) * dt / (2 * t), math.sqrt(-dt * variance))


def marginal_variance(t: float) -> float:
    """Variance of a latent at time t about (1 - t) image, in the flow that the policy belongs to."""
    return t**2 + ((1 - t) * SPREAD) ** 2


def slope(t: float) -> float:
    """k(t) of `KnownPolicy`: the derivative of its velocity by x, without the gain."""
    return (t - (1 - t) * SPREAD**2) / marginal_variance(t)


def sampled_variances(facts: Facts, start: int) -> list[float]:
    """Variances at each time of the window that starts at a step, as the sampler's own steps make them.

    The distance of x from (1 - t) image is multiplied by x_factor + v_factor k(t) in each step.
    """
    variance, found = 1.0, []
    for step in range(start + facts.window):
        t, t_next = facts.times[step], facts.times[step + 1]
        if step >= start:
            found.append(variance)
        move = Step(1.0, t_next - t, 0.0) if step < start else stochastic_step(facts, t, t_next)
        variance = variance * (move.x_factor + move.v_factor * slope(t)) ** 2 + move.std**2
    return [*found, variance]


class FlowDensity(NamedTuple):
    """Stochastic steps under a policy, M turns of W steps."""

    log_prob: Floats  # mean over D dimensions without constants, [M, W]
    mean: Floats  # of the transitions, [M, W, D]
    std: Floats  # of the transitions, [M, W]
    score: Floats  # d log_prob / d velocity, [M, W, D]
    x: Floats  # where the steps start, [M, W, D]
    velocity: Floats  # of the policy, [M, W, D]


def flow_density(policy: KnownPolicy, facts: Facts, turns: Turns) -> FlowDensity:
    """-(x' - mean)^2 / (2 std^2) with mean = x_factor x + v_factor velocity, a mean over dimensions."""
    latents, times, source = flow_arrays(turns)

    def step(t: float, t_next: float) -> Step:
        # Times come as float32; the facts' own are what a time means.
        nearest = [min(facts.times, key=lambda known: abs(known - value)) for value in (t, t_next)]
        return stochastic_step(facts, *nearest)

    image, gain = PULL * source, float(to_numpy(policy.gain))
    shift = np.tile(to_numpy(policy.shift), latents.shape[-1] // len(policy.shift))
    steps = [[step(*pair) for pair in pairwise(row)] for row in times]
    x_factor, v_factor, std = np.moveaxis(np.array(steps), -1, 0)[..., None]
    x, t = latents[:, :-1], times[:, :-1, None]
    velocity = np.vectorize(slope)(t) * (x - (1 - t) * image[:, None]) - image[:, None] + gain * x + shift
    mean = x_factor * x + v_factor * velocity
    distance = latents[:, 1:] - mean
    log_prob = -(distance**2).mean(-1) / (2 * std[..., 0] ** 2)
    score = distance * v_factor / std**2 / latents.shape[-1]
    return FlowDensity(log_prob, mean, std[..., 0], score, x, velocity)


def text_log_probs(policy: KnownPolicy, facts: Facts, before: Ints) -> Floats:
    """Log-probs of each token after the ones before, [..., L, V]: log softmax(table / temperature)."""
    scores = to_numpy(policy.bigram)[before] / (facts.temperature or 1.0)
    scores = scores - scores.max(-1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


def text_log_prob(policy: KnownPolicy, facts: Facts, tokens: Ints, before: Ints) -> Floats:
    """Log-probs [..., L] of tokens, given the token before each."""
    return np.take_along_axis(text_log_probs(policy, facts, before), tokens[..., None], -1)[..., 0]


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
        log_ratio, score = _flow_log_ratio(facts, now, then)
        by_log_ratio = _by_log_ratio(log_ratio, gains, facts.flow_clip)
        weight = (facts.flow_weight * turn_weight)[:, None] * by_log_ratio
        by_velocity = weight[..., None] / facts.window * score
        found["gain"] = (by_velocity * now.x).sum()
        found["shift"] = by_velocity.reshape(-1, len(policy.shift)).sum(0)
    if facts.temperature is not None and facts.text_weight:
        tokens, mask, before = text_arrays(turns)
        now_text, then_text = (text_log_prob(p, facts, tokens, before) for p in (policy, old))
        by_log_ratio = _by_log_ratio(now_text - then_text, gains, facts.text_clip) * mask
        weight = (facts.text_weight * turn_weight / np.maximum(mask.sum(-1), 1))[:, None] * by_log_ratio
        # d log softmax(row / temperature)[token] / d row = (one_hot(token) - probabilities) / temperature
        weight, chances = weight / facts.temperature, np.exp(text_log_probs(policy, facts, before))
        gradient = np.zeros(policy.bigram.shape)
        np.add.at(gradient, (before, tokens), weight)
        np.add.at(gradient, before, -weight[..., None] * chances)
        found["bigram"] = gradient
    return found


def _flow_log_ratio(facts: Facts, now: FlowDensity, then: FlowDensity) -> tuple[Floats, Floats]:
    """Log-ratio [M, W] and its derivative by the velocity [M, W, D].

    GRPO-Guard's is std (log_prob - old + mean((mean - old_mean)^2) / (2 std^2)), which is linear in the mean.
    """
    plain = now.log_prob - then.log_prob
    if facts.ratio == "plain":
        return plain, now.score
    if facts.ratio != "guard":
        raise NotOffered(f"no closed form of ratio {facts.ratio!r}")
    apart = ((now.mean - then.mean) ** 2).mean(-1) / (2 * now.std**2)
    return now.std * (plain + apart), now.std[..., None] * then.score


def _by_log_ratio(log_ratio: Floats, advantage: Floats, clip: float) -> Floats:
    """Derivative of max(-A r, -A clip(r)) by log r: -A r, and 0 where the clip acts."""
    ratio, gain = np.exp(log_ratio), advantage[:, None]
    clipped = ((gain > 0) & (ratio > 1 + clip)) | ((gain < 0) & (ratio < 1 - clip))
    return np.where(clipped, 0.0, -gain * ratio)


# Advantages and filters by their definitions, written out turn by turn

ADVANTAGES = ("pooled", "turn", "return_to_go", "broadcast")
FAILED: dict[str, Callable[[Facts, Floats], Bools]] = {
    "first_failure": lambda facts, following: following == 0,
    "exclude": lambda facts, following: following == 0,
    "threshold": lambda facts, following: following < facts.filter_threshold,
    "none": lambda facts, following: np.zeros(following.shape, bool),
}
"""By filter: which turns fail."""


def expected_keep(facts: Facts, following: Floats) -> Bools:
    """Everything up to and including a session's first failure, as `facts.filter` defines one; [S, G, K]."""
    failed = FAILED[facts.filter](facts, following)
    return np.cumsum(failed, -1) - failed == 0


def expected_advantage(facts: Facts, reward: Floats, following: Floats) -> Floats:
    """(value - mean of its group) / (std + 1e-4) within the bound; 0 where nothing is known.

    | advantage | value | group |
    |---|---|---|
    | pooled (arXiv 2606.05950) | a turn's reward | all turns of the script |
    | turn | a turn's reward | the same turn |
    | return_to_go | sum of the rewards from the turn on | the same turn |
    | broadcast (arXiv 2606.01985) | the session's mean reward | the script's sessions |

    Args:
        facts: which of these.
        reward: [S, G, K], NaN where a turn was not scored.
        following: what the filter reads, in the same shape.
    """
    counted = ~np.isnan(reward)
    if facts.filter == "exclude":
        counts = expected_keep(facts, following)
        # What does not count need not be known.
        counted, reward = counted & counts, np.where(counts, reward, 0.0)
    value = np.where(counted, reward, np.nan)
    if facts.advantage == "return_to_go":
        for spec, rollout, turn in np.argwhere(counted):
            rest, counts = reward[spec, rollout, turn:], counted[spec, rollout, turn:]
            value[spec, rollout, turn] = np.nan if np.isnan(rest).any() else rest[counts].sum()
    if facts.advantage == "broadcast":
        value = np.full((*reward.shape[:2], 1), np.nan)
        for place in np.ndindex(reward.shape[:2]):
            if counted[place].any() and not np.isnan(reward[place]).any():
                value[place] = reward[place][counted[place]].mean()
    advantage = np.zeros(reward.shape)
    for spec, rollout, turn in np.argwhere(~np.isnan(value)):
        others = value[spec, :, turn] if facts.advantage in ("turn", "return_to_go") else value[spec]
        spread = np.nanstd(others if facts.advantage_std == "group" else value) + 1e-4
        standard = (value[spec, rollout, turn] - np.nanmean(others)) / spread
        place = (spec, rollout, turn if value.shape[-1] > 1 else slice(None))
        advantage[place] = np.clip(standard, -facts.advantage_clip, facts.advantage_clip)
    return np.where(counted, advantage, 0.0)
