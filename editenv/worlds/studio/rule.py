"""Rules: what each offers, what can be said about those in force, and what is right under them.

A rule is a frozen dataclass of JSON values (and `Target`s) that derives from `Rule`, in a file of its own. It either
demands looks of an edited object (`forbids` is False: `looks` says which) or forbids changes of the picture (`forbids`
is True: `breaks` says which). An instruction whose every right result a rule in force forbids is impossible, and the
right answer is to leave the picture alone.

Order of precedence: the later rule wins over an earlier one that cannot be kept beside it; an exception lasts one
turn; a rule that forbids wins over an instruction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from editenv.worlds.studio.edit import Edit, Looks, MultiEdit
from editenv.worlds.studio.noun_phrases import attribute_of
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.scene import ATTRIBUTES, COLORS, MATERIALS, UNREADABLE, Scene

if TYPE_CHECKING:
    from editenv.worlds.studio.dialogue import Context, DialogueState

_COLOR = 0.6  # chance that a rule about looks is about a colour, else it is about a material


class Statement:
    """Something said about rules: one that is stated, or what becomes of one in force."""

    __slots__ = ()

    family: ClassVar[str]
    act: ClassVar[str]  # the speech act whose sentences state it

    def slots(self, grid: int) -> dict[str, str]:
        """Words for the slots of its sentences; "rule" is the rule's name: "the red rule"."""
        raise NotImplementedError

    def in_force(self, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        """The rules in force once it has been said, in the order they were stated."""
        raise NotImplementedError

    @classmethod
    def sample(cls, state: DialogueState, rng: Rng, allowed: Allowed) -> Statement | None:
        """One that makes sense to say, None where there is none; rules held out of training are not `allowed`."""
        return None

    @classmethod
    def read(cls, slots: Mapping[str, str], context: Context) -> Sequence[Statement]:
        """All that the words in a sentence's slots may state: the way back from `slots`."""
        return []


class Rule(Statement):
    """A rule that stays in force after the turn in which it was stated.

    `edit` is always a single one: edits of several objects are asked about part by part.
    """

    __slots__ = ()

    forbids: ClassVar[bool] = True
    sentences: ClassVar[Mapping[str, Any]] = {}
    """Those that state it, as an entry of phrases.yaml; for rules of other packages."""

    def covers(self, edit: Edit, before: Scene) -> bool:
        """Does the rule ask something of this edit, going by the edit's own words?"""
        return bool(self.looks(edit))

    def looks(self, edit: Edit) -> Looks:
        """Looks that the rule demands of this edit's object, to be named in the intent."""
        return {}

    def breaks(self, edit: Edit, before: Scene, after: Scene) -> bool:
        """Does this turn's change of the picture break the rule? What earlier turns broke does not count again.

        A demand is broken where the edited object is not there to be seen or looks different.
        """
        looks = self.looks(edit)
        cell = edit.edited_cell(before, after) if looks else None
        obj = None if cell is None else after.cells[cell]
        return bool(looks) and (obj is None or any(getattr(obj, name) != value for name, value in looks.items()))

    def overrides(self, earlier: Rule) -> bool:
        """Does stating this rule end an earlier one altogether, because both cannot be kept?"""
        return earlier == self

    def in_force(self, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        """With it last; it ends earlier ones that cannot be kept beside it."""
        return (*(rule for rule in rules if not self.overrides(rule)), self)

    def demands(self, attribute: str, added: str | None) -> str | None:
        """The value it asks for of everything edited, or of added objects of a shape."""
        return None

    def restricts(self, attribute: str) -> bool:
        """Does it forbid some values of an attribute, so that leaving it open asks for memory?"""
        return False

    def is_unclear(self, edit: Edit, state: DialogueState) -> bool:
        """Could one take the rule to cover the edit, or not? Such edits are not asked for."""
        return self.forbids and bool(edit.vague())

    def contradicts(self, edit: Edit, state: DialogueState) -> bool:
        """Would the edit, a simple one, need an exception to this rule?"""
        if self.forbids:
            return state.impossible(edit)
        asked = edit.asked()
        return any(asked[name] not in (None, value) for name, value in self.looks(edit).items())


Allowed = Callable[[Rule], bool]
R = TypeVar("R", bound=Rule)


@dataclass(frozen=True, slots=True)
class Change(Statement):
    """What is said about a rule in force, which has to be named."""

    rule: Rule

    def slots(self, grid: int) -> dict[str, str]:
        """Those of the rule's own sentences, its name among them."""
        return self.rule.slots(grid)


@dataclass(frozen=True, slots=True)
class Except(Change):
    """As in "just this once, make it green": a rule in force does not bind this turn.

    It is sampled along with the edit that it is for. The words do not tell which rule: it is the one that the edit
    breaks.
    """

    family: ClassVar[str] = "exception"
    act: ClassVar[str] = "exception"

    def in_force(self, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        """All of them, since it lasts one turn."""
        return rules

    @classmethod
    def read(cls, slots: Mapping[str, str], context: Context) -> Sequence[Statement]:
        """Any rule in force."""
        return [cls(rule) for rule in context.state.rules]


@dataclass(frozen=True, slots=True)
class Revoke(Change):
    """As in "forget the red rule": a rule in force ends."""

    family: ClassVar[str] = "revoke"
    act: ClassVar[str] = "revoke"

    def in_force(self, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        """Without the rule."""
        return tuple(rule for rule in rules if rule != self.rule)

    @classmethod
    def sample(cls, state: DialogueState, rng: Rng, allowed: Allowed) -> Statement | None:
        """The end of any rule in force."""
        return cls(rng.pick(state.rules)) if state.rules else None

    @classmethod
    def read(cls, slots: Mapping[str, str], context: Context) -> Sequence[Statement]:
        """The rules of that name."""
        return [cls(rule) for rule in context.rules_named(slots["rule"])]


@dataclass(frozen=True, slots=True)
class Replace(Change):
    """As in "in place of the red rule: from now on everything must be blue": `by` follows `rule`."""

    family: ClassVar[str] = "replace"
    act: ClassVar[str] = "replace"

    by: Rule

    def in_force(self, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        """As if the old rule were revoked and the new one stated."""
        return self.by.in_force(Revoke(self.rule).in_force(rules))

    def slots(self, grid: int) -> dict[str, str]:
        """The old rule's name and the new one's value."""
        return self.rule.slots(grid) | {"value": self.by.slots(grid)["value"]}

    @classmethod
    def sample(cls, state: DialogueState, rng: Rng, allowed: Allowed) -> Statement | None:
        """Another value in the place of the one that everything must have."""
        rules: list[Any] = [rule for rule in state.rules if rule.family == "attribute"]
        if not rules:
            return None
        old = rng.pick(rules)
        others = [replace(old, value=value) for value in ATTRIBUTES[old.attribute] if value != old.value]
        others = [rule for rule in others if allowed(rule)]
        return cls(old, rng.pick(others)) if others else None

    @classmethod
    def read(cls, slots: Mapping[str, str], context: Context) -> Sequence[Statement]:
        """A value of the attribute of which the rule of that name speaks."""
        value = slots["value"]
        rules: list[Any] = [rule for rule in context.rules_named(slots["rule"]) if rule.family == "attribute"]
        return [cls(rule, replace(rule, value=value)) for rule in rules if rule.attribute == attribute_of(value)]


def sample_look(rng: Rng) -> tuple[str, str]:
    """An attribute and one of its values."""
    attribute = "color" if rng.chance(_COLOR) else "material"
    return attribute, rng.pick(COLORS if attribute == "color" else MATERIALS)


def sample_new(rule: Callable[[], R], state: DialogueState, allowed: Allowed) -> R:
    """The first rule of those drawn that may be used and is not in force."""
    while not allowed(drawn := rule()) or drawn in state.rules:
        pass
    return drawn


# What is right under the rules in force.


@dataclass(frozen=True, slots=True)
class EditCheck:
    """What a turn's picture made of its instruction."""

    followed: bool  # was the instruction carried out, or the picture left alone where that is right?
    kept: bool | None  # were the rules kept that ask something of this turn? None where none does
    broken: bool  # was any rule in force broken, of those too that ask nothing of this instruction?
    touched: frozenset[int]  # elements (cells, BACKGROUND) that may differ from the picture before
    licensed: frozenset[int]  # elements that may differ from the source picture from now on
    leave_alone: bool  # was it right to change nothing?


def check_edit(
    edit: Edit, rules: tuple[Rule, ...], before: Scene, after: Scene, past: Sequence[Scene] = ()
) -> EditCheck:
    """Checks one turn.

    `rules` are those that bind it. Scenes of the `past`, those of the pictures before `before` in order, decide what
    an undo restores.
    """
    edit = edit.resolved(past)
    # An undo of nothing, which alone licenses nothing, is done by leaving the picture as it is.
    alone = is_impossible(edit, rules, before) or (not edit.licenses and edit.apply(before) == before)
    # A prohibition cannot be seen to be kept where something is unreadable.
    unread = _forbidding(rules) and UNREADABLE in after.cells
    asked = [
        rule.breaks(part, before, after) or (rule.forbids and unread)
        for part in edit.single_edits()
        for rule in _asking(rules, part, before)
        if rule.forbids or not alone
    ]
    fault = any(asked) or _broken(edit, rules, before, after)
    kept = not any(asked) if asked else None
    if alone:
        readable = UNREADABLE not in after.cells and after.background != UNREADABLE.shape
        return EditCheck(readable and after == before, kept, fault, frozenset(), frozenset(), leave_alone=True)
    followed, touched = edit.accepts(before, after, allowed_changes(edit, rules)), edit.touched(before)
    return EditCheck(followed, kept, fault, touched, touched if edit.licenses else frozenset(), leave_alone=False)


def right_result(edit: Edit, rules: tuple[Rule, ...], before: Scene, past: Sequence[Scene] = ()) -> Scene:
    """One right result of an edit under the rules that bind the turn; `before` where it is impossible.

    Later rules have the last word. What the instruction leaves open is chosen so that no rule is broken. The arguments
    are those of `check_edit`.
    """
    edit = edit.resolved(past)
    if not _forbidding(rules):
        return _demanded_result(edit, rules, before)
    return next(_unbroken_results(edit, rules, before), before)


def is_impossible(edit: Edit, rules: tuple[Rule, ...], before: Scene) -> bool:
    """True where the edit itself can be done, but whatever result is right by its words breaks a rule."""
    located = edit.located(before) if _forbidding(rules) else None
    if located is None:
        return False
    try:
        result = _demanded_result(located, rules, before)
    except ValueError:  # Nothing there to be edited, or no room: the fault of earlier turns, not of a rule.
        return False
    if not _broken(located, rules, before, result):
        return False
    followed = located.accepts(before, result, allowed_changes(located, rules))
    return followed and next(_unbroken_results(located, rules, before), None) is None


def demanded_looks(edit: Edit, rules: tuple[Rule, ...]) -> dict[str, str]:
    """The looks that rules demand of a single edit's object, the later rule's where two speak of one."""
    return {name: value for rule in rules for name, value in rule.looks(edit).items() if value}


def allowed_changes(edit: Edit, rules: tuple[Rule, ...]) -> frozenset[str]:
    """Attributes of edited objects that rules in force may change, though the instruction names them not."""
    if not rules:
        return frozenset()
    return frozenset(name for part in edit.single_edits() for name in demanded_looks(part, rules))


def open_looks(edit: Edit, rules: tuple[Rule, ...]) -> tuple[str, ...]:
    """Attributes that the instruction leaves to the agent and no rule demands."""
    names = edit.open_looks()
    fixed = demanded_looks(edit, rules) if names else {}
    return tuple(name for name in names if name not in fixed)


def choose_open(edit: Edit, rules: tuple[Rule, ...], before: Scene) -> Edit:
    """The edit with what it leaves open of looks said as in `right_result`; itself where nothing is open."""
    names = open_looks(edit, rules)
    result = right_result(edit, rules, before) if names else before
    cell = edit.edited_cell(before, result) if names else None
    obj = None if cell is None else result.cells[cell]
    return edit if obj is None else edit.choosing({name: getattr(obj, name) for name in names})


def _forbidding(rules: tuple[Rule, ...]) -> bool:
    return bool(rules) and any(rule.forbids for rule in rules)


def _broken(edit: Edit, rules: tuple[Rule, ...], before: Scene, after: Scene) -> bool:
    """Does a change of the picture break a rule that forbids?"""
    return any(rule.forbids and rule.breaks(edit, before, after) for rule in rules)


def _asking(rules: tuple[Rule, ...], edit: Edit, before: Scene) -> list[Rule]:
    """Rules that ask something of the edit, less those that a later one of these contradicts."""
    asking = [rule for rule in rules if rule.covers(edit, before)]
    if len(asking) < 2:
        return asking
    return [
        rule
        for number, rule in enumerate(asking)
        if not any(set(rule.looks(edit)) & set(later.looks(edit)) for later in asking[number + 1 :])
    ]


def _demanded_result(edit: Edit, rules: tuple[Rule, ...], before: Scene) -> Scene:
    """The edit's result with every demanded look."""
    result = before
    for part in edit.single_edits():
        start, result = result, part.apply(result)
        cell = part.edited_cell(start, result)
        looks = demanded_looks(part, rules)
        obj = None if cell is None else result.cells[cell]
        if looks and cell is not None and obj is not None:
            result = result.put(cell, obj.with_looks(looks))
    return result


def _unbroken_results(edit: Edit, rules: tuple[Rule, ...], before: Scene) -> Iterator[Scene]:
    """Right results that break no rule, of those that differ in what the instruction leaves open."""
    for one in _said_in_full(edit, rules, before):
        result = _demanded_result(one, rules, before)
        if not _broken(edit, rules, before, result):
            yield result
    yield from edit.other_results(before, lambda result: _broken(edit, rules, before, result))


def _said_in_full(edit: Edit, rules: tuple[Rule, ...], before: Scene) -> Iterator[Edit]:
    """The edit as it is, and with the looks and the place that it leaves open said in every way there is."""
    parts = edit.single_edits()
    if parts != (edit,):
        for chosen in product(*(tuple(_said_in_full(part, rules, before)) for part in parts)):
            yield MultiEdit(chosen)
        return
    for placed in edit.placements(before):
        yield placed
        names = open_looks(placed, rules)
        for values in product(*(placed.choices(name, before) for name in names)) if names else ():
            yield placed.choosing(dict(zip(names, values, strict=True)))
