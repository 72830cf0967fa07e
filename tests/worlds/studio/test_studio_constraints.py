"""Every family of rules on a scene made by hand: kept, broken, excepted, in conflict, impossible."""

import pytest

from editenv.worlds.studio.dialogue import DialogueState
from editenv.worlds.studio.edit import Edit, MultiEdit, to_json
from editenv.worlds.studio.noun_phrases import Target
from editenv.worlds.studio.rule import (
    Except,
    Replace,
    Revoke,
    Rule,
    Statement,
    check_edit,
    is_impossible,
    right_result,
)
from editenv.worlds.studio.rules import (
    CHANGES,
    RULES,
    AttributeRule,
    AvoidLook,
    KeepEmpty,
    LimitAlike,
    LimitCount,
    Protect,
    ScopedRule,
    statement_from_json,
)
from editenv.worlds.studio.scene import UNREADABLE, Scene, SceneObject
from editenv.worlds.studio.tasks import (
    BackgroundChange,
    ColorAlter,
    MaterialAlter,
    PositionChange,
    SubjectAdd,
    SubjectRemove,
    SubjectReplace,
    Undo,
)

STAR, CIRCLE, SQUARE = (
    SceneObject("star", "red"),
    SceneObject("circle", "blue", "dotted"),
    SceneObject("square", "green"),
)
SCENE = Scene((None, STAR, None, None, CIRCLE, None, None, None, SQUARE), "white")
"""Three by three: a red star above a dotted blue circle, a green square in the lower right corner."""

THE_STAR, THE_CIRCLE, THE_SQUARE = Target(1, "star"), Target(4, "circle"), Target(8, "square")
RED, GREEN = AttributeRule("color", "red"), AttributeRule("color", "green")
STRIPED_SQUARES = ScopedRule("square", "material", "striped")
NO_BLUE, KEEP_STAR = AvoidLook("color", "blue"), Protect(THE_STAR)
CORNERS, TOP = KeepEmpty("corners"), KeepEmpty("top row")
THREE, ONE_OF_A_COLOR = LimitCount(3), LimitAlike("color")


def kept(rule: Rule, edit: Edit, after: Scene, before: Scene = SCENE) -> bool | None:
    return check_edit(edit, (rule,), before, after).kept


# Each rule with an edit that it asks something of and that can be done, a right result, and a wrong one.
KEPT: list[tuple[Rule, Edit, Scene, Scene]] = [
    (
        RED,
        SubjectAdd(0, "cross"),
        SCENE.put(0, SceneObject("cross", "red")),
        SCENE.put(0, SceneObject("cross", "blue")),
    ),
    (
        STRIPED_SQUARES,
        SubjectAdd(0, "square", "red"),
        SCENE.put(0, SceneObject("square", "red", "striped")),
        SCENE.put(0, SceneObject("square", "red", "plain")),
    ),
    (
        NO_BLUE,
        SubjectAdd(0, "cross", None, "plain"),
        SCENE.put(0, SceneObject("cross", "red")),
        SCENE.put(0, SceneObject("cross", "blue")),
    ),
    (
        ONE_OF_A_COLOR,
        ColorAlter(THE_STAR),
        SCENE.put(1, SceneObject("star", "yellow")),
        SCENE.put(1, SceneObject("star", "green")),
    ),
]

# Each rule with instructions that it makes impossible.
IMPOSSIBLE: list[tuple[Rule, Edit]] = [
    (KEEP_STAR, SubjectRemove(THE_STAR)),
    (KEEP_STAR, ColorAlter(THE_STAR, "green")),
    (KEEP_STAR, PositionChange(THE_STAR, 0)),
    (KEEP_STAR, SubjectReplace(THE_STAR, "cross", "red", "plain")),
    (NO_BLUE, SubjectAdd(0, "cross", "blue", "plain")),
    (NO_BLUE, ColorAlter(THE_STAR, "blue")),
    (NO_BLUE, SubjectReplace(THE_CIRCLE, "cross", "blue", "plain")),
    (CORNERS, SubjectAdd(0, "cross", "red", "plain")),
    (CORNERS, PositionChange(THE_CIRCLE, 6)),
    (THREE, SubjectAdd(0, "cross", "red", "plain")),
    (ONE_OF_A_COLOR, SubjectAdd(0, "cross", "red", "plain")),
    (ONE_OF_A_COLOR, ColorAlter(THE_STAR, "blue")),
    (LimitAlike("shape"), SubjectReplace(THE_STAR, "circle", "red", "plain")),
]

