"""Start scenes of sessions."""

from __future__ import annotations

from editenv.worlds.studio.draws import Draws
from editenv.worlds.studio.scene import (
    BACKGROUNDS,
    COLORS,
    MATERIALS,
    SHAPES,
    SIGN,
    TEXTS,
    Scene,
    Thing,
    things,
)


def start_scene(draws: Draws, grid: int, objects: tuple[int, int], signs: tuple[int, int] = (0, 0)) -> Scene:
    """A scene of some objects, no two alike in shape and colour; one cell at least stays empty.

    Args:
        draws: choices.
        grid: cells a side.
        objects: smallest and largest number of objects.
        signs: smallest and largest number of them that are signs, no two with one text.
    """
    free = list(range(grid * grid))
    most = min(objects[1], len(free) - 1)
    cells: list[Thing | None] = [None] * len(free)
    seen = set()
    count = objects[0] + draws.below(most - objects[0] + 1)
    texts = list(TEXTS)
    for _ in range(min(count, _between(draws, *signs))):
        sign = Thing(SIGN, draws.pick(COLORS), text=texts.pop(draws.below(len(texts))))
        cells[free.pop(draws.below(len(free)))] = sign
        count -= 1
    below, shapes, colors, materials = draws.below, len(SHAPES), len(COLORS), len(MATERIALS)
    for _ in range(count):
        shape, color, material = below(shapes), below(colors), below(materials)
        while (shape, color) in seen:
            shape, color = below(shapes), below(colors)
        seen.add((shape, color))
        # Most scenes are thrown away, since they belong to another split: their objects are not made anew.
        cells[free.pop(below(len(free)))] = things()[(shape * colors + color) * materials + material]
    return Scene(tuple(cells), draws.pick(BACKGROUNDS))


def _between(draws: Draws, least: int, most: int) -> int:
    return least if least == most else least + draws.below(most - least + 1)
