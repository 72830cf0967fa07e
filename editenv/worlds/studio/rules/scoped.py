"""A demand that covers added objects of one shape only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from editenv.worlds.studio.dialogue import Context, DialogueState
from editenv.worlds.studio.edit import Edit, Looks
from editenv.worlds.studio.noun_phrases import attribute_of
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.rule import Allowed, Rule, sample_look, sample_new
from editenv.worlds.studio.rules.limit import LimitAlike
from editenv.worlds.studio.scene import SHAPES
from editenv.worlds.studio.tasks import CountChange, SubjectAdd, SubjectReplace


@dataclass(frozen=True, slots=True)
class ScopedRule(Rule):
    """As in "every square you add must be striped".

    It covers `subject_add` of that shape; what is there already, or is put in the place of something else, is not
    added. `attribute` is "color" or "material".
    """

    family: ClassVar[str] = "scoped"
    act: ClassVar[str] = "rule_scoped"
    forbids: ClassVar[bool] = False

    shape: str
    attribute: str
    value: str

    def looks(self, edit: Edit) -> Looks:
        added = isinstance(edit, SubjectAdd) and edit.shape == self.shape
        return {self.attribute: self.value} if added else {}

    def overrides(self, earlier: Rule) -> bool:
        """One about the same attribute of the same shape."""
        about = (self.shape, self.attribute)
        return isinstance(earlier, ScopedRule) and (earlier.shape, earlier.attribute) == about

    def slots(self, grid: int) -> dict[str, str]:
        return {"shape": self.shape, "value": self.value, "rule": f"the {self.value} {self.shape} rule"}

    @classmethod
    def read(cls, slots: Mapping[str, str], context: Context) -> list[Rule]:
        attribute = attribute_of(slots["value"])
        return [cls(slots["shape"], attribute, slots["value"])] if attribute else []

    def demands(self, attribute: str, added: str | None) -> str | None:
        return self.value if (attribute, added) == (self.attribute, self.shape) else None

    def is_unclear(self, edit: Edit, state: DialogueState) -> bool:
        """Objects of the shape that come, but not by being added."""
        return isinstance(edit, CountChange | SubjectReplace) and edit.shape == self.shape

    @classmethod
    def sample(cls, state: DialogueState, rng: Rng, allowed: Allowed) -> Rule | None:
        """A value for new objects of a shape; none where all objects must differ."""
        if any(isinstance(rule, LimitAlike) for rule in state.rules):
            return None
        return sample_new(lambda: cls(rng.pick(SHAPES), *sample_look(rng)), state, allowed)
