"""Checks of what a trainer samples: log-probs, ratios, moments, windows and seeds."""

from __future__ import annotations

import math

import numpy as np
import torch

from editenv.agents.audit.closed_form import (
    Floats,
    flow_arrays,
    flow_density,
    marginal_variance,
    sampled_variances,
    text_arrays,
    text_log_prob,
    text_log_probs,
    to_numpy,
)
from editenv.agents.audit.known import PULL, VOCABULARY
from editenv.agents.audit.protocol import Auditable, Loss, NotOffered, Turns
from editenv.agents.audit.subject import ITERATIONS, CheckResult, Subject

_ERRORS = 4.5
"""Standard errors that pass: 1 of 150,000 right numbers is farther away."""
_LOG_PROB = 2e-4
"""Largest error of a log-prob of order 1 in float32."""
_LOG_RATIO = 1e-4
"""Largest error of a log-ratio after a move: float32 and the sums over dimensions."""
_SAME_NOISE = 0.01
"""Standard deviations between two draws of noise that are one draw and rounding."""


def check_ratio(subject: Subject) -> list[CheckResult]:
    """|ratio - 1| within a tenth of the clip before an update; after a move, the ratio in closed form.

    The second half finds ratios that are always 1, as where the old log-probs are recomputed in training. It
    compares log-ratios, since a ratio of a moved policy may be of any size.
    """
    facts, trainer, policy = subject.facts, subject.trainer, subject.policy
    worst: dict[str, float] = {}
    for turns in (subject.rollout(1), subject.rollout(2)):
        keep = trainer.keep(turns.following)
        loss = trainer.loss(policy, policy, turns, turns.reward.nan_to_num(), keep)
        for space, value in _log_ratios(loss, turns).items():
            worst[space] = max(worst.get(space, 0.0), _largest_apart(value))
    bounds = {"flow": min(facts.flow_clip / 10, 1e-4), "text": min(facts.text_clip / 10, 1e-4)}
    found = [
        CheckResult(f"largest |ratio - 1| of {space}", value, 0.0, bounds[space], "training disagrees")
        for space, value in worst.items()
    ]
    turns, advantage, keep = subject.scored
    moved = policy.moved(gain=0.002, shift=0.005, text=0.1)
    for space, value in _log_ratios(trainer.loss(moved, policy, turns, advantage, keep), turns).items():
        if space == "flow":
            now, then = (flow_density(p, facts, turns).log_prob.ravel() for p in (moved, policy))
        else:
            tokens, mask, before = text_arrays(turns)
            now, then = (text_log_prob(p, facts, tokens, before)[mask] for p in (moved, policy))
        error, note = _largest_apart(value - (now - then)), "the ratio does not follow the policy"
        found.append(CheckResult(f"error of {space}'s log-ratio, moved", error, 0.0, _LOG_RATIO, note))
    return found


def _log_ratios(loss: Loss, turns: Turns) -> dict[str, Floats]:
    """Log-probs in training less those of sampling, of all stochastic steps and of all real tokens."""
    found = {}
    if loss.flow_log_prob is not None and turns.flow_log_prob is not None:
        found["flow"] = to_numpy(loss.flow_log_prob - turns.flow_log_prob).ravel()
    if loss.text_log_prob is not None and turns.text_log_prob is not None:
        found["text"] = to_numpy(loss.text_log_prob - turns.text_log_prob)[np.asarray(turns.mask, bool)]
    return found


def _largest_apart(log_ratio: Floats) -> float:
    return float(np.abs(np.expm1(log_ratio)).max(initial=0.0))


def check_density(subject: Subject) -> list[CheckResult]:
    """Stored log-probs against the closed form, and noise that has the std which they assume."""
    turns, facts, found = subject.rollout(0), subject.facts, []
    nothing = torch.full((1,), math.nan)
    if facts.window:
        latents, times, _ = flow_arrays(turns)
        density = flow_density(subject.policy, facts, turns)
        stored = to_numpy(nothing if turns.flow_log_prob is None else turns.flow_log_prob)
        error = np.abs(stored.reshape(density.log_prob.shape) - density.log_prob).max()
        found.append(CheckResult("error of the flow's log-prob", float(error), 0.0, _LOG_PROB))
        noise = (latents[:, 1:] - density.mean) / density.std[..., None]
        for place in range(times.shape[1] - 1):
            std_error = _ERRORS / math.sqrt(2 * noise[:, place].size)
            what, note = (f"noise of stochastic step {place}, in std", "noise of another std than the log-prob's")
            found.append(CheckResult(what, float(noise[:, place].std()), 1.0, std_error, note))
    if facts.temperature is not None:
        tokens, mask, before = text_arrays(turns)
        known = text_log_prob(subject.policy, facts, tokens, before)
        stored = to_numpy(nothing if turns.text_log_prob is None else turns.text_log_prob)
        error = np.abs(stored.reshape(known.shape) - known)[mask].max()
        found.append(CheckResult("error of a token's log-prob", float(error), 0.0, _LOG_PROB))
    return found


def check_marginals(subject: Subject) -> list[CheckResult]:
    """Mean and std of latents before, in and after the window, by start; words that follow each word.

    A discretised Flow-SDE step adds noise and a CPS step may take some (up to 2.9% of the std for a Gaussian
    of unit spread on a grid of 14 steps), so a sampler is held to the exact moments of its discrete steps;
    the note gives how far these lie from the flow's own.
    """
    found = []
    if subject.facts.window:
        for variant in subject.trainer.variants():
            found += _latent_moments(subject, variant)
    if subject.facts.temperature is not None:
        found.append(_word_pairs(subject))
    if not found:
        raise NotOffered("neither pictures nor text")
    return found


