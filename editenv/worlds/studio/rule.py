"""What every rule offers, and what a user says about rules in force.

A rule is a frozen dataclass of JSON values (and `Target`s) that derives from `Rule`, in a file of its own. It
either demands looks of an edited object (`forbids` is False: `looks` says which) or forbids changes of the
picture (`forbids` is True: `breaks` says which). An instruction whose every right result a rule in force
forbids is impossible, and the right answer is to leave the picture alone.

Order of precedence: the later rule wins over an earlier one that cannot be kept beside it; an exception lasts
one turn; a rule that forbids wins over an instruction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from editenv.worlds.studio.edit import Edit, Looks
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.scene import COLORS, MATERIALS, Scene

if TYPE_CHECKING:
    from editenv.worlds.studio.dialogue import DialogueState
    from editenv.worlds.studio.nlu import Context

_COLOR = 0.6
"""Chance that a rule about looks is about a colour, else it is about a material."""


class Rule:
    """A rule that stays in force after the turn in which it was stated.

    `edit` is always a single one: edits of several objects are asked about part by part.
    """

    __slots__ = ()

    family: ClassVar[str]
    act: ClassVar[str]
    """The speech act whose sentences state it."""
    forbids: ClassVar[bool] = True
    sentences: ClassVar[Mapping[str, Any]] = {}
    """Those that state it, as an entry of phrases.yaml; for rules of other packages."""

    # What is right.

    def covers(self, edit: Edit, before: Scene) -> bool:
        """Does the rule ask something of this edit, going by the edit's own words?"""
        raise NotImplementedError

    def looks(self, edit: Edit) -> Looks:
        """Looks that the rule demands of this edit's object, to be named in the intent."""
        return {}

    def breaks(self, edit: Edit, before: Scene, after: Scene) -> bool:
        """Does this turn's change of the picture break the rule?

        What was broken in earlier turns does not count again.
        """
        raise NotImplementedError

    def overrides(self, earlier: Rule) -> bool:
        """Does stating this rule end an earlier one altogether, because both cannot be kept?"""
        return earlier == self

    # What is said.

    def slots(self, grid: int) -> dict[str, str]:
        """Words for the slots of its sentences; "rule" is its name: "the red rule"."""
        raise NotImplementedError

    # How sessions use it.

    @classmethod
    def sample(cls, state: DialogueState, rng: Rng, allowed: Callable[[Rule], bool]) -> Rule | None:
        """A rule that makes sense to state, None where there is none.

        Args:
            state: where the session stands.
            rng: choices.
            allowed: whether a rule may be used; what is held out of training may not.
        """
        return None

    @classmethod
    def read(cls, slots: Mapping[str, str], context: Context) -> Sequence[Statement]:
        """The rules that the words in a sentence's slots may state; for rules of other packages (nlu.py)."""
        return []

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


@dataclass(frozen=True, slots=True)
class Except:
    """As in "just this once, make it green": a rule in force does not bind this turn."""

    family: ClassVar[str] = "exception"

    rule: Rule


@dataclass(frozen=True, slots=True)
class Revoke:
    """As in "forget the red rule": a rule in force ends."""

    family: ClassVar[str] = "revoke"

    rule: Rule


@dataclass(frozen=True, slots=True)
class Replace:
    """As in "in place of the red rule: from now on everything must be blue": `by` follows `rule`."""

    family: ClassVar[str] = "replace"

    rule: Rule
    by: Rule


Change = Except | Revoke | Replace
Statement = Rule | Change


def in_force(rules: tuple[Rule, ...], statement: Statement) -> tuple[Rule, ...]:
    """The rules in force once something has been said about them, in the order they were stated.

    The later rule wins: it ends earlier ones that cannot be kept beside it (`Rule.overrides`). An exception
    leaves the list as it is, since it lasts one turn (`binding`).
    """
    if isinstance(statement, Except):
        return rules
    if isinstance(statement, Revoke):
        return tuple(rule for rule in rules if rule != statement.rule)
    if isinstance(statement, Replace):
        return in_force(in_force(rules, Revoke(statement.rule)), statement.by)
    return (*(rule for rule in rules if not statement.overrides(rule)), statement)


def binding(rules: tuple[Rule, ...], statements: tuple[Statement, ...]) -> tuple[Rule, ...]:
    """Of the rules in force, those that bind the turn in which the statements were made."""
    excepted = [statement.rule for statement in statements if isinstance(statement, Except)]
    return tuple(rule for rule in rules if rule not in excepted)


def sample_look(rng: Rng) -> tuple[str, str]:
    """An attribute and one of its values."""
    attribute = "color" if rng.chance(_COLOR) else "material"
    return attribute, rng.pick(COLORS if attribute == "color" else MATERIALS)


def lacks_looks(looks: Looks, edit: Edit, before: Scene, after: Scene) -> bool:
    """True where the edited object is not there to be seen or looks different."""
    cell = edit.edited_cell(before, after)
    obj = None if cell is None else after.cells[cell]
    return obj is None or any(getattr(obj, name) != value for name, value in looks.items())
