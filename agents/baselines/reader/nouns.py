"""From words for objects, places and numbers to what they stand for in a picture."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from typing import Any

from editenv.agents.baselines.reader.grammar import NAMING, phrases_of
from editenv.worlds.studio.dialogue import DialogueState
from editenv.worlds.studio.noun_phrases import plural
from editenv.worlds.studio.references import REFERENCES, plain_target
from editenv.worlds.studio.scene import COLORS, MATERIALS, SHAPES, SIGN, TEXTS
from editenv.worlds.studio.tasks import RELATIONS, Beside, SubjectAdd, Target

_PLACE = re.compile(r"row (\d) column (\d)")
_SIGN = re.compile(rf"(.*\b{SIGN}) that says (\w+)")


def groups(words: str, situation: DialogueState) -> list[tuple[Target, ...]]:
    """All that the words may mean: objects named together, "them", or one object alone."""
    if words in phrases_of("them", {}):
        return [situation.several] if situation.several else []
    found: list[tuple[Target, ...]] = [(target,) for target in objects(words, situation)]
    several = [objects(part, situation) for part in words.split(" and ")]
    return found or (list(product(*several)) if len(several) > 1 else [])


def objects(words: str, situation: DialogueState) -> list[Target]:
    """All single objects that the words may mean: one where they are clear, none where nothing fits."""
    return _described(words, situation) or _pointed(words, situation)


def _described(words: str, situation: DialogueState) -> list[Target]:
    """Objects that look as the words say."""
    described, _, where = words.partition(" in row ")
    looks = described_looks(described.removeprefix("the "))
    if looks is None or not words.startswith("the "):
        return []
    target = Target(0, looks["shape"], looks["color"], looks["material"], bool(where), looks["text"])
    place = cell(f"row {where}", situation.grid) if where else None
    cells = range(len(situation.scene.cells)) if not where else [place] if place is not None else []
    return [replace(target, cell=c) for c in cells if target.fits(situation.scene.cells[c])]


def cell(words: str, grid: int) -> int | None:
    """The cell "row 2 column 3", None where it lies outside of the grid."""
    match = _PLACE.fullmatch(words)
    if match is None:
        return None
    row, column = int(match[1]) - 1, int(match[2]) - 1
    return row * grid + column if 0 <= row < grid and 0 <= column < grid else None


def beside(words: str, situation: DialogueState) -> list[Beside]:
    """Places said by another object: "to the left of the star"."""
    found = ((name, said) for name, said in RELATIONS.items() if words.startswith(f"{said} "))
    return [
        Beside(name, anchor)
        for name, said in found
        for anchor in objects(words.removeprefix(f"{said} "), situation)
    ]


def described_looks(words: str) -> dict[str, Any] | None:
    """Shape, colour, material and text that words without an article describe; None where they do not."""
    sign = _SIGN.fullmatch(words)
    text = sign[2] if sign else None
    named = (sign[1] if sign else words).split()
    if not named or (text is not None and text not in TEXTS):
        return None
    *looks, shape = named
    shapes = {known: known for known in (*SHAPES, SIGN)} | {plural(known): known for known in SHAPES}
    if shape not in shapes and shape != "object":
        return None
    color = next((word for word in looks if word in COLORS), None)
    material = next((word for word in looks if word in MATERIALS), None)
    if len(looks) != (color is not None) + (material is not None):
        return None
    return {"shape": shapes.get(shape), "color": color, "material": material, "text": text}


def _pointed(words: str, situation: DialogueState) -> list[Target]:
    """Objects that the words point at, in any way there is; "it" is what was edited last."""
    focus = situation.focus
    if focus is not None and any(words in phrases_of(way, {}) for way in _focusing(situation)):
        return [focus]
    found = {
        cell: None
        for way in sorted(NAMING)
        for cell, slots in REFERENCES[way].points(situation)
        if words in phrases_of(way, slots)
    }
    named = [plain_target(situation, cell) for cell in found]
    return [target for target in named if target is not None]


def _focusing(situation: DialogueState) -> tuple[str, ...]:
    """Acts that speak of the object edited last."""
    return ("it", "just_added") if isinstance(situation.last, SubjectAdd) else ("it",)
