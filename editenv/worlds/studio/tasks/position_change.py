"""position_change: an object leaves its cell for another one, named or beside another object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

from editenv.worlds.studio.dialogue import DialogueState, Request
from editenv.worlds.studio.edit import Added, Edit, Looks, Operation, Sampler, same_but, with_new_looks
from editenv.worlds.studio.noun_phrases import SPARSE, Beside, Target, place
from editenv.worlds.studio.references import sample_beside, sample_object
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.scene import Scene


@dataclass(frozen=True, slots=True)
class PositionChange(Edit):
    """Move an object.

    Attributes:
        target: which.
        cell: where to; beside another object, the nearest of the right cells if all went as asked so far.
        beside: the place as said by another object, None where the cell itself is named.
    """

    task: ClassVar[str] = "position_change"
    needs_attribute: ClassVar[str | None] = "shape"
    needs_room: ClassVar[bool] = True

    target: Target
    cell: int
    beside: Beside | None = field(default=None, metadata=SPARSE)

    def apply(self, scene: Scene) -> Scene:
        """The scene with the object in its new cell."""
        cell = self.edited_cell(scene)
        if cell is None:
            raise ValueError(f"{self.beside} has no free cell, expected room for the object to be moved")
        return scene.put(self.target.cell, None).put(cell, scene.cells[self.target.cell])

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        """The old cell is empty and the new one shows the object as it was.

        Beside another object, one of the right cells shows it and the others are as empty as before.
        """
        cell, new = self.target.find(before), self.edited_cell(before, after)
        if cell is None or new is None or cell == new:
            return False
        return after.cells[cell] is None and same_but(before.cells[cell], after.cells[new], free)

    def touched(self, before: Scene) -> frozenset[int]:
        """Both cells; beside another object, the old one and every right one."""
        cell = self.target.find(before)
        places = (self.cell,) if self.beside is None else self.beside.cells(before)
        return frozenset(places if cell is None else (*places, cell))

    def edited_cell(self, before: Scene, after: Scene | None = None) -> int | None:
        """The new cell; beside another object, the right cell that was filled."""
        return self.cell if self.beside is None else self.beside.landed(before, after)

    @property
    def act(self) -> str:
        """Places beside other objects have sentences of their own."""
        return self.task if self.beside is None else "position_change_beside"

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        """The object and where it goes."""
        where = {"place": place(self.cell, grid)} if self.beside is None else self.beside.slots(grid)
        return {"old": self.target.words(grid), **where}

    def placements(self, before: Scene) -> Iterator[Edit]:
        """Each right cell beside the other object."""
        cells = () if self.beside is None else self.beside.cells(before)
        yield from (replace(self, cell=cell, beside=None) for cell in cells)
        if not cells:
            yield self

    def left_open(self, before: Scene) -> frozenset[int]:
        """The right cells beside another object, where there is more than one."""
        cells = () if self.beside is None else self.beside.cells(before)
        return frozenset(cells) if len(cells) > 1 else frozenset()

    def added_after(self, before: Scene, added: Added) -> Added:
        """The object in its new cell."""
        to = None if self.beside else self.cell
        return tuple((shape, to if cell == self.target.cell else cell) for shape, cell in added)

    def filled_cell(self) -> int | None:
        """The cell, where it is named."""
        return self.cell if self.beside is None else None

    @classmethod
    def sample(cls, state: DialogueState, rng: Rng, refer: bool) -> Request | None:
        """An object to a named, empty cell."""
        found = sample_object(state, rng, refer)
        empty = state.room()
        if found is None or not empty:
            return None
        return Request(PositionChange(found[0], rng.pick(empty)), "position_change", found[1])

    @classmethod
    def sample_beside(cls, state: DialogueState, rng: Rng, refer: bool) -> Request | None:
        """An object to a place beside another one, where it is not yet."""
        found = sample_object(state, rng, refer)
        beside = sample_beside(state, rng, mover=found[0]) if found else None
        if found is None or beside is None:
            return None
        edit = PositionChange(found[0], beside.cells(state.scene)[0], beside)
        return Request(edit, edit.act, found[1])

    @classmethod
    def samplers(cls) -> dict[str, Sampler]:
        """To named cells and to places beside others."""
        return {"position_change": cls.sample, "position_change_beside": cls.sample_beside}

    @classmethod
    def operate(cls, operation: Operation, scene: Scene, earlier: Scene | None) -> Scene | None:
        """The object of `cell` in `second`, which was empty, perhaps with new looks."""
        altered = with_new_looks(scene, (operation.cell,), operation.kept_shape)
        if altered is None or scene.cells[operation.second] is not None:
            return None
        return altered.put(operation.cell, None).put(operation.second, altered.cells[operation.cell])

    @classmethod
    def operation_words(cls, operation: Operation, grid: int) -> str:
        """From where to where."""
        words = f"{cls.task} in {place(operation.cell, grid)} to {place(operation.second, grid)}"
        looks = " ".join(operation.looks.values())
        return f"{words}: {looks}" if looks else words
