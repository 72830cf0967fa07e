"""subject_add: a new object or sign in an empty cell, named ("there") or beside another object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from editenv.worlds.studio.dialogue import DialogueState, Request
from editenv.worlds.studio.edit import Added, Edit, Looks, Operation, Sampler
from editenv.worlds.studio.noun_phrases import SPARSE, Beside, Target, new_object, place
from editenv.worlds.studio.references import MOST_OBJECTS, sample_beside, sample_looks
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.scene import (
    COLORS,
    MATERIALS,
    SHAPES,
    SIGN,
    TEXTS,
    Scene,
    SceneObject,
    object_with,
)


@dataclass(frozen=True, slots=True)
class SubjectAdd(Edit):
    """Add an object.

    Attributes:
        cell: where; beside another object, the nearest of the right cells if all went as asked so far.
        shape: what.
        color, material: as said; None where nothing is said and any will do.
        text: what a sign says.
        beside: the place as said by another object, None where the cell itself is named.
    """

    task: ClassVar[str] = "subject_add"
    adds: ClassVar[bool] = True
    needs_room: ClassVar[bool] = True

    cell: int
    shape: str
    color: str | None = None
    material: str | None = None
    text: str | None = field(default=None, metadata=SPARSE)
    beside: Beside | None = field(default=None, metadata=SPARSE)

    def apply(self, scene: Scene) -> Scene:
        """The scene with the object in place."""
        cell = self.edited_cell(scene)
        if cell is None:
            raise ValueError(f"{self.beside} has no free cell, expected room for the object to be added")
        new = SceneObject(self.shape, self.color or COLORS[0], self.material or MATERIALS[0], self.text)
        return scene.put(cell, new)

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        """The cell shows an object as described; an attribute that is free or not said may be anything.

        Beside another object, one of the right cells shows it and the others are as empty as before.
        """
        cell = self.edited_cell(before, after)
        color = None if "color" in free else self.color
        material = None if "material" in free else self.material
        described = Target(0, self.shape, color, material, text=self.text)
        return cell is not None and described.fits(after.cells[cell])

    def touched(self, before: Scene) -> frozenset[int]:
        """The one cell; beside another object, every right one."""
        return frozenset((self.cell,) if self.beside is None else self.beside.cells(before))

    def edited_cell(self, before: Scene, after: Scene | None = None) -> int | None:
        """The one cell; beside another object, the right cell that was filled."""
        return self.cell if self.beside is None else self.beside.landed(before, after)

    @property
    def act(self) -> str:
        """Places beside other objects have sentences of their own."""
        return self.task if self.beside is None else "subject_add_beside"

    def asked(self) -> Looks:
        """What is said of colour and material."""
        return {"color": self.color, "material": self.material}

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        """The new object and its place."""
        where = {"place": place(self.cell, grid)} if self.beside is None else self.beside.slots(grid)
        return {"new": new_object(self.shape, looks["color"], looks["material"], self.text), **where}

    def gives(self) -> Looks:
        """All looks of the new object."""
        return {"shape": self.shape, "color": self.color, "material": self.material}

    def open_looks(self) -> tuple[str, ...]:
        """Colour and material where they are not said; a sign has no material."""
        names = ("color",) if self.text is not None else ("color", "material")
        return tuple(name for name in names if getattr(self, name) is None)

    def placements(self, before: Scene) -> Iterator[Edit]:
        """Each right cell beside the other object."""
        cells = self.left_cells(before)
        yield from (replace(self, cell=cell, beside=None) for cell in cells)
        if not cells:
            yield self

    def left_cells(self, before: Scene) -> tuple[int, ...]:
        """The right cells beside another object; none where the cell is named."""
        return () if self.beside is None else self.beside.cells(before)

    def left_open(self, before: Scene) -> frozenset[int]:
        """The right cells, where there is more than one."""
        cells = self.left_cells(before)
        return frozenset(cells) if len(cells) > 1 else frozenset()

    def focus(self, cell: int, looks: Mapping[str, str]) -> Target | None:
        """The new object."""
        said = {**self.asked(), **looks}
        return Target(cell, self.shape, said["color"], said["material"], text=self.text)

    def added_after(self, before: Scene, added: Added) -> Added:
        """One more."""
        return (*added, (self.shape, None if self.beside else self.cell))

    def filled_cell(self) -> int | None:
        """The cell, where it is named."""
        return self.cell if self.beside is None else None

    @classmethod
    def sample(cls, state: DialogueState, rng: Rng, refer: bool) -> Request | None:
        """An object in a named, empty cell, or "there"."""
        empty = state.room()
        if not empty or len(state.scene.occupied()) >= MOST_OBJECTS:
            return None
        there = refer and state.vacated is not None
        cell = state.vacated if there and state.vacated is not None else rng.pick(empty)
        shape = rng.pick(SHAPES)
        edit = SubjectAdd(cell, shape, **sample_looks(state, rng, shape))
        return Request(edit, "subject_add_there", "there") if there else Request(edit, "subject_add")

    @classmethod
    def sample_beside(cls, state: DialogueState, rng: Rng, refer: bool) -> Request | None:
        """An object beside one that is there."""
        beside = sample_beside(state, rng)
        if beside is None or len(state.scene.occupied()) >= MOST_OBJECTS:
            return None
        cell = beside.cells(state.scene)[0]
        shape = rng.pick(SHAPES)
        edit = SubjectAdd(cell, shape, **sample_looks(state, rng, shape), beside=beside)
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
        """Objects in named cells, beside others, and signs."""
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

    @classmethod
    def operation_words(cls, operation: Operation, grid: int) -> str:
        """Its place and looks."""
        return f"{cls.task} in {place(operation.cell, grid)}: {' '.join(operation.looks.values())}".rstrip(
            ": "
        )
