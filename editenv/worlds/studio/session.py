"""A studio session: the start scene and what the user will say, with what is meant by it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

from editenv.types import UserMessage
from editenv.worlds.studio.edit import Edit, to_json
from editenv.worlds.studio.rule import Change, Rule, right_result
from editenv.worlds.studio.rules import CHANGES, statement_from_json
from editenv.worlds.studio.scene import Scene, scene_from_codes
from editenv.worlds.studio.tasks import edit_from_json


@dataclass(frozen=True, slots=True)
class StudioTurn:
    """One instruction and its meaning."""

    text: str  # what the user says
    intent: str  # the canonical self-contained instruction, with every rule in force
    edit: Edit  # what is to be done
    rules: tuple[Rule, ...] = ()  # the rules that bind this turn, its own included, in the order they were stated
    reference: str | None = None  # how the text points at something, a key of REFERENCES; None where it names it
    # exceptions, ends and replacements of rules that this turn states; new rules are those in `rules` that the turn
    # before had not
    changes: tuple[Change, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The turn as JSON values."""
        data = {
            "text": self.text,
            "intent": self.intent,
            "edit": to_json(self.edit),
            "rules": to_json(self.rules, sparse=False),
            "reference": self.reference,
        }
        # Left out while empty, so that sessions without changes keep their ids.
        return data | {"changes": to_json(self.changes, sparse=False)} if self.changes else data


@dataclass(frozen=True)
class StudioSpec:
    """A whole session: where it came from, what the source picture shows, and the script."""

    suite: str
    split: str
    seed: int
    index: int
    scene: Scene
    turns: tuple[StudioTurn, ...]

    @property
    def turn_count(self) -> int:
        """Number of turns in the script."""
        return len(self.turns)

    def message(self, turn: int) -> UserMessage:
        """What a user who follows the script says."""
        return UserMessage(self.turns[turn].text, self.turns[turn])

    @cached_property
    def id(self) -> str:
        """A name made of the content: equal sessions have equal names, wherever they were drawn."""
        content = [self.scene.codes(), [turn.to_json() for turn in self.turns]]
        return blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=8).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The session as JSON values."""
        origin = {name: getattr(self, name) for name in ("suite", "split", "seed", "index")}
        return origin | {"scene": self.scene.codes(), "turns": [turn.to_json() for turn in self.turns]}


def spec_from_json(data: Mapping[str, Any]) -> StudioSpec:
    """The inverse of StudioSpec.to_json.

    ValueError where a key is missing, its value is not what the world knows, or the edits cannot be carried out one
    after another.
    """
    try:
        scene = scene_from_codes(data["scene"])
        turns, scenes = [], [scene]
        for turn in data["turns"]:
            for key in ("text", "intent", "reference"):
                if not isinstance(turn[key], str) and (key, turn[key]) != ("reference", None):
                    raise ValueError(f"a studio session has {turn[key]!r} where a text is expected")
            read = StudioTurn(
                text=turn["text"],
                intent=turn["intent"],
                edit=edit_from_json(turn["edit"]),
                rules=tuple(statement_from_json(rule) for rule in turn["rules"]),
                reference=turn["reference"],
                changes=tuple(statement_from_json(change, CHANGES) for change in turn.get("changes", ())),
            )
            _check_cells(read.to_json(), len(scene.cells))
            scenes.append(right_result(read.edit, read.rules, scenes[-1], scenes[-2:-1]))
            turns.append(read)
        return StudioSpec(data["suite"], data["split"], data["seed"], data["index"], scene, tuple(turns))
    except KeyError as error:
        raise ValueError(f"a studio session lacks or misuses the key {error}") from error
    except (TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"a studio session has a value that it cannot have: {error}") from error


def _check_cells(value: Any, cells: int) -> None:
    """Refuses a cell that an edit or a rule names and the scene has not; -1 would count from behind."""
    if isinstance(value, dict):
        cell = value.get("cell", 0)
        if type(cell) is not int or not 0 <= cell < cells:
            raise ValueError(f"key 'cell' is {cell!r}, expected 0 to {cells - 1}")
        value = list(value.values())
    for part in value if isinstance(value, list | tuple) else ():
        _check_cells(part, cells)
