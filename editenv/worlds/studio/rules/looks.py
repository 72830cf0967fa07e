"""What rules about colours and materials share."""

from __future__ import annotations

from editenv.worlds.studio.edit import Edit, Looks
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.scene import COLORS, MATERIALS, Scene

_COLOR = 0.6
"""Chance that a rule is about a colour, else it is about a material."""


def sample_look(rng: Rng) -> tuple[str, str]:
    """An attribute and one of its values."""
    attribute = "color" if rng.chance(_COLOR) else "material"
    return attribute, rng.pick(COLORS if attribute == "color" else MATERIALS)


def lacks_looks(looks: Looks, edit: Edit, before: Scene, after: Scene) -> bool:
    """True where the edited object is not there to be seen or looks different."""
    cell = edit.edited_cell(before, after)
    obj = None if cell is None else after.cells[cell]
    return obj is None or any(getattr(obj, name) != value for name, value in looks.items())
