"""A policy learns to please an imperfect judge: evaluation sees it, says so once, keeps what was best.

The judge is the exact scorer with one weakness: a picture whose colours have shifted as a whole passes for a
right one in nine of ten votes. The policy decides once a session whether it shifts colours in place of
editing, with a probability that it learns by REINFORCE from the rewards that the real environment pays.
"""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest

from editenv.agents.baselines.oracle import OraclePolicy
from editenv.agents.callbacks import HeldOutEvaluation, held_out_envs
from editenv.agents.episodes import rows_of, run_episodes
from editenv.agents.heldout import BEST, read_evaluations, series, trend
from editenv.build import make_vector_env
from editenv.configs.compose import compose

WRONG = 0.3
ITERATIONS, EVERY, SPECS, ROLLOUTS = 14, 2, 24, 3
SHIFT = 24
"""Levels of red: more than the judge's full bias needs (13), and than a strict reader forgives."""


@dataclass(frozen=True)
class Memory:
    """Whether the session is tinted, its first turn that goes wrong, the editor's memory, and the turn."""

    tinted: bool
    wrong_from: int
    own: int
    turn: int = 0


class Tinter:
    """Tints whole sessions with probability sigmoid(`logit`); the others go wrong for good at some turn."""

    def __init__(self, logit: float, envs=None) -> None:
        self.logit, self.envs = logit, envs

    @property
    def chance(self) -> float:
        return 1 / (1 + math.exp(-self.logit))

    def on(self, envs) -> Tinter:
        return Tinter(self.logit, envs)

    def start(self, observations, seeds):
        self.editor = OraclePolicy(self.envs)
        drawn = [np.random.default_rng((seed, 7)).random(2) for seed in seeds]
        self.tinted = [luck < self.chance for luck, _ in drawn]
        return [
            Memory(tinted, int(math.log(other) / math.log(1 - WRONG)), own)
            for tinted, (_, other), own in zip(self.tinted, drawn, self.editor.start(observations, seeds), strict=True)
        ]

    def act(self, observations, memories):
        images = np.array(observations["image"])
        right = []
        for row, memory in enumerate(memories):
            if memory.tinted:
                # There and back again, since the judge looks for a change from the picture before.
                shift = SHIFT if memory.turn % 2 == 0 else -SHIFT
                images[row, ..., 0] = (images[row, ..., 0].astype(int) + shift).clip(0, 255)
            elif memory.turn < memory.wrong_from:
                right.append(row)
        if right:
            actions, _ = self.editor.act(rows_of(observations, right), [memories[row].own for row in right])
            images[right] = actions["image"]
        kept = [replace(memory, turn=memory.turn + 1) for memory in memories]
        return {"image": images, "intent": ("",) * len(memories)}, kept


def learnt(policy: Tinter, sessions) -> float:
    """The logit after a step along mean((reward - mean reward) (tinted - chance))."""
    rewards = np.array([np.mean([scores.reward for scores in session.scores]) for session in sessions])
    surprise = np.array(policy.tinted) - policy.chance
    return policy.logit + 12.0 * float(np.mean((rewards - rewards.mean()) * surprise))


def trained(out, judge: list[str]) -> tuple[list[float], HeldOutEvaluation, list[warnings.WarningMessage]]:
    """Logits before each iteration, what evaluates and what it warned of."""
    config = compose(
        "train",
        ["suite=mice-cm", *judge],
        out=str(out),
        model="scripted",
        eval_every=EVERY,
        eval_sessions=96,
        image_every=0,
        record_every=0,
    )
    held_out = held_out_envs(config)
    envs = make_vector_env(num_envs=SPECS * ROLLOUTS, autoreset_mode="Disabled", **config.env())

    def candidate_of(policy: Tinter):
        return (policy.on(held_out), lambda folder: (folder / "policy.json").write_text(json.dumps(policy.logit)))

    evaluation = HeldOutEvaluation(None, config, held_out, candidate_of)
    policy, logits = Tinter(-2.0, envs), []
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for iteration in range(ITERATIONS):
            numbers = [iteration * SPECS + row // ROLLOUTS for row in range(SPECS * ROLLOUTS)]
            sessions = play_repeated(envs, policy, numbers, iteration)
            if iteration % EVERY == 0:
                evaluation.evaluate(iteration, sessions, policy, "held_out/")
            logits.append(policy.logit)
            policy = Tinter(learnt(policy, sessions), envs)
        evaluation.evaluate(ITERATIONS, (), policy, "last_held_out/")
    return [*logits, policy.logit], evaluation, said


def play_repeated(envs, policy, numbers, iteration):
    """Sessions of seed 0, several rollouts each, with noise of their own."""

    class Own:
        def start(self, observations, seeds):
            return policy.start(observations, [seed + 1000 * row + iteration for row, seed in enumerate(seeds)])

        act = policy.act

    return run_episodes(envs, Own(), numbers, 0)


@pytest.fixture(scope="module")
def hacked(tmp_path_factory):
    out = tmp_path_factory.mktemp("hacked")
    return out, *trained(out, ["scorer=imperfect", "scorer.settings.errors=tint"])


def test_it_learns_to_tint_and_is_paid_for_it(hacked):
    _, logits, evaluation, _ = hacked
    assert logits[0] == -2.0 and logits[-1] > 2.0
    training, held_out = map(trend, series(read_evaluations(evaluation.out)))
    assert training.sure and training.change > 0.1
    assert held_out.sure and held_out.change < -0.2


def test_the_judge_of_held_out_sessions_is_another_and_is_recorded(hacked):
    out, _, evaluation, _ = hacked
    (judge,) = {look.scorer for look in read_evaluations(out)}
    assert judge.startswith("residual") and evaluation.summary()["eval_scorer"] == judge


def test_it_is_warned_of_once_in_words(hacked):
    out, _, evaluation, said = hacked
    (warning,) = [str(each.message) for each in said if "please its scorer" in str(each.message)]
    assert "training's scorer (imperfect)" in warning and "judged by residual" in warning and "best" in warning
    assert evaluation.summary()["warnings"] == [warning]
    assert [look.iteration for look in read_evaluations(out) if look.warning]


def test_the_best_policy_is_one_from_before(hacked):
    out, logits, evaluation, _ = hacked
    best = evaluation.summary()["best"]
    looks = {look.iteration: look for look in read_evaluations(out)}
    assert looks[best["iteration"]].rank == max(look.rank for look in looks.values())
    assert json.loads((out / BEST / "policy.json").read_text()) == logits[best["iteration"]]
    assert logits[best["iteration"]] < 0


def test_an_honest_judge_pays_for_no_tint_and_nothing_is_said(tmp_path):
    logits, evaluation, said = trained(tmp_path, ["scorer=exact"])
    assert logits[-1] < -2.0
    assert evaluation.summary()["warnings"] == [] and not said
