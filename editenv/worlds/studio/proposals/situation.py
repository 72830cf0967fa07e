"""Where a session stands, and one thing that could be asked for next."""

from __future__ import annotations

from dataclasses import dataclass, replace

from editenv.worlds.studio.constraints import AttributeRule, right_result
from editenv.worlds.studio.edits import (
    ColorAlter,
    CountChange,
    Edit,
    MaterialAlter,
    PositionChange,
    SubjectAdd,
    SubjectRemove,
    SubjectReplace,
    Target,
    TextChange,
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
class Situation:
    """Where a session stands if every edit so far was right, and what the text alone tells about it.

    Attributes:
        scene: what the picture should show.
        grid: cells a side.
        rules: rules in force.
        last: the previous turn's edit.
        focus: the object last edited, as far as the text tells its looks; None where there is none.
        stated: cells named in the text, where objects were put.
        vacated: a cell named in the text that the previous turn emptied.
        loose: cells whose content some right result left to the agent; no later turn may rely on them.
        vague: descriptions of objects of which the same is true.
    """

    scene: Scene
    grid: int
    rules: tuple[AttributeRule, ...] = ()
    last: Edit | None = None
    focus: Target | None = None
    stated: frozenset[int] = frozenset()
    vacated: int | None = None
    loose: frozenset[int] = frozenset()
    vague: tuple[Target, ...] = ()

    def with_rule(self, rule: AttributeRule) -> Situation:
        """The situation once a rule has been stated."""
        return replace(self, rules=(*self.rules, rule))

    def after(self, edit: Edit) -> Situation:
        """The situation once an edit has been carried out."""
        scene = right_result(edit, self.rules, self.scene)
        cell = edit.edited_cell(self.scene)
        looks = {name: value for rule in self.rules for name, value in rule.looks().items()}
        focus, vacated, stated = None, None, self.stated
        if isinstance(edit, SubjectAdd | SubjectReplace) and cell is not None:
            said = edit.asked() | looks
            focus = Target(cell, edit.shape, said["color"], said["material"], text=edit.text)
        elif isinstance(edit, ColorAlter | MaterialAlter | PositionChange | TextChange) and cell is not None:
            said = {name: value for name, value in edit.asked().items() if value}
            said |= {"text": edit.text} if isinstance(edit, TextChange) else {}
            focus = replace(edit.target, cell=cell, placed=False, **said | looks)
        elif isinstance(edit, SubjectRemove):
            gone = edit.target.cell
            vacated = gone if edit.target.placed or gone in stated else None
        if isinstance(edit, SubjectAdd | PositionChange) and edit.beside is None:
            stated = stated | {edit.cell}
        loose, vague = self.loose | left_open(edit, self.scene), self.vague
        if isinstance(edit, CountChange):
            vague = (*vague, edit.described)
        return Situation(scene, self.grid, self.rules, edit, focus, stated, vacated, loose, vague)

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

    def ruled(self, attribute: str) -> str | None:
        """The value a rule in force asks for."""
        return next((rule.value for rule in reversed(self.rules) if rule.attribute == attribute), None)


def left_open(edit: Edit, before: Scene) -> frozenset[int]:
    """Cells whose content the instruction leaves to the agent."""
    if isinstance(edit, CountChange):
        return edit.touched(before)
    beside = edit.beside if isinstance(edit, SubjectAdd | PositionChange) else None
    cells = beside.cells(before) if beside else ()
    return frozenset(cells) if len(cells) > 1 else frozenset()


def overlap(one: Target, other: Target) -> bool:
    """Could an object fit both descriptions?"""
    pairs = ((one.shape, other.shape), (one.color, other.color), (one.material, other.material))
    return all(a is None or b is None or a == b for a, b in pairs)
