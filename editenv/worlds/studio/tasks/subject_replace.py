"""subject_replace: another object in the place of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from editenv.worlds.studio.dialogue import DialogueState, Request
from editenv.worlds.studio.edit import Added, EditOfTarget, Looks, Operation, with_new_looks
from editenv.worlds.studio.noun_phrases import SPARSE, Target, new_object
from editenv.worlds.studio.references import sample_looks, sample_object
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.scene import COLORS, MATERIALS, SHAPES, Scene, SceneObject


@dataclass(frozen=True, slots=True)
class SubjectReplace(EditOfTarget):
    """Replace an object.

    Attributes:
        target: which.
        shape: by what.
        color, material: as said; None where nothing is said and any will do.
        text: what a sign says.
    """

    task: ClassVar[str] = "subject_replace"
    needs_attribute: ClassVar[str | None] = "shape"

    target: Target
    shape: str
    color: str | None = None
    material: str | None = None
    text: str | None = field(default=None, metadata=SPARSE)

    def apply(self, scene: Scene) -> Scene:
        """The scene with the new object in the old one's place."""
        new = SceneObject(self.shape, self.color or COLORS[0], self.material or MATERIALS[0], self.text)
        return scene.put(self.target.cell, new)

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        """The old object was there and its cell shows the new one."""
        cell = self.target.find(before)
        if cell is None:
            return False
        color = None if "color" in free else self.color
        material = None if "material" in free else self.material
        return Target(cell, self.shape, color, material, text=self.text).fits(after.cells[cell])

    def asked(self) -> Looks:
        """What is said of the new object's colour and material."""
        return {"color": self.color, "material": self.material}

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        """Both objects."""
        new = new_object(self.shape, looks["color"], looks["material"], self.text)
        return {"old": self.target.words(grid), "new": new}

    def gives(self) -> Looks:
        """All looks of the new object."""
        return {"shape": self.shape, "color": self.color, "material": self.material}

    def open_looks(self) -> tuple[str, ...]:
        """Colour and material where they are not said; a sign has no material."""
        names = ("color",) if self.text is not None else ("color", "material")
        return tuple(name for name in names if getattr(self, name) is None)

    def focus(self, cell: int, looks: Mapping[str, str]) -> Target | None:
        """The new object."""
        said = {**self.asked(), **looks}
        return Target(cell, self.shape, said["color"], said["material"], text=self.text)

    def added_after(self, before: Scene, added: Added) -> Added:
        """Without the old object; the new one was not added."""
        return tuple((shape, None if cell == self.target.cell else cell) for shape, cell in added)

    @classmethod
    def sample(cls, state: DialogueState, rng: Rng, refer: bool) -> Request | None:
        """An object of another shape in place of one."""
        found = sample_object(state, rng, refer)
        if found is None:
            return None
        old = state.scene.cells[found[0].cell]
        shape = rng.pick(SHAPES)
        if old is not None and old.shape == shape:
            return None
        edit = SubjectReplace(found[0], shape, **sample_looks(state, rng))
        return Request(edit, "subject_replace", found[1])

    @classmethod
    def operate(cls, operation: Operation, scene: Scene, earlier: Scene | None) -> Scene | None:
        """New looks, the shape among them, for one or two objects."""
        return with_new_looks(scene, operation.cells, operation.looks) if "shape" in operation.looks else None
