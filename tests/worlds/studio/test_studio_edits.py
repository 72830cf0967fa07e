"""What each task accepts, touches and edits, on a scene made by hand."""

from dataclasses import replace

import pytest

from editenv.worlds.studio.edit import BACKGROUND, Edit, to_json
from editenv.worlds.studio.noun_phrases import Target
from editenv.worlds.studio.rule import check_edit, right_result
from editenv.worlds.studio.rules import AttributeRule, statement_from_json
from editenv.worlds.studio.scene import UNREADABLE, Scene, SceneObject
from editenv.worlds.studio.tasks import (
    EDITS,
    BackgroundChange,
    ColorAlter,
    CountChange,
    MaterialAlter,
    PositionChange,
    SubjectAdd,
    SubjectRemove,
    SubjectReplace,
    Undo,
    edit_from_json,
)

NONE: frozenset[str] = frozenset()
STAR, CIRCLE, OTHER = (
    SceneObject("star", "red"),
    SceneObject("circle", "blue", "dotted"),
    SceneObject("circle", "green"),
)
SCENE = Scene((STAR, CIRCLE, None, OTHER), "white")
"""Row 1: a red star, a dotted blue circle; row 2: nothing, a green circle."""

THE_STAR = Target(0, "star")
BLUE_CIRCLE = Target(1, "circle", color="blue")
GONE = Target(2, "cross")

ALL: list[tuple[Edit, Scene, frozenset[int], int | None]] = [
    (
        SubjectAdd(2, "cross", "orange", "striped"),
        SCENE.put(2, SceneObject("cross", "orange", "striped")),
        frozenset({2}),
        2,
    ),
    (SubjectRemove(THE_STAR), SCENE.put(0, None), frozenset({0}), None),
    (
        SubjectReplace(BLUE_CIRCLE, "square", "red", "plain"),
        SCENE.put(1, SceneObject("square", "red")),
        frozenset({1}),
        1,
    ),
    (ColorAlter(THE_STAR, "purple"), SCENE.put(0, SceneObject("star", "purple")), frozenset({0}), 0),
    (MaterialAlter(BLUE_CIRCLE, "striped"), SCENE.put(1, SceneObject("circle", "blue", "striped")), frozenset({1}), 1),
    (PositionChange(THE_STAR, 2), SCENE.put(0, None).put(2, STAR), frozenset({0, 2}), 2),
    (CountChange(1, "circle"), SCENE.put(3, None), frozenset({1, 3}), None),
    (BackgroundChange("black"), replace(SCENE, background="black"), frozenset({BACKGROUND}), None),
]
IDS = [edit.task for edit, *_ in ALL]


@pytest.mark.parametrize(("edit", "right", "touched", "edited"), ALL, ids=IDS)
def test_right_result_by_hand(edit: Edit, right: Scene, touched: frozenset[int], edited: int | None) -> None:
    """Fails where a task does something else than its sentence says, or claims other cells than its own."""
    assert edit.apply(SCENE) == right
    assert edit.accepts(SCENE, right, NONE)
    assert edit.touched(SCENE) == touched
    assert edit.edited_cell(SCENE) == edited
    assert right_result(edit, (), SCENE) == right


@pytest.mark.parametrize(("edit", "right", "touched", "edited"), ALL, ids=IDS)
def test_wrong_results_are_refused(edit: Edit, right: Scene, touched: frozenset[int], edited: int | None) -> None:
    """Fails where doing nothing, spoiling the edited cell, or doing it elsewhere counts as done."""
    assert not edit.accepts(SCENE, SCENE, NONE)
    nothing_read = Scene((UNREADABLE,) * 4, UNREADABLE.shape)
    assert not edit.accepts(SCENE, nothing_read, NONE)
    for cell in touched - {BACKGROUND}:
        for spoilt in (UNREADABLE, SceneObject("cross", "yellow", "dotted")):
            assert not edit.accepts(SCENE, right.put(cell, spoilt), NONE)
    if edited is not None:
        assert not edit.accepts(SCENE, right.put(edited, None), NONE)


