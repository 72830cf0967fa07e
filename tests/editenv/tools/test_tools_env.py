"""MICEEditTools-v0: sessions of MICEEdit-v0, operations carried out exactly, wrong ones with no effect."""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env, data_equivalence

from editenv.env import MICEEditEnv
from editenv.rewards.exact import ExactScorer
from editenv.sims.replay import ReplayUser
from editenv.tools_env import MICEEditToolsEnv, MICEEditToolsVectorEnv
from editenv.worlds.studio.operations import operation_between
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.suites import suite_names
from editenv.worlds.studio.world import StudioWorld
from tests.fakes import FakeWorld, ScriptUser
from tests.studio_play import right_scenes

ID = "editenv:MICEEditTools-v0"


def make(**settings: Any) -> MICEEditToolsEnv:
    made = gymnasium.make(ID, **settings).unwrapped
    assert isinstance(made, MICEEditToolsEnv)
    return made


def test_check_env_has_nothing_to_say() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make())
        check_env(make(grid=3, size=48, tokens=8, split="test"), skip_render_check=True)


def test_parts_are_box_and_discrete() -> None:
    kinds = {type(space).__name__ for space in make().observation_space.spaces.values()}
    assert kinds == {"Box", "Discrete"}


@pytest.mark.parametrize("suite", suite_names())
def test_right_operations_are_paid_in_full(suite: str) -> None:
    """Fails where an instruction takes what no single operation can do, "leave" and "undo" included."""
    env = make(suite=suite, split="test")
    for session in range(12):
        env.reset(seed=1, options={"session": session})
        scenes = right_scenes(env.session.spec)
        for before, after in pairwise(scenes):
            action = operation_between(env.parts, before, after)
            assert action is not None
            _, reward, _, _, info = env.step(np.array(action))
            assert (info["carried_out"], reward) == (True, 1.0)


def test_sessions_are_those_of_the_picture_environment() -> None:
    tools, pictures = make(suite="mixed"), gymnasium.make("editenv:MICEEdit-v0", suite="mixed")
    seen, info = tools.reset(seed=4)
    other, known = pictures.reset(seed=4)
    assert info == known
    for _ in range(3):
        assert np.array_equal(seen["image"], other["image"])
        assert tools.session.transcript == other["transcript"]
        assert seen["turn"] == other["turn"]
        seen, reward, *ends, info = tools.step(np.array(tools.parts.encode(task="subject_remove", cell=0)))
        action = {"image": seen["image"], "intent": info["operation"]}
        other, same_reward, *same_ends, known = pictures.step(action)
        assert (reward, ends, info["scores"]) == (same_reward, same_ends, known["scores"])


def test_what_was_said_can_be_read_from_the_ids() -> None:
    env = make(suite="mice-cm")
    seen, _ = env.reset(seed=0)
    first = env.session.instruction
    seen, *_ = env.step(np.array(env.parts.encode(task="leave")))
    assert env.words.decode(seen["instruction"]) == env.session.instruction
    rows = seen["transcript"].reshape(3, env.words.length)
    assert [env.words.decode(row) for row in rows] == [first, env.session.instruction, ""]


def test_long_and_unknown_words_have_their_place() -> None:
    words = make(tokens=4).words
    assert words.decode(words.encode("Remove the zebra, please!")) == "remove the ? ,"
    assert words.encode("remove").tolist()[1:] == [0, 0, 0]
    with pytest.raises(ValueError, match="there are 3 texts, expected at most 2"):
        words.encode_all(["a", "b", "c"], 2)


def test_a_wrong_operation_leaves_the_picture_and_the_turn_counts() -> None:
    env = make()
    seen, _ = env.reset(seed=0)
    (scene,) = parse([seen["image"]], 4)
    action = env.parts.encode(task="subject_remove", cell=scene.empty()[0])
    after, _, _, _, info = env.step(np.array(action))
    assert np.array_equal(seen["image"], after["image"])
    assert not info["carried_out"]
    assert after["turn"] == 1
    assert info["scores"].content_consistency == 1.0


def test_undo_and_leave() -> None:
    env = make(suite="mice-cu")
    first, _ = env.reset(seed=2)
    (scene,) = parse([first["image"]], 4)
    removed, *_ = env.step(np.array(env.parts.encode(task="subject_remove", cell=scene.occupied()[0])))
    assert not np.array_equal(first["image"], removed["image"])
    undone, *_, info = env.step(np.array(env.parts.encode(task="undo")))
    assert np.array_equal(first["image"], undone["image"])
    assert info["operation"] == "undo"
    left, *_, info = env.step(np.array(env.parts.encode(task="leave")))
    assert np.array_equal(first["image"], left["image"])
    assert info["carried_out"]


@pytest.mark.parametrize("action", [np.zeros(3, np.int64), np.full(11, 99), "remove", None])
def test_a_bad_action_is_named_and_changes_nothing(action: Any) -> None:
    env = make()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"action is [^,].*, expected one whole number a part"):
        env.step(action)
    assert env.session.turn == 0


def test_states_branch_and_fit_the_picture_environment() -> None:
    env = make()
    env.reset(seed=3)
    env.step(np.array(env.parts.encode(task="background_change", background="pink")))
    state = env.get_state()
    undo = np.array(env.parts.encode(task="undo"))
    first = env.step(undo)
    env.set_state(state)
    assert data_equivalence(first, env.step(undo), exact=True)
    pictures: Any = gymnasium.make("editenv:MICEEdit-v0").unwrapped
    assert pictures.set_state(state)[0]["turn"] == 1


