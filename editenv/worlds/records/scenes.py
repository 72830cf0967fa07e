"""Records that are studio scenes: sessions with the exact meaning that the key "editenv" holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from editenv.records import EXTRA, MOST_TURNS, Line, SessionsFile, at_line
from editenv.strict import Strict, check
from editenv.types import Image
from editenv.worlds.records.pictures import load_picture
from editenv.worlds.studio.edit import Edit
from editenv.worlds.studio.noun_phrases import known_object, place
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.rule import check_edit, right_result
from editenv.worlds.studio.scene import Scene
from editenv.worlds.studio.session import StudioSpec, spec_from_json
from editenv.worlds.studio.world import StudioWorld

WROTE = f"{StudioWorld.name} {StudioWorld.version}"
"""The world whose sessions are written; sessions of its earlier versions are read too."""

LARGEST_CELL = 256
"""Side of a cell in pixels above which scenes are not read: their templates would fill the memory."""

_BATCH = 64


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
    """The plain keys of a spec; the studio reads the others."""

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
        self.file, self.longest_instruction = file, file.longest_instruction
        found = [read_meaning(file.path, line) for line in file.lines]
        self.size, self.grid = found[0][0].size, found[0][0].grid
        if size not in (None, self.size):
            raise ValueError(f"size is {size}, but the scenes in {file.path} are {self.size} pixels wide")
        self.image_shape: tuple[int, int, int] = (self.size, self.size, 3)
        self.max_turns = max(meaning.max_turns or spec.turn_count for meaning, spec in found)
        self._specs = [spec for _, spec in found]
        self._lines: dict[str, Line] = {}
        for line, (meaning, spec) in zip(file.lines, found, strict=True):
            with at_line(file.path, line.number, EXTRA):
                own, first = (meaning.size, meaning.grid), (self.size, self.grid)
                if own != first:
                    raise ValueError(f"size and grid are {own}, expected {first} as in the lines before")
            same = self._lines.setdefault(spec.id, line)
            with at_line(file.path, line.number, "image"):
                if same.record.image != line.record.image:
                    raise ValueError(f"the session is that of line {same.number}, expected the same picture")
        for first in range(0, len(self._specs), _BATCH):
            lines, specs = file.lines[first : first + _BATCH], self._specs[first : first + _BATCH]
            shown = parse([self._load(line) for line in lines], self.grid)
            for line, spec, scene in zip(lines, specs, shown, strict=True):
                with at_line(file.path, line.number, "image"):
                    _check_scene(scene, spec.scene)

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


def _check_scene(shown: Scene, described: Scene) -> None:
    """Refuses a parsed scene that differs from the described one, naming the first difference."""
    if shown.background != described.background:
        raise ValueError(f"the picture's background is {shown.background}, expected {described.background}")
    for cell, (seen, meant) in enumerate(zip(shown.cells, described.cells, strict=True)):
        if seen != meant:
            names = [known_object(**thing.attributes()) if thing else "nothing" for thing in (seen, meant)]
            where = place(cell, described.grid)
            raise ValueError(f"the picture shows {names[0]} in {where}, expected {names[1]} as in {EXTRA!r}")


def read_meaning(path: Path, line: Line) -> tuple[Meaning, StudioSpec]:
    """The meaning of a line and its session, once that can be played as described.

    Raises:
        ValueError: a key is not as expected, the session is of another world, its words are not the record's,
            or a turn has no right result; names file, line and key.
    """
    with at_line(path, line.number, EXTRA):
        meaning = check(Meaning, line.extra or {})
        name, _, version = meaning.world.rpartition(" ")
        if name != StudioWorld.name or not version.isdecimal() or int(version) > int(StudioWorld.version):
            raise ValueError(f"key 'world' is {meaning.world!r}, expected {WROTE!r}")
        StudioWorld(size=meaning.size, grid=meaning.grid)
        if meaning.size > LARGEST_CELL * meaning.grid:
            raise ValueError(f"key 'size' is {meaning.size}, expected {LARGEST_CELL} pixels a cell at most")
        spec = _read_spec(meaning.spec, meaning.grid)
        turns = spec.turn_count
        if meaning.max_turns is not None and not turns <= meaning.max_turns <= MOST_TURNS:
            raise ValueError(f"key 'max_turns' is {meaning.max_turns}, expected {turns} to {MOST_TURNS}")
        _check_script(spec)
    said = {"instruction": list(line.record.instruction), "task_type": [turn.task_type for turn in line.record.turns]}
    meant = {
        "instruction": [turn.text for turn in spec.turns],
        "task_type": [task_type(turn.edit) for turn in spec.turns],
    }
    with at_line(path, line.number):
        for key in said:
            if said[key] != meant[key]:
                raise ValueError(f"key {key!r} is {said[key]}, but the key {EXTRA!r} has {meant[key]}")
    return meaning, spec


def _read_spec(data: dict[str, Any], grid: int) -> StudioSpec:
    plain = check(_Spec, data)
    if not plain.turns:
        raise ValueError("key 'turns' is empty, expected one or more")
    if len(plain.scene) != grid * grid + 1:
        raise ValueError(f"key 'scene' has {len(plain.scene) - 1} cells, expected {grid * grid}")
    try:
        spec = spec_from_json(data)
        whole = spec.to_json()
    except (RecursionError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(f"key 'spec' is no studio session: {error!r}") from error
    if not _holds(whole, data):
        raise ValueError("key 'spec' has keys or values that no studio session has")
    if min(spec.scene.codes()) < 0:
        raise ValueError("key 'scene' holds something unreadable, expected codes of 0 or more")
    return spec


def _holds(whole: Any, part: Any) -> bool:
    """Whether JSON values say all that others do; objects may hold more, such as keys added since."""
    if isinstance(whole, dict) and isinstance(part, dict):
        return all(key in whole and _holds(whole[key], value) for key, value in part.items())
    if isinstance(whole, list | tuple) and isinstance(part, list):
        return len(whole) == len(part) and all(map(_holds, whole, part))
    return type(whole) is type(part) and whole == part


def _check_script(spec: StudioSpec) -> None:
    """Refuses a script in which a turn has no right result that would score 1."""
    scene, past = spec.scene, list[Scene]()
    for number, turn in enumerate(spec.turns):
        try:
            result = right_result(turn.edit, turn.rules, scene, past)
            verdict = check_edit(turn.edit, turn.rules, scene, result, past)
            right = verdict.followed and not verdict.broken and min(result.codes()) >= 0
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise ValueError(f"turn {number} cannot be carried out: {error!r}") from error
        if not right:
            raise ValueError(f"turn {number} has no right result: {turn.edit} with {list(turn.rules)}")
        past.append(scene)
        scene = result


def task_type(edit: Edit) -> str:
    """The edit's task in MICE-Bench's words; of an undo, that of the edit that undoes."""
    return getattr(edit, "instead", edit).task
