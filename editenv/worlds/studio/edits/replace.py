"""subject_replace: another object in the place of one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from editenv.worlds.studio.edits.base import SPARSE, Looks, Target
from editenv.worlds.studio.noun_phrases import new_object
from editenv.worlds.studio.scene import COLORS, MATERIALS, Scene, SceneObject


@dataclass(frozen=True, slots=True)
class SubjectReplace:
    """Replace an object.

    Attributes:
        target: which.
        shape: by what.
        color, material: as said; None where nothing is said and any will do.
        text: what a sign says.
    """

    task: ClassVar[str] = "subject_replace"
    covered_by_rules: ClassVar[bool] = True

    target: Target
    shape: str
    color: str | None = None
    material: str | None = None
    text: str | None = field(default=None, metadata=SPARSE)

    def apply(self, scene: Scene) -> Scene:
        """The scene with the new object in the old one's place."""
        new = SceneObject(self.shape, self.color or COLORS[0], self.material or MATERIALS[0], self.text)
        return scene.put(self.target.cell, new)

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        """The old object was there and its cell shows the new one."""
        cell = self.target.find(before)
        if cell is None:
            return False
        color = None if "color" in free else self.color
        material = None if "material" in free else self.material
        return Target(cell, self.shape, color, material, text=self.text).fits(after.cells[cell])

    def touched(self, before: Scene) -> frozenset[int]:
        """The object's cell."""
        cell = self.target.find(before)
        return frozenset() if cell is None else frozenset((cell,))

    def edited_cell(self, before: Scene, after: Scene | None = None) -> int | None:
        """The old object's place."""
        return self.target.find(before)

    def asked(self) -> Looks:
        """What is said of the new object's colour and material."""
        return {"color": self.color, "material": self.material}

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        """Both objects."""
        return {
            "old": self.target.words(grid),
            "new": new_object(self.shape, looks["color"], looks["material"], self.text),
        }