def test_masks_follow_the_picture_and_survive_the_end() -> None:
    env = make()
    with pytest.raises(ResetNeeded, match="no session is open"):
        env.action_masks()
    env.reset(seed=0)
    assert env.action_masks().shape == (sum(env.parts.sizes),)
    tasks = dict(zip(env.parts.values[0], env.action_masks(), strict=False))
    signs = any(thing and thing.text for thing in env.session.spec.scene.cells)
    assert (tasks["undo"], tasks["leave"], tasks["text_change"]) == (False, True, signs)
    for _ in range(3):
        env.step(np.array(env.parts.encode(task="leave")))
    assert env.action_masks().any()


def test_worlds_without_cells_and_histories_are_refused() -> None:
    with pytest.raises(ValueError, match="world 'fake' has no grid of cells, expected studio scenes"):
        MICEEditToolsEnv(MICEEditEnv(FakeWorld(), ScriptUser()))
    with pytest.raises(ValueError, match="no setting 'history'"):
        make(history=True)
    with pytest.raises(ValueError, match="tokens is 0, expected a whole number of 1 or more"):
        make(tokens=0)


def test_unreadable_cells_cannot_be_edited() -> None:
    """A picture that is no scene (here from a state) is left as it is rather than drawn anew."""
    pictures = MICEEditEnv(StudioWorld(), ReplayUser(), ExactScorer(StudioWorld()))
    pictures.reset(seed=0)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    pictures.step({"image": noise, "intent": ""})
    env = make()
    env.set_state(pictures.get_state())
    after, *_, info = env.step(np.array(env.parts.encode(task="subject_remove", cell=0)))
    assert np.array_equal(after["image"], noise)
    assert not info["carried_out"]
    back, *_, info = env.step(np.array(env.parts.encode(task="undo")))
    assert np.array_equal(back["image"], noise)


def make_batch(num_envs: int, **settings: Any) -> MICEEditToolsVectorEnv:
    envs = gymnasium.make_vec(ID, num_envs, vectorization_mode="vector_entry_point", **settings).unwrapped
    assert isinstance(envs, MICEEditToolsVectorEnv)
    return envs


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_rows_of_the_vector_environment_are_single_environments(mode: str) -> None:
    """Each row plays sessions i, i + N, ... bit for bit, in every autoreset mode."""
    envs = make_batch(3, suite="undo", autoreset_mode=mode)
    singles = [make(suite="undo") for _ in range(3)]
    seen, infos = envs.reset(seed=5)
    alone = [env.reset(seed=5, options={"session": row})[0] for row, env in enumerate(singles)]
    opened, over, rng = [0, 1, 2], [False] * 3, np.random.default_rng(0)
    for _ in range(11):
        for row in range(3):
            assert data_equivalence({name: part[row] for name, part in seen.items()}, alone[row])
            assert (envs.action_masks()[row] == singles[row].action_masks()).all()
        assert envs.observation_space.contains(seen)
        actions = rng.integers(0, envs.parts.sizes, (3, len(envs.parts.sizes)))
        rests = mode == "Disabled" and all(over)
        if rests:
            seen, _ = envs.reset(options={"reset_mask": np.ones(3, bool)})
        else:
            seen, rewards, terminations, truncations, infos = envs.step(actions)
        for row, env in enumerate(singles):
            if rests or (over[row] and mode == "NextStep"):
                opened[row] += 3
                alone[row], over[row] = env.reset(options={"session": opened[row]})[0], False
                assert rests or not infos["_operation"][row]
            elif not over[row]:
                alone[row], reward, terminated, truncated, info = env.step(actions[row])
                assert (reward, terminated, truncated) == (rewards[row], terminations[row], truncations[row])
                assert (infos["operation"][row], infos["carried_out"][row]) == (info["operation"], info["carried_out"])
                over[row] = terminated or truncated
                if over[row] and mode == "SameStep":
                    assert data_equivalence(infos["final_obs"][row], alone[row])
                    opened[row] += 3
                    alone[row], over[row] = env.reset(options={"session": opened[row]})[0], False


def test_a_batch_with_a_bad_action_changes_nothing_and_specs_become_json() -> None:
    envs = make_batch(2, autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP)
    with pytest.raises(ResetNeeded):
        envs.action_masks()
    envs.reset(seed=0)
    actions = np.zeros((2, len(envs.parts.sizes)), np.int64)
    actions[1, 0] = 99
    with pytest.raises(ValueError, match="expected one whole number a part"):
        envs.step(actions)
    assert [session.turn for session in envs.sessions] == [0, 0]
    assert envs.spec is not None and '"SameStep"' in envs.spec.to_json()
    state = envs.get_state(0)
    envs.step(np.zeros_like(actions))
    seen, _ = envs.set_states({0: state})
    assert list(seen["turn"]) == [0, 1]
    single = make()
    assert data_equivalence(single.set_state(state)[0], {name: part[0] for name, part in seen.items()})


def test_a_setting_mistyped_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="setting 'tokns' is not known, did you mean 'tokens'"):
        gymnasium.make(ID, tokns=1)
    with pytest.raises(ValueError, match="tokens is 'x', expected a whole number of 1 or more"):
        gymnasium.make(ID, tokens="x")


@pytest.mark.parametrize("states", [{5: b""}, {"0": b""}, {True: b""}, [b""], None])
def test_states_of_rows_that_are_none_are_refused(states: Any) -> None:
    envs: Any = gymnasium.make_vec(ID, num_envs=2, vectorization_mode="vector_entry_point")
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="expected bytes by row, 0 to 1"):
        envs.set_states(states)
