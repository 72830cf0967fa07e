"""Suites: files that cannot be used are named, and nothing of the test split or held out is in training."""

import json
from typing import Any

import pytest

from editenv.types import SPLITS
from editenv.worlds.studio.dialogue import DialogueState
from editenv.worlds.studio.noun_phrases import Target
from editenv.worlds.studio.phrases import all_phrasings, speech_acts
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.rule import Rule
from editenv.worlds.studio.rules import CHANGES, RULES, AttributeRule, AvoidLook, ScopedRule
from editenv.worlds.studio.scene import COLORS, SHAPES, Scene, SceneObject
from editenv.worlds.studio.suites import load_suite, read_suite, suite_names
from editenv.worlds.studio.tasks import ColorAlter, SubjectAdd
from editenv.worlds.studio.world import (
    PAIRS,
    RULED,
    StudioWorld,
    draw_session,
    edit_is_held_out,
    rule_is_held_out,
    scene_is_held_out,
    uses_held_out,
)
from tests.studio_play import drawn_sessions

GOOD: dict[str, Any] = {
    "turns": 3,
    "objects": [2, 5],
    "rules": [{"family": "protect", "share": 1.0, "turns": [0]}],
    "reference": {"share": 0.5, "kinds": ["corner"]},
    "tasks": {"subject_add": 1},
}

BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"turns": 0}, r"suite x\.yaml: key 'turns' is 0, expected 1 or more"),
    ({"turns": "3"}, "key 'turns' is '3'"),
    ({"max_turns": 2}, "key 'max_turns' is 2, expected 3 or more"),
    ({"objects": [5, 2]}, r"key 'objects' is \[5, 2\], expected a smallest and a largest number"),
    ({"objects": 4}, "key 'objects' is 4, expected a list"),
    ({"signs": [1]}, r"key 'signs\[1\]' is missing"),
    ({"phrasings": "some"}, "key 'phrasings' is 'some', expected one of first, all"),
    ({"held_out": "no"}, "key 'held_out' is 'no', expected one of allow, avoid, seek"),
    ({"tempt": 1.5}, "key 'tempt' is 1.5, expected 1.0 at most"),
    ({"undo": True}, "key 'undo' is True"),
    ({"tasks": {}}, "key 'tasks' is {}, expected at least one task"),
    ({"tasks": {"subject_add": 0}}, "key 'tasks.subject_add' is 0, expected more than 0"),
    ({"tasks": {"subject_ad": 1}}, "key 'tasks' is 'subject_ad', expected one of subject_add, "),
    ({"reference": 0.5}, "key 'reference' is 0.5, expected an object"),
    ({"reference": {"share": 2}}, "key 'reference.share' is 2"),
    ({"reference": {"share": 1, "kinds": ["up"]}}, "key 'reference.kinds' is 'up', expected one of"),
    ({"reference": {"often": 1}}, "key 'reference.often'"),
    ({"rules": [{"family": "protect"}]}, r"key 'rules\[0\].share' is missing"),
    ({"rules": [{"family": "x", "share": 1, "turns": []}]}, r"'rules\[0\].family' is 'x', expected one of"),
    ({"rules": [{"family": "limit", "share": 1, "turns": [3]}]}, r"'rules' is stated in turns \[3\], expected 0"),
    ({"rules": {"family": "limit"}}, "key 'rules' is .*, expected a list"),
    ({"colour": 1}, "key 'colour' is not known, expected name, turns"),
]


def test_a_good_file_is_read() -> None:
    """Fails where a key is not used."""
    suite = read_suite("x", json.dumps(GOOD))
    assert (suite.turns, suite.max_turns, suite.objects, suite.reference.kinds) == (3, 3, (2, 5), ("corner",))
    assert (suite.rules[0].family, suite.rules[0].turns, suite.held_out) == ("protect", (0,), "avoid")


