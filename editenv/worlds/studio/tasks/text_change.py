"""text_change: a sign says something else."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from editenv.worlds.studio.dialogue import Context, DialogueState, Request, describe, sample_object
from editenv.worlds.studio.edit import Edit, EditOfTarget, Looks, same_but
from editenv.worlds.studio.noun_phrases import Target
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.scene import TEXTS, Scene


@dataclass(frozen=True, slots=True)
class TextChange(EditOfTarget):
    """Change what the sign `target` says to `text`; its colour and place stay."""

    task: ClassVar[str] = "text_change"
    needs_attribute: ClassVar[str | None] = "text"

    target: Target
    text: str

    def apply(self, scene: Scene) -> Scene:
        old = scene.cells[self.target.cell]
        if old is None or old.text is None:
            raise ValueError(f"cell {self.target.cell} holds {old}, expected the sign to be altered")
        return scene.put(self.target.cell, replace(old, text=self.text))

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        """The sign said something else, says what is asked for, and is as before in all other respects."""
        cell = self.target.find(before)
        old, new = (None, None) if cell is None else (before.cells[cell], after.cells[cell])
        if old is None or new is None or not same_but(old, new, free | {"text"}):
            return False
        return old.text is not None and old.text != self.text == new.text

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        return {"old": self.target.words(grid), "text": self.text}

    @classmethod
    def read(cls, slots: Mapping[str, str], context: Context) -> list[Edit]:
        text = slots["text"]
        return [cls(target, text) for target in context.objects(slots["old"])] if text in TEXTS else []

    def focus(self, cell: int, looks: Mapping[str, str]) -> Target | None:
        return replace(self.target, cell=cell, placed=False, **{"text": self.text, **looks})

    @classmethod
    def sample(cls, state: DialogueState, rng: Rng, refer: bool) -> Request | None:
        if refer:
            found = sample_object(state, rng, refer=True)
        else:
            signs = [cell for cell, obj in enumerate(state.scene.cells) if obj and obj.text is not None]
            sign = describe(state, rng, rng.pick(signs)) if signs else None
            found = None if sign is None else (sign, None)
        obj = None if found is None else state.scene.cells[found[0].cell]
        if found is None or obj is None or obj.text is None:
            return None
        return Request(cls(found[0], rng.pick([text for text in TEXTS if text != obj.text])), found[1])
