"""subject_replace: another object in the place of one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from editenv.worlds.studio.dialogue import Context, DialogueState, Request, sample_looks, sample_object
from editenv.worlds.studio.edit import Added, Edit, EditOfTarget, Looks
from editenv.worlds.studio.noun_phrases import SPARSE, Target, new_looks
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.scene import SHAPES, Scene
from editenv.worlds.studio.tasks.subject_add import EditToNewObject
from editenv.worlds.studio.tasks.subject_remove import without


@dataclass(frozen=True, slots=True)
class SubjectReplace(EditToNewObject, EditOfTarget):
    """Replace the object `target` by the one of which the other fields speak, as in `EditToNewObject`."""

    task: ClassVar[str] = "subject_replace"
    needs_attribute: ClassVar[str | None] = "shape"

    target: Target
    shape: str
    color: str | None = None
    material: str | None = None
    text: str | None = field(default=None, metadata=SPARSE)

    def apply(self, scene: Scene) -> Scene:
        return scene.put(self.target.cell, self.new_object())

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        cell = self.target.find(before)
        return cell is not None and self.describes(after.cells[cell], free)

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        return {"old": self.target.words(grid)} | self.new_slots(looks)

    @classmethod
    def read(cls, slots: Mapping[str, str], context: Context) -> list[Edit]:
        looks = new_looks(slots["new"])
        return [cls(target, **looks) for target in context.objects(slots["old"])] if looks else []

    def added_after(self, before: Scene, added: Added) -> Added:
        """Without the old object; the new one was not added."""
        return without(added, self.target.cell)

    @classmethod
    def sample(cls, state: DialogueState, rng: Rng, refer: bool) -> Request | None:
        found = sample_object(state, rng, refer)
        if found is None:
            return None
        old = state.scene.cells[found[0].cell]
        shape = rng.pick(SHAPES)
        if old is not None and old.shape == shape:
            return None
        return Request(cls(found[0], shape, **sample_looks(state, rng)), found[1])
