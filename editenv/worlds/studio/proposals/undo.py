"""undo: back to the picture before the last edit, where one sentence can say what that means."""

from __future__ import annotations

from editenv.worlds.studio.constraints import open_looks
from editenv.worlds.studio.draws import Draws
from editenv.worlds.studio.edits import (
    BackgroundChange,
    ColorAlter,
    Edit,
    MaterialAlter,
    PositionChange,
    SubjectAdd,
    SubjectRemove,
    SubjectReplace,
    TextChange,
    Undo,
)
from editenv.worlds.studio.proposals.aftermath import left_open
from editenv.worlds.studio.proposals.references import plain_target
from editenv.worlds.studio.proposals.situation import DialogueState, Proposal
from editenv.worlds.studio.scene import SceneObject


def propose_undo(situation: DialogueState, draws: Draws, refer: bool) -> Proposal | None:
    """Undo of the last edit; not of an undo, nor of an edit that left something to the agent."""
    last, previous = situation.last, situation.previous
    if last is None or previous is None or isinstance(last, Undo):
        return None
    if left_open(last, previous) or open_looks(last, situation.rules):
        return None
    instead = inverse(situation)
    if instead is None or instead.apply(situation.scene) != previous:
        return None
    edit = Undo(instead)
    return None if situation.impossible(edit) else Proposal(edit, "undo")


def inverse(situation: DialogueState) -> Edit | None:
    """The edit that turns the scene into the one before the last edit; None where it takes more than one."""
    now, then = situation.scene, situation.previous
    if then is None:
        return None
    changed = [cell for cell, old in enumerate(then.cells) if old != now.cells[cell]]
    if now.background != then.background:
        return None if changed else BackgroundChange(then.background)
    if len(changed) == 1:
        return _one_cell(situation, changed[0], now.cells[changed[0]], then.cells[changed[0]])
    if len(changed) == 2:
        here = next((cell for cell in changed if then.cells[cell] is None), None)
        target = None if here is None else plain_target(situation, here)
        back = next((cell for cell in changed if now.cells[cell] is None), None)
        return PositionChange(target, back) if target is not None and back is not None else None
    return None


def _one_cell(
    situation: DialogueState, cell: int, now: SceneObject | None, then: SceneObject | None
) -> Edit | None:
    if now is None:
        return None if then is None else SubjectAdd(cell, then.shape, then.color, _material(then), then.text)
    target = plain_target(situation, cell)
    if target is None:
        return None
    if then is None:
        return SubjectRemove(target)
    old, new = then.attributes(), now.attributes()
    differing = [name for name in old if old[name] != new.get(name)]
    if differing == ["color"]:
        return ColorAlter(target, then.color)
    if differing == ["material"]:
        return MaterialAlter(target, then.material)
    if differing == ["text"] and then.text is not None:
        return TextChange(target, then.text)
    return SubjectReplace(target, then.shape, then.color, _material(then), then.text)


def _material(thing: SceneObject) -> str | None:
    """The material to be named; signs have none to speak of."""
    return thing.material if thing.text is None else None
