"""background_change: another background behind the same objects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from editenv.worlds.studio.edits.base import BACKGROUND, Looks
from editenv.worlds.studio.scene import Scene


@dataclass(frozen=True, slots=True)
class BackgroundChange:
    """Change the background.

    Attributes:
        background: to what.
    """

    task: ClassVar[str] = "background_change"
    covered_by_rules: ClassVar[bool] = False

    background: str

    def apply(self, scene: Scene) -> Scene:
        """The scene before the new background."""
        return replace(scene, background=self.background)

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        """The background changed and is the one asked for."""
        return before.background != self.background == after.background

    def touched(self, before: Scene) -> frozenset[int]:
        """The background alone."""
        return frozenset((BACKGROUND,))

    def edited_cell(self, before: Scene, after: Scene | None = None) -> int | None:
        """No object is edited."""
        return None

    def asked(self) -> Looks:
        """Nothing."""
        return {"color": None, "material": None}

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        """The background."""
        return {"value": self.background}
