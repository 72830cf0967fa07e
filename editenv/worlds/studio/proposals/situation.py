"""Where a session stands, and one thing that could be asked for next."""

from __future__ import annotations

from dataclasses import dataclass, replace

from editenv.worlds.studio.constraints import AttributeRule, right_result
from editenv.worlds.studio.edits import (
    ColorAlter,
    Edit,
    MaterialAlter,
    PositionChange,
    SubjectAdd,
    SubjectRemove,
    SubjectReplace,
    Target,
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
    """

    scene: Scene
    grid: int
    rules: tuple[AttributeRule, ...] = ()
    last: Edit | None = None
    focus: Target | None = None
    stated: frozenset[int] = frozenset()
    vacated: int | None = None

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
            focus = Target(cell, edit.shape, said["color"], said["material"])
        elif isinstance(edit, ColorAlter | MaterialAlter | PositionChange) and cell is not None:
            said = {name: value for name, value in edit.asked().items() if value}
            focus = replace(edit.target, cell=cell, placed=False, **said | looks)
        elif isinstance(edit, SubjectRemove):
            gone = edit.target.cell
            vacated = gone if edit.target.placed or gone in stated else None
        if isinstance(edit, SubjectAdd | PositionChange):
            stated = stated | {edit.cell}
        return replace(self, scene=scene, last=edit, focus=focus, stated=stated, vacated=vacated)

    def can_refer(self) -> bool:
        """Is there something that the next turn could point back to without looking at the picture?"""
        return self.vacated is not None or (self.focus is not None and self.unique(self.focus))

    def unique(self, target: Target) -> bool:
        """Do the words fit exactly one object of the scene?"""
        return [target.fits(thing) for thing in self.scene.cells if thing is not None].count(True) == 1

    def ruled(self, attribute: str) -> str | None:
        """The value a rule in force asks for."""
        return next((rule.value for rule in reversed(self.rules) if rule.attribute == attribute), None)
