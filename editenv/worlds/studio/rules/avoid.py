"""A colour or material that must not be used again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from editenv.worlds.studio.dialogue import Context, DialogueState
from editenv.worlds.studio.edit import Edit
from editenv.worlds.studio.noun_phrases import attribute_of
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.rule import Allowed, Rule, sample_look, sample_new
from editenv.worlds.studio.scene import Scene, SceneObject
from editenv.worlds.studio.tasks import CountChange, PositionChange


@dataclass(frozen=True, slots=True)
class AvoidLook(Rule):
    """As in "do not use blue again". What is blue already may stay, be moved and be changed in other ways."""

    family: ClassVar[str] = "avoid"
    act: ClassVar[str] = "rule_avoid"

    attribute: str
    value: str

    def covers(self, edit: Edit, before: Scene) -> bool:
        """Edits that give an object a look of this kind: one that is named and forbidden, or left open."""
        return edit.gives().get(self.attribute, "") in (None, self.value)

    def breaks(self, edit: Edit, before: Scene, after: Scene) -> bool:
        """An object shows the value that did not show it before, or stands where another one did."""
        moved = set()  # where an object with the look was moved to, which takes it along
        for part in edit.single_edits():
            source = part.target.find(before) if isinstance(part, PositionChange) else None
            if source is not None and self._shown(before.cells[source]):
                moved.add(part.edited_cell(before, after))
        for cell, (old, new) in enumerate(zip(before.cells, after.cells, strict=True)):
            if new is None or cell in moved or not self._shown(new):
                continue
            if old is None or not self._shown(old) or old.shape != new.shape:
                return True
        return False

    def _shown(self, obj: SceneObject | None) -> bool:
        return bool(obj is not None and getattr(obj, self.attribute) == self.value)

    def overrides(self, earlier: Rule) -> bool:
        """A demand for just this look, and the same once more."""
        if earlier.family in ("attribute", "scoped"):
            demanded = (getattr(earlier, "attribute", None), getattr(earlier, "value", None))
            return demanded == (self.attribute, self.value)
        return earlier == self

    def slots(self, grid: int) -> dict[str, str]:
        return {"value": self.value, "rule": f"the rule about {self.value}"}

    @classmethod
    def read(cls, slots: Mapping[str, str], context: Context) -> list[Rule]:
        attribute = attribute_of(slots["value"])
        return [cls(attribute, slots["value"])] if attribute else []

    def restricts(self, attribute: str) -> bool:
        return attribute == self.attribute

    def is_unclear(self, edit: Edit, state: DialogueState) -> bool:
        """What is left to the agent, or demanded by another rule of what is moved, may show the look."""
        return may_bring_look(self, edit, state)

    @classmethod
    def sample(cls, state: DialogueState, rng: Rng, allowed: Allowed) -> Rule | None:
        """A look that is not wanted any more; another one stays possible."""
        rule = sample_new(lambda: cls(*sample_look(rng)), state, allowed)
        taken = [r for r in state.rules if isinstance(r, AvoidLook) and r.attribute == rule.attribute]
        return rule if len(taken) < 2 else None


def may_bring_look(rule: Rule, edit: Edit, state: DialogueState) -> bool:
    """Could a count_change, whose objects are left to the agent, or a move show what a rule forbids?"""
    if isinstance(edit, CountChange):
        return True
    return isinstance(edit, PositionChange) and rule.breaks(edit, state.scene, edit.apply(state.scene))
