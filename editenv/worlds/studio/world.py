"""The studio as a world: sessions by number, pictures by size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from editenv.types import SPLITS, Image
from editenv.worlds.studio.generator import draw_session
from editenv.worlds.studio.language import LARGEST_GRID
from editenv.worlds.studio.render import render
from editenv.worlds.studio.session import StudioSpec, spec_from_json
from editenv.worlds.studio.suites import load_suite


class StudioWorld:
    """Procedural sessions on scenes of a grid.

    Args:
        suite: name of a suite, such as "mixed".
        size: side of a picture in pixels.
        grid: cells a side, 2 to 5.

    Raises:
        ValueError: the suite is unknown, or a cell would be smaller than 8 pixels.
    """

    name = "studio"
    version = "2"

    def __init__(self, suite: str = "mixed", size: int = 64, grid: int = 4) -> None:
        if not 2 <= grid <= LARGEST_GRID:
            raise ValueError(f"grid is {grid}, expected 2 to {LARGEST_GRID}")
        if size < 8 * grid:
            raise ValueError(f"size is {size}, expected at least {8 * grid}: 8 pixels for each of {grid} cells")
        self.suite = load_suite(suite)
        if self.suite.objects[0] >= grid * grid:
            least = self.suite.objects[0]
            raise ValueError(f"grid is {grid}, too small for suite {suite!r}: its scenes hold {least} objects or more")
        self.size = size
        self.grid = grid
        self.image_shape = (size, size, 3)
        self.max_turns = self.suite.max_turns

    def session(self, split: str, seed: int, index: int) -> StudioSpec:
        """Session `index` of `seed` in a split; always the same one."""
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}, expected one of {SPLITS}")
        return draw_session(self.suite, split, seed, index, self.grid)

    def picture(self, spec: StudioSpec) -> Image:
        """The session's source picture, uint8 [size, size, 3]."""
        return render(spec.scene, self.size)

    def spec_from_json(self, data: Mapping[str, Any]) -> StudioSpec:
        """The session that StudioSpec.to_json described; ValueError where it did not."""
        return spec_from_json(data)
