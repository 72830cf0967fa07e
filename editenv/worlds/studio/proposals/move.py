"""position_change: an object to an empty cell."""

from __future__ import annotations

from editenv.worlds.studio.draws import Draws
from editenv.worlds.studio.edits import PositionChange
from editenv.worlds.studio.proposals.objects import draw_object
from editenv.worlds.studio.proposals.situation import DialogueState, Proposal


def propose_move(situation: DialogueState, draws: Draws, refer: bool) -> Proposal | None:
    """Another cell for it."""
    found = draw_object(situation, draws, refer)
    empty = situation.room()
    if found is None or not empty:
        return None
    return Proposal(PositionChange(found[0], draws.pick(empty)), "position_change", found[1])
