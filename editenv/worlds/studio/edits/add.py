"""subject_add: a new object in a named, empty cell, or beside another one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from editenv.worlds.studio.edits.base import SPARSE, Looks, Target
from editenv.worlds.studio.edits.beside import Beside, landed
from editenv.worlds.studio.noun_phrases import new_object, place
from editenv.worlds.studio.scene import COLORS, MATERIALS, Scene, SceneObject


@dataclass(frozen=True, slots=True)
class SubjectAdd:
    """Add an object.

    Attributes:
        cell: where; beside another object, the nearest of the right cells if all went as asked so far.
        shape: what.
        color, material: as said; None where nothing is said and any will do.
        text: what a sign says.
        beside: the place as said by another object, None where the cell itself is named.
    """

    task: ClassVar[str] = "subject_add"
    covered_by_rules: ClassVar[bool] = True

    cell: int
    shape: str
    color: str | None = None
    material: str | None = None
    text: str | None = field(default=None, metadata=SPARSE)
    beside: Beside | None = field(default=None, metadata=SPARSE)

    def apply(self, scene: Scene) -> Scene:
        """The scene with the object in place."""
        cell = self.edited_cell(scene)
        if cell is None:
            raise ValueError(f"{self.beside} has no free cell, expected room for the object to be added")
        new = SceneObject(self.shape, self.color or COLORS[0], self.material or MATERIALS[0], self.text)
        return scene.put(cell, new)

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        """The cell shows an object as described; an attribute that is free or not said may be anything.

        Beside another object, one of the right cells shows it and the others are as empty as before.
        """
        cell = self.edited_cell(before, after)
        color = None if "color" in free else self.color
        material = None if "material" in free else self.material
        described = Target(0, self.shape, color, material, text=self.text)
        return cell is not None and described.fits(after.cells[cell])

    def touched(self, before: Scene) -> frozenset[int]:
        """The one cell; beside another object, every right one."""
        return frozenset((self.cell,) if self.beside is None else self.beside.cells(before))

    def edited_cell(self, before: Scene, after: Scene | None = None) -> int | None:
        """The one cell; beside another object, the right cell that was filled."""
        return self.cell if self.beside is None else landed(self.beside, before, after)

    def asked(self) -> Looks:
        """What is said of colour and material."""
        return {"color": self.color, "material": self.material}

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        """The new object and its place."""
        where = {"place": place(self.cell, grid)} if self.beside is None else self.beside.slots(grid)
        return {"new": new_object(self.shape, looks["color"], looks["material"], self.text), **where}
