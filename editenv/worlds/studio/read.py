"""Carries out a canonical intent on a scene, by rules of language alone: an exact editor."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from editenv.worlds.studio.language import LARGEST_GRID, LEAVE_ALONE, THEN, intent_patterns, tokens
from editenv.worlds.studio.noun_phrases import NUMBERS, plural
from editenv.worlds.studio.scene import BACKGROUNDS, COLORS, MATERIALS, SHAPES, SIGN, TEXTS, Scene
from editenv.worlds.studio.tasks import (
    MOST_COUNT,
    RELATIONS,
    BackgroundChange,
    Beside,
    ColorAlter,
    CountChange,
    Edit,
    MaterialAlter,
    PositionChange,
    SubjectAdd,
    SubjectRemove,
    SubjectReplace,
    Target,
    TextChange,
)

Said = Mapping[str, str]
"""What the slots of a sentence hold, by name."""


@dataclass(frozen=True, slots=True)
class Meant:
    """A sentence that was understood.

    Attributes:
        edit: what is to be done; possible on the scene that it was read for.
        looks: what the edited object shall get beside, by attribute; rules worked into a sentence say so.
    """

    edit: Edit
    looks: Mapping[str, str] = field(default_factory=dict)

    def apply(self, scene: Scene) -> Scene | None:
        """The edited scene; None where it holds what cannot be drawn."""
        cell = self.edit.edited_cell(scene) if self.looks else None
        edited = self.edit.apply(scene)
        thing = None if cell is None else edited.cells[cell]
        if cell is not None and thing is not None:
            edited = edited.put(cell, thing.with_looks(dict(self.looks)))
        return edited if edited.known() else None


_Reader = Callable[[Said, Scene, int], Meant | None]


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
    said = plain_words(text)
    if said == LEAVE_ALONE:
        return scene
    first, *others = (_edited(part, scene, grid) for part in said.split(THEN))
    for other in others:
        first = _merged(scene, first, other)
    return first


def plain_words(text: str) -> str:
    """A text's words and numbers, in lower case, with single spaces between them."""
    return " ".join(token for token in tokens(text) if token.isalnum())


def read_sentence(said: str, scene: Scene, grid: int) -> Meant | None:
    """What one canonical sentence means.

    Args:
        said: plain words.
        scene: what the picture shows now.
        grid: cells a side.

    Returns:
        None where it is no such sentence or cannot be carried out, as `read_intent` has it.
    """
    for sentence, reader in _sentences():
        match = sentence.fullmatch(said)
        if match:
            return reader(match.groupdict(), scene, grid)
    return None


def _edited(said: str, scene: Scene, grid: int) -> Scene | None:
    meant = read_sentence(said, scene, grid)
    return None if meant is None else meant.apply(scene)


def _merged(scene: Scene, one: Scene | None, other: Scene | None) -> Scene | None:
    """The scene with the changes of both, which were each read on the scene as it was."""
    if one is None or other is None:
        return None
    for cell, thing in enumerate(other.cells):
        if thing != scene.cells[cell]:
            one = one.put(cell, thing)
    return one if other.background == scene.background else replace(one, background=other.background)


def _add(said: Said, scene: Scene, grid: int) -> Meant | None:
    cell = read_cell(said["place"], grid)
    return None if cell is None else Meant(SubjectAdd(cell, **_new(said["new"])))


def _add_beside(said: Said, scene: Scene, grid: int) -> Meant | None:
    beside = _beside(said, scene, grid)
    return None if beside is None else Meant(SubjectAdd(0, **_new(said["new"]), beside=beside))


def _remove(said: Said, scene: Scene, grid: int) -> Meant | None:
    target = _target(said["old"], scene, grid)
    return None if target is None else Meant(SubjectRemove(target))


def _replace(said: Said, scene: Scene, grid: int) -> Meant | None:
    target = _target(said["old"], scene, grid)
    return None if target is None else Meant(SubjectReplace(target, **_new(said["new"])))


def _alter(said: Said, scene: Scene, grid: int) -> Meant | None:
    target, looks = _target(said["old"], scene, grid), _named(said["looks"])
    if target is None:
        return None
    attribute = next(iter(looks))
    return Meant(_ALTERS[attribute](target, looks.pop(attribute)), looks)


def _alter_open(said: Said, scene: Scene, grid: int) -> Meant | None:
    target = _target(said["old"], scene, grid)
    return None if target is None else Meant(_ALTERS[said["attribute"]](target))


def _move(said: Said, scene: Scene, grid: int) -> Meant | None:
    target, cell = _target(said["old"], scene, grid), read_cell(said["place"], grid)
    if target is None or cell is None:
        return None
    return Meant(PositionChange(target, cell), _named(said.get("looks", "")))


def _move_beside(said: Said, scene: Scene, grid: int) -> Meant | None:
    target, beside = _target(said["old"], scene, grid), _beside(said, scene, grid)
    if target is None or beside is None or beside.anchor.cell == target.cell:
        return None
    return Meant(PositionChange(target, 0, beside), _named(said.get("looks", "")))


