"""count_change and places beside objects: the whole set of right results is accepted, and nothing else."""

from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from editenv.worlds.studio.edit import Edit, to_json
from editenv.worlds.studio.language import canonical_intent
from editenv.worlds.studio.nlu import apply_intent
from editenv.worlds.studio.noun_phrases import MOST_COUNT, RELATIONS, Beside, Target
from editenv.worlds.studio.scene import SHAPES, UNREADABLE, Scene, SceneObject, all_objects
from editenv.worlds.studio.tasks import CountChange, PositionChange, SubjectAdd, edit_from_json
from tests.worlds.studio.right_choices import places, right_results

NONE: frozenset[str] = frozenset()
RED, BLUE, STAR = (SceneObject("circle", "red"), SceneObject("circle", "blue", "dotted"), SceneObject("star", "green"))
SCENE = Scene((RED, None, BLUE, None, STAR, None, None, None, None), "white")
"""Row 1: a red circle, nothing, a dotted blue circle; row 2: a green star in the middle; row 3: nothing."""
THE_STAR = Target(4, "star")


def more(cell: int, thing: SceneObject, *others: tuple[int, SceneObject]) -> Scene:
    scene = SCENE.put(cell, thing)
    for place, other in others:
        scene = scene.put(place, other)
    return scene


THREE, ONE, TWO_RED = CountChange(3, "circle"), CountChange(1, "circle"), CountChange(2, "circle", "red")


def test_more_of_a_kind_may_look_and_stand_as_the_words_leave_open() -> None:
    """Fails where one free cell or one look is singled out, or where a described look is not asked for."""
    for cell in (1, 3, 5, 6, 7, 8):
        assert THREE.accepts(SCENE, more(cell, SceneObject("circle", "purple", "striped")), NONE)
        assert TWO_RED.accepts(SCENE, more(cell, SceneObject("circle", "red", "striped")), NONE)
        assert not TWO_RED.accepts(SCENE, more(cell, SceneObject("circle", "blue")), NONE)
        assert not THREE.accepts(SCENE, more(cell, SceneObject("square", "red")), NONE)
    assert THREE.touched(SCENE) == TWO_RED.touched(SCENE) == {1, 3, 5, 6, 7, 8}


def test_more_of_a_kind_is_neither_too_many_nor_something_beside() -> None:
    """Fails where a number that is off by one, or a stray object in another free cell, counts as done."""
    assert not THREE.accepts(SCENE, SCENE, NONE)
    assert not THREE.accepts(SCENE, more(1, RED, (3, RED)), NONE)
    assert not THREE.accepts(SCENE, more(1, RED, (3, STAR)), NONE)
    assert not THREE.accepts(SCENE, more(1, RED, (3, UNREADABLE)), NONE)
    assert not THREE.accepts(SCENE, more(1, UNREADABLE), NONE)
    assert not THREE.accepts(SCENE, more(1, RED).put(0, None), NONE)  # moved, not added


def test_fewer_of_a_kind_are_any_of_those_there() -> None:
    """Fails where one object is singled out, where both go, or where one is changed in place of removed."""
    assert ONE.accepts(SCENE, SCENE.put(0, None), NONE)
    assert ONE.accepts(SCENE, SCENE.put(2, None), NONE)
    assert not ONE.accepts(SCENE, SCENE.put(0, None).put(2, None), NONE)
    assert not ONE.accepts(SCENE, SCENE.put(0, SceneObject("square", "red")), NONE)
    assert not ONE.accepts(SCENE, SCENE.put(0, None).put(2, RED), NONE)
    assert ONE.touched(SCENE) == {0, 2}
    assert ONE.apply(SCENE) == SCENE.put(2, None)


def test_as_many_as_there_are_is_no_edit() -> None:
    """Fails where leaving the picture alone is paid, or where the cells are up for change all the same."""
    two = CountChange(2, "circle")
    assert not two.accepts(SCENE, SCENE, NONE)
    assert two.touched(SCENE) == frozenset()
    assert two.apply(SCENE) == SCENE


