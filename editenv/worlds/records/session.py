"""One session of a records file, and the strict reading of its JSON object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from editenv.jsonread import check_keys, read_list, read_value
from editenv.spaces import text_problem
from editenv.types import UserMessage

TASKS = (
    "subject_add", "subject_remove", "subject_replace", "color_alter", "material_alter",
    "text_change", "position_change", "count_change", "background_change",
)  # fmt: skip
"""The nine task types."""

MOST_TURNS = 1000
"""Turns above which a record is refused, since an environment makes room for them."""

_TEXTS = ("instruction", "task_type", "formatted_instruction")
_OBJECTS = ("unchanged_objects", "available_objects", "all_objects")
KEYS = ("image", *_TEXTS, "bg_consistency", *_OBJECTS, "turns")
"""The keys of a record of several turns."""


@dataclass(frozen=True, slots=True)
class RecordTurn:
    """What a record says of one turn beside the user's words.

    Attributes:
        task_type: a word of TASKS.
        formatted_instruction: the resolved instruction, what it speaks of in [brackets].
        bg_consistency: must the background still look as in the source picture.
        unchanged_objects: phrases of the objects that must still look as in the source picture.
        available_objects: phrases of the objects that are there after the turn.
        all_objects: phrases of all objects that were there up to the turn.
    """

    task_type: str
    formatted_instruction: str
    bg_consistency: bool = True
    unchanged_objects: tuple[str, ...] = ()
    available_objects: tuple[str, ...] = ()
    all_objects: tuple[str, ...] = ()


@dataclass(frozen=True)
class RecordSpec:
    """A whole session.

    Attributes:
        image: path of the source picture below the folder of the file, with forward slashes.
        instruction: what the user says, one a turn.
        turns: what is meant by it, one a turn.
    """

    image: str
    instruction: tuple[str, ...]
    turns: tuple[RecordTurn, ...]

    @property
    def turn_count(self) -> int:
        """Number of turns in the script."""
        return len(self.instruction)

    def message(self, turn: int) -> UserMessage:
        """What a user who follows the script says; its meaning is a RecordTurn."""
        return UserMessage(self.instruction[turn], self.turns[turn])

    @cached_property
    def id(self) -> str:
        """A name made of the content, the picture's path included."""
        content = json.dumps(self.to_json(), sort_keys=True)
        return blake2b(content.encode(), digest_size=8).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values in the published format, a single turn in lists of one."""
        return {
            "image": self.image,
            "instruction": list(self.instruction),
            "task_type": [turn.task_type for turn in self.turns],
            "formatted_instruction": [turn.formatted_instruction for turn in self.turns],
            "bg_consistency": [turn.bg_consistency for turn in self.turns],
            "unchanged_objects": [list(turn.unchanged_objects) for turn in self.turns],
            "available_objects": [list(turn.available_objects) for turn in self.turns],
            "all_objects": [list(turn.all_objects) for turn in self.turns],
            "turns": self.turn_count,
        }


def record_from_json(data: Mapping[str, Any]) -> RecordSpec:
    """The session that a record describes.

    A record whose `instruction` is a plain text has one turn: texts in place of lists, no `turns`, and it may
    leave out `bg_consistency` (then true) and the lists of objects (then empty).

    Raises:
        ValueError: a key is missing or unknown, or its value is not as expected; names the key.
    """
    if isinstance(data.get("instruction"), str):
        data = _in_lists(data)
    check_keys(data, KEYS)
    count = read_value(data, "turns", int)
    if count < 1:
        raise ValueError(f"key 'turns' is {count}, expected 1 or more")
    if count > MOST_TURNS:
        raise ValueError(f"key 'turns' is {count}, expected {MOST_TURNS} at most")
    texts = {key: read_list(data, key, str, count) for key in _TEXTS}
    objects = {key: _phrases(data, key, count) for key in _OBJECTS}
    backgrounds = read_list(data, "bg_consistency", bool, count)
    for key, values in (texts | {"image": [read_value(data, "image", str)]}).items():
        _check_texts(key, values)
    return RecordSpec(
        image=_check_path(data["image"]),
        instruction=tuple(texts["instruction"]),
        turns=tuple(
            RecordTurn(
                task_type=_check_task(texts["task_type"][turn], turn),
                formatted_instruction=texts["formatted_instruction"][turn],
                bg_consistency=backgrounds[turn],
                **{key: objects[key][turn] for key in _OBJECTS},
            )
            for turn in range(count)
        ),
    )


def _in_lists(data: Mapping[str, Any]) -> dict[str, Any]:
    """The single-turn variant in the words of the other one."""
    if "turns" in data:
        raise ValueError("key 'turns' stands beside an instruction that is a text, expected a list of texts")
    full: dict[str, Any] = {"bg_consistency": True} | {key: [] for key in _OBJECTS} | dict(data)
    known = [key for key in KEYS if key in full and key != "image"]
    return full | {key: [full[key]] for key in known} | {"turns": 1}


def _phrases(data: Mapping[str, Any], key: str, count: int) -> list[tuple[str, ...]]:
    """A list of object phrases a turn."""
    rows = {f"{key}[{turn}]": row for turn, row in enumerate(read_list(data, key, list, count))}
    phrases = [tuple(read_list(rows, name, str)) for name in rows]
    for name, row in zip(rows, phrases, strict=True):
        _check_texts(name, row)
    return phrases


def _check_texts(key: str, texts: list[str] | tuple[str, ...]) -> None:
    """Refuses blank texts and such as UTF-8 cannot write."""
    for place, text in enumerate(texts):
        problem = "blank, expected words" if not text.strip() else text_problem(text, len(text))
        if problem:
            raise ValueError(f"key '{key}{'' if key == 'image' else f'[{place}]'}' is {problem}")


def _check_task(task: str, turn: int) -> str:
    """The task, once it is one of the nine."""
    if task not in TASKS:
        raise ValueError(f"key 'task_type[{turn}]' is {task!r}, expected one of {', '.join(TASKS)}")
    return task


def _check_path(image: str) -> str:
    """The picture's path, once it stays below its folder on every system."""
    windows = PureWindowsPath(image)
    if image.startswith("/") or windows.drive or windows.root or ".." in windows.parts or "\0" in image:
        raise ValueError(f"key 'image' is {image!r}, expected a relative path without '..'")
    return str(PurePosixPath(image))
