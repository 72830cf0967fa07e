"""Goal sessions are the same alone, in a batch and after a state, and a state can be continued twice."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from editenv.build import make_env, make_vector_env
from editenv.records import read_records, replay
from editenv.sims.goal import GoalUser
from editenv.sims.persona import persona_names
from editenv.worlds.studio.render import render
from editenv.worlds.studio.world import StudioWorld, scene_is_held_out
from tests.sims.goal_play import converse, rightly

PERSONAS = persona_names()


def settings(persona: str) -> dict:
    return {"suite": "persona", "split": "test", "user": "goal", "user_settings": {"persona": persona}}


def repainted(picture: np.ndarray, turn: int) -> np.ndarray:
    """An agent's picture: now and then some of it changes."""
    picture = np.array(picture)
    if turn % 2:
        picture[16 * (turn % 4) : 16 * (turn % 4) + 16, :16] = 255
    return picture


@pytest.mark.parametrize("persona", PERSONAS)
def test_rows_of_a_batch_are_single_sessions(persona: str) -> None:
    envs = make_vector_env(num_envs=3, autoreset_mode="Disabled", **settings(persona))
    batch, _ = envs.reset(seed=5)
    singles = [make_env(**settings(persona)) for _ in range(3)]
    seen = [env.reset(seed=5, options={"session": row})[0] for row, env in enumerate(singles)]
    for turn in range(3):
        assert [s["transcript"] for s in seen] == list(batch["transcript"])
        images = np.stack([repainted(image, turn) for image in batch["image"]])
        batch, *_ = envs.step({"image": images, "intent": ("", "other words", "third")})
        seen = [env.step({"image": images[row], "intent": ""})[0] for row, env in enumerate(singles)]
    assert [s["transcript"] for s in seen] == list(batch["transcript"])


@pytest.mark.parametrize("persona", PERSONAS)
def test_a_state_goes_on_twice_and_alike(persona: str) -> None:
    env, other = make_env(**settings(persona)), make_env(**settings(persona))
    seen, _ = env.reset(seed=6)
    seen, *_ = env.step({"image": repainted(seen["image"], 1), "intent": ""})
    state = env.get_state()
    answer = {"image": repainted(seen["image"], 3), "intent": ""}
    direct = env.step(answer)
    for place in (env, other):
        again, _ = place.set_state(state)
        assert again["transcript"] == seen["transcript"]
        went_on = place.step(answer)
        assert went_on[0]["transcript"] == direct[0]["transcript"] and went_on[1:4] == direct[1:4]
        assert went_on[4]["scores"] == direct[4]["scores"]


def test_what_comes_next_depends_on_the_picture() -> None:
    """Fails where the user would follow a script."""
    env = make_env(**settings("plain"))
    seen, _ = env.reset(seed=0)
    state = env.get_state()
    meant = env.session.message.meaning
    right = render(rightly(0, meant, env.session.spec.scene), 64)
    said = []
    for picture in (seen["image"], right):
        env.set_state(state)
        said.append(env.step({"image": np.array(picture), "intent": ""})[4]["speech"]["mood"])
    assert said == ["again", "ask"]


def test_a_record_keeps_why_things_were_said_and_plays_again(tmp_path) -> None:
    env = make_env(record_to=str(tmp_path), **settings("terse"))
    seen, info = env.reset(seed=0)
    assert info["speech"]["mood"] == "ask"
    over = False
    while not over:
        seen, _, over, _, info = env.step({"image": seen["image"], "intent": ""})
    assert info["end_reason"] == "gave_up"
    (record,) = read_records(tmp_path)
    assert [detail["mood"] for detail in record.details] == ["ask", "again", "again"]
    assert replay(record, make_env(**settings("terse"))) == list(record.scores)
    json.dumps(record.details)


def test_turns_run_out_where_patience_does_not() -> None:
    env = make_env(suite="mixed", user="goal", user_settings={"patience": 50}, split="test")
    seen, _ = env.reset(seed=0)
    for _ in range(3):
        seen, _, terminated, truncated, info = env.step({"image": seen["image"], "intent": ""})
    assert (terminated, truncated, info["end_reason"]) == (False, True, "max_turns")


def test_unknown_settings_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no setting 'patiense'"):
        make_env(user="goal", user_settings={"patiense": 3})
    with pytest.raises(ValueError, match="no setting 'persona'"):
        make_env(user="replay", user_settings={"persona": "terse"})


@pytest.mark.parametrize("persona", PERSONAS)
def test_what_is_held_out_of_training_never_comes_to_mind(persona: str) -> None:
    """Fails where changes of mind show or ask for pairs that the suite leaves out; no slot stays open."""
    world, user, moods = StudioWorld("persona"), GoalUser(persona), []
    for index in range(60):
        said, _, last = converse(user, world.session("train", 5, index), rightly)
        moods += [speech.detail["mood"] for speech in said]
        assert not any(scene_is_held_out(speech.meaning.state.dialogue.scene) for speech in said)
        assert not scene_is_held_out(last)
        assert not [speech.text for speech in said if re.search(r"[{}]|  |None", speech.text)]
    assert moods.count("mind") > 30 or persona != "indecisive"
