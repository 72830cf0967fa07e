"""The goal user reacts to what pictures show: asks again, has damage repaired, drops rules, gives up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from editenv.sims.goal import GoalUser, conforming, distance, goal_of, scene_diff
from editenv.sims.persona import load_persona
from editenv.types import Stop, TurnResult
from editenv.worlds.studio.noun_phrases import Target
from editenv.worlds.studio.render import render
from editenv.worlds.studio.rules import AttributeRule
from editenv.worlds.studio.scene import UNREADABLE, Scene, SceneObject
from editenv.worlds.studio.session import StudioTurn
from editenv.worlds.studio.tasks import (
    BackgroundChange,
    ColorAlter,
    PositionChange,
    SubjectAdd,
    SubjectRemove,
    SubjectReplace,
)
from editenv.worlds.studio.world import StudioWorld
from tests.sims.goal_play import converse, rightly, spec_of

STAR, CIRCLE = SceneObject("star", "red"), SceneObject("circle", "blue")
RED = AttributeRule("color", "red")


def scene(background: str = "white", **cells: SceneObject) -> Scene:
    """A 4x4 scene; c5=STAR puts a star into cell 5."""
    found: list[SceneObject | None] = [None] * 16
    for name, thing in cells.items():
        found[int(name[1:])] = thing
    return Scene(tuple(found), background)


START = scene(c0=STAR, c5=CIRCLE)


def wanting(*edits, rules=(), start=START):
    """A session whose script makes these edits."""
    return spec_of(start, *(StudioTurn("-", "-", edit, rules) for edit in edits))


def test_the_wish_is_where_the_script_leads() -> None:
    spec = wanting(ColorAlter(Target(0), "green"), SubjectAdd(7, "cross"), rules=(RED,))
    target, rules = goal_of(spec)
    assert target == scene(c0=STAR, c5=CIRCLE, c7=SceneObject("cross", "red"))
    assert rules == (RED,)


def test_a_script_that_ends_where_it_began_leaves_another_background_to_wish_for() -> None:
    target = goal_of(wanting(PositionChange(Target(0), 1), PositionChange(Target(1), 0)))[0]
    assert target.cells == START.cells and target.background != START.background


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (scene("mint", c0=STAR, c5=CIRCLE), [BackgroundChange("mint")]),
        (scene(c0=STAR), [SubjectRemove(Target(5))]),
        (scene(c0=STAR, c6=CIRCLE), [PositionChange(Target(5), 6)]),
        (scene(c0=STAR, c6=replace(CIRCLE, color="red")), [PositionChange(Target(5), 6)]),
        (scene(c0=replace(STAR, color="green"), c5=CIRCLE), [ColorAlter(Target(0), "green")]),
        (
            scene(c0=SceneObject("cross", "red", "dotted"), c5=CIRCLE),
            [SubjectReplace(Target(0), "cross", "red", "dotted")],
        ),
        (scene(c0=STAR, c5=CIRCLE, c9=SceneObject("cross", "red")), [SubjectAdd(9, "cross", "red", "plain")]),
    ],
)
def test_what_is_left_to_do_by_hand(target: Scene, expected: list) -> None:
    assert scene_diff(START, target) == expected


def test_what_cannot_be_read_is_painted_over_or_removed() -> None:
    shown = scene(c0=UNREADABLE, c5=CIRCLE, c6=UNREADABLE)
    assert scene_diff(shown, START) == [SubjectAdd(0, "star", "red", "plain"), SubjectRemove(Target(6))]


def test_an_agent_can_clear_away_what_nobody_can_read() -> None:
    """Fails where the scorer would not let anybody follow the words "the object in row 2 column 3"."""
    edit, mess = SubjectRemove(Target(6, placed=True)), START.put(6, UNREADABLE)
    assert edit.accepts(mess, START, frozenset()) and edit.touched(mess) == {6}
    assert not edit.accepts(mess, mess, frozenset())
    assert Target(6, "star", placed=True).find(mess) is None


@pytest.mark.parametrize("seed", range(3))
def test_every_edit_that_is_left_leads_nearer(seed: int) -> None:
    """Fails where a user could go round in circles with an agent that does all that they say."""
    world = StudioWorld("persona")
    for index in range(40):
        start, other = (world.session("test", seed, i).scene for i in (index, index + 500))
        edits = scene_diff(start, other)
        assert edits and conforming(edits, (), start, other) == edits
        while edits:
            start = edits[0].apply(start)
            edits = scene_diff(start, other)
        assert distance(start, other) == 0


@pytest.mark.parametrize("persona", ["plain", "terse", "chatty", "vague", "indecisive"])
def test_an_agent_that_is_always_right_leads_to_done(persona: str) -> None:
    user, world = GoalUser(persona), StudioWorld("persona")
    for index in range(30):
        said, reason, shown = converse(user, world.session("test", 1, index), rightly)
        assert reason == "done", [speech.text for speech in said]
        if persona not in ("indecisive", "chatty"):
            assert shown == goal_of(world.session("test", 1, index))[0]


def test_a_failed_edit_is_asked_for_again() -> None:
    spec = wanting(ColorAlter(Target(0), "green"))
    said, reason, _ = converse(
        GoalUser("plain"), spec, lambda turn, said, before: rightly(turn, said, before) if turn else before
    )
    assert [speech.meaning.dialogue_act for speech in said] == ["ask", "again"] and reason == "done"
    assert said[0].meaning.edit.value == said[1].meaning.edit.value == "green"


def test_a_wrong_colour_is_asked_to_be_put_right() -> None:
    spec = wanting(SubjectAdd(9, "cross", "green", "plain"))
    wrong = START.put(9, SceneObject("cross", "blue"))
    said, reason, _ = converse(
        GoalUser("plain"), spec, lambda turn, said, before: rightly(turn, said, before) if turn else wrong
    )
    assert isinstance(said[1].meaning.edit, ColorAlter) and said[1].meaning.edit.value == "green"
    assert said[1].meaning.dialogue_act == "again" and reason == "done"


def test_damage_that_nobody_asked_for_is_repaired_before_all_else() -> None:
    spec = wanting(ColorAlter(Target(0), "green"), BackgroundChange("mint"))

    def clumsily(turn, said, before):
        right = rightly(turn, said, before)
        return right.put(5, replace(CIRCLE, color="orange")) if turn == 0 else right

    said, reason, _ = converse(GoalUser("plain"), spec, clumsily)
    assert [speech.meaning.dialogue_act for speech in said] == ["ask", "repair", "ask"] and reason == "done"
    assert said[1].meaning.edit.target.cell == 5 and said[1].meaning.edit.value == "blue"


def test_intent_and_scores_are_never_looked_at() -> None:
    """An outcome has no intent at all, and other scores change nothing."""
    spec, user = wanting(ColorAlter(Target(0), "green")), GoalUser("plain")
    speech, picture = user.begin(spec), render(START, 64)
    outcome = TurnResult(spec, 0, speech, picture, picture, picture)
    assert not hasattr(outcome, "intent")
    assert user.reply(outcome) == user.reply(replace(outcome, history=(), earlier=(picture,)))


@pytest.mark.parametrize("persona", ["terse", "chatty"])
def test_patience_runs_out_after_as_many_failures_as_the_persona_bears(persona: str) -> None:
    spec = wanting(ColorAlter(Target(0), "green"))
    said, reason, _ = converse(GoalUser(persona), spec, lambda turn, said, before: before)
    assert reason == "gave_up" and len(said) == load_persona(persona).patience + 1


def test_patience_can_be_set_apart_from_the_persona() -> None:
    spec = wanting(ColorAlter(Target(0), "green"))
    said, _, _ = converse(GoalUser("chatty", patience=0), spec, lambda turn, said, before: before)
    assert len(said) == 1


def test_a_rule_that_spares_words_is_stated_kept_and_dropped_when_it_stands_in_the_way() -> None:
    spec = wanting(SubjectAdd(9, "cross"), SubjectAdd(10, "square"), SubjectAdd(11, "triangle"), rules=(RED,))
    blue = StudioTurn("-", "-", ColorAlter(Target(11), "blue"), ())
    spec = spec_of(START, *spec.turns, blue)
    for index in range(8):
        said, reason, shown = converse(GoalUser("plain"), replace(spec, index=index), rightly)
        meant = [speech.meaning for speech in said]
        assert reason == "done" and shown == goal_of(spec)[0]
        assert [turn.states for turn in meant].count(True) == 1 and meant[0].states
        assert "red" in said[0].text and meant[0].edit.color is None
        assert [bool(turn.changes) for turn in meant].count(True) == 1 and meant[-1].changes and meant[-1].rules == ()
        assert all(turn.rules == (RED,) for turn in meant[:-1])


def test_the_whole_picture_gone_is_no_crash() -> None:
    user, spec = GoalUser("plain"), wanting(ColorAlter(Target(0), "green"))
    speech = user.begin(spec)
    for turn in range(10):
        noise = np.random.default_rng(turn).integers(0, 256, (64, 64, 3), np.uint8)
        reply = user.reply(TurnResult(spec, turn, speech, noise, noise, noise))
        if isinstance(reply, Stop):
            break
        speech = reply
    assert reply == Stop("gave_up")


def test_a_session_of_another_world_is_refused() -> None:
    with pytest.raises(ValueError, match="no scene to wish for"):
        GoalUser().begin(type("Other", (), {"id": "x"})())