def test_counts_without_room_or_word_are_named() -> None:
    """Fails where a count that cannot be reached is carried out halfway."""
    full = Scene((RED, STAR, STAR, None), "white")
    with pytest.raises(ValueError, match="expected room"):
        CountChange(3, "circle").apply(full)
    for count in (0, MOST_COUNT + 1):
        with pytest.raises(ValueError, match=f"count is {count}, expected 1 to 6"):
            CountChange(count, "circle")
    with pytest.raises(ValueError, match="count_change has the fields"):
        edit_from_json({"task": "count_change", "count": 2, "shapes": "circle"})


@pytest.mark.parametrize(
    ("relation", "cells"), [("left", (3,)), ("right", (5,)), ("above", (1,)), ("below", (7,)), ("next", (1, 3, 5, 7))]
)
def test_relations_by_hand(relation: str, cells: tuple[int, ...]) -> None:
    """Fails where left is taken for right, above for below, or a diagonal for a neighbour."""
    assert Beside(relation, THE_STAR).cells(SCENE) == cells
    assert Beside(relation, THE_STAR).words(3) == f"{RELATIONS[relation]} the star"


def test_sides_reach_to_the_edge_and_past_objects() -> None:
    """In a row of five, "right of" its first object means every free cell of the row, nearest first."""
    cells: list[SceneObject | None] = [STAR, None, RED, None, None, *[None] * 20]
    scene = Scene(tuple(cells), "white")
    assert Beside("right", Target(0, "star")).cells(scene) == (1, 3, 4)
    assert Beside("below", Target(0, "star")).cells(scene) == (5, 10, 15, 20)
    assert Beside("left", Target(0, "star")).cells(scene) == ()
    assert Beside("next", Target(0, "star")).cells(scene) == (1, 5)


NEXT = Beside("next", THE_STAR)
ADD = SubjectAdd(1, "cross", "orange", "striped", beside=NEXT)
MOVE = PositionChange(Target(0, "circle", color="red"), 1, beside=NEXT)


def test_any_right_cell_will_do_and_only_one() -> None:
    """Fails where a right cell is refused, a wrong one taken, or a second object in a right cell let pass."""
    cross = SceneObject("cross", "orange", "striped")
    for cell in (1, 3, 5, 7):
        assert ADD.accepts(SCENE, more(cell, cross), NONE)
        assert ADD.edited_cell(SCENE, more(cell, cross)) == cell
        assert MOVE.accepts(SCENE, more(cell, RED).put(0, None), NONE)
        assert not MOVE.accepts(SCENE, more(cell, RED), NONE)  # copied
        assert not ADD.accepts(SCENE, more(cell, replace(cross, color="red")), NONE)
    for cell in (6, 8):
        assert not ADD.accepts(SCENE, more(cell, cross), NONE)
        assert not MOVE.accepts(SCENE, more(cell, RED).put(0, None), NONE)
    assert not ADD.accepts(SCENE, more(1, cross, (3, cross)), NONE)
    assert not ADD.accepts(SCENE, more(1, cross, (3, UNREADABLE)), NONE)
    assert ADD.touched(SCENE) == {1, 3, 5, 7}
    assert MOVE.touched(SCENE) == {0, 1, 3, 5, 7}


def test_what_a_rule_frees_is_free_in_every_right_cell() -> None:
    """Fails where a rule about colour makes a right cell wrong."""
    painted = more(5, SceneObject("cross", "blue", "striped"))
    assert ADD.accepts(SCENE, painted, frozenset({"color"}))
    assert not ADD.accepts(SCENE, painted, NONE)


