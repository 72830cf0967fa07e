"""position_change: an object leaves its cell for another one, named or beside another object."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from editenv.worlds.studio.edits.base import SPARSE, Looks, Target, same_but
from editenv.worlds.studio.edits.beside import Beside, landed
from editenv.worlds.studio.noun_phrases import place
from editenv.worlds.studio.scene import Scene


@dataclass(frozen=True, slots=True)
class PositionChange:
    """Move an object.

    Attributes:
        target: which.
        cell: where to; beside another object, the nearest of the right cells if all went as asked so far.
        beside: the place as said by another object, None where the cell itself is named.
    """

    task: ClassVar[str] = "position_change"
    covered_by_rules: ClassVar[bool] = True

    target: Target
    cell: int
    beside: Beside | None = field(default=None, metadata=SPARSE)

    def apply(self, scene: Scene) -> Scene:
        """The scene with the object in its new cell."""
        cell = self.edited_cell(scene)
        if cell is None:
            raise ValueError(f"{self.beside} has no free cell, expected room for the object to be moved")
        return scene.put(self.target.cell, None).put(cell, scene.cells[self.target.cell])

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        """The old cell is empty and the new one shows the object as it was.

        Beside another object, one of the right cells shows it and the others are as empty as before.
        """
        cell, new = self.target.find(before), self.edited_cell(before, after)
        if cell is None or new is None or cell == new:
            return False
        return after.cells[cell] is None and same_but(before.cells[cell], after.cells[new], free)

    def touched(self, before: Scene) -> frozenset[int]:
        """Both cells; beside another object, the old one and every right one."""
        cell = self.target.find(before)
        places = (self.cell,) if self.beside is None else self.beside.cells(before)
        return frozenset(places if cell is None else (*places, cell))

    def edited_cell(self, before: Scene, after: Scene | None = None) -> int | None:
        """The new cell; beside another object, the right cell that was filled."""
        return self.cell if self.beside is None else landed(self.beside, before, after)

    def asked(self) -> Looks:
        """Nothing."""
        return {"color": None, "material": None}

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        """The object and where it goes."""
        where = {"place": place(self.cell, grid)} if self.beside is None else self.beside.slots(grid)
        return {"old": self.target.words(grid), **where}
