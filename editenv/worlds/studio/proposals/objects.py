"""How a user points at an object of the scene, and how a new one is described."""

from __future__ import annotations

from editenv.worlds.studio.draws import Draws
from editenv.worlds.studio.edits import SubjectAdd, Target
from editenv.worlds.studio.proposals.references import REFERENCES, plain_target
from editenv.worlds.studio.proposals.situation import DialogueState
from editenv.worlds.studio.scene import COLORS, MATERIALS, SIGN

_FULLER = 0.3
_PLACED = 0.15
_OTHERWISE = 0.5


def draw_object(situation: DialogueState, draws: Draws, refer: bool) -> tuple[Target, str | None] | None:
    """An object to speak of and how: pointing back, by the fewest words that fit it alone, or by more."""
    focus = situation.focus
    if refer and focus is not None and situation.unique(focus) and not _stuck(situation, focus.shape):
        if situation.pointing and draws.chance(_OTHERWISE):
            pointed = _pointed(situation, draws)
            if pointed is not None:
                return pointed
        added = isinstance(situation.last, SubjectAdd) and draws.chance(0.5)
        return focus, "just_added" if added else "it"
    if refer and situation.pointing:
        return _pointed(situation, draws)
    cells = situation.scene.occupied()
    if not cells:
        return None
    target = describe(situation, draws, draws.pick(cells))
    return None if target is None else (target, None)


def describe(situation: DialogueState, draws: Draws, cell: int) -> Target | None:
    """The object of a cell in words that fit it alone, None where there are none."""
    thing = situation.scene.cells[cell]
    if thing is None or _stuck(situation, thing.shape):
        return None
    if draws.chance(_PLACED):
        return None if cell in situation.loose else Target(cell, thing.shape, placed=True)
    options = [
        Target(cell, thing.shape),
        Target(cell, thing.shape, color=thing.color),
        Target(cell, thing.shape, material=thing.material),
        Target(cell, thing.shape, color=thing.color, material=thing.material),
    ]
    if thing.text is not None:
        options = [
            Target(cell, thing.shape),
            Target(cell, thing.shape, text=thing.text),
            Target(cell, thing.shape, color=thing.color),
        ]
    clear = [option for option in options if situation.unique(option)]
    if not clear:
        return None
    return draws.pick(clear) if draws.chance(_FULLER) else clear[0]


def _pointed(situation: DialogueState, draws: Draws) -> tuple[Target, str] | None:
    """An object that can be pointed at in one of the suite's further ways."""
    ways = list(situation.pointing)
    while ways:
        way = ways.pop(draws.below(len(ways)))
        cells = [cell for cell, _ in REFERENCES[way].points(situation)]
        target = plain_target(situation, draws.pick(cells)) if cells else None
        if target is not None and not _stuck(situation, target.shape):
            return target, way
    return None


def _stuck(situation: DialogueState, shape: str | None) -> bool:
    """Is it a sign, which is always plain, while a rule asks for a material?"""
    return shape == SIGN and situation.ruled("material") is not None


def draw_looks(situation: DialogueState, draws: Draws, added: str | None = None) -> dict[str, str | None]:
    """Looks of a new object; what a rule fixes is left unsaid."""
    return {
        "color": None if situation.ruled("color", added) else draws.pick(COLORS),
        "material": None if situation.ruled("material", added) else draws.pick(MATERIALS),
    }
