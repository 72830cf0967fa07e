"""color_alter and material_alter: one attribute of an object changes, the rest of it stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from editenv.worlds.studio.edits.base import Looks, Target, same_but
from editenv.worlds.studio.scene import COLORS, MATERIALS, Scene


@dataclass(frozen=True, slots=True)
class _Alter:
    attribute: ClassVar[str]
    values: ClassVar[tuple[str, ...]]
    covered_by_rules: ClassVar[bool] = True

    target: Target
    value: str | None = None

    def apply(self, scene: Scene) -> Scene:
        """The scene with the object changed; where no value is said, the first one that differs."""
        old = scene.cells[self.target.cell]
        if old is None:
            raise ValueError(f"cell {self.target.cell} is empty, expected the object to be altered")
        now = old.attributes()[self.attribute]
        value = self.value or next(value for value in self.values if value != now)
        return scene.put(self.target.cell, old.with_looks({self.attribute: value}))

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        """The attribute is as said (or differs, where nothing is said), and the others are as before."""
        cell = self.target.find(before)
        if cell is None:
            return False
        old, new = before.cells[cell], after.cells[cell]
        if not same_but(old, new, free | {self.attribute}) or old is None or new is None:
            return False
        shown = new.attributes()[self.attribute]
        return shown == self.value if self.value else shown != old.attributes()[self.attribute]

    def touched(self, before: Scene) -> frozenset[int]:
        """The object's cell."""
        cell = self.target.find(before)
        return frozenset() if cell is None else frozenset((cell,))

    def edited_cell(self, before: Scene, after: Scene | None = None) -> int | None:
        """The object's cell."""
        return self.target.find(before)

    def asked(self) -> Looks:
        """The one value."""
        return {"color": None, "material": None} | {self.attribute: self.value}

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        """The object, the value (where one is said) and the attribute's name."""
        return {"old": self.target.words(grid), "value": self.value or "", "attribute": self.attribute}


@dataclass(frozen=True, slots=True)
class ColorAlter(_Alter):
    """Change the colour of `target` to `value`, or to any other where value is None."""

    task: ClassVar[str] = "color_alter"
    attribute: ClassVar[str] = "color"
    values: ClassVar[tuple[str, ...]] = COLORS


@dataclass(frozen=True, slots=True)
class MaterialAlter(_Alter):
    """Change the material of `target` to `value`, or to any other where value is None."""

    task: ClassVar[str] = "material_alter"
    attribute: ClassVar[str] = "material"
    values: ClassVar[tuple[str, ...]] = MATERIALS
