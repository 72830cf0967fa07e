"""A region of the grid that must stay empty."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from editenv.worlds.studio.dialogue import Context, DialogueState
from editenv.worlds.studio.edit import Edit
from editenv.worlds.studio.noun_phrases import REGIONS, region
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.rule import Allowed, Rule
from editenv.worlds.studio.scene import Scene


@dataclass(frozen=True, slots=True)
class KeepEmpty(Rule):
    """As in "keep the corners empty"; `where` is a word of REGIONS."""

    family: ClassVar[str] = "keep_empty"
    act: ClassVar[str] = "rule_keep_empty"

    where: str

    def covers(self, edit: Edit, before: Scene) -> bool:
        cells = region(self.where, before.grid)
        return any(cell in cells and before.cells[cell] is None for cell in edit.touched(before) if cell >= 0)

    def breaks(self, edit: Edit, before: Scene, after: Scene) -> bool:
        cells = region(self.where, before.grid)
        return any(before.cells[cell] is None and after.cells[cell] is not None for cell in cells)

    def slots(self, grid: int) -> dict[str, str]:
        return {"where": f"the {self.where}", "rule": f"the rule about the {self.where}"}

    @classmethod
    def read(cls, slots: Mapping[str, str], context: Context) -> list[Rule]:
        name = slots["where"].removeprefix("the ")
        return [cls(name)] if name in REGIONS else []

    def is_unclear(self, edit: Edit, state: DialogueState) -> bool:
        """The agent may choose a cell of the region."""
        return bool(edit.left_open(state.scene))

    @classmethod
    def sample(cls, state: DialogueState, rng: Rng, allowed: Allowed) -> Rule | None:
        """A part of the grid that is empty, where there is room elsewhere."""
        room = frozenset(state.room())
        parts = [name for name in REGIONS if region(name, state.grid) < room]
        return cls(rng.pick(parts)) if parts else None
