"""Writes studio sessions in the format of Edit-R2's MICE-Bench, with their exact meaning beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from editenv.files import atomic_write
from editenv.pictures import save_png
from editenv.protocols import World
from editenv.records import EXTRA, PUBLISHED, RecordSpec, RecordTurn
from editenv.session import Session
from editenv.worlds.records.pictures import load_picture
from editenv.worlds.records.scenes import WROTE, StudioRecordsWorld, task_type
from editenv.worlds.records.world import RecordsWorld
from editenv.worlds.studio.edit import BACKGROUND
from editenv.worlds.studio.noun_phrases import NUMBERS, known_object
from editenv.worlds.studio.rule import check_edit, right_result
from editenv.worlds.studio.scene import COLORS, MATERIALS, SHAPES, SIGN, Scene
from editenv.worlds.studio.session import StudioSpec
from editenv.worlds.studio.world import StudioWorld

_LOOKS = "".join(f"(?:(?:{'|'.join(words)}) )?" for words in (MATERIALS, COLORS))
_SHAPES = "|".join((*SHAPES, SIGN, "object"))
_OBJECT = re.compile(rf"\b(the|an?|{'|'.join(NUMBERS)}) ({_LOOKS}(?:{_SHAPES})(?:e?s)?\b(?: that says \"[^\"]*\")?)")


def export_sessions(
    world: StudioWorld | StudioRecordsWorld | RecordsWorld,
    split: str,
    seed: int,
    count: int,
    folder: str | Path,
    name: str = "sessions",
) -> Path:
    """Writes sessions 0 to count - 1 of a seed: `folder`/`name`.jsonl and a PNG below source_image each.

    The same arguments give the same bytes. Every file is renamed into place when it is whole, the JSON Lines
    last, so a reader never meets half an export.

    Args:
        world: where the sessions come from.
        split: as `world.session` takes it.
        seed: likewise.
        count: how many, 1 or more.
        folder: made when it does not exist.
        name: of the file, without ".jsonl".

    Returns:
        The path of the JSON Lines.

    Raises:
        ValueError: count or name cannot be used, or the folder has another picture of a session's name.
    """
    if count < 1:
        raise ValueError(f"count is {count}, expected 1 or more")
    if not re.fullmatch(r"[\w-][\w.-]*", name):
        raise ValueError(f"name is {name!r}, expected letters, digits, '-', '_' and '.'")
    place = Path(folder)
    (place / PUBLISHED).mkdir(parents=True, exist_ok=True)
    lines = []
    for index in range(count):
        spec: Any = world.session(split, seed, index)
        if isinstance(world, RecordsWorld):
            line = spec.to_json() | {"image": f"{PUBLISHED}/{spec.id}.png"}
        else:
            line = _studio_line(world, spec)
        picture = world.picture(spec)
        if not (place / line["image"]).exists():
            save_png(place / line["image"], picture)
        elif not np.array_equal(load_picture(place, line["image"]), picture):
            raise ValueError(f"{place / line['image']} shows another picture, expected none")
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    path = place / f"{name}.jsonl"
    atomic_write(path, lambda unfinished: unfinished.write_text("".join(lines), encoding="utf-8"))
    return path


def published_keys(world: World, session: Session) -> dict[str, Any]:
    """The published keys of a session that was played; none where its user did not follow a script.

    A studio session's exact meaning comes with them, so that the record can be played again.
    """
    spec, turns = session.spec, len(session.scores)
    if isinstance(spec, RecordSpec) and session.transcript[:turns] == spec.instruction[:turns]:
        return RecordSpec(spec.image, spec.instruction[:turns], spec.turns[:turns]).to_json()
    if isinstance(spec, StudioSpec) and isinstance(world, StudioWorld | StudioRecordsWorld):
        if session.transcript[:turns] == tuple(turn.text for turn in spec.turns):
            return _studio_line(world, spec)
    return {}


def _studio_line(world: StudioWorld | StudioRecordsWorld, spec: StudioSpec) -> dict[str, Any]:
    """A studio session's line."""
    extra = {"world": WROTE, "size": world.size, "grid": world.grid, "spec": spec.to_json()}
    if world.max_turns > spec.turn_count:
        extra["max_turns"] = world.max_turns
    return record_from_studio(spec).to_json() | {EXTRA: extra}


def record_from_studio(spec: StudioSpec) -> RecordSpec:
    """A studio session as a record; every turn is described as if all turns up to it went right."""
    scene, past, seen = spec.scene, list[Scene](), phrases(spec.scene.cells)
    licensed: frozenset[int] = frozenset()
    turns = []
    for turn in spec.turns:
        result = right_result(turn.edit, turn.rules, scene, past)
        licensed |= check_edit(turn.edit, turn.rules, scene, result, past).licensed
        past.append(scene)
        scene = result
        present = phrases(scene.cells)
        seen = tuple(dict.fromkeys((*seen, *present)))
        turns.append(
            RecordTurn(
                task_type=task_type(turn.edit),
                formatted_instruction=in_brackets(turn.intent),
                # Judges compare with the source picture, so what was changed once stays free to differ.
                bg_consistency=BACKGROUND not in licensed,
                unchanged_objects=phrases(
                    thing for cell, thing in enumerate(spec.scene.cells) if cell not in licensed
                ),
                available_objects=present,
                all_objects=seen,
            )
        )
    return RecordSpec(f"{PUBLISHED}/{spec.id}.png", tuple(turn.text for turn in spec.turns), tuple(turns))


def phrases(things: Iterable[Any]) -> tuple[str, ...]:
    """The objects among things in words, such as "striped red circle", each phrase once."""
    found = (known_object(**thing.attributes()) for thing in things if thing is not None)
    return tuple(dict.fromkeys(phrase.removeprefix("the ") for phrase in found))


def in_brackets(intent: str) -> str:
    """A canonical intent with the objects it speaks of in brackets: "remove the [red circle]"."""
    return _OBJECT.sub(r"\1 [\2]", intent)
