"""color_alter and material_alter: one attribute of an object changes, the rest of it stays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from editenv.worlds.studio.dialogue import Context, DialogueState, Request, sample_object
from editenv.worlds.studio.edit import Edit, EditOfTarget, Looks, same_but
from editenv.worlds.studio.noun_phrases import Target
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.scene import COLORS, MATERIALS, Scene

_OPEN = 0.4  # chance that the value is left open where a rule forbids some


@dataclass(frozen=True, slots=True)
class AttributeAlter(EditOfTarget):
    """Change one attribute of `target` to `value`, or to any other where value is None."""

    attribute: ClassVar[str]
    values: ClassVar[tuple[str, ...]]
    acts: ClassVar[tuple[str, ...]] = ("alter_open", "alter_its")

    target: Target
    value: str | None = None

    def apply(self, scene: Scene) -> Scene:
        old = scene.cells[self.target.cell]
        if old is None:
            raise ValueError(f"cell {self.target.cell} is empty, expected the object to be altered")
        value = self.value or self.choices(self.attribute, scene)[0]
        return scene.put(self.target.cell, old.with_looks({self.attribute: value}))

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        """The attribute is as said (or differs, where nothing is said), and the others are as before."""
        cell = self.target.find(before)
        old, new = (None, None) if cell is None else (before.cells[cell], after.cells[cell])
        if old is None or new is None or not same_but(old, new, free | {self.attribute}):
            return False
        shown = getattr(new, self.attribute)
        return bool(shown == self.value if self.value else shown != getattr(old, self.attribute))

    def asked(self) -> Looks:
        return {"color": None, "material": None} | {self.attribute: self.value}

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        return {"old": self.target.words(grid), "value": self.value or "", "attribute": self.attribute}

    @classmethod
    def read(cls, slots: Mapping[str, str], context: Context) -> list[Edit]:
        value = slots.get("value")
        if slots.get("attribute", cls.attribute) != cls.attribute or value not in (None, *cls.values):
            return []
        return context.of_each(lambda target: cls(target, value), slots.get("old", "it"))

    def gives(self) -> Looks:
        return {self.attribute: self.value}

    def choices(self, attribute: str, before: Scene) -> Sequence[str]:
        """All values but the one that is there."""
        now = getattr(before.cells[self.target.cell], attribute, None)
        return [value for value in self.values if value != now]

    def choosing(self, looks: Mapping[str, Any]) -> Edit:
        return replace(self, value=looks[self.attribute])

    @classmethod
    def sample(cls, state: DialogueState, rng: Rng, refer: bool) -> Request | None:
        """Another value, one that a rule gives, "its" value, or "the same" as in the last turn."""
        last = state.last
        again = refer and isinstance(last, cls) and rng.chance(0.5)
        found = sample_object(state, rng, refer and not again)
        obj = None if found is None else state.scene.cells[found[0].cell]
        if found is None or obj is None or (obj.text is not None and cls.attribute == "material"):
            return None
        target, reference = found
        ruled = state.demanded(cls.attribute)
        if again and isinstance(last, cls):  # what was done to one object; never what a rule stated since forbids
            value = last.value or ruled
            another = (
                ruled in (None, value) and target.cell != last.target.cell and getattr(obj, cls.attribute) != value
            )
            return Request(replace(last, target=target), "same", "same") if another else None
        value = ruled or rng.pick(cls.values)
        if value == getattr(obj, cls.attribute):
            return None
        edit = cls(target, None if ruled else value)
        if reference == "it" and not ruled and state.pointing and rng.chance(0.5):
            return Request(edit, "its", "alter_its")
        restricted = any(rule.restricts(cls.attribute) for rule in state.bound)
        if not ruled and restricted and rng.chance(_OPEN):
            return Request(cls(target), reference, "alter_open")
        return Request(edit, reference, "alter_open" if ruled else None)


@dataclass(frozen=True, slots=True)
class ColorAlter(AttributeAlter):
    """Change the colour of `target` to `value`, or to any other where value is None."""

    task: ClassVar[str] = "color_alter"
    attribute: ClassVar[str] = "color"
    needs_attribute: ClassVar[str | None] = "color"
    values: ClassVar[tuple[str, ...]] = COLORS


@dataclass(frozen=True, slots=True)
class MaterialAlter(AttributeAlter):
    """Change the material of `target` to `value`, or to any other where value is None."""

    task: ClassVar[str] = "material_alter"
    attribute: ClassVar[str] = "material"
    needs_attribute: ClassVar[str | None] = "material"
    values: ClassVar[tuple[str, ...]] = MATERIALS
