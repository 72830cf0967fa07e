"""The same edit of several objects at once: "remove them", "make the star and the circle blue"."""

from __future__ import annotations

from dataclasses import dataclass

from editenv.worlds.studio.edits.base import Edit, Looks
from editenv.worlds.studio.scene import Scene


@dataclass(frozen=True, slots=True)
class Each:
    """Several edits of one task, of objects in different cells.

    Attributes:
        parts: two or more single edits.
    """

    parts: tuple[Edit, ...]

    @property
    def task(self) -> str:
        """The parts' task."""
        return self.parts[0].task

    @property
    def covered_by_rules(self) -> bool:
        """As each part is."""
        return self.parts[0].covered_by_rules

    def apply(self, scene: Scene) -> Scene:
        """The scene after all parts."""
        for part in self.parts:
            scene = part.apply(scene)
        return scene

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        """Every part is as asked."""
        return all(part.accepts(before, after, free) for part in self.parts)

    def touched(self, before: Scene) -> frozenset[int]:
        """What any part touches."""
        return frozenset().union(*(part.touched(before) for part in self.parts))

    def edited_cell(self, before: Scene, after: Scene | None = None) -> int | None:
        """No single one: rules look at the parts."""
        return None

    def asked(self) -> Looks:
        """The same of each."""
        return self.parts[0].asked()

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        """The first part's, all objects named: "the red star and the circle"."""
        words = [part.slots(looks, grid) for part in self.parts]
        return words[0] | {"old": " and ".join(word["old"] for word in words)}


def parts_of(edit: Edit) -> tuple[Edit, ...]:
    """The single edits of which an edit consists."""
    return edit.parts if isinstance(edit, Each) else (edit,)
