"""Every way of pointing, on a scene made by hand, and in sessions; what the text alone resolves."""

from functools import partial

import pytest

from editenv.worlds.studio.dialogue import POINTING, REFERENCES, DialogueState, Request, plain_target, pointing_slots
from editenv.worlds.studio.edit import MultiEdit
from editenv.worlds.studio.language import realize
from editenv.worlds.studio.noun_phrases import Target
from editenv.worlds.studio.phrases import LEAVE_ALONE, all_phrasings
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.rule import Except, Replace, Revoke
from editenv.worlds.studio.rules import AttributeRule, Protect
from editenv.worlds.studio.scene import Scene, SceneObject
from editenv.worlds.studio.tasks import ColorAlter, PositionChange, SubjectAdd, SubjectRemove, Undo
from editenv.worlds.studio.tasks.undo import inverse_edit
from editenv.worlds.studio.world import StudioWorld

STAR, CIRCLE, SQUARE = (
    SceneObject("star", "red"),
    SceneObject("circle", "blue", "dotted"),
    SceneObject("square", "green"),
)
OTHER = SceneObject("circle", "red")
SCENE = Scene((None, STAR, CIRCLE, None, OTHER, None, None, None, SQUARE), "white")
"""Top row: nothing, red star, dotted blue circle; middle: nothing, red circle; below right: green square."""

HERE = DialogueState(SCENE, 3)
WORDING = partial(all_phrasings, split="train")


def points(reference: str, situation: DialogueState = HERE) -> dict[str, int]:
    """What each wording of a reference points at: its slots' values joined, and the cell."""
    return {" ".join(slots.values()): cell for cell, slots in REFERENCES[reference](situation)}


def test_by_place_in_a_row() -> None:
    """The bottom row holds one object, of which nobody is the second."""
    assert points("nth_in_row") == {
        "first left the top row": 1,
        "second left the top row": 2,
        "first right the top row": 2,
        "second right the top row": 1,
    }


def test_by_another_object() -> None:
    """One object alone in a direction, at any distance: to the right of the star, above the square."""
    assert points("beside") == {
        "to the right of the star": 2,
        "below the star": 4,
        "to the left of the blue circle": 1,
        "below the blue circle": 8,
        "above the red circle": 1,
        "above the square": 2,
    }


def test_by_the_farthest_of_a_shape() -> None:
    """Of the two circles; the single star is not the leftmost of anything."""
    assert points("extreme") == {"leftmost circle": 4, "rightmost circle": 2, "topmost circle": 2, "lowest circle": 4}


def test_by_the_corner() -> None:
    """Two corners are filled, so nobody can say "the corner"; with one of them empty, one can."""
    assert points("corner") == {}
    assert points("corner", DialogueState(SCENE.put(2, None), 3)) == {"": 8}


def test_by_when_it_was_added() -> None:
    """A star, another star and a cross; moving keeps the order, removing ends it."""
    start = DialogueState(Scene((None,) * 9, "white"), 3)
    first = start.after(SubjectAdd(0, "star", "red", "plain"))
    assert points("added", first) == {"star": 0}
    both = first.after(SubjectAdd(4, "star", "blue", "plain")).after(SubjectAdd(8, "cross", "red", "plain"))
    assert points("added", both) == {"cross": 8}
    assert points("nth_added", both) == {"first star": 0, "second star": 4}
    moved = both.after(PositionChange(Target(0, "star", "red"), 1))
    assert points("nth_added", moved) == {"first star": 1, "second star": 4}
    gone = moved.after(SubjectRemove(Target(4, "star", "blue")))
    assert points("nth_added", gone) == {}
    assert points("added", gone) == {"cross": 8}
    undone = gone.after(Undo(SubjectAdd(4, "star", "blue", "plain")))
    assert points("nth_added", undone) == points("added", undone) == {}


def test_them() -> None:
    """Objects added one after the other, or named together; one addition is not "them"."""
    start = DialogueState(SCENE, 3)
    one = start.after(SubjectAdd(0, "cross", "green", "plain"))
    two = one.after(SubjectAdd(6, "triangle", "blue", "plain"))
    assert one.group == ()
    assert [target.cell for target in two.group] == [0, 6]
    named = start.after(MultiEdit((ColorAlter(Target(1, "star"), "blue"), ColorAlter(Target(8, "square"), "red"))))
    assert [(t.cell, t.color) for t in named.group] == [(1, "blue"), (8, "red")]
    assert named.after(SubjectRemove(Target(4, "circle", "red"))).group == ()


def test_what_was_left_to_the_agent_is_not_pointed_at() -> None:
    """Fails where a reference relies on a look or a place that the agent chose."""
    loose = HERE.after(ColorAlter(Target(1, "star")))
    for reference in ("nth_in_row", "beside", "extreme", "corner"):
        assert points(reference, loose) == {}


