"""Every object that is added or changed must have one value of one attribute (MICE-Bench's CM)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from editenv.worlds.studio.dialogue import Context, DialogueState
from editenv.worlds.studio.edit import Edit, Looks
from editenv.worlds.studio.noun_phrases import attribute_of
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.rule import Allowed, Rule, sample_look, sample_new
from editenv.worlds.studio.rules.avoid import AvoidLook
from editenv.worlds.studio.rules.limit import LimitAlike
from editenv.worlds.studio.scene import SIGN
from editenv.worlds.studio.tasks import TextChange


@dataclass(frozen=True, slots=True)
class AttributeRule(Rule):
    """As in "from now on everything you add or change must be red"; `attribute` is "color" or "material".

    It covers the object that the turn edits and nothing else; removals and backgrounds are exempt, and so are signs
    from rules about materials: they have none.
    """

    family: ClassVar[str] = "attribute"
    act: ClassVar[str] = "rule_attribute"
    forbids: ClassVar[bool] = False

    attribute: str
    value: str

    def looks(self, edit: Edit) -> Looks:
        """The value, of whatever adds or changes an object that has the attribute."""
        if self.attribute == "material":
            shape = getattr(edit, "shape", None) or getattr(getattr(edit, "target", None), "shape", None)
            if shape == SIGN or isinstance(edit, TextChange):
                return {}
        return {self.attribute: self.value} if edit.covered_by_rules else {}

    def overrides(self, earlier: Rule) -> bool:
        """Every rule that demands another value of the attribute, or forbids this one."""
        if earlier.family in ("attribute", "scoped"):
            return getattr(earlier, "attribute", None) == self.attribute
        return earlier == AvoidLook(self.attribute, self.value)

    def slots(self, grid: int) -> dict[str, str]:
        return {"value": self.value, "rule": f"the {self.value} rule"}

    @classmethod
    def read(cls, slots: Mapping[str, str], context: Context) -> list[Rule]:
        attribute = attribute_of(slots["value"])
        return [cls(attribute, slots["value"])] if attribute else []

    def demands(self, attribute: str, added: str | None) -> str | None:
        return self.value if attribute == self.attribute else None

    @classmethod
    def sample(cls, state: DialogueState, rng: Rng, allowed: Allowed) -> Rule | None:
        """A value that is not the rule already; none where all objects must differ."""
        if any(isinstance(rule, LimitAlike) for rule in state.rules):
            return None
        return sample_new(lambda: cls(*sample_look(rng)), state, allowed)
