"""An object that must stay exactly as it is, whatever is asked later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from editenv.worlds.studio.constraints.base import Rule
from editenv.worlds.studio.edits import Edit, Target
from editenv.worlds.studio.edits.base import Looks
from editenv.worlds.studio.scene import Scene


@dataclass(frozen=True, slots=True)
class Protect:
    """As in "never touch the star, whatever I say later".

    As nobody may move it, the object is known by its cell and shape; where an earlier mistake has put
    something of another shape there, nothing is protected any more.

    Attributes:
        target: the object; its words are the rule's.
    """

    family: ClassVar[str] = "protect"
    act: ClassVar[str] = "rule_protect"
    forbids: ClassVar[bool] = True

    target: Target

    def covers(self, edit: Edit, before: Scene) -> bool:
        """Edits of that very object."""
        return self._is_there(before) and self.target.cell in edit.touched(before)

    def looks(self, edit: Edit) -> Looks:
        """None."""
        return {}

    def breaks(self, edit: Edit, before: Scene, after: Scene) -> bool:
        """The object is not what it was before this turn; one that cannot be read is not."""
        return self._is_there(before) and after.cells[self.target.cell] != before.cells[self.target.cell]

    def overrides(self, earlier: Rule) -> bool:
        """The same once more."""
        return isinstance(earlier, Protect) and earlier.target.cell == self.target.cell

    def slots(self, grid: int) -> dict[str, str]:
        """The object."""
        words = self.target.words(grid)
        return {"old": words, "rule": f"the rule for {words}"}

    def _is_there(self, before: Scene) -> bool:
        thing = before.cells[self.target.cell]
        return thing is not None and self.target.shape in (None, thing.shape)
