"""Sessions files in the environment: exported ones are scored exactly, photographs play unscored."""

from __future__ import annotations

import warnings

import gymnasium as gym
import numpy as np
import pytest

import editenv  # noqa: F401
from editenv.build import make_env
from editenv.records import RecordTurn, read_records, record_from_json, replay
from editenv.worlds.records.export import export_sessions
from editenv.worlds.studio.render import render
from editenv.worlds.studio.rule import right_result
from editenv.worlds.studio.world import StudioWorld
from tests.worlds.records.handmade import UNDERSTANDING, draw_pictures, records, write_lines

COUNT = 5


@pytest.fixture
def scenes(tmp_path):
    return str(export_sessions(StudioWorld("mixed"), "test", 5, COUNT, tmp_path))


@pytest.fixture
def photographs(tmp_path):
    draw_pictures(tmp_path)
    return str(write_lines(tmp_path, records(), end=""))


def test_a_made_environment_scores_exported_sessions_exactly(scenes):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make("MICEEdit-v0", sessions_file=scenes)
    generated = gym.make("MICEEdit-v0", suite="mixed", split="test")
    seen, info = env.reset(seed=77, options={"session": 2})
    other, expected = generated.reset(seed=5, options={"session": 2})
    assert info["session"] == expected["session"] and info["versions"]["scorer"] == "exact-2"
    assert np.array_equal(seen["image"], other["image"]) and seen["transcript"] == other["transcript"]
    spec = env.unwrapped.session.spec
    scene = spec.scene
    for turn in spec.turns:
        scene = right_result(turn.edit, turn.rules, scene)
        action = {"image": render(scene, 64), "intent": turn.intent}
        seen, reward, terminated, _, info = env.step(action)
        assert reward == 1 == info["scores"].global_awareness
        assert generated.step(action)[4]["scores"] == info["scores"]
    assert terminated


def test_a_vector_of_environments_plays_the_file_in_order_and_begins_anew(scenes):
    vector = gym.make_vec(
        "MICEEdit-v0", num_envs=COUNT + 2, vectorization_mode="vector_entry_point", sessions_file=scenes
    )
    seen, info = vector.reset(seed=0)
    world = StudioWorld("mixed")
    specs = [world.session("test", 5, index % COUNT) for index in range(COUNT + 2)]
    assert info["session"].tolist() == [spec.id for spec in specs]
    assert np.array_equal(seen["image"], np.stack([world.picture(spec) for spec in specs]))
    single = gym.make("MICEEdit-v0", sessions_file=scenes)
    noop = {"image": seen["image"], "intent": ("",) * (COUNT + 2)}
    _, rewards, *_ = vector.step(noop)
    for row in range(COUNT + 2):
        alone, _ = single.reset(seed=0, options={"session": row})
        assert single.step({"image": alone["image"], "intent": ""})[1] == rewards[row]


def test_photographs_play_to_the_end_without_scores(photographs):
    with pytest.warns(UserWarning, match="holds no studio scenes: a judge is missing, scores are None"):
        env = gym.make("MICEEdit-v0", sessions_file=photographs, history=True)
    for index, record in enumerate(records()):
        spec = record_from_json(record)
        seen, info = env.reset(seed=3, options={"session": index})
        assert (info["session"], info["versions"]["scorer"]) == (spec.id, None)
        assert seen["image"].shape == (60, 60, 3) and seen["images"].shape == (4, 60, 60, 3)
        for turn in range(spec.turn_count):
            assert seen["instruction"] == spec.instruction[turn] and seen in env.observation_space
            assert isinstance(env.unwrapped.session.message.meaning, RecordTurn)
            seen, reward, terminated, truncated, info = env.step({"image": seen["image"], "intent": ""})
            assert reward == 0 and info["scored"] and info["scores"].instruction_following is None
            assert (terminated, truncated) == (turn == spec.turn_count - 1, False)
        assert info["end_reason"] == "done"
        assert np.array_equal(seen["image"], seen["source"])


def test_the_missing_judge_is_reported_once(photographs):
    for make in (make_env, lambda **s: gym.make_vec("MICEEdit-v0", 2, "vector_entry_point", **s)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            make(sessions_file=photographs)
        assert sum("a judge is missing" in str(warning.message) for warning in caught) == 1


@pytest.mark.filterwarnings("ignore")
def test_photographs_in_a_vector_have_one_size(photographs):
    vector = gym.make_vec("MICEEdit-v0", 4, "vector_entry_point", sessions_file=photographs, size=32, history=True)
    seen, info = vector.reset(seed=0)
    assert seen["image"].shape == (4, 32, 32, 3)
    assert info["session"][0] == info["session"][3] != info["session"][1]


@pytest.mark.filterwarnings("ignore")
def test_sessions_of_a_file_can_be_saved_restored_and_replayed(photographs, tmp_path):
    env = make_env(sessions_file=photographs, record_to=str(tmp_path / "out"))
    env.reset(seed=0, options={"session": 1})
    seen, *_ = env.step({"image": np.full((60, 60, 3), 9, np.uint8), "intent": "茶馆"})
    again, _ = make_env(sessions_file=photographs).set_state(env.get_state())
    assert again["transcript"] == seen["transcript"] == tuple(UNDERSTANDING["instruction"][:2])
    for _ in range(2):
        env.step({"image": seen["image"], "intent": ""})
    (record,) = read_records(tmp_path / "out")
    assert record.spec == UNDERSTANDING
    assert [scores.reward for scores in replay(record, make_env(sessions_file=photographs))] == [0, 0, 0]


@pytest.mark.filterwarnings("ignore")
def test_long_instructions_make_room_for_themselves(tmp_path):
    draw_pictures(tmp_path)
    long = records()[2] | {"instruction": "white " * 500}
    env = make_env(sessions_file=str(write_lines(tmp_path, [long])))
    seen, _ = env.reset(seed=0)
    assert len(seen["instruction"]) == 3000 and seen in env.observation_space
    assert make_env(sessions_file=str(write_lines(tmp_path, records()))).action_space["intent"].max_length == 1000


def test_settings_that_do_not_fit_a_file_are_refused(scenes, tmp_path):
    with pytest.raises(ValueError, match="size is 32, but the scenes in"):
        make_env(sessions_file=scenes, size=32)
    with pytest.raises(ValueError, match="which is no file"):
        make_env(sessions_file=str(tmp_path / "nothing.jsonl"))
    with pytest.raises(ValueError, match="scorer 'exactly' is not known, did you mean 'exact'"):
        make_env(sessions_file=scenes, scorer="exactly")
    with pytest.raises(ValueError, match="size is 0"):
        make_env(size=0)
