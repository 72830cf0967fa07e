"""subject_replace: an object of another shape in place of one."""

from __future__ import annotations

from editenv.worlds.studio.draws import Draws
from editenv.worlds.studio.edits import SubjectReplace
from editenv.worlds.studio.proposals.objects import draw_looks, draw_object
from editenv.worlds.studio.proposals.situation import DialogueState, Proposal
from editenv.worlds.studio.scene import SHAPES, SceneObject


def propose_replace(situation: DialogueState, draws: Draws, refer: bool) -> Proposal | None:
    """Another shape in its place."""
    found = draw_object(situation, draws, refer)
    if found is None:
        return None
    old = situation.scene.cells[found[0].cell]
    shape = draws.pick(SHAPES)
    if isinstance(old, SceneObject) and old.shape == shape:
        return None
    return Proposal(
        SubjectReplace(found[0], shape, **draw_looks(situation, draws)), "subject_replace", found[1]
    )
