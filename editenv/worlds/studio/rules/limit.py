"""How many objects there may be: in all (limit), or of one look (limit_alike)."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from editenv.worlds.studio.dialogue import Context, DialogueState
from editenv.worlds.studio.edit import Edit
from editenv.worlds.studio.noun_phrases import NUMBERS
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.rule import Allowed, Rule
from editenv.worlds.studio.rules.avoid import may_bring_look
from editenv.worlds.studio.scene import Scene
from editenv.worlds.studio.tasks import CountChange


@dataclass(frozen=True, slots=True)
class LimitCount(Rule):
    """As in "never more than four objects"; `most` is 1 to 9."""

    family: ClassVar[str] = "limit"
    act: ClassVar[str] = "rule_limit"

    most: int

    def covers(self, edit: Edit, before: Scene) -> bool:
        """Additions for which there is no room left; asking for fewer objects of a kind adds none."""
        more = edit.objects_added(before)
        return more > 0 and len(before.occupied()) + more > self.most

    def breaks(self, edit: Edit, before: Scene, after: Scene) -> bool:
        """There are more objects than allowed, and more than before; what cannot be read counts as one."""
        return len(after.occupied()) > max(self.most, len(before.occupied()))

    def overrides(self, earlier: Rule) -> bool:
        return isinstance(earlier, LimitCount)

    def slots(self, grid: int) -> dict[str, str]:
        return {"count": NUMBERS[self.most], "rule": f"the rule about {NUMBERS[self.most]} objects"}

    @classmethod
    def read(cls, slots: Mapping[str, str], context: Context) -> list[Rule]:
        return [cls(NUMBERS.index(slots["count"]))] if slots["count"] in NUMBERS[1:] else []

    def is_unclear(self, edit: Edit, state: DialogueState) -> bool:
        """How many a count_change adds depends on what was left to the agent."""
        return bool(state.vague) and isinstance(edit, CountChange)

    @classmethod
    def sample(cls, state: DialogueState, rng: Rng, allowed: Allowed) -> Rule | None:
        """As many objects as there are, or one more."""
        most = len(state.scene.occupied()) + rng.below(2)
        return cls(most) if 2 <= most < len(NUMBERS) and not state.loose else None


@dataclass(frozen=True, slots=True)
class LimitAlike(Rule):
    """As in "no two objects of one colour"; `attribute` is "color", "material" or "shape"."""

    family: ClassVar[str] = "limit_alike"
    act: ClassVar[str] = "rule_limit_alike"

    attribute: str

    def covers(self, edit: Edit, before: Scene) -> bool:
        """Edits that give an object a look of this kind."""
        return self.attribute in edit.gives()

    def breaks(self, edit: Edit, before: Scene, after: Scene) -> bool:
        return self.doubles(after) > self.doubles(before)

    def doubles(self, scene: Scene) -> int:
        """How many objects share their look with one counted before them."""
        looks = Counter(getattr(obj, self.attribute) for obj in scene.cells if obj is not None)
        return sum(looks.values()) - len(looks)

    def slots(self, grid: int) -> dict[str, str]:
        return {"attribute": self.attribute, "rule": f"the rule about one {self.attribute}"}

    @classmethod
    def read(cls, slots: Mapping[str, str], context: Context) -> list[Rule]:
        return [cls(slots["attribute"])]

    def restricts(self, attribute: str) -> bool:
        return attribute == self.attribute

    def is_unclear(self, edit: Edit, state: DialogueState) -> bool:
        """What is left to the agent, or demanded by another rule of what is moved, may make a double."""
        return may_bring_look(self, edit, state)

    @classmethod
    def sample(cls, state: DialogueState, rng: Rng, allowed: Allowed) -> Rule | None:
        """An attribute in which all objects differ now, and of which no other rule speaks."""
        if state.vague or any(hasattr(rule, "attribute") for rule in state.rules):
            return None
        names = [name for name in ("color", "shape") if not cls(name).doubles(state.scene)]
        return cls(rng.pick(names)) if names else None
