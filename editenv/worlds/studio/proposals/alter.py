"""color_alter and material_alter: another value, one that a rule gives, or "the same" as in the last turn."""

from __future__ import annotations

from dataclasses import replace

from editenv.worlds.studio.constraints import AvoidLook, LimitAlike
from editenv.worlds.studio.draws import Draws
from editenv.worlds.studio.edits import ColorAlter, MaterialAlter
from editenv.worlds.studio.proposals.objects import draw_object
from editenv.worlds.studio.proposals.situation import DialogueState, Proposal

_OPEN = 0.4


def _alter(
    situation: DialogueState, draws: Draws, refer: bool, kind: type[ColorAlter | MaterialAlter]
) -> Proposal | None:
    if refer and type(situation.last) is kind and draws.chance(0.5):
        return _same(situation, draws)
    found = draw_object(situation, draws, refer)
    thing = None if found is None else situation.scene.cells[found[0].cell]
    if found is None or thing is None or (thing.text is not None and kind is MaterialAlter):
        return None
    ruled, now = situation.ruled(kind.attribute), thing.attributes()[kind.attribute]
    value = ruled or draws.pick(kind.values)
    if value == now:
        return None
    edit = kind(found[0], None if ruled else value)
    if found[1] == "it" and not ruled and situation.pointing and draws.chance(0.5):
        return Proposal(edit, "alter_its", "its")
    if not ruled and _prohibited(situation, kind.attribute) and draws.chance(_OPEN):
        return Proposal(kind(found[0]), "alter_open", found[1])
    return Proposal(edit, "alter_open" if ruled else kind.task, found[1])


def _prohibited(situation: DialogueState, attribute: str) -> bool:
    """Does a rule forbid some values of the attribute, so that leaving it open asks for memory?"""
    return any(isinstance(r, AvoidLook | LimitAlike) and r.attribute == attribute for r in situation.bound)


def _same(situation: DialogueState, draws: Draws) -> Proposal | None:
    """What was done to one object, to another one; never what a rule stated since forbids."""
    last, found = situation.last, draw_object(situation, draws, refer=False)
    if found is None or not isinstance(last, ColorAlter | MaterialAlter):
        return None
    thing = situation.scene.cells[found[0].cell]
    ruled = situation.ruled(last.attribute)
    value = last.value or ruled
    if ruled not in (None, value):
        return None
    if thing is None or found[0].cell == last.target.cell or thing.attributes()[last.attribute] == value:
        return None
    if thing.text is not None and last.attribute == "material":
        return None
    return Proposal(replace(last, target=found[0]), "same", "same")


def propose_color(situation: DialogueState, draws: Draws, refer: bool) -> Proposal | None:
    """Another colour."""
    return _alter(situation, draws, refer, ColorAlter)


def propose_material(situation: DialogueState, draws: Draws, refer: bool) -> Proposal | None:
    """Another material."""
    return _alter(situation, draws, refer, MaterialAlter)
