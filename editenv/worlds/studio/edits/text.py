"""text_change: a sign says something else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from editenv.worlds.studio.edits.base import Looks, Target, same_but
from editenv.worlds.studio.scene import Scene


@dataclass(frozen=True, slots=True)
class TextChange:
    """Change the text of a sign; its colour and place stay.

    Attributes:
        target: which sign.
        text: what it shall say.
    """

    task: ClassVar[str] = "text_change"
    covered_by_rules: ClassVar[bool] = True

    target: Target
    text: str

    def apply(self, scene: Scene) -> Scene:
        """The scene with the new text on the sign."""
        old = scene.cells[self.target.cell]
        if old is None or old.text is None:
            raise ValueError(f"cell {self.target.cell} holds {old}, expected the sign to be altered")
        return scene.put(self.target.cell, replace(old, text=self.text))

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        """The sign said something else, says what is asked for, and is as before in all other respects."""
        cell = self.target.find(before)
        if cell is None:
            return False
        old, new = before.cells[cell], after.cells[cell]
        if old is None or new is None or not same_but(old, new, free | {"text"}):
            return False
        return old.text is not None and old.text != self.text == new.text

    def touched(self, before: Scene) -> frozenset[int]:
        """The sign's cell."""
        cell = self.target.find(before)
        return frozenset() if cell is None else frozenset((cell,))

    def edited_cell(self, before: Scene, after: Scene | None = None) -> int | None:
        """The sign's cell."""
        return self.target.find(before)

    def asked(self) -> Looks:
        """Nothing."""
        return {"color": None, "material": None}

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        """The sign and the text."""
        return {"old": self.target.words(grid), "text": self.text}