# Each forbidding rule with instructions that it has nothing against.
POSSIBLE: list[tuple[Rule, Edit]] = [
    (KEEP_STAR, SubjectRemove(THE_CIRCLE)),
    (KEEP_STAR, BackgroundChange("black")),
    (NO_BLUE, SubjectRemove(THE_CIRCLE)),
    (NO_BLUE, PositionChange(THE_CIRCLE, 0)),
    (NO_BLUE, MaterialAlter(THE_CIRCLE, "plain")),
    (CORNERS, SubjectAdd(3, "cross", "red", "plain")),
    (CORNERS, ColorAlter(THE_SQUARE, "red")),
    (THREE, SubjectReplace(THE_STAR, "cross", "red", "plain")),
    (LimitCount(4), SubjectAdd(0, "cross", "red", "plain")),
    (LimitCount(2), ColorAlter(THE_STAR, "green")),
    (ONE_OF_A_COLOR, SubjectAdd(0, "cross", "yellow", "plain")),
]


@pytest.mark.parametrize(("rule", "edit", "right", "wrong"), KEPT)
def test_kept_and_broken(rule: Rule, edit: Edit, right: Scene, wrong: Scene) -> None:
    """Fails where a broken rule is not seen, or where it lowers IF, which judges the edit alone."""
    good, bad = check_edit(edit, (rule,), SCENE, right), check_edit(edit, (rule,), SCENE, wrong)
    assert (good.followed, good.kept, good.broken, good.leave_alone) == (True, True, False, False)
    assert (bad.followed, bad.kept, bad.broken) == (True, False, True)
    free = right_result(edit, (rule,), SCENE)
    assert check_edit(edit, (rule,), SCENE, free).kept is True


@pytest.mark.parametrize(("rule", "edit"), IMPOSSIBLE)
def test_what_a_rule_forbids_is_left_alone(rule: Rule, edit: Edit) -> None:
    """Fails where a forbidden instruction pays, or where leaving it alone costs one."""
    assert right_result(edit, (rule,), SCENE) == SCENE
    alone = check_edit(edit, (rule,), SCENE, SCENE)
    assert (alone.followed, alone.kept, alone.broken, alone.leave_alone) == (True, True, False, True)
    assert alone.touched == alone.licensed == frozenset()
    done = check_edit(edit, (rule,), SCENE, edit.apply(SCENE))
    assert (done.followed, done.kept, done.broken, done.leave_alone) == (False, False, True, True)
    other = check_edit(edit, (rule,), SCENE, SCENE.put(3, SceneObject("cross", "orange")))
    assert not other.followed
    unread = check_edit(edit, (rule,), SCENE.put(7, UNREADABLE), SCENE.put(7, UNREADABLE))
    assert not unread.followed


@pytest.mark.parametrize(("rule", "edit"), IMPOSSIBLE)
def test_an_exception_lasts_one_turn(rule: Rule, edit: Edit) -> None:
    """Fails where "just this once" ends the rule, or does not lift it."""
    state = DialogueState(SCENE, 3, (rule,)).stating(Except(rule))
    assert (state.rules, lifted := state.bound) == ((rule,), ())
    assert right_result(edit, lifted, SCENE) == edit.apply(SCENE)
    assert check_edit(edit, lifted, SCENE, edit.apply(SCENE)).followed
    assert state.after(edit).bound == (rule,)
    assert is_impossible(edit, (rule,), SCENE)


@pytest.mark.parametrize(("rule", "edit"), IMPOSSIBLE)
def test_a_revoked_rule_is_over(rule: Rule, edit: Edit) -> None:
    """Fails where a rule outlives its end."""
    assert Revoke(rule).in_force((rule, RED)) == (RED,)


@pytest.mark.parametrize(("rule", "edit"), POSSIBLE)
def test_what_a_rule_does_not_speak_of_is_done(rule: Rule, edit: Edit) -> None:
    """Fails where a rule stops more than it says."""
    assert not is_impossible(edit, (rule,), SCENE)
    assert right_result(edit, (rule,), SCENE) == edit.apply(SCENE)
    verdict = check_edit(edit, (rule,), SCENE, edit.apply(SCENE))
    assert verdict.followed and not verdict.broken and not verdict.leave_alone
    assert verdict.kept in (None, True)


