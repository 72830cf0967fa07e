"""subject_remove: an object disappears, its cell shows the bare background."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from editenv.worlds.studio.dialogue import Context, DialogueState, Request, sample_object
from editenv.worlds.studio.edit import Added, Edit, EditOfTarget, Operation
from editenv.worlds.studio.noun_phrases import Target
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.scene import Scene


@dataclass(frozen=True, slots=True)
class SubjectRemove(EditOfTarget):
    """Remove the object `target`."""

    task: ClassVar[str] = "subject_remove"
    operation_words: ClassVar[str] = "{task} in {cells}"
    covered_by_rules: ClassVar[bool] = False
    needs_attribute: ClassVar[str | None] = "shape"

    target: Target

    def apply(self, scene: Scene) -> Scene:
        return scene.put(self.target.cell, None)

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        cell = self.target.find(before)
        return cell is not None and after.cells[cell] is None

    def edited_cell(self, before: Scene, after: Scene | None = None) -> int | None:
        return None

    @classmethod
    def read(cls, slots: Mapping[str, str], context: Context) -> list[Edit]:
        return context.of_each(cls, slots["old"])

    def added_after(self, before: Scene, added: Added) -> Added:
        return without(added, self.target.cell)

    def emptied_cell(self, stated: frozenset[int]) -> int | None:
        """The object's cell, where the text names it."""
        cell = self.target.cell
        return cell if self.target.placed or cell in stated else None

    @classmethod
    def sample(cls, state: DialogueState, rng: Rng, refer: bool) -> Request | None:
        """Any object, as long as one stays."""
        found = sample_object(state, rng, refer)
        return Request(cls(found[0]), found[1]) if found and len(state.scene.occupied()) > 1 else None

    @classmethod
    def operate(cls, operation: Operation, scene: Scene, earlier: Scene | None) -> Scene | None:
        if any(scene.cells[cell] is None for cell in operation.cells):
            return None
        for cell in operation.cells:
            scene = scene.put(cell, None)
        return scene


def without(added: Added, cell: int) -> Added:
    """The added objects, less the one of a cell, which is gone."""
    return tuple((shape, None if at == cell else at) for shape, at in added)
