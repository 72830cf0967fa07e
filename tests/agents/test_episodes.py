"""Playing numbered sessions: order, waves, and what a policy is shown."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from editenv.agents.baselines.trivial import RandomPolicy
from editenv.agents.episodes import policy_seed, run_episodes
from editenv.vector import MICEEditVectorEnv
from tests.fakes import FakeWorld, FlatScorer, ScriptUser, StubbornUser


def make(num_envs, user=None, mode=AutoresetMode.DISABLED):
    return MICEEditVectorEnv(num_envs, FakeWorld(), user or ScriptUser(), FlatScorer(), autoreset_mode=mode)


class Watching:
    """Paints everything 7 and keeps what it was shown; a memory is its seed and the number of its turns."""

    def __init__(self):
        self.seeds, self.shown = [], []

    def start(self, observations, seeds):
        assert len(observations["instruction"]) == len(seeds)
        self.seeds += seeds
        return [(seed, 0) for seed in seeds]

    def act(self, observations, memories):
        self.shown.append([*zip(observations["instruction"], memories, strict=True)])
        assert [turn for _, turn in memories] == observations["turn"].tolist()
        image = np.full_like(observations["image"], 7)
        return {"image": image, "intent": ("seven",) * len(memories)}, [(s, turn + 1) for s, turn in memories]


@pytest.mark.parametrize("num_envs", [1, 3, 7, 9])
def test_sessions_come_back_in_order_whatever_the_waves(num_envs):
    sessions = run_episodes(make(num_envs), Watching(), [4, 2, 9, 3, 0, 11, 8], seed=5)
    assert [session.index for session in sessions] == [4, 2, 9, 3, 0, 11, 8]
    assert {session.seed for session in sessions} == {5}
    for session in sessions:
        assert session.ending and session.intents == ["seven"] * 3
        assert all((picture == 7).all() for picture in session.pictures[1:])


def test_the_waves_change_nothing():
    """Fails where a policy's seed or pictures depend on the row or on the sessions beside it."""
    one, many = (run_episodes(make(n), RandomPolicy(make(n)), range(5), seed=1) for n in (1, 4))
    for first, second in zip(one, many, strict=True):
        assert np.array_equal(first.pictures, second.pictures)


def test_a_policys_seed_is_a_function_of_seed_number_and_attempt():
    policy = Watching()
    run_episodes(make(2), policy, [3, 1, 2], seed=8, attempt=1)
    assert policy.seeds == [policy_seed(8, number, 1) for number in (3, 1, 2)]
    assert len({policy_seed(s, n, a) for s in range(3) for n in range(3) for a in range(3)}) == 27


def test_a_policy_sees_only_sessions_that_go_on():
    """StubbornUser leaves at once where the picture is right, and asks again where it is not."""
    world = FakeWorld()
    wanted = [world.session("train", 0, number).wanted[0] for number in range(3)]

    class RightOnce(Watching):
        def act(self, observations, memories):
            actions, after = super().act(observations, memories)
            for row, (seed, turn) in enumerate(memories):
                if seed == policy_seed(0, 1) and turn == 0:
                    actions["image"][row] = wanted[1]
            return actions, after

    assert 7 not in wanted
    policy = RightOnce()
    sessions = run_episodes(make(4, StubbornUser()), policy, range(3), seed=0)
    assert [session.turn for session in sessions] == [3, 1, 3]
    assert [len(shown) for shown in policy.shown] == [3, 2, 2]
    assert all(instruction for shown in policy.shown for instruction, _ in shown)


def test_ended_sessions_must_rest():
    with pytest.raises(ValueError, match=r"autoreset_mode is .*SAME_STEP.*, expected .*DISABLED"):
        run_episodes(make(2, mode=AutoresetMode.SAME_STEP), Watching(), [0], seed=0)