def test_every_forbidding_family_has_cases() -> None:
    """Fails where a family is added without a case of each kind."""
    forbidding = {name for name, kind in RULES.items() if kind.forbids}
    assert {rule.family for rule, _ in IMPOSSIBLE} == forbidding
    assert {rule.family for rule, _ in POSSIBLE} == forbidding
    assert {name for name, kind in RULES.items() if not kind.forbids} <= {rule.family for rule, *_ in KEPT}


def test_damage_that_nobody_asked_for_breaks_a_prohibition() -> None:
    """A protected object lost along the way breaks the rule, which asked nothing of this instruction."""
    edit = ColorAlter(THE_CIRCLE, "green")
    verdict = check_edit(edit, (KEEP_STAR,), SCENE, edit.apply(SCENE).put(1, None))
    assert (verdict.followed, verdict.kept, verdict.broken) == (True, None, True)
    # What was lost in an earlier turn is not held against this one.
    gone = SCENE.put(1, None)
    assert not check_edit(edit, (KEEP_STAR,), gone, edit.apply(gone)).broken


def test_an_edit_of_what_is_gone_is_not_called_impossible() -> None:
    """Fails where an agent that lost an object is excused by a rule about it."""
    verdict = check_edit(SubjectRemove(THE_STAR), (KEEP_STAR,), SCENE.put(1, None), SCENE.put(1, None))
    assert (verdict.followed, verdict.leave_alone) == (False, False)


def test_an_open_look_takes_what_no_rule_forbids() -> None:
    """Three forbidden colours leave three; the first of them, which is not the old one, is taken."""
    rules = (AvoidLook("color", "green"), NO_BLUE)
    assert right_result(ColorAlter(THE_STAR), rules, SCENE).cells[1] == SceneObject("star", "yellow")
    every = tuple(AvoidLook("color", c) for c in ("green", "blue", "yellow", "purple", "orange"))
    assert right_result(ColorAlter(THE_STAR), every, SCENE) == SCENE
    assert is_impossible(ColorAlter(THE_STAR), every, SCENE)


@pytest.mark.parametrize(
    ("rules", "statement", "left"),
    [
        ((RED,), GREEN, (GREEN,)),
        ((RED,), AttributeRule("material", "dotted"), (RED, AttributeRule("material", "dotted"))),
        ((STRIPED_SQUARES,), AttributeRule("material", "dotted"), (AttributeRule("material", "dotted"),)),
        ((RED,), ScopedRule("square", "color", "blue"), (RED, ScopedRule("square", "color", "blue"))),
        ((RED,), AvoidLook("color", "red"), (AvoidLook("color", "red"),)),
        ((AvoidLook("color", "red"), KEEP_STAR), RED, (KEEP_STAR, RED)),
        ((LimitCount(4),), LimitCount(5), (LimitCount(5),)),
        ((RED, KEEP_STAR), Replace(RED, AttributeRule("color", "blue")), (KEEP_STAR, AttributeRule("color", "blue"))),
        ((RED, KEEP_STAR), Revoke(RED), (KEEP_STAR,)),
        ((RED,), Except(RED), (RED,)),
    ],
)
def test_the_later_rule_wins(rules: tuple[Rule, ...], statement: Statement, left: tuple[Rule, ...]) -> None:
    """Fails where two rules stay in force that cannot both be kept, or where more than those end."""
    assert statement.in_force(rules) == left


def test_a_later_rule_with_a_scope_wins_inside_it() -> None:
    """Everything red, but squares blue: a square is blue and breaks nothing, a cross is red."""
    rules = (RED, ScopedRule("square", "color", "blue"))
    square, cross = SubjectAdd(0, "square", material="plain"), SubjectAdd(0, "cross", material="plain")
    assert right_result(square, rules, SCENE).cells[0] == SceneObject("square", "blue")
    assert check_edit(square, rules, SCENE, SCENE.put(0, SceneObject("square", "blue"))).kept is True
    assert check_edit(square, rules, SCENE, SCENE.put(0, SceneObject("square", "red"))).kept is False
    assert right_result(cross, rules, SCENE).cells[0] == SceneObject("cross", "red")


def test_a_scope_covers_additions_of_its_shape_alone() -> None:
    """Fails where a rule about added squares reaches for other shapes or for squares that are there."""
    for edit in (SubjectAdd(0, "cross"), ColorAlter(THE_SQUARE, "red"), PositionChange(THE_SQUARE, 0)):
        assert kept(STRIPED_SQUARES, edit, edit.apply(SCENE)) is None
        assert right_result(edit, (STRIPED_SQUARES,), SCENE) == edit.apply(SCENE)


