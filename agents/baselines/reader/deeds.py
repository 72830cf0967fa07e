"""What a speech act asks to be done, where the session stands: one function an act."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from editenv.agents.baselines.reader.nouns import beside, cell, described_looks, groups, objects
from editenv.worlds.studio.dialogue import DialogueState
from editenv.worlds.studio.noun_phrases import NUMBERS
from editenv.worlds.studio.scene import BACKGROUNDS, TEXTS
from editenv.worlds.studio.tasks import (
    MOST_COUNT,
    BackgroundChange,
    ColorAlter,
    CountChange,
    Edit,
    MaterialAlter,
    MultiEdit,
    PositionChange,
    SubjectAdd,
    SubjectRemove,
    SubjectReplace,
    Target,
    TextChange,
    Undo,
    inverse_edit,
)

Slots = Mapping[str, str]
Deed = Callable[[Slots, DialogueState], list[Edit]]
_KINDS: dict[str, type[ColorAlter | MaterialAlter]] = {"color": ColorAlter, "material": MaterialAlter}


def edits_of(act: str, slots: Slots, situation: DialogueState) -> list[Edit]:
    """All edits that an act may mean; none where it makes no sense here."""
    return DEEDS[act](slots, situation) if act in DEEDS else []


def _add(slots: Slots, situation: DialogueState) -> list[Edit]:
    looks = _new(slots["new"])
    if looks is None:
        return []
    if "relation" in slots:
        places = beside(slots["relation"], situation)
        return [SubjectAdd(_first(place, situation), **looks, beside=place) for place in places]
    where = cell(slots["place"], situation.grid) if "place" in slots else situation.vacated
    return [] if where is None else [SubjectAdd(where, **looks)]


def _remove(slots: Slots, situation: DialogueState) -> list[Edit]:
    return _done_to(slots["old"], situation, SubjectRemove)


def _replace(slots: Slots, situation: DialogueState) -> list[Edit]:
    looks = _new(slots["new"])
    found = objects(slots["old"], situation)
    return [] if looks is None else [SubjectReplace(target, **looks) for target in found]


def _color(slots: Slots, situation: DialogueState) -> list[Edit]:
    return _altered(ColorAlter, slots["old"], slots["value"], situation)


def _material(slots: Slots, situation: DialogueState) -> list[Edit]:
    return _altered(MaterialAlter, slots["old"], slots["value"], situation)


def _open(slots: Slots, situation: DialogueState) -> list[Edit]:
    kind = _KINDS.get(slots["attribute"])
    return [] if kind is None else _done_to(slots["old"], situation, kind)


def _its(slots: Slots, situation: DialogueState) -> list[Edit]:
    kind = _KINDS.get(slots["attribute"])
    return [] if kind is None else _altered(kind, "it", slots["value"], situation)


def _altered(
    kind: type[ColorAlter | MaterialAlter], words: str, value: str, situation: DialogueState
) -> list[Edit]:
    if value not in kind.values:
        return []
    return _done_to(words, situation, lambda target: kind(target, value))


def _done_to(words: str, situation: DialogueState, edit: Callable[[Target], Edit]) -> list[Edit]:
    """The same edit of one object or of several at once, for all that the words may mean."""
    found: list[Edit] = []
    for group in groups(words, situation):
        parts = tuple(edit(target) for target in group)
        found.append(parts[0] if len(parts) == 1 else MultiEdit(parts))  # type: ignore[arg-type]
    return found


def _undo(slots: Slots, situation: DialogueState) -> list[Edit]:
    if situation.previous is None:
        return []
    # What is undone is what was shown; the single edit that would do it serves the intent alone.
    return [Undo(inverse_edit(situation) or BackgroundChange(situation.previous.background))]


def _move(slots: Slots, situation: DialogueState) -> list[Edit]:
    found = objects(slots["old"], situation)
    if "relation" in slots:
        places = beside(slots["relation"], situation)
        return [
            PositionChange(target, _first(place, situation), place) for target in found for place in places
        ]
    where = cell(slots["place"], situation.grid)
    return [] if where is None else [PositionChange(target, where) for target in found]


def _text(slots: Slots, situation: DialogueState) -> list[Edit]:
    found = objects(slots["old"], situation) if slots["text"] in TEXTS else []
    signs = [target for target in found if getattr(situation.scene.cells[target.cell], "text", None)]
    return [TextChange(target, slots["text"]) for target in signs]


def _count(slots: Slots, situation: DialogueState) -> list[Edit]:
    number, _, words = slots["many"].partition(" ")
    looks = described_looks(words)
    if number not in NUMBERS[1 : MOST_COUNT + 1] or looks is None or looks["shape"] is None:
        return []
    return [CountChange(NUMBERS.index(number), looks["shape"], looks["color"], looks["material"])]


def _background(slots: Slots, situation: DialogueState) -> list[Edit]:
    return [BackgroundChange(slots["value"])] if slots["value"] in BACKGROUNDS else []


def _same(slots: Slots, situation: DialogueState) -> list[Edit]:
    last = situation.last
    if last is None or not hasattr(last, "target"):
        return []
    return [replace(last, target=target) for target in objects(slots["old"], situation)]  # type: ignore[type-var]


DEEDS: dict[str, Deed] = {
    "subject_add": _add,
    "subject_add_there": _add,
    "subject_add_beside": _add,
    "subject_remove": _remove,
    "subject_replace": _replace,
    "color_alter": _color,
    "material_alter": _material,
    "alter_open": _open,
    "position_change": _move,
    "position_change_beside": _move,
    "text_change": _text,
    "count_change": _count,
    "background_change": _background,
    "same": _same,
    "alter_its": _its,
    "undo": _undo,
}
"""Acts that ask for an edit."""


def _new(words: str) -> dict[str, Any] | None:
    """Looks of a new object: "a striped red circle"."""
    looks = described_looks(words.partition(" ")[2])
    return looks if looks and looks["shape"] is not None else None


def _first(place: object, situation: DialogueState) -> int:
    cells = place.cells(situation.scene)  # type: ignore[attr-defined]
    return cells[0] if cells else 0
