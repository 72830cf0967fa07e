"""What a user could sensibly ask for next, one function a task or way of asking for it.

To add a task's proposals, write a function (situation, draws, refer) -> Proposal or None in a file of its own
and name it in PROPOSALS; None says that the task cannot be asked for here.
"""

from __future__ import annotations

from collections.abc import Callable

from editenv.worlds.studio.draws import Draws
from editenv.worlds.studio.proposals.add import propose_add
from editenv.worlds.studio.proposals.alter import propose_color, propose_material
from editenv.worlds.studio.proposals.background import propose_background
from editenv.worlds.studio.proposals.beside import propose_add_beside, propose_move_beside
from editenv.worlds.studio.proposals.count import propose_count
from editenv.worlds.studio.proposals.move import propose_move
from editenv.worlds.studio.proposals.remove import propose_remove
from editenv.worlds.studio.proposals.replace import propose_replace
from editenv.worlds.studio.proposals.several import propose_several
from editenv.worlds.studio.proposals.signs import propose_sign, propose_text
from editenv.worlds.studio.proposals.situation import DialogueState, Proposal
from editenv.worlds.studio.proposals.undo import propose_undo

__all__ = ["PROPOSALS", "DialogueState", "Proposal"]

PROPOSALS: dict[str, Callable[[DialogueState, Draws, bool], Proposal | None]] = {
    "subject_add": propose_add,
    "subject_add_beside": propose_add_beside,
    "subject_add_sign": propose_sign,
    "subject_remove": propose_remove,
    "subject_replace": propose_replace,
    "color_alter": propose_color,
    "material_alter": propose_material,
    "text_change": propose_text,
    "position_change": propose_move,
    "position_change_beside": propose_move_beside,
    "count_change": propose_count,
    "background_change": propose_background,
    "several": propose_several,
    "undo": propose_undo,
}
