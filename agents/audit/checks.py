"""The checks: what a trainer samples (log-probs, moments, windows, seeds) and what it makes of it.

Each is a function from the subject (trainer, known policy, rollouts) to numbers beside those they should be.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from math import nan
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from editenv.agents.audit.closed_form import (
    ADVANTAGES,
    FAILED,
    Floats,
    expected_advantage,
    expected_keep,
    flow_arrays,
    flow_density,
    loss_gradient,
    marginal_variance,
    sampled_variances,
    sigma_of,
    text_arrays,
    text_log_prob,
    text_log_probs,
    to_numpy,
)
from editenv.agents.audit.known import PULL, VOCABULARY, KnownPolicy
from editenv.agents.audit.protocol import Auditable, Loss, NotOffered, Spent, Turns
from editenv.agents.audit.subject import ITERATIONS, CheckResult, Subject

_ERRORS = 4.5
"""Standard errors that pass: 1 of 150,000 right numbers is farther away."""
_LOG_PROB = 2e-4
"""Largest error of a log-prob of order 1 in float32."""
_LOG_RATIO = 1e-4
"""Largest error of a log-ratio after a move: float32 and the sums over dimensions."""
_SAME_NOISE = 0.01
"""Standard deviations between two draws of noise that are one draw and rounding."""

_PARAMETERS = {"flow": ("gain", "shift"), "text": ("bigram",)}
_GRADIENT = 2e-3
_KL = 1e-3
_ITERATIONS = 3
_FOLLOWING = np.array(
    [
        [[1, 1, 1, 1], [0, 1, 1, 1], [1, 0, 1, 0]],
        [[0.2, 1, 0, 1], [1, 1, 1, 0], [nan, 1, 0, 1]],
        [[0, 0, 0, 0], [1, nan, 1, 1], [1e-9, 1, 0, 0]],
    ]
)
"""Instruction following of 36 turns, failed, half failed and unscored ones among them."""


# What is sampled


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


# What is made of it


def check_gradient(subject: Subject) -> list[CheckResult]:
    """Size and direction of each space's gradient of the loss against the closed form.

    At the sampling policy and away from it, where some ratios leave the clip range and the gradient of the
    turns that would go farther must vanish.
    """
    turns, advantage, keep = subject.scored
    kept, found = keep.cpu().numpy().astype(bool), []
    near = subject.policy.moved(gain=0.002, shift=0.004, text=0.3)
    for policy, when in ((subject.policy, ""), (near, ", second update")):
        policy.zero_grad()
        subject.trainer.loss(policy, subject.policy, turns, advantage, keep).total.backward()
        gradients = {name: _flat_gradient(parameter) for name, parameter in policy.named_parameters()}
        policy.zero_grad()
        known = loss_gradient(policy, subject.policy, subject.facts, turns, to_numpy(advantage), kept)
        for space, members in _PARAMETERS.items():
            present = [name for name in members if name in known]
            if not present:
                continue
            expected = np.concatenate([np.ravel(known[name]) for name in present])
            value = np.concatenate([gradients[name] for name in present])
            size = max(float(np.linalg.norm(expected)), 1e-30)
            ratio, error = float(np.linalg.norm(value)) / size, float(np.linalg.norm(value - expected)) / size
            found += [
                CheckResult(f"size of {space}'s, over the closed form{when}", ratio, 1.0, _GRADIENT),
                CheckResult(f"error of {space}'s, over its size{when}", error, 0.0, _GRADIENT),
            ]
    return found


def _flat_gradient(parameter: Tensor) -> Floats:
    return np.zeros(parameter.numel()) if parameter.grad is None else to_numpy(parameter.grad).ravel()


def check_kl(subject: Subject) -> list[CheckResult]:
    """0 at the reference; away from it (mean - mean_ref)^2 / (2 std^2), and e^d - d - 1 on sampled tokens.

    d = log_prob_ref - log_prob: with the two swapped the number differs.
    """
    facts, (turns, advantage, keep) = subject.facts, subject.scored
    trains = (keep.cpu().numpy().astype(bool) & ~np.isnan(turns.reward.cpu().numpy())).ravel()
    found = []
    for policy, where in ((subject.policy, "at the reference"), (subject.policy.moved(), "away from it")):
        loss = subject.trainer.loss(policy, subject.policy, turns, advantage, keep)
        known: dict[str, tuple[float, float]] = {}
        if loss.flow_kl is not None:
            known["flow"] = loss.flow_kl, float(_flow_kl(subject, policy)[trains].mean())
        if loss.text_kl is not None:
            tokens, mask, before = text_arrays(turns)
            now, reference = (text_log_prob(p, facts, tokens, before) for p in (policy, subject.policy))
            apart = (reference - now)[mask & trains[:, None]]
            known["text"] = loss.text_kl, float((np.expm1(apart) - apart).mean())
        for space, (value, expected) in known.items():
            found.append(CheckResult(f"{space}, {where}", value, expected, _KL * abs(expected) + 1e-9))
    if not found:
        raise NotOffered("distances to a reference")
    return found


def _flow_kl(subject: Subject, policy: KnownPolicy) -> Floats:
    facts, turns = subject.facts, subject.scored[0]
    now, then = (flow_density(p, facts, turns) for p in (policy, subject.policy))
    if facts.flow_kl == "velocity":
        return ((now.velocity - then.velocity) ** 2).mean(-1)
    scale = now.std
    if facts.flow_kl == "published" and facts.sampler == "flow_sde":
        scale = np.vectorize(lambda t: sigma_of(facts, float(t)))(flow_arrays(turns)[1][:, :-1])
    elif facts.flow_kl not in ("gaussian", "published"):
        return np.full_like(scale, np.nan)
    return ((now.mean - then.mean) ** 2).mean(-1) / (2 * scale**2)


def check_advantage(subject: Subject) -> list[CheckResult]:
    """Numbers by the definition; under any definition other groups' rewards must not turn a group's signs.

    Some rewards are missing, one group has equal rewards whose float32 std is not zero.
    """
    draws = np.random.default_rng(0)
    reward = draws.uniform(0, 1, (3, 4, 3))
    reward[1] = 0.85
    reward[2, 1, 2] = reward[0, 3, 1] = np.nan
    following = (draws.uniform(0, 1, reward.shape) > 0.3).astype(float)
    following = np.where(np.isnan(reward), np.nan, following)

    def advantages(reward: Floats) -> Floats:
        return to_numpy(subject.trainer.advantages(torch.from_numpy(reward), torch.from_numpy(following)))

    value, lifted = advantages(reward), reward.copy()
    # Other groups may set the scale (a std over the batch), never the sign.
    lifted[0] += 10.0
    turned = float((np.sign(value[2]) != np.sign(advantages(lifted)[2])).mean())
    name = subject.facts.advantage
    defined = CheckResult(f"no closed form of {name!r}", nan, skipped=True)
    if name in ADVANTAGES:
        error = float(np.abs(value - expected_advantage(subject.facts, reward, following)).max())
        defined = CheckResult(f"error of {name!r}", error, 0.0, 1e-6)
    return [
        CheckResult("signs that turn with another group's rewards", turned, note="groups mix"),
        defined,
        CheckResult("largest of a group of equal rewards", float(np.abs(value[1]).max()), 0.0, 1e-6),
        CheckResult("largest of a turn without a score", float(np.abs(value[np.isnan(reward)]).max())),
    ]


def check_filter(subject: Subject) -> list[CheckResult]:
    """Which of 36 turns train, and that the others do not.

    The loss gets an advantage at the filtered turns alone, which must move nothing, then at the others.
    """
    trainer, policy, name = subject.trainer, subject.policy, subject.facts.filter
    value = trainer.keep(torch.from_numpy(_FOLLOWING)).cpu().numpy().astype(bool)
    found = [CheckResult(f"no closed form of {name!r}", nan, skipped=True)]
    if name in FAILED:
        # An unscored turn trains nowhere, whatever a filter says of it.
        wrong = (value != expected_keep(subject.facts, _FOLLOWING)) & ~np.isnan(_FOLLOWING)
        found = [CheckResult(f"turns that {name!r} gets wrong, of 36", float(wrong.sum()))]
    turns = subject.scored[0]
    following = torch.ones_like(turns.following)
    following[:, ::2, 0] = 0
    keep = trainer.keep(following)
    if bool(keep.all()):
        return found

    def gradient_norm(where: Tensor) -> float:
        """Norm of the loss's gradient with an advantage of 1 at these turns alone."""
        policy.zero_grad()
        trainer.loss(policy, policy, turns, where.double(), keep).total.backward()
        norms = [np.linalg.norm(to_numpy(p.grad)) for p in policy.parameters() if p.grad is not None]
        policy.zero_grad()
        return float(np.linalg.norm(norms))

    let_through, held_back = gradient_norm(keep), gradient_norm(~keep)
    share = held_back / max(let_through + held_back, 1e-30)
    return [*found, CheckResult("share of the gradient from filtered turns", share, 0.0, 1e-9)]


