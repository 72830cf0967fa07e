"""All right results of edits that leave a choice, written down apart from the edits' own code."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product

from editenv.worlds.studio.edit import Edit
from editenv.worlds.studio.scene import COLORS, MATERIALS, Scene, SceneObject
from editenv.worlds.studio.tasks import CountChange, PositionChange, SubjectAdd

STEPS = {"left": (0, -1), "right": (0, 1), "above": (-1, 0), "below": (1, 0)}


def places(relation: str, anchor: int, scene: Scene) -> set[int]:
    """Free cells in a relation to a cell, by walking away from it."""
    grid = scene.grid
    found = set()
    for step in STEPS.values() if relation == "next" else [STEPS[relation]]:
        row, column = anchor // grid, anchor % grid
        for _ in range(1 if relation == "next" else grid):
            row, column = row + step[0], column + step[1]
            if 0 <= row < grid and 0 <= column < grid and scene.cells[row * grid + column] is None:
                found.add(row * grid + column)
    return found


def right_results(edit: Edit, scene: Scene) -> Iterator[Scene]:
    """Every right result of a count_change, or of a subject_add or position_change beside another object."""
    if isinstance(edit, CountChange):
        yield from _counted(edit, scene)
        return
    assert isinstance(edit, SubjectAdd | PositionChange) and edit.beside is not None
    anchor = edit.beside.anchor.find(scene)
    assert anchor is not None
    for cell in sorted(places(edit.beside.relation, anchor, scene)):
        if isinstance(edit, SubjectAdd):
            color, material = edit.color or COLORS[0], edit.material or MATERIALS[0]
            yield scene.put(cell, SceneObject(edit.shape, color, material, edit.text))
        else:
            source = edit.target.find(scene)
            assert source is not None
            yield scene.put(source, None).put(cell, scene.cells[source])


def _counted(edit: CountChange, scene: Scene) -> Iterator[Scene]:
    fitting = [
        cell
        for cell, thing in enumerate(scene.cells)
        if thing
        and thing.shape == edit.shape
        and edit.color in (None, thing.color)
        and edit.material in (None, thing.material)
    ]
    surplus = len(fitting) - edit.count
    if surplus > 0:
        for gone in combinations(fitting, surplus):
            yield Scene(
                tuple(None if cell in gone else thing for cell, thing in enumerate(scene.cells)), scene.background
            )
        return
    kinds = [
        SceneObject(edit.shape, color, material)
        for color in ((edit.color,) if edit.color else COLORS)
        for material in ((edit.material,) if edit.material else MATERIALS)
    ]
    for cells in combinations(scene.empty(), -surplus):
        for looks in product(kinds, repeat=len(cells)):
            result = scene
            for cell, thing in zip(cells, looks, strict=True):
                result = result.put(cell, thing)
            yield result
