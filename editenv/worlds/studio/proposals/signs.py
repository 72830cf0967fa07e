"""text_change, and subject_add of a sign."""

from __future__ import annotations

from editenv.worlds.studio.draws import Draws
from editenv.worlds.studio.edits import SubjectAdd, Target, TextChange
from editenv.worlds.studio.proposals.add import MOST_OBJECTS
from editenv.worlds.studio.proposals.objects import describe, draw_looks, draw_object
from editenv.worlds.studio.proposals.situation import DialogueState, Proposal
from editenv.worlds.studio.scene import SIGN, TEXTS


def propose_text(situation: DialogueState, draws: Draws, refer: bool) -> Proposal | None:
    """Another text on a sign."""
    found = draw_object(situation, draws, refer=True) if refer else _draw_sign(situation, draws)
    thing = None if found is None else situation.scene.cells[found[0].cell]
    if found is None or thing is None or thing.text is None:
        return None
    text = draws.pick([text for text in TEXTS if text != thing.text])
    return Proposal(TextChange(found[0], text), "text_change", found[1])


def propose_sign(situation: DialogueState, draws: Draws, refer: bool) -> Proposal | None:
    """A new sign in an empty cell."""
    room = situation.room()
    if not room or len(situation.scene.occupied()) >= MOST_OBJECTS or situation.ruled("material"):
        return None
    color = draw_looks(situation, draws)["color"]
    return Proposal(SubjectAdd(draws.pick(room), SIGN, color, text=draws.pick(TEXTS)), "subject_add")


def _draw_sign(situation: DialogueState, draws: Draws) -> tuple[Target, str | None] | None:
    """A sign to speak of."""
    signs = [cell for cell, thing in enumerate(situation.scene.cells) if thing and thing.text is not None]
    target = describe(situation, draws, draws.pick(signs)) if signs else None
    return None if target is None else (target, None)
