"""From words for objects, places and numbers to what they stand for in a picture."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from editenv.agents.baselines.reader.grammar import phrases_of
from editenv.worlds.studio.edits import Beside, SubjectAdd, Target
from editenv.worlds.studio.edits.beside import RELATIONS
from editenv.worlds.studio.proposals import Situation
from editenv.worlds.studio.scene import COLORS, MATERIALS, SHAPES, SIGN, TEXTS
from editenv.worlds.studio.words import plural

_PLACE = re.compile(r"row (\d) column (\d)")
_SIGN = re.compile(rf"(.*\b{SIGN}) that says (\w+)")


def objects(words: str, situation: Situation) -> list[Target]:
    """All objects that the words may mean: one where they are clear, none where nothing fits."""
    for act in ("it", "just_added"):
        if words in phrases_of(act):
            return _focus(act, situation)
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


def beside(words: str, situation: Situation) -> list[Beside]:
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


def _focus(act: str, situation: Situation) -> list[Target]:
    """The object of the last edit."""
    if situation.focus is None or (act == "just_added" and not isinstance(situation.last, SubjectAdd)):
        return []
    return [situation.focus] if situation.scene.cells[situation.focus.cell] is not None else []
