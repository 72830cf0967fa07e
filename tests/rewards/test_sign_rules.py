"""Rules about materials and signs, which have none: both exact scorers ask nothing there."""

from __future__ import annotations

import pytest

from editenv.protocols import Scorer
from editenv.rewards.exact import ExactScorer
from editenv.rewards.residual import ResidualScorer
from editenv.worlds.studio.edit import Edit
from editenv.worlds.studio.language import canonical_intent
from editenv.worlds.studio.noun_phrases import Target
from editenv.worlds.studio.render import render
from editenv.worlds.studio.rule import right_result
from editenv.worlds.studio.rules import AttributeRule
from editenv.worlds.studio.scene import SIGN, Scene, SceneObject
from editenv.worlds.studio.session import StudioSpec, StudioTurn
from editenv.worlds.studio.tasks import ColorAlter, PositionChange, SubjectAdd, SubjectReplace, TextChange
from tests.studio_play import play

SCENE = Scene((SceneObject(SIGN, "red", text="open"), SceneObject("star", "blue"), None, None), "white")
THE_SIGN, THE_STAR = Target(0, SIGN), Target(1, "star")
STRIPED, GREEN = AttributeRule("material", "striped"), AttributeRule("color", "green")


def kept_and_followed(edit: Edit, rule: AttributeRule, after: Scene) -> tuple[float | None, float | None]:
    spec = StudioSpec("made by hand", "train", 0, 0, SCENE, (StudioTurn("", "", edit, (rule,)),))
    found = []
    makers: tuple[type[Scorer], ...] = (ExactScorer, ResidualScorer)
    for make in makers:
        ((score,),) = play([spec], lambda *_: render(after, 32), 2, 32, make)
        found.append((score.rule_kept, score.instruction_following))
    assert found[0] == found[1]
    return found[0]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (TextChange(THE_SIGN, "tea"), 'make the sign say "tea"'),
        (ColorAlter(THE_SIGN, "blue"), "make the sign blue"),
        (PositionChange(THE_SIGN, 3), "move the sign to row 2 column 2"),
        (SubjectAdd(2, SIGN, "red", text="bus"), 'add a red sign that says "bus" in row 2 column 1'),
        (SubjectReplace(THE_STAR, SIGN, "red", text="bus"), None),
    ],
)
def test_a_material_is_not_asked_of_a_sign(edit: Edit, words: str | None) -> None:
    after = right_result(edit, (STRIPED,), SCENE)
    assert after == right_result(edit, (), SCENE)
    assert kept_and_followed(edit, STRIPED, after) == (None, 1.0)
    intent = canonical_intent(edit, (STRIPED,), 2)
    assert "striped" not in intent
    assert words is None or intent == words


def test_a_color_is_asked_of_it_and_a_material_of_what_takes_its_place() -> None:
    written = TextChange(THE_SIGN, "tea")
    plain, green = right_result(written, (), SCENE), right_result(written, (GREEN,), SCENE)
    assert green.cells[0] == SceneObject(SIGN, "green", text="tea")
    assert kept_and_followed(written, GREEN, green) == (1.0, 1.0)
    assert kept_and_followed(written, GREEN, plain) == (0.0, 1.0)
    replaced = SubjectReplace(THE_SIGN, "circle", "red")
    striped = SCENE.put(0, SceneObject("circle", "red", "striped"))
    assert right_result(replaced, (STRIPED,), SCENE) == striped
    assert kept_and_followed(replaced, STRIPED, striped) == (1.0, 1.0)
    assert kept_and_followed(replaced, STRIPED, SCENE.put(0, SceneObject("circle", "red"))) == (0.0, 1.0)
