"""subject_remove: any object, as long as one stays."""

from __future__ import annotations

from editenv.worlds.studio.draws import Draws
from editenv.worlds.studio.edits import SubjectRemove
from editenv.worlds.studio.proposals.objects import draw_object
from editenv.worlds.studio.proposals.situation import DialogueState, Proposal


def propose_remove(situation: DialogueState, draws: Draws, refer: bool) -> Proposal | None:
    """The object disappears."""
    found = draw_object(situation, draws, refer)
    if found is None or len(situation.scene.occupied()) < 2:
        return None
    return Proposal(SubjectRemove(found[0]), "subject_remove", found[1])