def test_a_place_beside_what_is_not_there_cannot_be_reached() -> None:
    """Fails where an agent that lost the other object is paid for putting something somewhere."""
    gone = SCENE.put(4, None)
    for edit in (ADD, MOVE):
        assert not edit.accepts(gone, gone.put(1, SceneObject("cross", "orange", "striped")), NONE)
        with pytest.raises(ValueError, match="has no free cell"):
            edit.apply(gone)
    assert ADD.touched(gone) == frozenset()
    with pytest.raises(ValueError, match="relation is 'behind', expected one of left, right"):
        Beside("behind", THE_STAR)


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    grid = draw(st.integers(2, 4))
    few = st.sampled_from([RED, BLUE, STAR, SceneObject("star", "red"), SceneObject("circle", "red", "striped")])
    cells = draw(st.lists(st.one_of(st.none(), few), min_size=grid**2, max_size=grid**2))
    return Scene(tuple(cells), "gray")


@st.composite
def edits(draw: st.DrawFn, scene: Scene) -> Edit:
    """An edit with a choice, such as a user may ask for in the scene."""
    if draw(st.booleans()):
        color = draw(st.sampled_from([None, "red"]))
        edit = CountChange(draw(st.integers(1, 4)), draw(st.sampled_from(["circle", "star"])), color)
        wanted = edit.count - len(edit.cells(scene))
        assume(wanted != 0 and wanted <= len(scene.empty()))
        return edit
    assume(scene.occupied())
    anchor = draw(st.sampled_from(scene.occupied()))
    relation = draw(st.sampled_from(sorted(RELATIONS)))
    assume(places(relation, anchor, scene))
    thing = scene.cells[anchor]
    assert thing is not None
    beside = Beside(relation, Target(anchor, thing.shape, placed=True))
    cell = beside.cells(scene)[0]
    mover = draw(st.sampled_from(scene.occupied()))
    moved = scene.cells[mover]
    if mover == anchor or moved is None:
        return SubjectAdd(cell, draw(st.sampled_from(SHAPES)), "green", "plain", beside=beside)
    return PositionChange(Target(mover, moved.shape, placed=True), cell, beside)


@given(st.data())
def test_every_right_result_is_accepted_and_every_mutation_of_one_is_not(data: st.DataObject) -> None:
    """By a list of right results made in another way: accepted, in touched cells alone; all else is not."""
    scene = data.draw(scenes())
    edit = data.draw(edits(scene))
    right = list(islice(right_results(edit, scene), 300))
    assert edit.apply(scene) in right_results(edit, scene)
    assert edit.accepts(scene, edit.apply(scene), NONE)
    result = data.draw(st.sampled_from(right))
    assert edit.accepts(scene, result, NONE)
    changed = {cell for cell in range(len(scene.cells)) if scene.cells[cell] != result.cells[cell]}
    assert changed <= edit.touched(scene)
    cell = data.draw(st.sampled_from(sorted(edit.touched(scene))))
    other = data.draw(st.one_of(st.none(), st.just(UNREADABLE), st.sampled_from(all_objects())))
    mutant = result.put(cell, other)
    assert edit.accepts(scene, mutant, NONE) == (mutant in right_results(edit, scene))


@given(st.data())
def test_choices_survive_json_and_their_intents_are_read(data: st.DataObject) -> None:
    """Fails where a record read back asks for something else, or an intent leads elsewhere than apply."""
    scene = data.draw(scenes())
    edit = data.draw(edits(scene))
    assert edit_from_json(to_json(edit)) == edit
    assert apply_intent(canonical_intent(edit, (), scene.grid), scene, scene.grid) == edit.apply(scene)


def test_the_words_of_counts() -> None:
    """Fails where one object is spoken of as several, or a plural is wrong."""
    words = [CountChange(n, shape).slots({}, 3)["many"] for n, shape in ((1, "cross"), (2, "cross"), (6, "star"))]
    assert words == ["one cross", "two crosses", "six stars"]
    assert CountChange(3, "circle", "red", "dotted").slots({}, 3)["many"] == "three dotted red circles"
