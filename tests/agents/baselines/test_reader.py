"""The observation-only oracle understands every suite: what agents can reach, what users say wrongly."""

from __future__ import annotations

import time

import pytest

from editenv.agents.baselines.oracle import NoisyOracle
from editenv.agents.baselines.reader import ReaderPolicy
from editenv.agents.episodes import run_episodes
from editenv.build import make_vector_env
from editenv.worlds.studio.dialogue import DialogueState
from editenv.worlds.studio.edit import MultiEdit
from editenv.worlds.studio.nlu import meanings, readings
from editenv.worlds.studio.noun_phrases import Target
from editenv.worlds.studio.rule import Except, Revoke
from editenv.worlds.studio.rules import AttributeRule, AvoidLook
from editenv.worlds.studio.scene import Scene, SceneObject
from editenv.worlds.studio.suites import suite_names
from editenv.worlds.studio.tasks import ColorAlter, SubjectAdd, SubjectRemove

STAR, CIRCLE = SceneObject("star", "red"), SceneObject("circle", "blue")
CELLS = (STAR, None, None, None, None, CIRCLE, *[None] * 10)
HERE = DialogueState(Scene(CELLS, "white"), 4)
RED = AttributeRule("color", "red")


def read(text: str, situation: DialogueState = HERE):
    (meaning,) = meanings(text, situation)
    return meaning


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("suite", suite_names())
def test_nothing_is_unclear_and_the_ceiling_is_one(suite: str, split: str) -> None:
    """Fails where a user says what words and pictures alone do not tell, or means something else by it."""
    envs = make_vector_env(num_envs=40, suite=suite, split=split, autoreset_mode="Disabled")
    reader = ReaderPolicy(envs)
    sessions = run_episodes(envs, reader, range(40), 7)
    assert reader.unclear == [] and reader.counts()["instructions"] == sum(s.turn for s in sessions)
    scores = [score for session in sessions for score in session.scores]
    assert {score.global_awareness for score in scores} == {1.0}
    assert {score.content_consistency for score in scores} <= {1.0, None}


@pytest.mark.parametrize("persona", ["plain", "terse", "chatty", "vague", "indecisive"])
def test_personas_are_understood_even_while_the_agent_fails(persona: str) -> None:
    envs = make_vector_env(
        num_envs=48,
        suite="persona",
        split="test",
        user="goal",
        user_settings={"persona": persona},
        autoreset_mode="Disabled",
    )
    reader = ReaderPolicy(envs)
    sessions = run_episodes(envs, NoisyOracle(envs, other=reader), range(48), 3)
    assert reader.unclear == []
    assert any(detail["mood"] == "repair" for session in sessions for detail in session.details)


def test_it_sees_no_meaning() -> None:
    """The same observations with every meaning taken away are answered alike."""
    envs = make_vector_env(num_envs=4, suite="protect", split="test", autoreset_mode="Disabled")
    observations, _ = envs.reset(seed=0)
    seen, blind = ReaderPolicy(envs), ReaderPolicy(envs)
    first, _ = seen.act(observations, seen.start(observations, [0] * 4))
    for session in envs.sessions:
        session.message = type(session.message)(session.message.text)
        session.spec = None
    second, _ = blind.act(observations, blind.start(observations, [0] * 4))
    assert first["intent"] == second["intent"] and (first["image"] == second["image"]).all()


def test_sentences_by_hand() -> None:
    assert read("please delete the star") == ((), SubjectRemove(Target(0, "star")))
    assert read("add a red cross in row 2 column 3") == ((), SubjectAdd(6, "cross", "red"))
    both = MultiEdit((ColorAlter(Target(0, "star"), "green"), ColorAlter(Target(5, "circle"), "green")))
    assert read("make the star and the circle green") == ((), both)


def test_words_that_ask_for_nothing_are_passed_over() -> None:
    text = "well , i hope you are fine . please delete the star . thank you"
    assert read(text) == ((), SubjectRemove(Target(0, "star")))


def test_rules_are_read_in_the_order_of_the_text() -> None:
    text = "do not use red again . delete the star . from now on all you add or change must be red"
    assert read(text)[0] == (AvoidLook("color", "red"), RED)


def test_rules_in_force_are_ended_by_name_and_lifted_by_need() -> None:
    ruled = HERE.stating(RED)
    assert read("forget the red rule . delete the star", ruled)[0] == (Revoke(RED),)
    assert meanings("forget the blue rule . delete the star", ruled) == []
    assert read("just this once , make the star green", ruled)[0] == (Except(RED),)
    assert meanings("just this once , delete the star", ruled) == []


def test_what_fits_twice_is_ambiguous_and_what_fits_nothing_is_unread() -> None:
    twins = DialogueState(HERE.scene.put(9, SceneObject("star", "blue")), 4)
    assert len(meanings("delete the star", twins)) == 2
    assert len(meanings("delete the red star", twins)) == 1
    assert meanings("delete the cross", twins) == [] and list(readings("good morning")) == []
    assert meanings("make it red", HERE) == []


@pytest.mark.parametrize("words", [". ", "do not use red again . ", "the star and the ", "add a star , ", "it ? "])
def test_reading_takes_time_linear_in_a_texts_length(words: str) -> None:
    """Ten times the text may take no more than about ten times as long: fails where all runs of clauses are
    tried."""
    taken = []
    for count in (100, 1000):
        began = time.process_time()
        meanings(words * count, HERE)
        taken.append(time.process_time() - began)
    assert taken[1] < 25 * taken[0] + 0.2
