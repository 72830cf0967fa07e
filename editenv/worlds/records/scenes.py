"""Records that are studio scenes: sessions with the exact meaning that the key "editenv" holds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from editenv.types import Image
from editenv.worlds.records.lines import EXTRA, Line, SessionsFile, at_line
from editenv.worlds.records.meaning import read_spec, size_and_grid, turn_limit
from editenv.worlds.records.pictures import load_picture
from editenv.worlds.studio.noun_phrases import known_object, place
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.scene import Scene
from editenv.worlds.studio.session import StudioSpec, spec_from_json

_BATCH = 64


class StudioRecordsWorld:
    """The sessions of a file whose lines all have the key "editenv"; the exact scorer applies.

    Opening checks every session: each turn has a right result that scores 1, the words are the record's, and
    the picture shows the start scene.

    Args:
        file: what `read_sessions_file` read.
        size: what the pictures' side must be; None for whatever it is.

    Raises:
        ValueError: a session or its picture is not as described; names line and key.
    """

    name = "studio-records"
    version = "1"

    def __init__(self, file: SessionsFile, size: int | None = None) -> None:
        self.file = file
        self.size, self.grid = size_and_grid(file)
        if size not in (None, self.size):
            raise ValueError(f"size is {size}, but the scenes in {file.path} are {self.size} pixels wide")
        self.image_shape = (self.size, self.size, 3)
        self._specs = [read_spec(file, line) for line in file.lines]
        self._lines: dict[str, Line] = {}
        for spec, line in zip(self._specs, file.lines, strict=True):
            _check_repeat(file, self._lines.setdefault(spec.id, line), line)
        self.max_turns = max(map(partial(turn_limit, file), file.lines, self._specs))
        self._check_pictures()

    @property
    def longest_instruction(self) -> int:
        """Characters of the file's longest instruction."""
        return self.file.longest_instruction

    def session(self, split: str, seed: int, index: int) -> StudioSpec:
        """Session `index` of the file, beginning anew after the last one; split and seed do not matter."""
        return self._specs[index % len(self._specs)]

    def picture(self, spec: StudioSpec) -> Image:
        """The session's source picture from its file, uint8 [size, size, 3].

        Raises:
            ValueError: the file has no such session, or the picture cannot be used any more.
        """
        return self._load(self._line(spec))

    def spec_from_json(self, data: Mapping[str, Any]) -> StudioSpec:
        """The session that StudioSpec.to_json described, which must be one of the file's."""
        spec = spec_from_json(data)
        self._line(spec)
        return spec

    def _line(self, spec: StudioSpec) -> Line:
        if spec.id not in self._lines:
            raise ValueError(f"{self.file.path} has no session {spec.id}")
        return self._lines[spec.id]

    def _load(self, line: Line) -> Image:
        with at_line(self.file.path, line.number, "image"):
            picture = load_picture(self.file.folder, line.record.image)
            if picture.shape != self.image_shape:
                raise ValueError(f"the picture has shape {picture.shape}, expected {self.image_shape}")
        return picture

    def _check_pictures(self) -> None:
        """Refuses pictures that show another scene than the one described."""
        for first in range(0, len(self._specs), _BATCH):
            lines, specs = self.file.lines[first : first + _BATCH], self._specs[first : first + _BATCH]
            shown = parse([self._load(line) for line in lines], self.grid)
            for line, spec, scene in zip(lines, specs, shown, strict=True):
                with at_line(self.file.path, line.number, "image"):
                    _check_scene(scene, spec.scene)


def _check_repeat(file: SessionsFile, first: Line, line: Line) -> None:
    """Refuses a session that comes twice with different pictures."""
    if first.record.image != line.record.image:
        with at_line(file.path, line.number, "image"):
            raise ValueError(f"the session is that of line {first.number}, expected the same picture")


def _check_scene(shown: Scene, described: Scene) -> None:
    """Refuses a parsed scene that differs from the described one, naming the first difference."""
    if shown.background != described.background:
        raise ValueError(f"the picture's background is {shown.background}, expected {described.background}")
    for cell, (seen, meant) in enumerate(zip(shown.cells, described.cells, strict=True)):
        if seen != meant:
            names = [known_object(**thing.attributes()) if thing else "nothing" for thing in (seen, meant)]
            where = place(cell, described.grid)
            raise ValueError(f"the picture shows {names[0]} in {where}, expected {names[1]} as in {EXTRA!r}")
