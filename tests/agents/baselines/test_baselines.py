"""What agents can reach at most and at least, in every suite."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from editenv.agents.baselines import POLICIES
from editenv.agents.baselines.oracle import OraclePolicy, right_pictures
from editenv.agents.episodes import run_episodes, turn_scores
from editenv.build import make_vector_env
from editenv.registry import load_class
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.studio.noun_phrases import Target
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.render import render
from editenv.worlds.studio.scene import Scene, SceneObject
from editenv.worlds.studio.session import StudioTurn
from editenv.worlds.studio.suites import suite_names
from editenv.worlds.studio.tasks import ColorAlter
from tests.fakes import FakeWorld, FlatScorer, ScriptUser

SESSIONS = 60
NO_RULES = ("mice-cu", "tasks")
"""Suites whose sessions state none."""


def played(name, suite, **settings):
    envs = make_vector_env(num_envs=32, autoreset_mode="Disabled", suite=suite, split="test", **settings)
    return run_episodes(envs, load_class("policy", name, POLICIES)(envs), range(SESSIONS), seed=0)


def mean(column):
    return np.mean([value for session in column for value in session if value is not None])


@pytest.mark.parametrize("suite", suite_names())
@pytest.mark.parametrize("grid", [3, 4])
def test_the_oracle_scores_one_in_every_turn(suite, grid):
    for name, column in turn_scores(played("oracle", suite, size=16 * grid, grid=grid)).items():
        values = [value for session in column for value in session if value is not None]
        assert set(values) == ({1.0} if values else set()), name
        assert values or (name == "rule_kept" and suite in NO_RULES)


@pytest.mark.parametrize("suite", suite_names())
@pytest.mark.parametrize("name", ["noop", "random"])
def test_who_does_not_listen_follows_nothing(name, suite):
    sessions = played(name, suite)
    found = turn_scores(sessions)
    asked = [
        score.instruction_following
        for session in sessions
        for score in session.scores
        if "leave_alone" not in score.detail
    ]
    assert np.mean(asked) <= 0.05
    assert mean(found["global_awareness"]) <= 0.05
    assert mean(found["content_consistency"]) == (1.0 if name == "noop" else 0.0)


@pytest.mark.parametrize("suite", suite_names())
def test_an_oracle_copes_with_pictures_that_left_the_script(suite):
    """Half of its turns fail, so objects that later turns speak of are gone; it fails about as many turns."""
    sessions = played("clumsy", suite)
    assert len(sessions) == SESSIONS and all(session.ending.reason in ("done", "max_turns") for session in sessions)
    assert 0.05 < mean(turn_scores(sessions)["instruction_following"]) < 0.95


def test_the_oracle_leaves_alone_what_it_cannot_read():
    envs = make_vector_env(num_envs=4, suite="mixed", split="test", autoreset_mode="Disabled")
    observations, _ = envs.reset(seed=0)
    noise = np.random.default_rng(0).integers(0, 256, observations["image"].shape, np.uint8)
    oracle = OraclePolicy(envs)
    actions, _ = oracle.act(observations | {"image": noise}, oracle.start(observations, range(4)))
    assert (actions["image"] == noise).all()


def test_the_oracle_refuses_what_it_cannot_understand():
    envs = MICEEditVectorEnv(1, FakeWorld(), ScriptUser(), FlatScorer(), autoreset_mode=AutoresetMode.DISABLED)
    with pytest.raises(ValueError, match="no studio meaning"):
        run_episodes(envs, OraclePolicy(envs), [0], seed=0)


def test_the_oracle_edits_an_object_where_it_really_stands():
    """Meant is the circle of cell 0: moved by mistake it is edited in cell 2; gone, nothing else is."""
    turn = StudioTurn("", "", ColorAlter(Target(0, "circle"), "blue"))
    moved = Scene((SceneObject("star", "red"), None, SceneObject("circle", "red"), None), "white")
    gone = moved.put(2, None)
    found = right_pictures([render(moved, 32), render(gone, 32)], [turn, turn], 2, [(), ()])
    assert parse(found, 2) == [moved.put(2, SceneObject("circle", "blue")), gone]