def _latent_moments(subject: Subject, trainer: Auditable) -> list[CheckResult]:
    facts, found = trainer.facts, []
    parts = [flow_arrays(turns) for turns in subject.rollouts(trainer)]
    latents, times, source = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    starts = np.abs(np.array(facts.times) - times[:, :1]).argmin(-1)
    for start in range(facts.window_low, facts.window_high + 1):
        rows = starts == start
        if not rows.any():
            continue
        stds = [math.sqrt(variance) for variance in sampled_variances(facts, start)]
        for place in {0, facts.window}:
            t, std = facts.times[start + place], stds[place]
            distance = latents[rows, place] - (1 - t) * PULL * source[rows]
            # Rollouts of a group may share their first noise: such sessions are counted once.
            independent = len(np.unique(distance.round(4), axis=0)) * distance.shape[1]
            mean_error, std_error = std / math.sqrt(independent), std / math.sqrt(2 * independent)
            where = f"at step {start + place}, window {start}"
            note = f"in closed form {100 * (std / math.sqrt(marginal_variance(t)) - 1):+.1f}% of the flow's"
            mean = float(distance.mean())
            found += [
                CheckResult(f"{facts.sampler}: mean {where}", mean, 0.0, _ERRORS * mean_error),
                CheckResult(f"{facts.sampler}: std {where}", float(distance.std()), std, _ERRORS * std_error, note),
            ]
    return found


def _word_pairs(subject: Subject) -> CheckResult:
    """Chi-square of the words that follow each word, in standard deviations of its distribution."""
    counts = np.zeros((VOCABULARY, VOCABULARY))
    for turns in subject.rollouts():
        tokens, mask, before = text_arrays(turns)
        np.add.at(counts, (before[mask], tokens[mask]), 1)
    table = np.exp(text_log_probs(subject.policy, subject.facts, np.arange(VOCABULARY)))
    expected = counts.sum(-1, keepdims=True) * table
    used = expected > 5
    freedom = used.sum() - (used.any(-1)).sum()
    chi = ((counts - expected)[used] ** 2 / expected[used]).sum()
    value = (chi - freedom) / math.sqrt(2 * freedom)
    return CheckResult("text: chi-square of word pairs, in std", float(value), 0.0, 5.0)


def check_window(subject: Subject) -> list[CheckResult]:
    """Shares of the window's starts over several iterations, and times that are consecutive in the grid."""
    facts = subject.facts
    if not facts.window:
        raise NotOffered("pictures")
    times = np.concatenate([flow_arrays(turns)[1] for turns in subject.rollouts()])
    grid = np.array(facts.times)
    places = np.abs(grid - times[..., None]).argmin(-1)
    found = [
        CheckResult("distance of a time from the grid", float(np.abs(grid[places] - times).max()), 0.0, 1e-6),
        CheckResult("share of steps that skip a time", float((np.diff(places) != 1).mean())),
    ]
    for start in range(facts.window_low, facts.window_high + 1):
        if facts.window_placement == "random":
            share = 1 / (facts.window_high - facts.window_low + 1)
        else:
            every = facts.window_every if facts.window_placement == "sliding" else ITERATIONS
            expected = [min(facts.window_low + at // every, facts.window_high) for at in range(ITERATIONS)]
            share = expected.count(start) / ITERATIONS
        error = _ERRORS * math.sqrt(share * (1 - share) / len(places)) + 1e-9
        value = float((places[:, 0] == start).mean())
        found.append(CheckResult(f"share of windows that start at step {start}", value, share, error))
    return found


def check_seeds(subject: Subject) -> list[CheckResult]:
    """Samples of one seed and iteration twice, of another seed, of another iteration, and within a group.

    In between the global generators are drawn from and re-seeded, which must not matter.
    """
    torch.manual_seed(0)
    first = subject.trainer.rollout(subject.policy, subject.seed, 0)
    torch.manual_seed(12345)
    torch.rand(7)
    np.random.seed(54321)
    again = subject.trainer.rollout(subject.policy, subject.seed, 0)
    other_seed = subject.trainer.rollout(subject.policy, subject.seed + 1, 0)
    drawn, *others = (_noise(subject, turns) for turns in (first, other_seed, subject.rollout(1)))
    same = [
        float((np.abs(drawn - other) < _SAME_NOISE).reshape(len(drawn), -1).all(-1).mean())
        if drawn.shape == other.shape
        else 0.0
        for other in others
    ]
    sessions = drawn.reshape(first.reward.shape[0] * first.reward.shape[1], -1).round(2)
    unique = len(np.unique(sessions, axis=0)) / len(sessions)
    repeated = float(np.abs(_samples(first) - _samples(again)).max())
    return [
        CheckResult("difference when the same seed is played again", repeated),
        CheckResult("share of samples that another seed repeats", same[0]),
        CheckResult("share of samples that another iteration repeats", same[1]),
        CheckResult("share of sessions unlike all others", unique, 1.0),
    ]


def _samples(turns: Turns) -> Floats:
    found = turns.tokens if turns.latents is None else turns.latents
    if found is None:
        raise NotOffered("samples")
    return to_numpy(found)


def _noise(subject: Subject, turns: Turns) -> Floats:
    """The noise behind each turn's latents, whatever it was added to; without pictures a session's tokens.

    Two turns may well say the same short thing, two sessions hardly.
    """
    if turns.latents is None:
        return _samples(turns).reshape(turns.reward.shape[0] * turns.reward.shape[1], -1)
    density = flow_density(subject.policy, subject.facts, turns)
    return (flow_arrays(turns)[0][:, 1:] - density.mean) / density.std[..., None]
