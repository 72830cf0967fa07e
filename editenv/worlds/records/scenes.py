"""Records that are studio scenes: sessions with the exact meaning that the key "editenv" holds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from pydantic import ConfigDict

from editenv.records import EXTRA, MOST_TURNS, Line, SessionsFile, at_line
from editenv.strict import Strict, check
from editenv.types import Image
from editenv.worlds.records.pictures import load_picture
from editenv.worlds.studio.noun_phrases import known_object, place
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.rules import check_edit, right_result
from editenv.worlds.studio.scene import Scene
from editenv.worlds.studio.session import StudioSpec, spec_from_json
from editenv.worlds.studio.tasks import Edit
from editenv.worlds.studio.world import StudioWorld

_BATCH = 64

WROTE = f"{StudioWorld.name} {StudioWorld.version}"
"""The world whose sessions are written; sessions of its earlier versions are read too."""

LARGEST_CELL = 256
"""Side of a cell in pixels above which scenes are not read: their templates would fill the memory."""


class Meaning(Strict):
    """What the key "editenv" holds; `max_turns` where a session may last longer than its script."""

    world: str
    size: int
    grid: int
    spec: dict[str, Any]
    max_turns: int | None = None


class _Turn(Strict):
    model_config = ConfigDict(strict=True, extra="allow")

    text: str
    intent: str
    reference: str | None = None


class _Spec(Strict):
    """The plain keys of a spec, before the studio makes a session of it."""

    model_config = ConfigDict(strict=True, extra="allow")

    suite: str
    split: str
    seed: int
    index: int
    scene: list[int]
    turns: list[_Turn]


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


def size_and_grid(file: SessionsFile) -> tuple[int, int]:
    """The size and grid that all lines share.

    Raises:
        ValueError: a line was written by another world, or lines differ; names line and key.
    """
    found: tuple[int, int] | None = None
    for line in file.lines:
        with at_line(file.path, line.number, EXTRA):
            meaning = check(Meaning, line.extra or {})
            _check_world(meaning.world)
            own = meaning.size, meaning.grid
            if found is None:
                StudioWorld(size=own[0], grid=own[1])
                if own[0] > LARGEST_CELL * own[1]:
                    raise ValueError(f"key 'size' is {own[0]}, expected {LARGEST_CELL} pixels a cell at most")
            elif own != found:
                raise ValueError(f"size and grid are {own}, expected {found} as in the lines before")
            found = own
    assert found is not None
    return found


def read_spec(file: SessionsFile, line: Line) -> StudioSpec:
    """A line's session, once it can be played as described.

    Raises:
        ValueError: a key is not as expected, the words are not the record's, or a turn has no right result.
    """
    with at_line(file.path, line.number, EXTRA):
        meaning = check(Meaning, line.extra or {})
        data = meaning.spec
        if not check(_Spec, data).turns:
            raise ValueError("key 'turns' is empty, expected one or more")
        try:
            spec = spec_from_json(data)
            whole = spec.to_json()
        except (RecursionError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise ValueError(f"key 'spec' is no studio session: {error!r}") from error
        if not _holds(whole, data):
            raise ValueError("key 'spec' has keys or values that no studio session has")
        _check_script(spec, meaning.grid)
    record = line.record
    with at_line(file.path, line.number):
        for key, said, meant in (
            ("instruction", record.instruction, [turn.text for turn in spec.turns]),
            (
                "task_type",
                [turn.task_type for turn in record.turns],
                [task_type(turn.edit) for turn in spec.turns],
            ),
        ):
            if list(said) != meant:
                raise ValueError(f"key {key!r} is {list(said)}, but the key {EXTRA!r} has {meant}")
    return spec


def turn_limit(file: SessionsFile, line: Line, spec: StudioSpec) -> int:
    """Turns that a line's session may have.

    Raises:
        ValueError: there are fewer than in the script, or more than MOST_TURNS.
    """
    with at_line(file.path, line.number, EXTRA):
        limit = check(Meaning, line.extra or {}).max_turns
        if limit is None:
            return spec.turn_count
        if not spec.turn_count <= limit <= MOST_TURNS:
            raise ValueError(f"key 'max_turns' is {limit}, expected {spec.turn_count} to {MOST_TURNS}")
    return limit


def task_type(edit: Edit) -> str:
    """The edit's task in MICE-Bench's words; of an undo, that of the edit that undoes."""
    return getattr(edit, "instead", edit).task


def _check_world(wrote: str) -> None:
    """Refuses sessions of another world, or of a version yet to come."""
    name, _, version = wrote.rpartition(" ")
    if name != StudioWorld.name or not version.isdecimal() or int(version) > int(StudioWorld.version):
        raise ValueError(f"key 'world' is {wrote!r}, expected {WROTE!r}")


def _holds(whole: Any, part: Any) -> bool:
    """Whether JSON values say all that others do; objects may hold more, such as keys added since."""
    if isinstance(whole, dict) and isinstance(part, dict):
        return all(key in whole and _holds(whole[key], value) for key, value in part.items())
    if isinstance(whole, list | tuple) and isinstance(part, list):
        return len(whole) == len(part) and all(map(_holds, whole, part))
    return type(whole) is type(part) and whole == part


def _check_script(spec: StudioSpec, grid: int) -> None:
    """Refuses a script in which a turn has no right result that would score 1."""
    if len(spec.scene.cells) != grid * grid:
        raise ValueError(f"key 'scene' has {len(spec.scene.cells)} cells, expected {grid * grid}")
    if min(spec.scene.codes()) < 0:
        raise ValueError("key 'scene' holds something unreadable, expected codes of 0 or more")
    _check_cells([turn.to_json() for turn in spec.turns], grid)
    scene, past = spec.scene, list[Scene]()
    for number, turn in enumerate(spec.turns):
        try:
            result = right_result(turn.edit, turn.rules, scene, past)
            verdict = check_edit(turn.edit, turn.rules, scene, result, past)
            right = verdict.followed and not verdict.broken
            known = min(result.codes()) >= 0
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise ValueError(f"turn {number} cannot be carried out: {error!r}") from error
        if not (right and known):
            raise ValueError(f"turn {number} has no right result: {turn.edit} with {list(turn.rules)}")
        past.append(scene)
        scene = result


def _check_cells(value: Any, grid: int) -> None:
    """Refuses a cell that an edit or a rule names and the grid has not."""
    if isinstance(value, dict):
        cell = value.get("cell", 0)
        if type(cell) is not int or not 0 <= cell < grid * grid:
            raise ValueError(f"key 'cell' is {cell!r}, expected 0 to {grid * grid - 1}")
        value = list(value.values())
    for part in value if isinstance(value, list | tuple) else ():
        _check_cells(part, grid)
