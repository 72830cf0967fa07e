"""subject_add: a new object or sign in an empty cell, named ("there") or beside another object.

Beside it, what edits that fill a place or leave a new object have in common.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from editenv.worlds.studio.dialogue import MOST_OBJECTS, Context, DialogueState, Request, sample_beside, sample_looks
from editenv.worlds.studio.edit import Added, Edit, Looks, Operation, Sampler
from editenv.worlds.studio.noun_phrases import SPARSE, Beside, Target, new_looks, new_object, place
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.scene import COLORS, MATERIALS, SHAPES, SIGN, TEXTS, Scene, SceneObject, object_with


class EditOfPlace(Edit):
    """An edit that puts an object into a place."""

    __slots__ = ()
    cell: int  # where; beside another object, the nearest of the right cells if all went as asked so far
    beside: Beside | None  # the place as said by another object, None where the cell itself is named

    @property
    def act(self) -> str:
        """Places said by another object have sentences of their own."""
        return self.task if self.beside is None else f"{self.task}_beside"

    def right_cells(self, before: Scene) -> tuple[int, ...]:
        """The cells that are right; none where an object beside which it shall be cannot be told."""
        return (self.cell,) if self.beside is None else self.beside.cells(before)

    def edited_cell(self, before: Scene, after: Scene | None = None) -> int | None:
        """The named cell; beside another object, the right cell that was filled."""
        return self.cell if self.beside is None else self.beside.landed(before, after)

    def placements(self, before: Scene) -> Iterator[Edit]:
        cells = () if self.beside is None else self.beside.cells(before)
        yield from (replace(self, cell=cell, beside=None) for cell in cells)  # type: ignore[type-var]
        if not cells:
            yield self

    def left_open(self, before: Scene) -> frozenset[int]:
        cells = self.right_cells(before)
        return frozenset(cells) if len(cells) > 1 else frozenset()

    def filled_cell(self) -> int | None:
        return self.cell if self.beside is None else None

    def place_slots(self, grid: int) -> dict[str, str]:
        return {"relation": self.beside.words(grid)} if self.beside else {"place": place(self.cell, grid)}


class EditToNewObject(Edit):
    """An edit that leaves a new object."""

    __slots__ = ()
    shape: str  # what
    color: str | None  # as said; None where nothing is said and any will do
    material: str | None
    text: str | None  # what a sign says

    def new_object(self) -> SceneObject:
        """The object; looks that are not said take the first value."""
        return SceneObject(self.shape, self.color or COLORS[0], self.material or MATERIALS[0], self.text)

    def describes(self, obj: SceneObject | None, free: frozenset[str]) -> bool:
        """Is it as described? An attribute that is free or not said may be anything."""
        color, material = (None if n in free else getattr(self, n) for n in ("color", "material"))
        return Target(0, self.shape, color, material, text=self.text).fits(obj)

    def gives(self) -> Looks:
        return {"shape": self.shape, "color": self.color, "material": self.material}

    def open_looks(self) -> tuple[str, ...]:
        """Colour and material where they are not said; a sign has no material."""
        names = ("color",) if self.text is not None else ("color", "material")
        return tuple(name for name in names if getattr(self, name) is None)

    def focus(self, cell: int, looks: Mapping[str, str]) -> Target | None:
        return Target(cell, self.shape, text=self.text, **{**self.asked(), **looks})

    def new_slots(self, looks: Looks) -> dict[str, str]:
        return {"new": new_object(self.shape, looks["color"], looks["material"], self.text)}


@dataclass(frozen=True, slots=True)
class SubjectAdd(EditOfPlace, EditToNewObject):
    """Add an object; its fields are those of `EditOfPlace` and `EditToNewObject`."""

    task: ClassVar[str] = "subject_add"
    acts: ClassVar[tuple[str, ...]] = ("subject_add_there", "subject_add_beside")
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
        """The cell shows an object as described; beside another one, a right cell does and no other is filled."""
        cell = self.edited_cell(before, after)
        return cell is not None and self.describes(after.cells[cell], free)

    def touched(self, before: Scene) -> frozenset[int]:
        return frozenset(self.right_cells(before))

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        return self.new_slots(looks) | self.place_slots(grid)

    @classmethod
    def read(cls, slots: Mapping[str, str], context: Context) -> list[Edit]:
        looks = new_looks(slots["new"])
        return [cls(cell, **looks, beside=beside) for cell, beside in context.places(slots)] if looks else []

    def added_after(self, before: Scene, added: Added) -> Added:
        return (*added, (self.shape, self.filled_cell()))

    @classmethod
    def sample(cls, state: DialogueState, rng: Rng, refer: bool) -> Request | None:
        """An object in a named, empty cell, or "there"."""
        empty = state.room()
        if not empty or len(state.scene.occupied()) >= MOST_OBJECTS:
            return None
        there = state.vacated if refer else None
        cell = rng.pick(empty) if there is None else there
        shape = rng.pick(SHAPES)
        edit = cls(cell, shape, **sample_looks(state, rng, shape))
        return Request(edit) if there is None else Request(edit, "there", "subject_add_there")

    @classmethod
    def sample_beside(cls, state: DialogueState, rng: Rng, refer: bool) -> Request | None:
        beside = sample_beside(state, rng)
        if beside is None or len(state.scene.occupied()) >= MOST_OBJECTS:
            return None
        shape = rng.pick(SHAPES)
        return Request(cls(beside.cells(state.scene)[0], shape, **sample_looks(state, rng, shape), beside=beside))

    @classmethod
    def sample_sign(cls, state: DialogueState, rng: Rng, refer: bool) -> Request | None:
        room = state.room()
        if not room or len(state.scene.occupied()) >= MOST_OBJECTS or state.demanded("material"):
            return None
        color = sample_looks(state, rng)["color"]
        return Request(cls(rng.pick(room), SIGN, color, text=rng.pick(TEXTS)))

    @classmethod
    def samplers(cls) -> dict[str, Sampler]:
        return {cls.task: cls.sample, "subject_add_beside": cls.sample_beside, "subject_add_sign": cls.sample_sign}

    @classmethod
    def operate(cls, operation: Operation, scene: Scene, earlier: Scene | None) -> Scene | None:
        new = object_with(operation.looks)
        return None if new is None or scene.cells[operation.cell] else scene.put(operation.cell, new)
