"""SB3's VecEnv over the batched tools environment: what single environments play, bit for bit."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv

from editenv.agents.sb3.vec_env import ToolsVecEnv
from editenv.build import make_tools_vector_env

ROWS = 4


def batched(draw_ahead: bool = False, **settings: Any) -> ToolsVecEnv:
    return ToolsVecEnv(make_tools_vector_env(num_envs=ROWS, tokens=24, draw_ahead=draw_ahead, **settings))


def singles(**settings: Any) -> VecEnv:
    return make_vec_env(lambda: gymnasium.make("editenv:MICEEditTools-v0", tokens=24, **settings), n_envs=ROWS)


def without_seconds(infos: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for info in infos:
        if "episode" in info:
            assert info["episode"].pop("t") >= 0
    return infos


@pytest.mark.parametrize(
    "settings", [{"suite": "mixed"}, {"suite": "persona", "user": "terse"}, {"suite": "undo", "scorer": "residual"}]
)
@pytest.mark.parametrize("draw_ahead", [False, True])
def test_rollouts_are_those_of_single_environments(settings: dict[str, Any], draw_ahead: bool) -> None:
    ours, theirs = batched(draw_ahead, **settings), singles(**settings)
    try:
        rng = np.random.default_rng(0)
        for env in (ours, theirs):
            env.seed(7)
        assert data_equivalence(ours.reset(), dict(theirs.reset()))
        ended = 0
        for _ in range(14):
            masks = get_action_masks(ours)
            assert np.array_equal(masks, get_action_masks(theirs))
            actions = rng.integers(0, ours.action_space.nvec, (ROWS, len(ours.action_space.nvec)))
            seen, rewards, dones, infos = ours.step(actions)
            other, other_rewards, other_dones, other_infos = theirs.step(actions)
            assert data_equivalence(seen, dict(other))
            assert rewards.dtype == other_rewards.dtype and np.array_equal(rewards, other_rewards)
            assert np.array_equal(dones, other_dones)
            assert data_equivalence(without_seconds(infos), without_seconds(other_infos))
            assert data_equivalence(ours.reset_infos, theirs.reset_infos)
            ended += int(dones.sum())
        assert ended >= ROWS
    finally:
        ours.close()
        theirs.close()


def test_learning_sees_the_same_rollout() -> None:
    """Fails where SB3 collects other turns, masks or bootstrapped values from the batch than from single ones."""
    buffers = []
    for env in (batched(), singles()):
        model = MaskablePPO("MultiInputPolicy", env, n_steps=8, batch_size=16, n_epochs=1, seed=3, device="cpu")
        model.learn(8 * ROWS)
        buffers.append(vars(model.rollout_buffer))
    for name in ("rewards", "advantages", "returns", "episode_starts", "log_probs", "action_masks", "observations"):
        assert data_equivalence(*(buffer[name] for buffer in buffers)), name


def test_what_the_library_asks_of_an_environment() -> None:
    env = batched(render_mode="rgb_array")
    env.seed(0)
    env.reset()
    assert is_masking_supported(env) and not env.has_attr("no_such_attribute")
    assert np.array_equal(env.get_attr("action_masks")[2](), get_action_masks(env)[2])
    assert env.env_is_wrapped(Monitor) == [True] * ROWS
    assert len(env.env_method("get_state", indices=[1, 3])) == 2
    assert [session.seed for session in env.get_attr("session")] == [0, 1, 2, 3]
    env.set_attr("note", 5)
    assert env.get_attr("note", 1) == [5]
    with pytest.raises(ValueError, match="indices are 1, expected None"):
        env.set_attr("note", 5, 1)
    with pytest.raises(AttributeError, match="'jump' is no method of these rows, expected action_masks"):
        env.env_method("jump")
    assert env.render("rgb_array").shape[0] == 2 * env.get_images()[0].shape[0]
    model = MaskablePPO("MultiInputPolicy", env, n_steps=4, batch_size=16, device="cpu")
    rewards, lengths = evaluate_policy(model, env, n_eval_episodes=6, return_episode_rewards=True, warn=True)
    assert lengths == [3] * 6 and len(rewards) == 6


def test_sessions_by_number_and_over_again() -> None:
    env = batched()
    env.seed(5)
    env.set_options({"session": 9})
    env.reset()
    assert [(session.seed, session.index) for session in env.get_attr("session")] == [(s, 9) for s in (5, 6, 7, 8)]
    env.set_options([{"session": 1}, {}, {}, {}])
    with pytest.raises(ValueError, match="in every row or none"):
        env.reset()
    env = batched()
    env.restart = 3
    first = env.reset()
    env.step(np.zeros((ROWS, 10), np.int64))
    assert data_equivalence(first, env.reset())


def test_states_go_on_where_they_were() -> None:
    """Fails where a resumed training plays other turns, or counts a session's reward anew."""
    env, other = batched(suite="mixed"), batched(suite="mixed", draw_ahead=True)
    rng = np.random.default_rng(1)
    actions = [rng.integers(0, env.action_space.nvec, (ROWS, 10)) for _ in range(8)]
    env.seed(2)
    env.reset()
    env.step(actions[0])
    states = env.get_states()
    assert data_equivalence(other.set_states(states), env.envs._obs())
    for action in actions[1:]:
        left, right = env.step(action), other.step(action)
        for one in (left, right):
            without_seconds(one[3])
        assert data_equivalence(left, right)
    other.close()
    with pytest.raises(ValueError, match="there are 3 states, expected 4"):
        env.set_states(states[:3])


def test_other_autoreset_modes_are_refused() -> None:
    with pytest.raises(ValueError, match="autoreset_mode is 'Disabled', expected 'SameStep'"):
        batched(autoreset_mode="Disabled")


def test_a_process_that_ended_is_done_without() -> None:
    env, plain = batched(draw_ahead=True), batched()
    for one in (env, plain):
        one.seed(0)
        one.reset()
    worker: Any = env.envs.engine.world
    worker._worker.kill()
    for _ in range(7):
        left, right = env.step(np.zeros((ROWS, 10), np.int64)), plain.step(np.zeros((ROWS, 10), np.int64))
        assert data_equivalence(left[0], right[0])
    env.close()
