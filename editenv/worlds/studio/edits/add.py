"""subject_add: a new object in a named, empty cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from editenv.worlds.studio.edits.base import Looks, Target
from editenv.worlds.studio.scene import COLORS, MATERIALS, Scene, Thing
from editenv.worlds.studio.words import new_object, place


@dataclass(frozen=True, slots=True)
class SubjectAdd:
    """Add an object.

    Attributes:
        cell: where.
        shape: what.
        color, material: as said; None where nothing is said and any will do.
    """

    task: ClassVar[str] = "subject_add"
    covered_by_rules: ClassVar[bool] = True

    cell: int
    shape: str
    color: str | None = None
    material: str | None = None

    def apply(self, scene: Scene) -> Scene:
        """The scene with the object in place."""
        return scene.put(self.cell, Thing(self.shape, self.color or COLORS[0], self.material or MATERIALS[0]))

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        """The cell shows an object as described; an attribute that is free or not said may be anything."""
        color = None if "color" in free else self.color
        material = None if "material" in free else self.material
        return Target(self.cell, self.shape, color, material).fits(after.cells[self.cell])

    def touched(self, before: Scene) -> frozenset[int]:
        """The one cell."""
        return frozenset((self.cell,))

    def edited_cell(self, before: Scene) -> int | None:
        """The one cell."""
        return self.cell

    def asked(self) -> Looks:
        """What is said of colour and material."""
        return {"color": self.color, "material": self.material}

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        """The new object and its place."""
        return {
            "new": new_object(self.shape, looks["color"], looks["material"]),
            "place": place(self.cell, grid),
        }
