"""position_change: an object leaves its cell for another one, named or beside another object."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from editenv.worlds.studio.dialogue import Context, DialogueState, Request, sample_beside, sample_object
from editenv.worlds.studio.edit import Added, Edit, Looks, Operation, Sampler, same_but, with_new_looks
from editenv.worlds.studio.noun_phrases import SPARSE, Beside, Target
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.scene import Scene
from editenv.worlds.studio.tasks.subject_add import EditOfPlace


@dataclass(frozen=True, slots=True)
class PositionChange(EditOfPlace):
    """Move the object `target` to a place, as in `EditOfPlace`."""

    task: ClassVar[str] = "position_change"
    acts: ClassVar[tuple[str, ...]] = ("position_change_beside",)
    operation_words: ClassVar[str] = "{task} in {cell} to {second}: {looks}"
    needs_attribute: ClassVar[str | None] = "shape"
    needs_room: ClassVar[bool] = True

    target: Target
    cell: int
    beside: Beside | None = field(default=None, metadata=SPARSE)

    def apply(self, scene: Scene) -> Scene:
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
        cell = self.target.find(before)
        return frozenset(self.right_cells(before)) | ({cell} if cell is not None else frozenset())

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        return {"old": self.target.words(grid)} | self.place_slots(grid)

    @classmethod
    def read(cls, slots: Mapping[str, str], context: Context) -> list[Edit]:
        return [
            cls(target, cell, beside)
            for target in context.objects(slots["old"])
            for cell, beside in context.places(slots)
            if beside is None or beside.anchor.cell != target.cell
        ]

    def added_after(self, before: Scene, added: Added) -> Added:
        to = None if self.beside else self.cell
        return tuple((shape, to if cell == self.target.cell else cell) for shape, cell in added)

    @classmethod
    def sample(cls, state: DialogueState, rng: Rng, refer: bool) -> Request | None:
        found = sample_object(state, rng, refer)
        empty = state.room()
        return Request(cls(found[0], rng.pick(empty)), found[1]) if found and empty else None

    @classmethod
    def sample_beside(cls, state: DialogueState, rng: Rng, refer: bool) -> Request | None:
        """An object to a place beside another one, where it is not yet."""
        found = sample_object(state, rng, refer)
        beside = sample_beside(state, rng, mover=found[0]) if found else None
        if found is None or beside is None:
            return None
        return Request(cls(found[0], beside.cells(state.scene)[0], beside), found[1])

    @classmethod
    def samplers(cls) -> dict[str, Sampler]:
        return {"position_change": cls.sample, "position_change_beside": cls.sample_beside}

    @classmethod
    def operate(cls, operation: Operation, scene: Scene, earlier: Scene | None) -> Scene | None:
        """The object of `cell` in `second`, which was empty, perhaps with new looks."""
        altered = with_new_looks(scene, (operation.cell,), operation.kept_shape)
        if altered is None or scene.cells[operation.second] is not None:
            return None
        return altered.put(operation.cell, None).put(operation.second, altered.cells[operation.cell])
