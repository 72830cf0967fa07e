"""The editing tasks."""

from editenv.worlds.studio.edits import (
    EDITS,
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
    Undo,
    edit_from_json,
    edit_to_json,
)
from editenv.worlds.studio.edits import Each as MultiEdit
from editenv.worlds.studio.edits.base import BACKGROUND
from editenv.worlds.studio.edits.beside import RELATIONS
from editenv.worlds.studio.edits.count import MOST_COUNT

__all__ = [
    "BACKGROUND",
    "EDITS",
    "MOST_COUNT",
    "RELATIONS",
    "SAMPLERS",
    "BackgroundChange",
    "Beside",
    "ColorAlter",
    "CountChange",
    "Edit",
    "MaterialAlter",
    "MultiEdit",
    "PositionChange",
    "SubjectAdd",
    "SubjectRemove",
    "SubjectReplace",
    "Target",
    "TextChange",
    "Undo",
    "edit_from_json",
    "edit_to_json",
    "inverse_edit",
    "sample_undo",
]


def __getattr__(name: str) -> object:
    from editenv.worlds.studio.proposals import PROPOSALS
    from editenv.worlds.studio.proposals.undo import inverse, propose_undo

    return {"SAMPLERS": PROPOSALS, "inverse_edit": inverse, "sample_undo": propose_undo}[name]
