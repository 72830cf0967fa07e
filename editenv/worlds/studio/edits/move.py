"""position_change: an object leaves its cell for another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from editenv.worlds.studio.edits.base import Looks, Target, same_but
from editenv.worlds.studio.scene import Scene
from editenv.worlds.studio.words import place


@dataclass(frozen=True, slots=True)
class PositionChange:
    """Move an object.

    Attributes:
        target: which.
        cell: where to.
    """

    task: ClassVar[str] = "position_change"
    covered_by_rules: ClassVar[bool] = True

    target: Target
    cell: int

    def apply(self, scene: Scene) -> Scene:
        """The scene with the object in its new cell."""
        return scene.put(self.target.cell, None).put(self.cell, scene.cells[self.target.cell])

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        """The old cell is empty and the new one shows the object as it was."""
        cell = self.target.find(before)
        if cell is None or cell == self.cell:
            return False
        return after.cells[cell] is None and same_but(before.cells[cell], after.cells[self.cell], free)

    def touched(self, before: Scene) -> frozenset[int]:
        """Both cells."""
        cell = self.target.find(before)
        return frozenset((self.cell,) if cell is None else (self.cell, cell))

    def edited_cell(self, before: Scene) -> int | None:
        """The new cell."""
        return self.cell

    def asked(self) -> Looks:
        """Nothing."""
        return {"color": None, "material": None}

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        """The object and where it goes."""
        return {"old": self.target.words(grid), "place": place(self.cell, grid)}
