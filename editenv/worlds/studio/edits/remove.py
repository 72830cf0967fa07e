"""subject_remove: an object disappears, its cell shows the bare background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from editenv.worlds.studio.edits.base import Looks, Target
from editenv.worlds.studio.scene import Scene


@dataclass(frozen=True, slots=True)
class SubjectRemove:
    """Remove an object.

    Attributes:
        target: which.
    """

    task: ClassVar[str] = "subject_remove"
    covered_by_rules: ClassVar[bool] = False

    target: Target

    def apply(self, scene: Scene) -> Scene:
        """The scene without the object."""
        return scene.put(self.target.cell, None)

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        """The object was there and its cell is empty now."""
        cell = self.target.find(before)
        return cell is not None and after.cells[cell] is None

    def touched(self, before: Scene) -> frozenset[int]:
        """The object's cell."""
        cell = self.target.find(before)
        return frozenset() if cell is None else frozenset((cell,))

    def edited_cell(self, before: Scene, after: Scene | None = None) -> int | None:
        """Nothing is left to look at."""
        return None

    def asked(self) -> Looks:
        """Nothing."""
        return {"color": None, "material": None}

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        """The object."""
        return {"old": self.target.words(grid)}
