"""Turns that can be read in two ways: what is right, and that both exact scorers say so."""

from __future__ import annotations

import pytest

from editenv.protocols import Scorer
from editenv.rewards.exact import ExactScorer
from editenv.rewards.residual import ResidualScorer
from editenv.types import SCORE_NAMES, Image
from editenv.worlds.studio.edit import Edit, MultiEdit
from editenv.worlds.studio.noun_phrases import Beside, Target
from editenv.worlds.studio.render import render
from editenv.worlds.studio.rule import Rule, is_impossible, right_result
from editenv.worlds.studio.rules import AvoidLook, KeepEmpty, LimitAlike, LimitCount, Protect
from editenv.worlds.studio.scene import Scene, SceneObject
from editenv.worlds.studio.session import StudioSpec, StudioTurn
from editenv.worlds.studio.tasks import (
    BackgroundChange,
    ColorAlter,
    CountChange,
    PositionChange,
    SubjectAdd,
    SubjectRemove,
    Undo,
)
from tests.studio_play import play

STAR, CIRCLE = SceneObject("star", "red"), SceneObject("circle", "blue", "dotted")
SCENE = Scene((None, None, None, None, STAR, CIRCLE, None, None, None), "white")
"""Three by three: a red star in the middle, a dotted blue circle to the right of it."""
THE_STAR, THE_CIRCLE = Target(4, "star"), Target(5, "circle")
NO_RED, NO_BLUE, LEFT = AvoidLook("color", "red"), AvoidLook("color", "blue"), KeepEmpty("left column")


def spoilt(scene: Scene, *cells: int) -> Image:
    """The scene with black crosses over cells that nobody can read; the background stays readable."""
    picture = render(scene, 48).copy()
    for cell in cells:
        row, column = cell // 3 * 16, cell % 3 * 16
        picture[row : row + 16, column + 7 : column + 9] = picture[row + 7 : row + 9, column : column + 16] = 0
    return picture


def answered(edits: list[tuple[Edit, tuple[Rule, ...]]], *answers: Scene | Image) -> list[dict[str, object]]:
    """The scores of each turn, after both scorers have given the same ones."""
    turns = tuple(StudioTurn("", "", edit, rules) for edit, rules in edits)
    spec = StudioSpec("made by hand", "train", 0, 0, SCENE, turns)
    pictures = [render(one, 48) if isinstance(one, Scene) else one for one in answers]

    def scores(make: type[Scorer]) -> list[dict[str, object]]:
        (row,) = play([spec], lambda _, number, before, right: pictures[number], 3, 48, make)
        names = (*SCORE_NAMES, "reward")
        return [{n: getattr(s, n) for n in names} | {"alone": "leave_alone" in s.detail} for s in row]

    exact = scores(ExactScorer)
    assert exact == scores(ResidualScorer)
    return exact


def test_what_cannot_be_read_cannot_be_seen_to_be_moved() -> None:
    """Fails where noise in the new place counts as the noise that stood in the old one.

    "The object in row 2 column 2" may be one that nobody can read; removing it can be seen.
    """
    here = Target(4, placed=True)
    noise, moved, gone = spoilt(SCENE, 4), spoilt(SCENE.put(4, None), 0), SCENE.put(4, None)
    first = (BackgroundChange("mint"), ())
    assert answered([first, (PositionChange(here, 0), ())], noise, moved)[1]["instruction_following"] == 0
    assert answered([first, (SubjectRemove(here), ())], noise, gone)[1]["instruction_following"] == 1


def test_another_cell_beside_is_right_where_a_rule_forbids_the_nearest() -> None:
    """Next to the star are three free cells, one of which a rule forbids; to its left is that one alone."""
    cross = SceneObject("cross", "red")
    for relation, rule, right, wrong in (
        ("next", LEFT, (1, 7), (3,)),
        ("next", KeepEmpty("top row"), (3, 7), (1,)),
        ("left", LEFT, (), (3,)),
    ):
        edit = SubjectAdd(1, "cross", "red", "plain", beside=Beside(relation, THE_STAR))
        assert is_impossible(edit, (rule,), SCENE) == (not right)
        for cell in right:
            (turn,) = answered([(edit, (rule,))], SCENE.put(cell, cross))
            assert (turn["instruction_following"], turn["rule_kept"], turn["reward"]) == (1, 1, 1)
        for cell in wrong:
            (turn,) = answered([(edit, (rule,))], SCENE.put(cell, cross))
            assert (turn["rule_kept"], turn["global_awareness"]) == (0, 0)
        (still,) = answered([(edit, (rule,))], SCENE)
        assert still["instruction_following"] == (not right) == still["alone"]
        shown = right_result(edit, (rule,), SCENE)
        assert shown == (SCENE.put(min(right), cross) if right else SCENE)


