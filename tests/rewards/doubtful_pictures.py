"""Pictures on the edge of being readable: blends, noise, blur, blots, paint where no object is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from editenv.types import Image
from editenv.worlds.studio.render import GROUND, INK, render
from editenv.worlds.studio.scene import BACKGROUNDS, Scene, all_objects, scene_from_codes

Rng = np.random.Generator
Spoil = Callable[[Image, Image, int, Rng], Image]
"""(a picture, another one, side of a cell, source of chance) -> the first, more or less spoilt."""


def rounded(values: np.ndarray) -> Image:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def drawn_scene(grid: int, rng: Rng) -> Scene:
    codes = np.where(rng.random(grid**2) < 0.4, rng.integers(1, len(all_objects()) + 1, grid**2), 0)
    return scene_from_codes([int(rng.integers(len(BACKGROUNDS))), *codes.tolist()])


def neighbour(scene: Scene, rng: Rng) -> Scene:
    """The scene with one to three things changed, and now and then another background."""
    for cell in rng.integers(len(scene.cells), size=rng.integers(1, 4)).tolist():
        scene = scene.put(cell, (None, *all_objects())[rng.integers(len(all_objects()) + 1)])
    if rng.random() < 0.1:
        scene = Scene(scene.cells, BACKGROUNDS[rng.integers(len(BACKGROUNDS))])
    return scene


def untouched(one: Image, other: Image, cell: int, rng: Rng) -> Image:
    return one


def blend(one: Image, other: Image, cell: int, rng: Rng) -> Image:
    """Any share of the other picture; small ones are the doubtful ones."""
    share = rng.random() ** 2
    return rounded((1 - share) * one + share * other)


def noise(one: Image, other: Image, cell: int, rng: Rng) -> Image:
    return rounded(one + rng.normal(0, rng.uniform(0, 12), one.shape))


def soft_noise(one: Image, other: Image, cell: int, rng: Rng) -> Image:
    """Noise in patches of 4 x 4 pixels, as decoders make it."""
    patches = rng.normal(0, rng.uniform(0, 10), (-(-len(one) // 4),) * 2 + (3,))
    return rounded(one + patches.repeat(4, 0).repeat(4, 1)[: len(one), : len(one)])


def blur(one: Image, other: Image, cell: int, rng: Rng) -> Image:
    """A share of the mean of each pixel and its four neighbours."""
    near = sum(np.roll(one.astype(float), step, axis) for axis in (0, 1) for step in (-1, 1))
    share = rng.random()
    return rounded((1 - share) * one + share * (near + one) / 5)


def blots(one: Image, other: Image, cell: int, rng: Rng) -> Image:
    """Up to six rectangles, some of one pixel, some of a line, a little brighter or darker."""
    spoilt = one.astype(float)
    for _ in range(rng.integers(1, 7)):
        row, column = rng.integers(len(one), size=2)
        high, wide = rng.choice((1, 1, 2, 3, 5, 12), size=2)
        spoilt[row : row + high, column : column + wide, rng.random(3) < 0.7] += rng.uniform(-60, 60)
    return rounded(spoilt)


def rings(one: Image, other: Image, cell: int, rng: Rng) -> Image:
    """Paint on the outlines of some cells, where only the background is seen."""
    spoilt, level = one.astype(float), rng.uniform(0, 25)
    count = len(one) // cell
    start = (len(one) - count * cell) // 2
    for row, column in rng.integers(count, size=(rng.integers(1, 2 * count**2), 2)).tolist():
        top, left = start + row * cell, start + column * cell
        spoilt[top, left : left + cell] += level
        spoilt[top : top + cell, left] += level
    return rounded(spoilt)


def rim(one: Image, other: Image, cell: int, rng: Rng) -> Image:
    """Paint on the outermost pixels, which no cell may cover."""
    spoilt = one.astype(float)
    spoilt[: rng.integers(1, 3), : rng.integers(1, len(one))] -= rng.uniform(0, 80)
    return rounded(spoilt)


def tint(one: Image, other: Image, cell: int, rng: Rng) -> Image:
    share, ink = rng.uniform(0, 0.15), list(INK.values())[rng.integers(len(INK))]
    return rounded((1 - share) * one + share * np.array(ink))


def ground_between(one: Image, other: Image, cell: int, rng: Rng) -> Image:
    """Another ground in all of the picture below a line."""
    spoilt, row = one.copy(), rng.integers(len(one))
    spoilt[row:] = list(GROUND.values())[rng.integers(len(GROUND))]
    return spoilt


SPOILS: tuple[Spoil, ...] = (untouched, blend, noise, soft_noise, blur, blots, rings, rim, tint, ground_between)


def doubtful(scene: Scene, other: Scene, size: int, rng: Rng) -> Image:
    """A picture of a scene, spoilt in one or two ways."""
    cell = size // scene.grid
    picture, wrong = render(scene, size), render(other, size)
    for _ in range(rng.integers(1, 3)):
        picture = SPOILS[rng.integers(len(SPOILS))](picture, wrong, cell, rng)
    return picture