def check_branching(subject: Subject) -> list[CheckResult]:
    """Further attempts at turns in place of turns after a failure, for each way that the trainer has.

    No turn that trains may follow a failure, each has to start from the picture that its past ends with, and
    a further attempt at a turn is compared with turns from the same state until then, whatever else was
    sampled.
    """
    offered = getattr(subject.trainer, "spent", None)
    if offered is None:
        raise NotOffered("branching from a sibling's state")
    ways: dict[str, Spent] = offered(subject.policy, subject.seed)
    found = []
    for way, spent in ways.items():
        following, trains = to_numpy(spent.following), spent.keep.cpu().numpy().astype(bool)
        after = np.array([any(following[before] == 0 for before in past) for past in spent.past])
        source, image = (to_numpy(value).reshape(len(after), -1) for value in (spent.source, spent.image))
        apart = [float(np.abs(source[turn] - image[past[-1]]).max()) for turn, past in enumerate(spent.past) if past]
        found += [
            CheckResult(f"{way}: turns that train after a failure", float((after & trains).sum())),
            # A picture is kept in 256 steps from -1 to 1, and bounded there.
            CheckResult(f"{way}: farthest a turn starts from its past", max(apart, default=0.0), 0.0, 1e-6),
        ]
        if not spent.again.any():
            continue
        # Each turn's reward less the mean of turns that start from the same state, sampled until then.
        reward, state, when = (to_numpy(value) for value in (spent.reward, spent.state, spent.when))
        pairs = zip(reward, state, when, strict=True)
        expected = np.array([own - np.mean(reward[(state == at) & (when <= until)]) for own, at, until in pairs])
        tries = spent.again.cpu().numpy().astype(bool)
        value, expected = to_numpy(spent.advantage)[tries], expected[tries]
        scale = float(value @ expected / max(expected @ expected, 1e-30))
        error = float(np.abs(value - scale * expected).max())
        found.append(CheckResult(f"{way}: error of attempts' advantages, up to a scale", error, 0.0, 1e-6))
    return found


