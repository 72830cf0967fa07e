"""subject_add: a new object or sign in an empty cell, named ("there") or beside another object."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from editenv.worlds.studio.dialogue import DialogueState, Request
from editenv.worlds.studio.edit import Added, EditOfPlace, EditToNewObject, Looks, Operation, Sampler
from editenv.worlds.studio.noun_phrases import SPARSE, Beside
from editenv.worlds.studio.references import MOST_OBJECTS, sample_beside, sample_looks
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.scene import SHAPES, SIGN, TEXTS, Scene, object_with


@dataclass(frozen=True, slots=True)
class SubjectAdd(EditOfPlace, EditToNewObject):
    """Add an object.

    Attributes:
        cell: where; beside another object, the nearest of the right cells if all went as asked so far.
        shape: what.
        color, material: as said; None where nothing is said and any will do.
        text: what a sign says.
        beside: the place as said by another object, None where the cell itself is named.
    """

    task: ClassVar[str] = "subject_add"
    operation_words: ClassVar[str] = "{task} in {cell}: {looks}"
    adds: ClassVar[bool] = True
    needs_room: ClassVar[bool] = True

    cell: int
    shape: str
    color: str | None = None
    material: str | None = None
    text: str | None = field(default=None, metadata=SPARSE)
    beside: Beside | None = field(default=None, metadata=SPARSE)

    def apply(self, scene: Scene) -> Scene:
        cell = self.edited_cell(scene)
        if cell is None:
            raise ValueError(f"{self.beside} has no free cell, expected room for the object to be added")
        return scene.put(cell, self.new_object())

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        """The cell shows an object as described.

        Beside another object, one of the right cells shows it and the others are as empty as before.
        """
        cell = self.edited_cell(before, after)
        return cell is not None and self.describes(after.cells[cell], free)

    def touched(self, before: Scene) -> frozenset[int]:
        return frozenset(self.right_cells(before))

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        return self.new_slots(looks) | self.place_slots(grid)

    def added_after(self, before: Scene, added: Added) -> Added:
        """One more."""
        return (*added, (self.shape, None if self.beside else self.cell))

    @classmethod
    def sample(cls, state: DialogueState, rng: Rng, refer: bool) -> Request | None:
        """An object in a named, empty cell, or "there"."""
        empty = state.room()
        if not empty or len(state.scene.occupied()) >= MOST_OBJECTS:
            return None
        there = refer and state.vacated is not None
        cell = state.vacated if there and state.vacated is not None else rng.pick(empty)
        shape = rng.pick(SHAPES)
        looks = sample_looks(state, rng, shape)
        edit = SubjectAdd(cell, shape, looks["color"], looks["material"])
        return Request(edit, "subject_add_there", "there") if there else Request(edit, "subject_add")

    @classmethod
    def sample_beside(cls, state: DialogueState, rng: Rng, refer: bool) -> Request | None:
        """An object beside one that is there."""
        beside = sample_beside(state, rng)
        if beside is None or len(state.scene.occupied()) >= MOST_OBJECTS:
            return None
        cell = beside.cells(state.scene)[0]
        shape = rng.pick(SHAPES)
        looks = sample_looks(state, rng, shape)
        edit = SubjectAdd(cell, shape, looks["color"], looks["material"], beside=beside)
        return Request(edit, edit.act)

    @classmethod
    def sample_sign(cls, state: DialogueState, rng: Rng, refer: bool) -> Request | None:
        """A sign in an empty cell."""
        room = state.room()
        if not room or len(state.scene.occupied()) >= MOST_OBJECTS or state.demanded("material"):
            return None
        color = sample_looks(state, rng)["color"]
        return Request(SubjectAdd(rng.pick(room), SIGN, color, text=rng.pick(TEXTS)), "subject_add")

    @classmethod
    def samplers(cls) -> dict[str, Sampler]:
        return {
            "subject_add": cls.sample,
            "subject_add_beside": cls.sample_beside,
            "subject_add_sign": cls.sample_sign,
        }

    @classmethod
    def operate(cls, operation: Operation, scene: Scene, earlier: Scene | None) -> Scene | None:
        """An object of these looks in an empty cell."""
        new = object_with(operation.looks)
        return None if new is None or scene.cells[operation.cell] else scene.put(operation.cell, new)