def test_rules_cover_each_of_several_objects() -> None:
    """Fails where the first of several edited objects decides."""
    edit = MultiEdit((MaterialAlter(THE_STAR, "striped"), MaterialAlter(THE_SQUARE, "striped")))
    right = SCENE.put(1, SceneObject("star", "red", "striped")).put(8, SceneObject("square", "red", "striped"))
    assert right_result(edit, (RED,), SCENE) == right
    assert check_edit(edit, (RED,), SCENE, right).kept is True
    half = right.put(8, SceneObject("square", "green", "striped"))
    verdict = check_edit(edit, (RED,), SCENE, half)
    assert (verdict.followed, verdict.kept) == (True, False)
    assert verdict.touched == frozenset({1, 8})
    assert not check_edit(edit, (), SCENE, MaterialAlter(THE_STAR, "striped").apply(SCENE)).followed


UNDO = Undo(SubjectAdd(1, "star", "red", "plain"))


def test_undo_brings_back_what_was_shown() -> None:
    """A right removal is undone; so is a wrong one that took the square too, as it was shown."""
    removed = SCENE.put(1, None)
    verdict = check_edit(UNDO, (), removed, SCENE, [SCENE])
    assert verdict.followed and verdict.touched == frozenset({1}) and verdict.licensed == frozenset()
    assert right_result(UNDO, (), removed, [SCENE]) == SCENE
    clumsy = removed.put(8, None)
    assert right_result(UNDO, (), clumsy, [SCENE]) == SCENE
    assert not check_edit(UNDO, (), clumsy, clumsy.put(1, STAR), [SCENE]).followed
    # The picture before was wrong itself: that is what was shown, and that is what comes back.
    strayed = SCENE.put(4, None).put(5, CIRCLE)
    assert right_result(UNDO, (), strayed.put(1, None), [SCENE, strayed]) == strayed
    assert check_edit(UNDO, (), strayed.put(1, None), strayed, [SCENE, strayed]).followed
    # What else changes is left to consistency, as with every edit.
    assert check_edit(UNDO, (), removed, SCENE.put(0, STAR), [SCENE]).followed
    assert not check_edit(UNDO, (), removed, SCENE.put(1, UNREADABLE), [SCENE]).followed


def test_nothing_to_undo_is_left_alone() -> None:
    """An agent that did not edit has nothing to undo: IF 1 for doing nothing, marked as such."""
    verdict = check_edit(UNDO, (), SCENE, SCENE, [SCENE])
    assert (verdict.followed, verdict.leave_alone, verdict.kept) == (True, True, None)
    assert not check_edit(UNDO, (), SCENE, SCENE.put(0, STAR), [SCENE]).followed


def test_undo_is_exempt_from_demands_and_subject_to_prohibitions() -> None:
    """An old colour comes back under a rule about colours; a fourth object does not under a limit."""
    recoloured = SCENE.put(1, SceneObject("star", "green"))
    verdict = check_edit(Undo(ColorAlter(THE_STAR, "red")), (GREEN,), recoloured, SCENE, [SCENE])
    assert (verdict.followed, verdict.kept, verdict.broken) == (True, None, False)
    assert right_result(UNDO, (LimitCount(2),), SCENE.put(1, None), [SCENE]) == SCENE.put(1, None)


@pytest.mark.parametrize("rule", list({rule.family: rule for rule, *_ in (*KEPT, *IMPOSSIBLE)}.values()))
def test_rules_and_changes_survive_json(rule: Rule) -> None:
    """Fails where a record read back holds another rule."""
    assert statement_from_json(to_json(rule, sparse=False)) == rule
    for change in (Except(rule), Revoke(rule), Replace(rule, GREEN)):
        assert statement_from_json(to_json(change, sparse=False), CHANGES) == change


def test_unknown_families_are_named() -> None:
    """Fails where a misspelt family is read all the same."""
    with pytest.raises(ValueError, match="family is 'wish', expected one of"):
        statement_from_json({"family": "wish"})
    with pytest.raises(ValueError, match="family is 'forgive', expected one of"):
        statement_from_json({"family": "forgive"}, CHANGES)
    with pytest.raises(ValueError, match="protect has the fields"):
        statement_from_json({"family": "protect", "object": 1})
    assert set(CHANGES) == {"exception", "revoke", "replace"}
