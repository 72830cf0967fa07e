"""Checks of what a trainer makes of its samples: advantages, filter, gradient, distances, resume."""

from __future__ import annotations

import tempfile
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
    sigma_of,
    text_arrays,
    text_log_prob,
    to_numpy,
)
from editenv.agents.audit.known import KnownPolicy
from editenv.agents.audit.protocol import NotOffered, Spent
from editenv.agents.audit.subject import CheckResult, Subject

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
