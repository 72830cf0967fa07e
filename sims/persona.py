"""Personas: how somebody speaks, apart from what they want. One YAML file each, in personas/ or anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from editenv.registry import unknown
from editenv.strict import read_yaml

FOLDER = Path(__file__).parent / "personas"

DIALOGUE_ACTS = ("ask", "again", "repair", "mind")
"""Why something is said: a request, once more what failed, damage to be put right, a change of mind."""

_SHARES = ("politeness", "chattiness", "fullness", "vagueness", "references", "changes")


@dataclass(frozen=True, slots=True)
class Persona:
    """How somebody speaks. Every share is a probability in [0, 1].

    Attributes:
        name: the file's name.
        summary: one sentence for a reader, and for a language model that speaks in this persona.
        length: "short", "any" or "long": which of a speech act's sentences are taken.
        politeness: that a sentence with "please" is taken, where there is one.
        chattiness: that words of `before` and `after`, which ask for nothing, are put around a sentence.
        fullness: that an object is named with all its looks, not by the fewest words that fit it alone.
        vagueness: that a look is left unsaid, to be put right in a later turn.
        references: that something is pointed back to ("it", "there", "the same") where it can be understood.
        changes: after a turn that went well, that the user wants the object other than they wanted it before.
        patience: failed or damaging turns, less the good ones, that are borne before giving up.
        before: words in front of a sentence, by dialogue act; "ask" is used with the probability
            `chattiness`, the others whenever there are any.
        after: words behind a sentence.
    """

    name: str
    summary: str
    length: str
    politeness: float
    chattiness: float
    fullness: float
    vagueness: float
    references: float
    changes: float
    patience: int
    before: Mapping[str, tuple[str, ...]]
    after: tuple[str, ...]

    def __hash__(self) -> int:
        return hash((self.name, self.patience))


def persona_names() -> list[str]:
    """Names of the personas that come with the package."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def load_persona(name: str) -> Persona:
    """A persona by name, or from the path of a YAML file.

    Raises:
        ValueError: no such persona or file (the message names the nearest one), or the file is not one.
    """
    path = FOLDER / f"{name}.yaml"
    if name not in persona_names():
        path = Path(name)
        if path.suffix not in (".yaml", ".yml"):
            raise ValueError(f"{unknown('persona', name, persona_names())} or the path of a YAML file")
        if not path.is_file():
            raise ValueError(f"persona {name!r} is no file, expected a YAML file like those in {FOLDER}")
    try:
        table = read_yaml(path.read_text(encoding="utf-8"))
        return persona_from_table(table | {"name": path.stem})
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def persona_from_table(table: Mapping[str, Any]) -> Persona:
    """A persona from a YAML file, or from JSON values, with its name under "name".

    Raises:
        ValueError: a key is missing or unknown, or a value is not in its range; names the persona.
    """
    who = f"persona {table.get('name')!r}"
    expected = {field.name for field in fields(Persona)}
    if set(table) != expected:
        raise ValueError(f"{who} has the keys {sorted(table)}, expected {sorted(expected)}")
    for name in _SHARES:
        share = table[name]
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ValueError(f"{who}: {name} is {share!r}, expected a probability from 0 to 1")
    if table["length"] not in ("short", "any", "long"):
        raise ValueError(f"{who}: length is {table['length']!r}, expected 'short', 'any' or 'long'")
    if type(table["patience"]) is not int or table["patience"] < 0:
        raise ValueError(f"{who}: patience is {table['patience']!r}, expected a whole number of 0 or more")
    before = table["before"]
    if not isinstance(before, Mapping) or set(before) - set(DIALOGUE_ACTS):
        came = sorted(before) if isinstance(before, Mapping) else repr(before)
        raise ValueError(f"{who}: before has {came}, expected lists under some of {', '.join(DIALOGUE_ACTS)}")
    before = {act: _texts(f"{who}: before.{act}", words) for act, words in before.items()}
    return Persona(**{**table, "before": before, "after": _texts(f"{who}: after", table["after"])})


def _texts(place: str, words: Any) -> tuple[str, ...]:
    if not isinstance(words, list | tuple) or not all(isinstance(text, str) for text in words):
        raise ValueError(f"{place} is {words!r}, expected a list of texts")
    return tuple(words)
