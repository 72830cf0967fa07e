"""Carries out a canonical intent on a scene, by rules of language alone: an exact editor."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from editenv.worlds.studio.edits import (
    BackgroundChange,
    Beside,
    CountChange,
    PositionChange,
    SubjectAdd,
    SubjectRemove,
    SubjectReplace,
    Target,
    TextChange,
)
from editenv.worlds.studio.edits.beside import RELATIONS
from editenv.worlds.studio.edits.count import MOST_COUNT
from editenv.worlds.studio.language import LARGEST_GRID, LEAVE_ALONE, THEN, intent_patterns, tokens
from editenv.worlds.studio.scene import BACKGROUNDS, COLORS, MATERIALS, SHAPES, SIGN, TEXTS, Scene
from editenv.worlds.studio.words import NUMBERS, plural

_Said = Mapping[str, str]
_Editor = Callable[[_Said, Scene, int], Scene | None]


def read_intent(text: str, scene: Scene, grid: int) -> Scene | None:
    """The scene that a canonical intent asks for; never raises.

    Case, punctuation and spaces do not matter. What stands in a named cell gives way to an object that is
    added or moved there.

    Args:
        text: an intent such as "move the red star to row 2 column 3 and make it striped".
        scene: what the picture shows now.
        grid: cells a side.

    Returns:
        The edited scene; None where the text is no such sentence, names a cell outside of the grid, speaks of
        an object that is not there or of which there are several, lacks room, or asks for what cannot be
        drawn, such as a striped sign.
    """
    said = " ".join(token for token in tokens(text) if token.isalnum())
    if said == LEAVE_ALONE:
        return scene
    first, *others = said.split(THEN)
    edited = _read_one(first, scene, grid)
    for other in others:
        edited = _merged(scene, edited, _read_one(other, scene, grid))
    return edited


def _merged(scene: Scene, one: Scene | None, other: Scene | None) -> Scene | None:
    """The scene with the changes of both, which were each read on the scene as it was."""
    if one is None or other is None:
        return None
    for cell, thing in enumerate(other.cells):
        if thing != scene.cells[cell]:
            one = one.put(cell, thing)
    return one if other.background == scene.background else replace(one, background=other.background)


def _read_one(said: str, scene: Scene, grid: int) -> Scene | None:
    """The scene after one sentence of known words."""
    for sentence, editor in _sentences():
        match = sentence.fullmatch(said)
        if match:
            edited = editor(match.groupdict(), scene, grid)
            return edited if edited is not None and edited.known() else None
    return None


def _add(said: _Said, scene: Scene, grid: int) -> Scene | None:
    cell = _cell(said["place"], grid)
    return None if cell is None else SubjectAdd(cell, **_new(said["new"])).apply(scene)


def _add_beside(said: _Said, scene: Scene, grid: int) -> Scene | None:
    beside = _beside(said, scene, grid)
    return None if beside is None else SubjectAdd(0, **_new(said["new"]), beside=beside).apply(scene)


def _remove(said: _Said, scene: Scene, grid: int) -> Scene | None:
    target = _target(said["old"], scene, grid)
    return None if target is None else SubjectRemove(target).apply(scene)


def _replace(said: _Said, scene: Scene, grid: int) -> Scene | None:
    target = _target(said["old"], scene, grid)
    if target is None:
        return None
    return SubjectReplace(target, **_new(said["new"])).apply(scene)


def _alter(said: _Said, scene: Scene, grid: int) -> Scene | None:
    target = _target(said["old"], scene, grid)
    return None if target is None else _with_looks(scene, target.cell, said["looks"])


def _move(said: _Said, scene: Scene, grid: int) -> Scene | None:
    target, cell = _target(said["old"], scene, grid), _cell(said["place"], grid)
    if target is None or cell is None:
        return None
    return _with_looks(PositionChange(target, cell).apply(scene), cell, said.get("looks", ""))


def _move_beside(said: _Said, scene: Scene, grid: int) -> Scene | None:
    target, beside = _target(said["old"], scene, grid), _beside(said, scene, grid)
    if target is None or beside is None or beside.anchor.cell == target.cell:
        return None
    edit = PositionChange(target, 0, beside)
    cell = edit.edited_cell(scene)
    return None if cell is None else _with_looks(edit.apply(scene), cell, said.get("looks", ""))


def _text(said: _Said, scene: Scene, grid: int) -> Scene | None:
    target = _target(said["old"], scene, grid)
    if target is None or getattr(scene.cells[target.cell], "text", None) is None:
        return None
    return _with_looks(TextChange(target, said["text"]).apply(scene), target.cell, said.get("looks", ""))


def _count(said: _Said, scene: Scene, grid: int) -> Scene | None:
    number, *_, shape = said["many"].split()
    singular = next(known for known in SHAPES if shape in (known, plural(known)))
    edit = CountChange(NUMBERS.index(number), singular, **_looks(said["many"]))
    wanted = edit.count - len(edit.cells(scene))
    return None if wanted > len(scene.empty()) else edit.apply(scene)


def _background(said: _Said, scene: Scene, grid: int) -> Scene | None:
    return BackgroundChange(said["value"]).apply(scene)


_EDITORS: dict[str, _Editor] = {
    "subject_add": _add,
    "subject_remove": _remove,
    "subject_replace": _replace,
    "color_alter": _alter,
    "material_alter": _alter,
    "position_change": _move,
    "subject_add_beside": _add_beside,
    "position_change_beside": _move_beside,
    "text_change": _text,
    "count_change": _count,
    "background_change": _background,
}


@lru_cache(maxsize=1)
def _sentences() -> tuple[tuple[re.Pattern[str], _Editor], ...]:
    """The canonical patterns of phrases.toml as regular expressions, one group a slot."""
    colors, materials, shapes = "|".join(COLORS), "|".join(MATERIALS), "|".join(SHAPES)
    place = f"row [1-{LARGEST_GRID}] column [1-{LARGEST_GRID}]"
    texts, numbers = "|".join(TEXTS), "|".join(NUMBERS[1 : MOST_COUNT + 1])
    looks = f"(?:(?:{materials}) )?(?:(?:{colors}) )?"
    old = f"the {looks}(?:{shapes}|object|{SIGN}(?: that says (?:{texts}))?)(?: in {place})?"
    slots = {
        "place": f"(?P<place>{place})",
        "old": f"(?P<old>{old})",
        "new": f"(?P<new>an? {looks}(?:{shapes}|{SIGN} that says (?:{texts})))",
        "relation": f"(?P<relation>{'|'.join(RELATIONS.values())}) (?P<anchor>{old})",
        "many": f"(?P<many>(?:{numbers}) {looks}(?:{shapes}|{'|'.join(plural(s) for s in SHAPES)}))",
        "text": f"(?P<text>{texts})",
        "looks": f"(?P<looks>(?:{materials})(?: (?:{colors}))?|(?:{colors}))",
        "value": f"(?P<value>{'|'.join(BACKGROUNDS)})",
    }
    return tuple(
        (re.compile(re.sub(r"\{(\w+)\}", lambda slot: slots[slot[1]], pattern.replace('"', ""))), editor)
        for act, editor in _EDITORS.items()
        for pattern in intent_patterns(act)
    )


def _target(words: str, scene: Scene, grid: int) -> Target | None:
    """The one object that the words fit."""
    words, _, where = words.partition(" in ")
    new = _new(words)
    shape = None if new["shape"] == "object" else new["shape"]
    target = Target(0, shape, new["color"], new["material"], placed=bool(where), text=new["text"])
    cells = [_cell(where, grid)] if where else range(len(scene.cells))
    places = [cell for cell in cells if cell is not None and target.fits(scene.cells[cell])]
    return replace(target, cell=places[0]) if len(places) == 1 else None


def _cell(words: str, grid: int) -> int | None:
    """The number of the cell "row 2 column 3", None where it lies outside of the grid."""
    row, column = (int(word) - 1 for word in words.split() if word.isdigit())
    return row * grid + column if max(row, column) < grid else None


def _beside(said: _Said, scene: Scene, grid: int) -> Beside | None:
    """The place beside an object, where that object is there and has room beside it."""
    anchor = _target(said["anchor"], scene, grid)
    if anchor is None:
        return None
    beside = Beside(next(r for r, words in RELATIONS.items() if words == said["relation"]), anchor)
    return beside if beside.cells(scene) else None


def _new(words: str) -> dict[str, Any]:
    """Shape, colour, material and text that the words for an object name."""
    words, _, text = words.partition(" that says ")
    return {"shape": words.split()[-1], **_looks(words), "text": text or None}


def _looks(words: str) -> dict[str, str | None]:
    """Colour and material that the words name."""
    named = words.split()
    return {
        "color": next((word for word in named if word in COLORS), None),
        "material": next((word for word in named if word in MATERIALS), None),
    }


def _with_looks(scene: Scene, cell: int, words: str) -> Scene:
    """The scene with the named looks given to the object of a cell."""
    thing = scene.cells[cell]
    said = {name: value for name, value in _looks(words).items() if value}
    return scene.put(cell, thing.with_looks(said)) if thing else scene