def test_the_text_alone_resolves_some() -> None:
    """Fails where the field that tells both kinds apart is wrong or missing."""
    seen = {"nth_in_row", "beside", "extreme", "corner"}
    assert seen == {"nth_in_row", "beside", "extreme", "corner"}
    assert set(POINTING) == seen | {"added", "nth_added"}


def test_speaking_by_hand() -> None:
    """A reference in the text, the object in full in the intent; a rule stated, lifted, ended, replaced."""
    target = plain_target(HERE, 4)
    assert target == Target(4, "circle", "red")
    turn = realize(HERE, Request(SubjectRemove(target), "extreme"), Rng((1,)), WORDING)
    assert "circle" in turn.text and "leftmost" in turn.text
    assert (turn.intent, turn.reference, turn.rules) == ("remove the red circle", "extreme", ())
    red, guard = AttributeRule("color", "red"), Protect(Target(1, "star"))
    move = Request(PositionChange(Target(8, "square"), 7))
    ruled = realize(HERE, move, Rng((2,)), WORDING, [red])
    assert ruled.rules == (red,) and ruled.changes == ()
    assert ruled.intent == "move the square to row 3 column 2 and make it red"
    under = HERE.stating(red, guard)
    for change, rules, intent in (
        (Except(red), (guard,), "move the square to row 3 column 2"),
        (Revoke(red), (guard,), "move the square to row 3 column 2"),
        (
            Replace(red, AttributeRule("color", "blue")),
            (guard, AttributeRule("color", "blue")),
            "move the square to row 3 column 2 and make it blue",
        ),
    ):
        said = realize(under, move, Rng((3,)), WORDING, [change])
        assert (said.rules, said.changes, said.intent) == (rules, (change,), intent)
    assert under.stating(Except(red)).after(move.edit).bound == (red, guard)
    assert under.stating(Revoke(red)).after(move.edit).bound == (guard,)
    forbidden = realize(under, Request(SubjectRemove(Target(1, "star"))), Rng((4,)), WORDING)
    assert forbidden.intent == LEAVE_ALONE
    with pytest.raises(ValueError, match="corner cannot point at cell 4"):
        realize(HERE, Request(SubjectRemove(target), "corner"), Rng((5,)), WORDING)
    with pytest.raises(ValueError, match="needs an object to point at"):
        realize(HERE, Request(SubjectAdd(0, "star"), "corner"), Rng((5,)), WORDING)


@pytest.mark.parametrize(
    ("edit", "instead"),
    [
        (SubjectAdd(0, "cross", "green", "plain"), SubjectRemove(Target(0, "cross"))),
        (SubjectRemove(Target(2, "circle", "blue")), SubjectAdd(2, "circle", "blue", "dotted")),
        (ColorAlter(Target(1, "star"), "blue"), ColorAlter(Target(1, "star"), "red")),
        (PositionChange(Target(8, "square"), 6), PositionChange(Target(6, "square"), 8)),
    ],
)
def test_the_inverse_of_an_edit(edit: object, instead: object) -> None:
    """Fails where the sentence that says what an undo means leads to another scene."""
    after = HERE.after(edit)  # type: ignore[arg-type]
    assert inverse_edit(after) == instead
    proposal = Undo.sample(after, Rng((6,)), True)
    assert proposal is not None and proposal.edit == Undo(instead)  # type: ignore[arg-type]
    undone = after.after(proposal.edit)
    assert undone.scene == SCENE
    assert Undo.sample(undone, Rng((7,)), True) is None  # an undo of an undo could mean two things


def test_long_sessions_use_every_reference() -> None:
    """Fails where a way of pointing is named by a suite and never said, or points at two things."""
    world = StudioWorld("long-16")
    used = set()
    for index in range(150):
        spec = world.session("train", 9, index)
        situation = DialogueState(spec.scene, 4)
        for turn in spec.turns:
            used.add(turn.reference)
            if turn.reference in POINTING:
                cell = turn.edit.target.cell  # type: ignore[attr-defined]
                words = pointing_slots(turn.reference, situation, cell)
                same = [c for c, slots in REFERENCES[turn.reference](situation) if slots == words]
                assert set(same) == {cell}
            before = {rule for rule in situation.rules}
            new = [rule for rule in turn.rules if rule not in before]
            replaced = [c.by for c in turn.changes if isinstance(c, Replace)]
            situation = situation.stating(*turn.changes, *(r for r in new if r not in replaced))
            assert situation.bound == turn.rules
            situation = situation.after(turn.edit)
    assert used == {None, *REFERENCES}