@pytest.mark.parametrize(("change", "message"), BROKEN)
def test_broken_files_are_named(change: dict[str, Any], message: str) -> None:
    """Fails where a file with a mistake makes a suite, or the error does not say where to look."""
    with pytest.raises(ValueError, match=message):
        read_suite("x", json.dumps(GOOD | change))
    with pytest.raises(ValueError, match=r"suite x\.yaml: key"):
        read_suite("x", json.dumps(GOOD | change))


def test_a_suite_that_leaves_nothing_to_ask_for_says_so() -> None:
    """Fails where such a session is drawn for ever: nothing can be moved where nothing may be touched."""
    suite = read_suite("x", json.dumps(GOOD | {"tasks": {"text_change": 1}}))
    with pytest.raises(RuntimeError, match="suite x leaves nothing to ask for"):
        draw_session(suite, "train", 0, 0, 3)


def test_a_grid_too_small_is_named() -> None:
    """Three objects and more leave no room on four cells but one; four would leave none."""
    assert all(len(StudioWorld(s, 64, 2).session("train", 1, 0).scene.cells) == 4 for s in suite_names())
    for size, grid in ((64, 5), (128, 4), (256, 3)):
        world = StudioWorld("long", size, grid)
        assert world.picture(world.session("test", 1, 0)).shape == (size, size, 3)


@pytest.mark.parametrize("suite", [name for name in suite_names() if load_suite(name).held_out != "allow"])
def test_nothing_held_out_is_in_training(suite: str) -> None:
    """Fails where training shows or names what the suite `unseen` tests."""
    seeks = load_suite(suite).held_out == "seek"
    for split in SPLITS:
        found = [uses_held_out(spec) for spec in drawn_sessions(suite, split, 150)]
        assert all(found) if seeks and split == "test" else not any(found)


def test_held_out_by_hand() -> None:
    """Each shape lacks one colour, each colour but one lacks a shape; rules lack a colour and a material."""
    assert sorted(shape for shape, _ in PAIRS) == sorted(SHAPES)
    assert len({color for _, color in PAIRS}) == len(PAIRS) == len(COLORS) - 1
    star = Scene((SceneObject("star", "red"), None, None, None), "white")
    purple = star.put(0, SceneObject("star", "purple", "dotted"))
    assert scene_is_held_out(purple) and not scene_is_held_out(star)
    assert edit_is_held_out(ColorAlter(Target(0, "star"), "purple"), (), star)
    assert edit_is_held_out(ColorAlter(Target(0, "star")), (AttributeRule("color", "purple"),), star)
    assert not edit_is_held_out(SubjectAdd(1, "circle", "purple", "plain"), (), star)
    assert [rule_is_held_out(AttributeRule(*look)) for look in RULED] == [True, True]
    assert rule_is_held_out(AvoidLook("color", "orange"))
    assert rule_is_held_out(ScopedRule("star", "color", "purple"))
    assert not rule_is_held_out(ScopedRule("star", "color", "blue"))
    assert not rule_is_held_out(AttributeRule("color", "red"))


@pytest.mark.parametrize("act", speech_acts())
def test_every_act_has_ten_phrasings(act: str) -> None:
    """Fails where a speech act has too few sentences to split."""
    assert len(all_phrasings(act, "train")) + len(all_phrasings(act, "test")) >= 10


EMPTY = DialogueState(
    Scene((None, SceneObject("star", "red"), None, SceneObject("star", "red"), *[None] * 5), "white"), 3
)


@pytest.mark.parametrize("family", sorted({*RULES, "revoke", "replace"}))
def test_statements_say_what_can_hold(family: str) -> None:
    """Two red stars: no limit on alike colours, nothing to end, and rules that the scene keeps already."""
    found = {(RULES | CHANGES)[family].sample(EMPTY, Rng((n,)), _any_rule) for n in range(30)}
    if family in ("revoke", "replace", "limit_alike"):
        assert found == {None}
        return
    stated = found - {None}
    assert stated
    for rule in stated:
        assert not rule.forbids or not rule.breaks(SubjectAdd(0, "cross"), EMPTY.scene, EMPTY.scene)  # type: ignore[union-attr]


def _any_rule(rule: Rule) -> bool:
    return True
