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
    SceneObject,
    scene_from_codes,
)


def initial_scene(
    draws: Draws, grid: int, objects: tuple[int, int], signs: tuple[int, int] = (0, 0)
) -> Scene:
    """The scene of `start_codes`."""
    return scene_from_codes(start_codes(draws, grid, objects, signs))


def start_codes(
    draws: Draws, grid: int, objects: tuple[int, int], signs: tuple[int, int] = (0, 0)
) -> list[int]:
    """Codes of a scene of some objects, no two alike in shape and colour; one cell at least stays empty.

    Most start scenes are thrown away, since they belong to another split: only numbers are made here.

    Args:
        draws: choices.
        grid: cells a side.
        objects: smallest and largest number of objects.
        signs: smallest and largest number of them that are signs, no two with one text.
    """
    below = draws.below
    free = list(range(1, 1 + grid * grid))
    most = min(objects[1], len(free) - 1)
    codes = [0] * (1 + len(free))
    seen = set()
    count = objects[0] + below(most - objects[0] + 1)
    texts = list(TEXTS)
    for _ in range(min(count, _between(draws, *signs))):
        sign = SceneObject(SIGN, draws.pick(COLORS), text=texts.pop(below(len(texts))))
        codes[free.pop(below(len(free)))] = sign.code
        count -= 1
    shapes, colors, materials = len(SHAPES), len(COLORS), len(MATERIALS)
    for _ in range(count):
        shape, color, material = below(shapes), below(colors), below(materials)
        while (shape, color) in seen:
            shape, color = below(shapes), below(colors)
        seen.add((shape, color))
        codes[free.pop(below(len(free)))] = 1 + (shape * colors + color) * materials + material
    codes[0] = below(len(BACKGROUNDS))
    return codes


def _between(draws: Draws, least: int, most: int) -> int:
    return least if least == most else least + draws.below(most - least + 1)
