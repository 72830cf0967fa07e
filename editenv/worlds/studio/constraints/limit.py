"""How many objects there may be, in all or of one look."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from editenv.worlds.studio.constraints.base import Rule
from editenv.worlds.studio.edits import (
    ColorAlter,
    CountChange,
    Edit,
    MaterialAlter,
    SubjectAdd,
    SubjectReplace,
)
from editenv.worlds.studio.edits.base import Looks
from editenv.worlds.studio.noun_phrases import NUMBERS
from editenv.worlds.studio.scene import Scene


@dataclass(frozen=True, slots=True)
class LimitCount:
    """As in "never more than four objects".

    Attributes:
        most: objects there may be, 1 to 9.
    """

    family: ClassVar[str] = "limit"
    act: ClassVar[str] = "rule_limit"
    forbids: ClassVar[bool] = True

    most: int

    def covers(self, edit: Edit, before: Scene) -> bool:
        """Additions for which there is no room left; asking for fewer objects of a kind adds none."""
        more = 1 if isinstance(edit, SubjectAdd) else 0
        if isinstance(edit, CountChange):
            more = edit.count - len(edit.cells(before))
        return more > 0 and len(before.occupied()) + more > self.most

    def looks(self, edit: Edit) -> Looks:
        """None."""
        return {}

    def breaks(self, edit: Edit, before: Scene, after: Scene) -> bool:
        """There are more objects than allowed, and more than before; what cannot be read counts as one."""
        return len(after.occupied()) > max(self.most, len(before.occupied()))

    def overrides(self, earlier: Rule) -> bool:
        """Another number."""
        return isinstance(earlier, LimitCount)

    def slots(self, grid: int) -> dict[str, str]:
        """The number as a word."""
        return {"count": NUMBERS[self.most], "rule": f"the rule about {NUMBERS[self.most]} objects"}


@dataclass(frozen=True, slots=True)
class LimitAlike:
    """As in "no two objects of one colour".

    Attributes:
        attribute: "color", "material" or "shape".
    """

    family: ClassVar[str] = "limit_alike"
    act: ClassVar[str] = "rule_limit_alike"
    forbids: ClassVar[bool] = True

    attribute: str

    def covers(self, edit: Edit, before: Scene) -> bool:
        """Edits that give an object a look of this kind."""
        if isinstance(edit, ColorAlter | MaterialAlter):
            return edit.attribute == self.attribute
        return isinstance(edit, SubjectAdd | SubjectReplace)

    def looks(self, edit: Edit) -> Looks:
        """None."""
        return {}

    def breaks(self, edit: Edit, before: Scene, after: Scene) -> bool:
        """There are more doubles than before this turn."""
        return self.doubles(after) > self.doubles(before)

    def overrides(self, earlier: Rule) -> bool:
        """The same once more."""
        return earlier == self

    def slots(self, grid: int) -> dict[str, str]:
        """The attribute."""
        return {"attribute": self.attribute, "rule": f"the rule about one {self.attribute}"}

    def doubles(self, scene: Scene) -> int:
        """How many objects share their look with one counted before them."""
        looks = Counter(getattr(thing, self.attribute) for thing in scene.cells if thing is not None)
        return sum(looks.values()) - len(looks)
