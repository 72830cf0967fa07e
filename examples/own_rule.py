r"""A rule of one's own: "from now on the background stays as it is". One file holds all of it.

    cd examples && editenv evaluate policy=oracle suite=own_rule.yaml sessions=8 out=runs/own_rule

own_rule.yaml names `own_rule:KeepBackground` under `rules`. What the rule makes impossible, scorers know by
themselves: the right answer is to leave the picture alone. `tempt` makes sessions ask for it.
"""

from dataclasses import dataclass
from typing import ClassVar

from editenv.worlds.studio.edit import BACKGROUND
from editenv.worlds.studio.rule import Rule


@dataclass(frozen=True, slots=True)
class KeepBackground(Rule):
    """A rule either forbids changes of the picture, as here, or demands looks of an edited object."""

    family: ClassVar[str] = "keep_background"
    act: ClassVar[str] = "rule_keep_background"
    forbids: ClassVar[bool] = True
    sentences: ClassVar = {
        "intent": "background stays",
        "train": ["from now on the background stays as it is . {edit}", "{edit} . and keep the background"],
        "test": ["never change the background . {edit}"],
    }

    def covers(self, edit, before):
        """Does it ask something of this edit?"""
        return BACKGROUND in edit.touched(before)

    def breaks(self, edit, before, after):
        """Does the change of the picture break it?"""
        return before.background != after.background

    def slots(self, grid):
        """Its name, for "forget {rule}"; and words for other slots of its sentences, if there are any."""
        return {"rule": "the background rule"}

    @classmethod
    def sample(cls, state, rng, allowed):
        """A rule that makes sense to state now, None where there is none."""
        return None if cls() in state.rules else cls()

    @classmethod
    def read(cls, slots, context):
        """From the words in the slots of a sentence to the rules that they may state."""
        return [cls()]
