"""What the key "editenv" holds: a studio session, checked before anyone plays it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from editenv.jsonread import check_keys, read_list, read_value
from editenv.worlds.records.lines import EXTRA, Line, SessionsFile, at_line
from editenv.worlds.records.session import MOST_TURNS
from editenv.worlds.studio.rules import check_edit, right_result
from editenv.worlds.studio.scene import Scene
from editenv.worlds.studio.session import StudioSpec, spec_from_json
from editenv.worlds.studio.tasks import Edit
from editenv.worlds.studio.world import StudioWorld

EXTRA_KEYS = ("world", "size", "grid", "spec")
MAX_TURNS = "max_turns"
"""The key beside these that is there where a session may last longer than its script."""

WROTE = f"{StudioWorld.name} {StudioWorld.version}"
"""The world whose sessions are written; sessions of its earlier versions are read too."""

LARGEST_CELL = 256
"""Side of a cell in pixels above which scenes are not read: their templates would fill the memory."""


def size_and_grid(file: SessionsFile) -> tuple[int, int]:
    """The size and grid that all lines share.

    Raises:
        ValueError: a line was written by another world, or lines differ; names line and key.
    """
    found: tuple[int, int] | None = None
    for line in file.lines:
        with at_line(file.path, line.number, EXTRA):
            extra = line.extra or {}
            check_keys({key: value for key, value in extra.items() if key != MAX_TURNS}, EXTRA_KEYS)
            _check_world(read_value(extra, "world", str))
            own = read_value(extra, "size", int), read_value(extra, "grid", int)
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
    extra = line.extra or {}
    with at_line(file.path, line.number, EXTRA):
        data = read_value(extra, "spec", dict)
        _check_kinds(data)
        try:
            spec = spec_from_json(data)
            whole = spec.to_json()
        except (RecursionError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise ValueError(f"key 'spec' is no studio session: {error!r}") from error
        if not _holds(whole, data):
            raise ValueError("key 'spec' has keys or values that no studio session has")
        _check_script(spec, extra["grid"])
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
    extra = line.extra or {}
    with at_line(file.path, line.number, EXTRA):
        limit = read_value(extra, MAX_TURNS, int) if MAX_TURNS in extra else spec.turn_count
        if not spec.turn_count <= limit <= MOST_TURNS:
            raise ValueError(f"key {MAX_TURNS!r} is {limit}, expected {spec.turn_count} to {MOST_TURNS}")
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


def _check_kinds(data: Mapping[str, Any]) -> None:
    """Refuses values of a spec's plain keys that are of the wrong kind."""
    for key, kind in (("suite", str), ("split", str), ("seed", int), ("index", int)):
        read_value(data, key, kind)
    read_list(data, "scene", int)
    for turn in read_list(data, "turns", dict):
        read_value(turn, "text", str)
        read_value(turn, "intent", str)
        if turn.get("reference") is not None:
            read_value(turn, "reference", str)
    if not data["turns"]:
        raise ValueError("key 'turns' is empty, expected one or more")


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
