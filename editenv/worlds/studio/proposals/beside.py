"""subject_add and position_change with the place said by another object."""

from __future__ import annotations

from editenv.worlds.studio.draws import Draws
from editenv.worlds.studio.edits import Beside, PositionChange, SubjectAdd, Target
from editenv.worlds.studio.edits.beside import RELATIONS, around
from editenv.worlds.studio.proposals.add import MOST_OBJECTS
from editenv.worlds.studio.proposals.objects import draw_looks, draw_object
from editenv.worlds.studio.proposals.situation import DialogueState, Proposal
from editenv.worlds.studio.scene import SHAPES


def propose_add_beside(situation: DialogueState, draws: Draws, refer: bool) -> Proposal | None:
    """A new object beside one that is there."""
    beside = _draw_beside(situation, draws)
    if beside is None or len(situation.scene.occupied()) >= MOST_OBJECTS:
        return None
    cell = beside.cells(situation.scene)[0]
    shape = draws.pick(SHAPES)
    edit = SubjectAdd(cell, shape, **draw_looks(situation, draws, shape), beside=beside)
    return Proposal(edit, "subject_add_beside")


def propose_move_beside(situation: DialogueState, draws: Draws, refer: bool) -> Proposal | None:
    """An object to a place beside another one, where it is not yet."""
    found = draw_object(situation, draws, refer)
    beside = _draw_beside(situation, draws, mover=found[0]) if found else None
    if found is None or beside is None:
        return None
    cell = beside.cells(situation.scene)[0]
    return Proposal(PositionChange(found[0], cell, beside), "position_change_beside", found[1])


def _draw_beside(situation: DialogueState, draws: Draws, mover: Target | None = None) -> Beside | None:
    """A place with room, whatever the agent chose so far, beside an object whose cell is sure."""
    found = draw_object(situation, draws, refer=False)
    relation = draws.pick(tuple(RELATIONS))
    if found is None or found[0].cell in situation.loose:
        return None
    anchor = found[0]
    near = around(relation, anchor.cell, situation.grid)
    if mover and (mover.cell == anchor.cell or mover.cell in near or mover.cell in situation.loose):
        return None
    return Beside(relation, anchor) if set(near) & set(situation.room()) else None
