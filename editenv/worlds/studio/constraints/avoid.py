"""What must not be used or filled again: a colour, a material, a region of the grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from editenv.worlds.studio.constraints.base import Rule
from editenv.worlds.studio.edits import (
    ColorAlter,
    Edit,
    MaterialAlter,
    PositionChange,
    SubjectAdd,
    SubjectReplace,
)
from editenv.worlds.studio.edits.base import Looks
from editenv.worlds.studio.edits.each import parts_of
from editenv.worlds.studio.noun_phrases import region
from editenv.worlds.studio.scene import Scene


@dataclass(frozen=True, slots=True)
class AvoidLook:
    """As in "do not use blue again".

    Objects that are blue already may stay, be moved and be changed in other ways.

    Attributes:
        attribute: "color" or "material".
        value: a word of COLORS or MATERIALS.
    """

    family: ClassVar[str] = "avoid"
    act: ClassVar[str] = "rule_avoid"
    forbids: ClassVar[bool] = True

    attribute: str
    value: str

    def covers(self, edit: Edit, before: Scene) -> bool:
        """Edits that give an object a look of this kind: one that is named and forbidden, or left open."""
        if isinstance(edit, ColorAlter | MaterialAlter):
            return edit.attribute == self.attribute and edit.value in (None, self.value)
        given = isinstance(edit, SubjectAdd | SubjectReplace)
        return given and edit.asked()[self.attribute] in (None, self.value)

    def looks(self, edit: Edit) -> Looks:
        """None."""
        return {}

    def breaks(self, edit: Edit, before: Scene, after: Scene) -> bool:
        """An object shows the value that did not show it before, or stands where another one did."""
        moved = {self._moved(part, before, after) for part in parts_of(edit)}
        for cell, (old, new) in enumerate(zip(before.cells, after.cells, strict=True)):
            if new is None or cell in moved or not self._shown(new):
                continue
            if old is None or not self._shown(old) or old.shape != new.shape:
                return True
        return False

    def overrides(self, earlier: Rule) -> bool:
        """A demand for just this look, and the same once more."""
        if earlier.family in ("attribute", "scoped"):
            return (self.attribute, self.value) == (
                getattr(earlier, "attribute", None),
                getattr(earlier, "value", None),
            )
        return earlier == self

    def slots(self, grid: int) -> dict[str, str]:
        """The value."""
        return {"value": self.value, "rule": f"the rule about {self.value}"}

    def _moved(self, edit: Edit, before: Scene, after: Scene) -> int | None:
        """Where an object with the look was moved to, which takes it along."""
        source = edit.target.find(before) if isinstance(edit, PositionChange) else None
        old = None if source is None else before.cells[source]
        return edit.edited_cell(before, after) if old is not None and self._shown(old) else None

    def _shown(self, thing: object) -> bool:
        return getattr(thing, self.attribute) == self.value


@dataclass(frozen=True, slots=True)
class KeepEmpty:
    """As in "keep the corners empty".

    Attributes:
        where: a word of words.REGIONS.
    """

    family: ClassVar[str] = "keep_empty"
    act: ClassVar[str] = "rule_keep_empty"
    forbids: ClassVar[bool] = True

    where: str

    def covers(self, edit: Edit, before: Scene) -> bool:
        """Edits that would put something there."""
        cells = region(self.where, before.grid)
        return any(cell in cells and before.cells[cell] is None for cell in edit.touched(before) if cell >= 0)

    def looks(self, edit: Edit) -> Looks:
        """None."""
        return {}

    def breaks(self, edit: Edit, before: Scene, after: Scene) -> bool:
        """A cell of the region was empty and is not any more."""
        cells = region(self.where, before.grid)
        return any(before.cells[cell] is None and after.cells[cell] is not None for cell in cells)

    def overrides(self, earlier: Rule) -> bool:
        """The same once more."""
        return earlier == self

    def slots(self, grid: int) -> dict[str, str]:
        """The region."""
        return {"where": f"the {self.where}", "rule": f"the rule about the {self.where}"}
