"""What every family of rules offers."""

from __future__ import annotations

from typing import ClassVar, Protocol

from editenv.worlds.studio.edits import Edit
from editenv.worlds.studio.edits.base import Looks
from editenv.worlds.studio.scene import Scene


class Rule(Protocol):
    """A rule that stays in force after the turn in which it was stated; a frozen dataclass of JSON values.

    Rules either demand looks of an edited object (`forbids` is False: `covers` and `looks` say which) or
    forbid changes of the picture (`forbids` is True: `breaks` says which). An instruction whose every right
    result a rule in force forbids is impossible, and the right answer is to leave the picture alone.

    `edit` is always a single one: edits of several objects are asked about part by part.
    """

    family: ClassVar[str]
    act: ClassVar[str]
    """The speech act whose sentences state the rule."""
    forbids: ClassVar[bool]

    def covers(self, edit: Edit, before: Scene) -> bool:
        """Does the rule ask something of this edit, going by the edit's own words?"""

    def looks(self, edit: Edit) -> Looks:
        """Looks that the rule demands of this edit's object, to be named in the intent; often none."""

    def breaks(self, edit: Edit, before: Scene, after: Scene) -> bool:
        """Does this turn's change of the picture break the rule?

        What was broken in earlier turns does not count again.
        """

    def overrides(self, earlier: Rule) -> bool:
        """Does stating this rule end an earlier one altogether, because both cannot be kept?"""

    def slots(self, grid: int) -> dict[str, str]:
        """Words for the slots of its sentences; "rule" is its name: "the red rule"."""
