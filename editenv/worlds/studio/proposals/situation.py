"""Where a session stands, and one thing that could be asked for next."""

from __future__ import annotations

from dataclasses import dataclass, replace

from editenv.worlds.studio.constraints import (
    AttributeRule,
    Except,
    Rule,
    ScopedRule,
    Statement,
    in_force,
    is_impossible,
    open_looks,
    right_result,
)
from editenv.worlds.studio.edits import (
    CountChange,
    Each,
    Edit,
    PositionChange,
    SubjectAdd,
    SubjectRemove,
    Target,
)
from editenv.worlds.studio.proposals.aftermath import (
    added_after,
    focus_of,
    left_open,
)
from editenv.worlds.studio.scene import Scene


@dataclass(frozen=True, slots=True)
class Proposal:
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
        several: what the last turns put or changed that "them" would mean; two or more, or none.
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
    added: tuple[tuple[str, int | None], ...] = ()
    several: tuple[Target, ...] = ()
    pointing: tuple[str, ...] = ()

    @property
    def bound(self) -> tuple[Rule, ...]:
        """The rules that bind the coming turn."""
        return (
            tuple(rule for rule in self.rules if rule not in self.excepted) if self.excepted else self.rules
        )

    def stating(self, *statements: Statement) -> DialogueState:
        """The situation once something has been said about rules."""
        if not statements:
            return self
        rules = self.rules
        for statement in statements:
            rules = in_force(rules, statement)
        excepted = tuple(statement.rule for statement in statements if isinstance(statement, Except))
        return replace(self, rules=rules, excepted=(*self.excepted, *excepted))

    def impossible(self, edit: Edit) -> bool:
        """Does a rule forbid every right result of the edit?"""
        return is_impossible(edit, self.bound, self.scene)

    def after(self, edit: Edit) -> DialogueState:
        """The situation once an edit has been carried out, or left alone where it is impossible."""
        if self.impossible(edit):
            return DialogueState(
                self.scene,
                self.grid,
                self.rules,
                stated=self.stated,
                loose=self.loose,
                vague=self.vague,
                added=self.added,
                pointing=self.pointing,
            )
        rules, before = self.bound, self.scene
        vague, vacated, stated = self.vague, None, self.stated
        focus = focus_of(edit, rules, before)
        if isinstance(edit, SubjectRemove):
            gone = edit.target.cell
            vacated = gone if edit.target.placed or gone in stated else None
        if isinstance(edit, SubjectAdd | PositionChange) and edit.beside is None:
            stated = stated | {edit.cell}
        if isinstance(edit, CountChange):
            vague = (*vague, edit.described)
        if focus is not None and open_looks(edit, rules):
            vague = (*vague, focus)
        return DialogueState(
            right_result(edit, rules, before, () if self.previous is None else (self.previous,)),
            self.grid,
            self.rules,
            last=edit,
            focus=focus,
            stated=stated,
            vacated=vacated,
            loose=self.loose | left_open(edit, before),
            vague=vague,
            previous=before,
            added=added_after(edit, before, self.added),
            several=self._several(edit, focus),
            pointing=self.pointing,
        )

    def _several(self, edit: Edit, focus: Target | None) -> tuple[Target, ...]:
        """What "them" means after an edit: objects named together, or added one after the other."""
        if isinstance(edit, Each):
            found = tuple(focus_of(part, self.bound, self.scene) for part in edit.parts)
            return tuple(target for target in found if target is not None)
        twice = isinstance(edit, SubjectAdd) and isinstance(self.last, SubjectAdd)
        return (self.focus, focus) if twice and self.focus is not None and focus is not None else ()

    def can_refer(self) -> bool:
        """Is there something that the next turn could point back to without looking at the picture?"""
        return self.vacated is not None or (self.focus is not None and self.unique(self.focus))

    def unique(self, target: Target) -> bool:
        """Do the words fit exactly one object of the scene, however the agent chose so far?"""
        if any(overlap(target, kind) for kind in self.vague):
            return False
        return [target.fits(thing) for thing in self.scene.cells if thing is not None].count(True) == 1

    def room(self) -> list[int]:
        """Cells that are empty, however the agent chose so far."""
        return [cell for cell in self.scene.empty() if cell not in self.loose]

    def ruled(self, attribute: str, added: str | None = None) -> str | None:
        """The value that a rule asks for of everything, or of added objects of a shape."""
        for rule in reversed(self.bound):
            if not isinstance(rule, AttributeRule | ScopedRule) or rule.attribute != attribute:
                continue
            if isinstance(rule, AttributeRule) or rule.shape == added:
                return rule.value
        return None


def overlap(one: Target, other: Target) -> bool:
    """Could an object fit both descriptions?"""
    pairs = ((one.shape, other.shape), (one.color, other.color), (one.material, other.material))
    return all(a is None or b is None or a == b for a, b in pairs)