def _text(said: Said, scene: Scene, grid: int) -> Meant | None:
    target = _target(said["old"], scene, grid)
    if target is None or getattr(scene.cells[target.cell], "text", None) is None:
        return None
    return Meant(TextChange(target, said["text"]), _named(said.get("looks", "")))


def _count(said: Said, scene: Scene, grid: int) -> Meant | None:
    number, *_, shape = said["many"].split()
    singular = next(known for known in SHAPES if shape in (known, plural(known)))
    edit = CountChange(NUMBERS.index(number), singular, **_looks(said["many"]))
    wanted = edit.count - len(edit.cells(scene))
    return None if wanted > len(scene.empty()) else Meant(edit)


def _background(said: Said, scene: Scene, grid: int) -> Meant | None:
    return Meant(BackgroundChange(said["value"]))


_ALTERS: dict[str, type[ColorAlter | MaterialAlter]] = {"color": ColorAlter, "material": MaterialAlter}

_READERS: dict[str, _Reader] = {
    "subject_add": _add,
    "subject_remove": _remove,
    "subject_replace": _replace,
    "color_alter": _alter,
    "material_alter": _alter,
    "alter_open": _alter_open,
    "position_change": _move,
    "subject_add_beside": _add_beside,
    "position_change_beside": _move_beside,
    "text_change": _text,
    "count_change": _count,
    "background_change": _background,
}
"""UserMessage acts with a canonical sentence."""


def sentence(pattern: str, **more: str) -> re.Pattern[str]:
    """A pattern of phrases.yaml as a regular expression over plain words, one group a slot.

    Args:
        pattern: with its slots in braces.
        more: regular expressions of slots that are other than in the tasks' own sentences.
    """
    slots = _slots() | {name: f"(?P<{name}>{expression})" for name, expression in more.items()}
    return re.compile(re.sub(r"\{(\w+)\}", lambda slot: slots[slot[1]], pattern.replace('"', "")))


@lru_cache(maxsize=1)
def _sentences() -> tuple[tuple[re.Pattern[str], _Reader], ...]:
    return tuple(
        (sentence(pattern), reader) for act, reader in _READERS.items() for pattern in intent_patterns(act)
    )


@lru_cache(maxsize=1)
def _slots() -> dict[str, str]:
    colors, materials, shapes = "|".join(COLORS), "|".join(MATERIALS), "|".join(SHAPES)
    place = f"row [1-{LARGEST_GRID}] column [1-{LARGEST_GRID}]"
    texts, numbers = "|".join(TEXTS), "|".join(NUMBERS[1 : MOST_COUNT + 1])
    looks = f"(?:(?:{materials}) )?(?:(?:{colors}) )?"
    old = f"the {looks}(?:{shapes}|object|{SIGN}(?: that says (?:{texts}))?)(?: in {place})?"
    return {
        "place": f"(?P<place>{place})",
        "old": f"(?P<old>{old})",
        "new": f"(?P<new>an? {looks}(?:{shapes}|{SIGN} that says (?:{texts})))",
        "relation": f"(?P<relation>{'|'.join(RELATIONS.values())}) (?P<anchor>{old})",
        "many": f"(?P<many>(?:{numbers}) {looks}(?:{shapes}|{'|'.join(plural(s) for s in SHAPES)}))",
        "text": f"(?P<text>{texts})",
        "looks": f"(?P<looks>(?:{materials})(?: (?:{colors}))?|(?:{colors}))",
        "value": f"(?P<value>{'|'.join(BACKGROUNDS)})",
        "attribute": "(?P<attribute>color|material)",
    }


def described(words: str, grid: int) -> Target | None:
    """The object of which "the red star in row 2 column 3" speaks, in cell 0 where no place is named.

    None where the place lies outside of the grid.
    """
    words, _, where = words.partition(" in ")
    cell = read_cell(where, grid) if where else 0
    if cell is None:
        return None
    new = _new(words)
    shape = None if new["shape"] == "object" else new["shape"]
    return Target(cell, shape, new["color"], new["material"], placed=bool(where), text=new["text"])


def _target(words: str, scene: Scene, grid: int) -> Target | None:
    """The one object that the words fit."""
    target = described(words, grid)
    if target is None:
        return None
    cells = [target.cell] if target.placed else range(len(scene.cells))
    places = [cell for cell in cells if target.fits(scene.cells[cell])]
    return replace(target, cell=places[0]) if len(places) == 1 else None


def read_cell(words: str, grid: int) -> int | None:
    """The number of the cell "row 2 column 3", None where it lies outside of the grid."""
    row, column = (int(word) - 1 for word in words.split() if word.isdigit())
    return row * grid + column if max(row, column) < grid else None


def _beside(said: Said, scene: Scene, grid: int) -> Beside | None:
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


def _named(words: str) -> dict[str, str]:
    """As `_looks`, without what is not named."""
    return {name: value for name, value in _looks(words).items() if value}
