"""What the key "editenv" holds: a studio session, checked before anyone plays it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from editenv.jsonread import check_keys, read_list, read_value
from editenv.worlds.records.lines import EXTRA, Line, SessionsFile, at_line
from editenv.worlds.studio.constraints import right_result
from editenv.worlds.studio.session import StudioSpec, spec_from_json
from editenv.worlds.studio.world import StudioWorld

EXTRA_KEYS = ("world", "size", "grid", "spec")
WROTE = f"{StudioWorld.name} {StudioWorld.version}"
"""The world whose sessions are written and read."""


def size_and_grid(file: SessionsFile) -> tuple[int, int]:
    """The size and grid that all lines share.

    Raises:
        ValueError: a line was written by another world, or lines differ; names line and key.
    """
    found: tuple[int, int] | None = None
    for line in file.lines:
        with at_line(file.path, line.number, EXTRA):
            extra = line.extra or {}
            check_keys(extra, EXTRA_KEYS)
            if extra["world"] != WROTE:
                raise ValueError(f"key 'world' is {extra['world']!r}, expected {WROTE!r}")
            own = read_value(extra, "size", int), read_value(extra, "grid", int)
            if found is None:
                StudioWorld(size=own[0], grid=own[1])
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
        spec = spec_from_json(data)
        if spec.to_json() != data:
            raise ValueError("key 'spec' has keys or values that no studio session has")
        _check_script(spec, extra["grid"])
    record = line.record
    with at_line(file.path, line.number):
        for key, said, meant in (
            ("instruction", record.instruction, [turn.text for turn in spec.turns]),
            ("task_type", [turn.task_type for turn in record.turns], [turn.edit.task for turn in spec.turns]),
        ):
            if list(said) != meant:
                raise ValueError(f"key {key!r} is {list(said)}, but the key {EXTRA!r} has {meant}")
    return spec


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
    scene = spec.scene
    for number, turn in enumerate(spec.turns):
        try:
            result = right_result(turn.edit, turn.rules, scene)
            free = frozenset(name for rule in turn.rules for name in rule.free)
            right = turn.edit.accepts(scene, result, free) and _in_range(turn.edit, grid)
            kept = all(rule.holds(turn.edit, scene, result) is not False for rule in turn.rules)
            known = min(result.codes()) >= 0
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise ValueError(f"turn {number} cannot be carried out: {error!r}") from error
        if not (right and kept and known):
            raise ValueError(f"turn {number} has no right result: {turn.edit} with {list(turn.rules)}")
        scene = result


def _in_range(edit: Any, grid: int) -> bool:
    """Whether every cell that an edit names lies on the grid."""
    target = getattr(edit, "target", None)
    cells = [getattr(part, "cell", 0) for part in (edit, target) if part is not None]
    return all(type(cell) is int and 0 <= cell < grid * grid for cell in cells)