@pytest.mark.parametrize(("edit", "right", "touched", "edited"), ALL, ids=IDS)
def test_what_else_changes_is_left_to_consistency(
    edit: Edit, right: Scene, touched: frozenset[int], edited: int | None
) -> None:
    """Fails where IF is lowered by a change outside of the edit, which CC already counts."""
    for cell in set(range(4)) - touched:
        assert edit.accepts(SCENE, right.put(cell, UNREADABLE), NONE)


@pytest.mark.parametrize("edit", [edit for edit, *_ in ALL], ids=IDS)
def test_edits_survive_json(edit: Edit) -> None:
    """Fails where a record read back asks for something else."""
    assert edit_from_json(to_json(edit)) == edit
    assert to_json(edit)["task"] == edit.task


def test_every_task_has_a_case_above() -> None:
    """Fails where a task is added without a case; signs and undos have cases in files of their own."""
    assert {edit.task for edit, *_ in ALL} == set(EDITS) - {"text_change", "undo"}


def test_the_kept_attributes_must_be_kept() -> None:
    """A recoloured or moved object stays what it was; fails where an edit may smuggle in another change."""
    assert not ColorAlter(THE_STAR, "purple").accepts(SCENE, SCENE.put(0, SceneObject("cross", "purple")), NONE)
    assert not ColorAlter(THE_STAR, "purple").accepts(
        SCENE, SCENE.put(0, SceneObject("star", "purple", "dotted")), NONE
    )
    moved = SCENE.put(0, None)
    assert not PositionChange(THE_STAR, 2).accepts(SCENE, moved.put(2, SceneObject("star", "blue")), NONE)
    assert not PositionChange(THE_STAR, 2).accepts(SCENE, SCENE.put(2, STAR), NONE)  # now there are two


def test_an_open_change_takes_any_other_value() -> None:
    """ "Change the colour": any colour but the old one; fails where one answer is singled out."""
    edit = ColorAlter(THE_STAR)
    assert edit.accepts(SCENE, SCENE.put(0, SceneObject("star", "blue")), NONE)
    assert edit.accepts(SCENE, SCENE.put(0, SceneObject("star", "orange")), NONE)
    assert not edit.accepts(SCENE, SCENE, NONE)


def test_what_is_not_said_may_be_anything() -> None:
    """Fails where an object added without a colour must have a certain one."""
    edit = SubjectAdd(2, "cross", material="striped")
    assert edit.accepts(SCENE, SCENE.put(2, SceneObject("cross", "purple", "striped")), NONE)
    assert not edit.accepts(SCENE, SCENE.put(2, SceneObject("cross", "purple", "plain")), NONE)


def test_what_a_rule_speaks_of_is_free() -> None:
    """Fails where a rule in force makes the edit itself count as wrong."""
    color = frozenset({"color"})
    assert PositionChange(THE_STAR, 2).accepts(SCENE, SCENE.put(0, None).put(2, SceneObject("star", "green")), color)
    assert not PositionChange(THE_STAR, 2).accepts(
        SCENE, SCENE.put(0, None).put(2, SceneObject("star", "red", "dotted")), color
    )
    assert SubjectAdd(2, "cross", "red", "plain").accepts(SCENE, SCENE.put(2, SceneObject("cross", "blue")), color)
    assert MaterialAlter(THE_STAR, "dotted").accepts(SCENE, SCENE.put(0, SceneObject("star", "blue", "dotted")), color)


def test_an_object_is_found_where_it_stands_now() -> None:
    """A target that earlier mistakes moved is found by its looks; nothing is guessed."""
    assert BLUE_CIRCLE.find(SCENE) == 1
    strayed = SCENE.put(1, None).put(2, CIRCLE)
    assert BLUE_CIRCLE.find(strayed) == 2
    assert Target(0, "circle").find(SCENE) is None  # two fit, neither stands where it should
    assert GONE.find(SCENE) is None
    assert replace(BLUE_CIRCLE, placed=True).find(strayed) is None  # its place was named
    assert Target(0).find(SCENE.put(0, UNREADABLE)) is None


