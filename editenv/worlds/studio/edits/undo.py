"""undo: back to the picture before the last edit, as it was shown, mistakes included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from editenv.worlds.studio.edits.base import BACKGROUND, Edit, Looks
from editenv.worlds.studio.scene import UNREADABLE, Scene


@dataclass(frozen=True, slots=True)
class Undo:
    """Undo the last edit.

    What is right depends on the pictures that were shown (`shown_before`); where they are not known, the
    session's edits count as all done right.

    Attributes:
        instead: the edit that undoes the last one when that one was done right; what an intent names.
    """

    task: ClassVar[str] = "undo"
    covered_by_rules: ClassVar[bool] = False

    instead: Edit

    def apply(self, scene: Scene) -> Scene:
        """The scene before the last edit."""
        return self.instead.apply(scene)

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        """What `instead` accepts."""
        return self.instead.accepts(before, after, frozenset())

    def touched(self, before: Scene) -> frozenset[int]:
        """What `instead` touches."""
        return self.instead.touched(before)

    def edited_cell(self, before: Scene, after: Scene | None = None) -> int | None:
        """Nothing that a rule covers."""
        return None

    def asked(self) -> Looks:
        """Nothing."""
        return {"color": None, "material": None}

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        """None: the sentences name nothing."""
        return {}


@dataclass(frozen=True, slots=True)
class Restore:
    """An `Undo` once it is known what was shown.

    Attributes:
        shown: the scene before the last edit.
    """

    task: ClassVar[str] = "undo"
    covered_by_rules: ClassVar[bool] = False

    shown: Scene

    def apply(self, scene: Scene) -> Scene:
        """The earlier scene."""
        return self.shown

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        """Everything that the last edit changed is as it was shown before; unreadable never counts."""
        parts = self.touched(before)
        if BACKGROUND in parts and not (after.background == self.shown.background != UNREADABLE.shape):
            return False
        cells = parts - {BACKGROUND}
        return all(after.cells[c] == self.shown.cells[c] and after.cells[c] is not UNREADABLE for c in cells)

    def touched(self, before: Scene) -> frozenset[int]:
        """All that the last edit changed."""
        pairs = enumerate(zip(before.cells, self.shown.cells, strict=True))
        cells = {cell for cell, (now, then) in pairs if now != then}
        return frozenset(cells | {BACKGROUND} if before.background != self.shown.background else cells)

    def edited_cell(self, before: Scene, after: Scene | None = None) -> int | None:
        """Nothing that a rule covers."""
        return None

    def asked(self) -> Looks:
        """Nothing."""
        return {"color": None, "material": None}

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        """None."""
        return {}


def shown_before(edit: Edit, past: Sequence[Scene]) -> Edit:
    """The edit, an undo in the light of what was shown.

    Args:
        edit: any.
        past: scenes of the pictures before the one to be edited, in order; the last is what an undo restores.
    """
    return Restore(past[-1]) if isinstance(edit, Undo) and past else edit
