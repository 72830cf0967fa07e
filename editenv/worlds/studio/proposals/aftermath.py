"""What an edit leaves behind for later turns to speak of."""

from __future__ import annotations

from dataclasses import replace

from editenv.worlds.studio.constraints import Rule, demanded_looks
from editenv.worlds.studio.edits import (
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
    Undo,
)
from editenv.worlds.studio.edits.each import parts_of
from editenv.worlds.studio.scene import Scene

Added = tuple[tuple[str, int | None], ...]
"""Shape and cell of every object that was added, in order; the cell is None where it is gone."""


def focus_of(edit: Edit, rules: tuple[Rule, ...], before: Scene) -> Target | None:
    """The edited object where it stands now, as far as the text tells its looks."""
    cell = edit.edited_cell(before)
    if cell is None:
        return None
    looks = demanded_looks(edit, rules)
    if isinstance(edit, SubjectAdd | SubjectReplace):
        said = edit.asked() | looks
        return Target(cell, edit.shape, said["color"], said["material"], text=edit.text)
    if isinstance(edit, ColorAlter | MaterialAlter | PositionChange | TextChange):
        said = {name: value for name, value in edit.asked().items() if value}
        said |= {"text": edit.text} if isinstance(edit, TextChange) else {}
        return replace(edit.target, cell=cell, placed=False, **said | looks)
    return None


def left_open(edit: Edit, before: Scene) -> frozenset[int]:
    """Cells whose content the instruction leaves to the agent."""
    if isinstance(edit, CountChange):
        return edit.touched(before)
    beside = edit.beside if isinstance(edit, SubjectAdd | PositionChange) else None
    cells = beside.cells(before) if beside else ()
    return frozenset(cells) if len(cells) > 1 else frozenset()


def added_after(edit: Edit, before: Scene, added: Added) -> Added:
    """The added objects once an edit has been carried out."""
    for part in parts_of(edit):
        added = _added_after(part, before, added)
    return added


def _added_after(edit: Edit, before: Scene, added: Added) -> Added:
    if isinstance(edit, SubjectAdd):
        return (*added, (edit.shape, None if edit.beside else edit.cell))
    if isinstance(edit, PositionChange):
        to = None if edit.beside else edit.cell
        return tuple((shape, to if cell == edit.target.cell else cell) for shape, cell in added)
    if isinstance(edit, SubjectRemove | SubjectReplace):
        return tuple((shape, None if cell == edit.target.cell else cell) for shape, cell in added)
    if isinstance(edit, Undo):
        # Whatever came or went with the undone edit: nobody counts across it.
        return tuple((shape, None) for shape, _ in added)
    if isinstance(edit, CountChange):
        gone = edit.touched(before)
        return (*((shape, None if cell in gone else cell) for shape, cell in added), (edit.shape, None))
    return added