@pytest.mark.parametrize(
    "edit",
    [
        SubjectRemove(GONE),
        SubjectReplace(GONE, "star", "red", "plain"),
        ColorAlter(GONE, "red"),
        PositionChange(GONE, 3),
    ],
    ids=lambda edit: edit.task,
)
def test_an_edit_of_what_is_not_there_cannot_succeed(edit: Edit) -> None:
    """Fails where an agent is paid for an object that it lost earlier."""
    for after in (SCENE, SCENE.put(2, SceneObject("cross", "red")), SCENE.put(3, SceneObject("cross", "red"))):
        assert not edit.accepts(SCENE, after, NONE)
    assert 2 not in edit.touched(SCENE)


RED, DOTTED = AttributeRule("color", "red"), AttributeRule("material", "dotted")


def kept(edit: Edit, after: Scene) -> bool | None:
    return check_edit(edit, (RED,), SCENE, after).kept


def test_rules_cover_the_edited_object_alone() -> None:
    """Fails where a rule spares the edited object or reaches for another one."""
    added = right_result(SubjectAdd(2, "cross", material="striped"), (RED,), SCENE)
    assert added == SCENE.put(2, SceneObject("cross", "red", "striped"))
    moved = right_result(PositionChange(BLUE_CIRCLE, 2), (RED, DOTTED), SCENE)
    assert moved == SCENE.put(1, None).put(2, SceneObject("circle", "red", "dotted"))
    later = right_result(ColorAlter(BLUE_CIRCLE), (RED, AttributeRule("color", "green")), SCENE)
    assert later == SCENE.put(1, SceneObject("circle", "green", "dotted"))


def test_rules_exempt_removals_and_backgrounds() -> None:
    """Fails where a rule asks something of a turn that edits no object (MICE-Bench's judge)."""
    for edit in (SubjectRemove(THE_STAR), BackgroundChange("black")):
        assert right_result(edit, (RED,), SCENE) == edit.apply(SCENE)
        assert kept(edit, edit.apply(SCENE)) is None


def test_a_rule_holds_where_the_edited_object_shows_it() -> None:
    """Fails where a missing, unreadable or differently coloured object keeps a rule."""
    edit = SubjectAdd(2, "cross")
    assert kept(edit, SCENE.put(2, SceneObject("cross", "red"))) is True
    assert kept(edit, SCENE.put(2, SceneObject("cross", "blue"))) is False
    assert kept(edit, SCENE.put(2, UNREADABLE)) is False
    assert kept(edit, SCENE) is False
    assert kept(ColorAlter(GONE, "red"), SCENE) is False


def test_rules_survive_json() -> None:
    """Fails where a record read back holds another rule."""
    assert statement_from_json(to_json(DOTTED, sparse=False)) == DOTTED
    with pytest.raises(ValueError, match="family is 'wish', expected one of"):
        statement_from_json({"family": "wish", "attribute": "color", "value": "red"})
    with pytest.raises(ValueError, match="attribute has the fields"):
        statement_from_json({"family": "attribute", "colour": "red"})


def test_unknown_tasks_and_fields_are_named() -> None:
    """Fails where a record with a misspelt key is read all the same."""
    with pytest.raises(ValueError, match="task is 'paint', expected one of"):
        edit_from_json({"task": "paint"})
    with pytest.raises(ValueError, match=r"subject_add has the fields \['place', 'shape'\]"):
        edit_from_json({"task": "subject_add", "place": 1, "shape": "star"})
    with pytest.raises(ValueError, match=r"subject_remove has the fields.*colour"):
        edit_from_json({"task": "subject_remove", "target": {"cell": 1, "colour": "red"}})


@pytest.mark.parametrize("depth", [1, 400])
def test_edits_that_nest_without_end_are_refused_in_words(depth: int) -> None:
    """Nothing undoes an undo; a record that says so ends in a message, however deep it is."""
    undo = several = {"task": "subject_remove", "target": {"cell": 0}}
    undo = {"task": "undo", "instead": undo}
    for _ in range(depth):
        undo, several = {"task": "undo", "instead": undo}, {"task": "subject_remove", "parts": [several] * 2}
    with pytest.raises(ValueError, match="of kind 'undo', expected none"):
        edit_from_json(undo)
    with pytest.raises(ValueError, match="of kind 'parts', expected none"):
        edit_from_json({"task": "subject_remove", "parts": [several]})
    with pytest.raises(ValueError, match="expected an edit of another task"):
        Undo(Undo(SubjectRemove(Target(0, "star"))))
