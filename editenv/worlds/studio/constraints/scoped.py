"""A demand that covers added objects of one shape only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from editenv.worlds.studio.constraints.attribute import lacks_looks
from editenv.worlds.studio.constraints.base import Rule
from editenv.worlds.studio.edits import Edit, SubjectAdd
from editenv.worlds.studio.edits.base import Looks
from editenv.worlds.studio.scene import Scene


@dataclass(frozen=True, slots=True)
class ScopedRule:
    """As in "every square you add must be striped".

    It covers `subject_add` of that shape; what is there already, or is put in the place of something else, is
    not added.

    Attributes:
        shape: of the objects that it covers.
        attribute: "color" or "material".
        value: a word of COLORS or MATERIALS.
    """

    family: ClassVar[str] = "scoped"
    act: ClassVar[str] = "rule_scoped"
    forbids: ClassVar[bool] = False

    shape: str
    attribute: str
    value: str

    def covers(self, edit: Edit, before: Scene) -> bool:
        """Additions of the shape."""
        return bool(self.looks(edit))

    def looks(self, edit: Edit) -> Looks:
        """The one value."""
        added = isinstance(edit, SubjectAdd) and edit.shape == self.shape
        return {self.attribute: self.value} if added else {}

    def breaks(self, edit: Edit, before: Scene, after: Scene) -> bool:
        """The added object does not show the value."""
        return self.covers(edit, before) and lacks_looks(self.looks(edit), edit, before, after)

    def overrides(self, earlier: Rule) -> bool:
        """One about the same attribute of the same shape."""
        return isinstance(earlier, ScopedRule) and (earlier.shape, earlier.attribute) == (
            self.shape,
            self.attribute,
        )

    def slots(self, grid: int) -> dict[str, str]:
        """Shape and value."""
        return {"shape": self.shape, "value": self.value, "rule": f"the {self.value} {self.shape} rule"}
