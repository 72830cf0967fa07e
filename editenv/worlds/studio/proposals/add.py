"""subject_add: a new object in a named cell, or "there"."""

from __future__ import annotations

from editenv.worlds.studio.draws import Draws
from editenv.worlds.studio.edits import SubjectAdd
from editenv.worlds.studio.proposals.objects import draw_looks
from editenv.worlds.studio.proposals.situation import DialogueState, Proposal
from editenv.worlds.studio.scene import SHAPES

MOST_OBJECTS = 7


def propose_add(situation: DialogueState, draws: Draws, refer: bool) -> Proposal | None:
    """An object in an empty cell."""
    empty = situation.room()
    if not empty or len(situation.scene.occupied()) >= MOST_OBJECTS:
        return None
    there = refer and situation.vacated is not None
    cell = situation.vacated if there and situation.vacated is not None else draws.pick(empty)
    shape = draws.pick(SHAPES)
    looks = draw_looks(situation, draws, shape)
    edit = SubjectAdd(cell, shape, looks["color"], looks["material"])
    return Proposal(edit, "subject_add_there", "there") if there else Proposal(edit, "subject_add")
