"""count_change: the number of objects that fit a description becomes another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from editenv.worlds.studio.edits.base import Looks, Target
from editenv.worlds.studio.noun_phrases import many_objects
from editenv.worlds.studio.scene import COLORS, Scene, SceneObject

MOST_COUNT = 6


@dataclass(frozen=True, slots=True)
class CountChange:
    """Add objects of a kind to free cells, or remove some, until there are as many as asked for.

    Every choice of cells is right, and so is every look that the description leaves open; nothing is moved.
    No rule covers it: removals are exempt, and sessions ask for more objects only where the description
    itself agrees with the rules in force.

    Attributes:
        count: how many there shall be, 1 to MOST_COUNT.
        shape: of which shape.
        color, material: which of them; None where nothing is said and all of them count.

    Raises:
        ValueError: the count is out of range.
    """

    task: ClassVar[str] = "count_change"
    covered_by_rules: ClassVar[bool] = False

    count: int
    shape: str
    color: str | None = None
    material: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST_COUNT:
            raise ValueError(f"count is {self.count}, expected 1 to {MOST_COUNT}")

    @property
    def described(self) -> Target:
        """The description."""
        return Target(0, self.shape, self.color, self.material)

    def cells(self, scene: Scene) -> tuple[int, ...]:
        """Where objects stand that fit the description."""
        described = self.described
        return tuple(cell for cell, thing in enumerate(scene.cells) if described.fits(thing))

    def apply(self, scene: Scene) -> Scene:
        """The scene with objects like the first one in the first free cells, or without the last ones."""
        there, free = self.cells(scene), scene.empty()
        if self.count - len(there) > len(free):
            raise ValueError(f"{self.count} are asked for, {len(there)} there, expected room for the others")
        like = (scene.cells[there[0]] if there else None) or SceneObject(self.shape, COLORS[0])
        new = SceneObject(self.shape, self.color or like.color, self.material or like.material)
        for cell in free[: max(0, self.count - len(there))]:
            scene = scene.put(cell, new)
        for cell in there[self.count :]:
            scene = scene.put(cell, None)
        return scene

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        """As many fit as asked for, and the cells that could be used show nothing but what was asked for."""
        there, now = self.cells(before), self.cells(after)
        if len(there) == self.count or len(now) != self.count:
            return False
        if len(there) > self.count:
            return all(after.cells[cell] in (None, before.cells[cell]) for cell in there)
        return all(after.cells[cell] is None or cell in now for cell in before.empty())

    def touched(self, before: Scene) -> frozenset[int]:
        """The free cells where objects are wanted, else the cells of those that there are too many of."""
        there = self.cells(before)
        if len(there) == self.count:
            return frozenset()
        return frozenset(there if len(there) > self.count else before.empty())

    def edited_cell(self, before: Scene, after: Scene | None = None) -> int | None:
        """There may be several."""
        return None

    def asked(self) -> Looks:
        """What the description says of colour and material."""
        return {"color": self.color, "material": self.material}

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        """The number and the objects."""
        return {"many": many_objects(self.count, self.shape, self.color, self.material)}