def check_resume(subject: Subject) -> list[CheckResult]:
    """Three iterations at once against two, a stop, and one more.

    The run that goes on is handed another policy than the one it stopped with, so that one that starts at
    zero again in silence ends elsewhere.
    """
    trainer, seed = subject.trainer, subject.seed

    def distance(one: KnownPolicy, other: KnownPolicy) -> float:
        pairs = zip(one.parameters(), other.parameters(), strict=True)
        return max(float((a - b).detach().abs().max()) for a, b in pairs)

    unbroken, broken = (subject.policy.moved(0.0, 0.0, 0.0) for _ in range(2))
    with tempfile.TemporaryDirectory() as folder:
        trainer.train(unbroken, Path(folder, "unbroken"), _ITERATIONS, seed)
        trainer.train(broken, Path(folder, "broken"), _ITERATIONS - 1, seed)
        moved_last = distance(broken, unbroken) > 0
        resumed = subject.policy.moved()
        trainer.train(resumed, Path(folder, "broken"), _ITERATIONS, seed)
    moved = distance(unbroken, subject.policy) > 0
    return [
        CheckResult("weights apart after stop and resume", distance(resumed, unbroken)),
        CheckResult("iterations that moved the weights", float(moved + moved_last), 2.0),
    ]


CHECKS: dict[str, Callable[[Subject], list[CheckResult]]] = {
    check.__name__.removeprefix("check_"): check
    for check in (
        check_ratio, check_density, check_marginals, check_window, check_gradient, check_kl, check_advantage,
        check_filter, check_branching, check_seeds, check_resume,
    )
}  # fmt: skip
