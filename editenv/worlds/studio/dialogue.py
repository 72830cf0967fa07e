"""Where a session stands: the scene, the rules in force, and what later turns can speak of."""

from __future__ import annotations

from dataclasses import dataclass, replace

from editenv.worlds.studio.checking import demanded_looks, is_impossible, open_looks, right_result
from editenv.worlds.studio.edit import Added, Edit
from editenv.worlds.studio.noun_phrases import Target
from editenv.worlds.studio.rule import Except, Rule, Statement, in_force
from editenv.worlds.studio.scene import Scene


@dataclass(frozen=True, slots=True)
class Request:
    """One possible instruction.

    Attributes:
        edit: what is meant.
        act: the speech act whose sentences say it.
        reference: how it points back, None where it names its object itself.
    """

    edit: Edit
    act: str
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class DialogueState:
    """Where a session stands if every edit so far was right, and what the text alone tells about it.

    Attributes:
        scene: what the picture should show.
        grid: cells a side.
        rules: rules in force, in the order they were stated.
        last: the previous turn's edit.
        focus: the object last edited, as far as the text tells its looks; None where there is none.
        stated: cells named in the text, where objects were put.
        vacated: a cell named in the text that the previous turn emptied.
        loose: cells whose content some right result left to the agent; no later turn may rely on them.
        vague: descriptions of objects of which the same is true.
        excepted: rules in force that do not bind the coming turn.
        previous: the scene before the last edit; None where there is nothing to undo.
        added: shape and cell of every object that was added, in order; the cell is None where it is gone.
        group: what the last turns put or changed that "them" would mean; two or more, or none.
        pointing: further ways to point at objects (keys of REFERENCES) that may be used.
    """

    scene: Scene
    grid: int
    rules: tuple[Rule, ...] = ()
    last: Edit | None = None
    focus: Target | None = None
    stated: frozenset[int] = frozenset()
    vacated: int | None = None
    loose: frozenset[int] = frozenset()
    vague: tuple[Target, ...] = ()
    excepted: tuple[Rule, ...] = ()
    previous: Scene | None = None
    added: Added = ()
    group: tuple[Target, ...] = ()
    pointing: tuple[str, ...] = ()

    @property
    def bound(self) -> tuple[Rule, ...]:
        """The rules that bind the coming turn."""
        return tuple(r for r in self.rules if r not in self.excepted) if self.excepted else self.rules

    def stating(self, *statements: Statement) -> DialogueState:
        """The state once something has been said about rules."""
        if not statements:
            return self
        rules = self.rules
        for statement in statements:
            rules = in_force(rules, statement)
        excepted = tuple(statement.rule for statement in statements if isinstance(statement, Except))
        return replace(self, rules=rules, excepted=(*self.excepted, *excepted))

    def after(self, edit: Edit) -> DialogueState:
        """The state once an edit has been carried out, or left alone where it is impossible."""
        if self.impossible(edit):
            return replace(self, last=None, focus=None, vacated=None, excepted=(), previous=None, group=())
        rules, before, stated = self.bound, self.scene, self.stated
        focus, filled, added = self._focus_after(edit), edit.filled_cell(), self.added
        for part in edit.single_edits():
            added = part.added_after(before, added)
        vague = (*self.vague, *edit.vague())
        if focus is not None and open_looks(edit, rules):
            vague = (*vague, focus)
        return DialogueState(
            right_result(edit, rules, before, () if self.previous is None else (self.previous,)),
            self.grid,
            self.rules,
            last=edit,
            focus=focus,
            stated=stated if filled is None else stated | {filled},
            vacated=edit.emptied_cell(stated),
            loose=self.loose | edit.left_open(before),
            vague=vague,
            previous=before,
            added=added,
            group=self._group_after(edit, focus),
            pointing=self.pointing,
        )

    def _focus_after(self, edit: Edit) -> Target | None:
        """The edited object where it stands now, as far as the text tells its looks."""
        cell = edit.edited_cell(self.scene)
        return None if cell is None else edit.focus(cell, demanded_looks(edit, self.bound))

    def _group_after(self, edit: Edit, focus: Target | None) -> tuple[Target, ...]:
        """What "them" means after an edit: objects named together, or added one after the other."""
        parts = edit.single_edits()
        if len(parts) > 1:
            return tuple(target for part in parts if (target := self._focus_after(part)) is not None)
        twice = edit.adds and self.last is not None and self.last.adds
        return (self.focus, focus) if twice and self.focus is not None and focus is not None else ()

    def impossible(self, edit: Edit) -> bool:
        """Does a rule forbid every right result of the edit?"""
        return is_impossible(edit, self.bound, self.scene)

    def can_refer(self) -> bool:
        """Is there something that the next turn could point back to without looking at the picture?"""
        return self.vacated is not None or (self.focus is not None and self.unique(self.focus))

    def unique(self, target: Target) -> bool:
        """Do the words fit exactly one object of the scene, however the agent chose so far?"""
        if any(target.overlaps(kind) for kind in self.vague):
            return False
        return [target.fits(obj) for obj in self.scene.cells if obj is not None].count(True) == 1

    def unsure(self) -> bool:
        """May the picture differ from the scene, because something was left to the agent?"""
        return bool(self.loose or self.vague)

    def room(self) -> list[int]:
        """Cells that are empty, however the agent chose so far."""
        return [cell for cell in self.scene.empty() if cell not in self.loose]

    def demanded(self, attribute: str, added: str | None = None) -> str | None:
        """The value that a rule asks for of everything, or of added objects of a shape."""
        values = (rule.demands(attribute, added) for rule in reversed(self.bound))
        return next((value for value in values if value is not None), None)


def is_clear(edit: Edit, state: DialogueState) -> bool:
    """Can the edit be done, and is it plain which rules cover it, whatever the agent chose so far?"""
    rules = state.bound
    if not rules:
        return True
    return not (state.impossible(edit) or any(rule.is_unclear(edit, state) for rule in rules))


def violates_rule(edit: Edit, state: DialogueState) -> bool:
    """Is the edit a simple one that is impossible under the rules in force, beyond doubt?"""
    return edit.simple and not edit.left_open(state.scene) and state.impossible(edit)


def contradicts_rule(edit: Edit, rule: Rule, state: DialogueState) -> bool:
    """Would the edit, a simple one, need an exception to one rule in force?"""
    return edit.simple and not edit.left_open(state.scene) and rule.contradicts(edit, state)
