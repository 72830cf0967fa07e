"""An object that must stay exactly as it is, whatever is asked later."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from editenv.worlds.studio.dialogue import Context, DialogueState, plain_target
from editenv.worlds.studio.edit import Edit
from editenv.worlds.studio.noun_phrases import Target, described
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.rule import Allowed, Rule
from editenv.worlds.studio.scene import Scene
from editenv.worlds.studio.tasks import CountChange, TextChange
from editenv.worlds.studio.tasks.attribute_alter import AttributeAlter


@dataclass(frozen=True, slots=True)
class Protect(Rule):
    """As in "never touch the star, whatever I say later"; the words of `target` are the rule's.

    As nobody may move it, the object is known by its cell and shape; where an earlier mistake has put something of
    another shape there, nothing is protected any more.
    """

    family: ClassVar[str] = "protect"
    act: ClassVar[str] = "rule_protect"

    target: Target

    def covers(self, edit: Edit, before: Scene) -> bool:
        return self._is_there(before) and self.target.cell in edit.touched(before)

    def breaks(self, edit: Edit, before: Scene, after: Scene) -> bool:
        """The object is not what it was before this turn; one that cannot be read is not."""
        return self._is_there(before) and after.cells[self.target.cell] != before.cells[self.target.cell]

    def _is_there(self, before: Scene) -> bool:
        obj = before.cells[self.target.cell]
        return obj is not None and self.target.shape in (None, obj.shape)

    def overrides(self, earlier: Rule) -> bool:
        return isinstance(earlier, Protect) and earlier.target.cell == self.target.cell

    def slots(self, grid: int) -> dict[str, str]:
        words = self.target.words(grid)
        return {"old": words, "rule": f"the rule for {words}"}

    @classmethod
    def read(cls, slots: Mapping[str, str], context: Context) -> list[Rule]:
        """Intents name the object's place, for of two stars only one is protected; it need not be there."""
        target = described(slots["old"], context.state.grid)
        if context.literal:
            return [cls(target)] if target is not None and target.placed else []
        return [cls(target) for target in context.objects(slots["old"])]

    def is_unclear(self, edit: Edit, state: DialogueState) -> bool:
        """The object might be among those that a count_change takes."""
        return isinstance(edit, CountChange) and self.target.cell in edit.touched(state.scene)

    def contradicts(self, edit: Edit, state: DialogueState) -> bool:
        """Changes of the object that neither move nor remove it, so that the rule keeps its object."""
        return isinstance(edit, AttributeAlter | TextChange) and state.impossible(edit)

    @classmethod
    def sample(cls, state: DialogueState, rng: Rng, allowed: Allowed) -> Rule | None:
        """An object that is not protected yet, as long as another one is left to speak of."""
        taken = {rule.target.cell for rule in state.rules if isinstance(rule, Protect)}
        cells = [cell for cell in state.scene.occupied() if cell not in taken]
        target = plain_target(state, rng.pick(cells)) if len(cells) > 1 else None
        return None if target is None else cls(target)