def test_a_move_beside_passes_a_forbidden_cell_over() -> None:
    """The circle goes next to the star, but not above it."""
    edit = PositionChange(THE_CIRCLE, 1, Beside("next", THE_STAR))
    rule = KeepEmpty("top row")
    assert right_result(edit, (rule,), SCENE) == SCENE.put(5, None).put(3, CIRCLE)
    (turn,) = answered([(edit, (rule,))], SCENE.put(5, None).put(7, CIRCLE))
    assert turn["reward"] == 1


def test_several_edits_with_open_values_pass_forbidden_values_over() -> None:
    """Both objects change their colour to any other; red is out, which would be the circle's first choice."""
    both = MultiEdit((ColorAlter(THE_STAR), ColorAlter(THE_CIRCLE)))
    assert not is_impossible(both, (NO_RED,), SCENE)
    done = right_result(both, (NO_RED,), SCENE)
    (turn,) = answered([(both, (NO_RED,))], done)
    assert (turn["instruction_following"], turn["rule_kept"], turn["reward"]) == (1, 1, 1)
    broken = SCENE.put(4, SceneObject("star", "green")).put(5, SceneObject("circle", "red", "dotted"))
    (turn,) = answered([(both, (NO_RED,))], broken)
    assert (turn["instruction_following"], turn["rule_kept"]) == (1, 0)
    # Asked for by name, the same is impossible.
    named = MultiEdit((ColorAlter(THE_STAR, "green"), ColorAlter(THE_CIRCLE, "red")))
    assert answered([(named, (NO_RED,))], SCENE)[0]["alone"] is True


def test_several_objects_may_take_a_look_along() -> None:
    """Moving a blue object does not bring blue in, by itself or together with another one."""
    both = MultiEdit((PositionChange(THE_STAR, 0), PositionChange(THE_CIRCLE, 2)))
    done = Scene((STAR, None, CIRCLE, *(None,) * 6), "white")
    for rule in (NO_BLUE, NO_RED):
        assert answered([(both, (rule,))], done)[0]["reward"] == 1


@pytest.mark.parametrize(
    ("count", "most", "covered", "alone"),
    [(2, 2, True, True), (2, 3, False, False), (3, 3, True, True), (1, 2, False, False)],
)
def test_a_limit_asks_something_where_more_are_wanted_than_fit(
    count: int, most: int, covered: bool, alone: bool
) -> None:
    """Two objects are there, one of them a star. Asking for one star adds nothing, for three adds two."""
    edit, rule = CountChange(count, "star"), LimitCount(most)
    assert rule.covers(edit, SCENE) == covered
    assert is_impossible(edit, (rule,), SCENE) == alone
    (turn,) = answered([(edit, (rule,))], SCENE)
    assert (turn["rule_kept"] is not None, turn["alone"]) == (covered, alone)


def test_fewer_objects_are_no_additions() -> None:
    """Two stars are there, one is wanted: a limit of two asks nothing of it."""
    start = SCENE.put(5, STAR)
    fewer = CountChange(1, "star")
    assert not LimitCount(2).covers(fewer, start)
    edits = [(SubjectAdd(0, "cross"), ()), (CountChange(1, "cross"), (LimitCount(2),))]
    more = SCENE.put(0, SceneObject("cross", "red"))
    crowded = more.put(1, SceneObject("cross", "red"))
    assert answered(edits, crowded, more)[1]["rule_kept"] is None


def test_counting_passes_over_what_rules_forbid() -> None:
    """One more circle, not blue as the first; one more star, not in the first free cell; one star to stay."""
    for edit, rule, result in (
        (CountChange(2, "circle"), NO_BLUE, SCENE.put(0, SceneObject("circle", "red"))),
        (CountChange(2, "star", "red", "plain"), KeepEmpty("top row"), SCENE.put(3, STAR)),
        (CountChange(2, "star"), LimitAlike("color"), SCENE.put(0, SceneObject("star", "green"))),
    ):
        assert right_result(edit, (rule,), SCENE) == result
        assert answered([(edit, (rule,))], result)[0]["reward"] == 1
    two = SCENE.put(8, STAR)
    assert right_result(CountChange(1, "star"), (Protect(Target(8, "star")),), two) == two.put(4, None)
    assert is_impossible(CountChange(2, "circle", "blue"), (NO_BLUE,), SCENE)


def test_nothing_unreadable_can_be_brought_back() -> None:
    """A background that nobody could read is no goal of an undo, and neither is noise in a cell."""
    dark = render(SCENE, 48).copy()
    dark[:16] = 0  # The upper three cells, and so the background.
    edits = [(BackgroundChange("mint"), ()), (BackgroundChange("pink"), ()), (Undo(BackgroundChange("mint")), ())]
    pink = spoilt(Scene(SCENE.cells, "pink"), 0, 1, 2)
    assert answered(edits, dark, pink, dark)[2]["instruction_following"] == 0
    noise = spoilt(SCENE, 8)
    again = [(BackgroundChange("mint"), ()), (SubjectRemove(Target(8, placed=True)), ()), (edits[2][0], ())]
    assert answered(again, noise, SCENE, noise)[2]["instruction_following"] == 0
