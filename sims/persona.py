"""Personas: how somebody speaks, apart from what they want. One YAML file each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from typing import Any

from editenv.yamlread import read_yaml

MOODS = ("ask", "again", "repair", "mind")
"""Why something is said: a wish, once more what failed, damage to be put right, a change of mind."""

_SHARES = ("politeness", "chattiness", "fullness", "vagueness", "references", "changes")


@dataclass(frozen=True, slots=True)
class Persona:
    """How somebody speaks. Every share is a chance in [0, 1].

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
        before: words in front of a sentence, by mood; "ask" is used with the chance of `chattiness`, the
            others whenever there are any.
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
    """Names of all personas."""
    found = files(__package__).joinpath("personas").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in found if file.name.endswith(".yaml"))


@lru_cache(maxsize=32)
def load_persona(name: str) -> Persona:
    """A persona by name.

    Raises:
        ValueError: no such persona; the message names the nearest one.
    """
    if name not in persona_names():
        near = get_close_matches(name, persona_names(), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"persona {name!r} is not known, {hint}expected one of {', '.join(persona_names())}")
    text = files(__package__).joinpath("personas", f"{name}.yaml").read_text(encoding="utf-8")
    return persona_from_table(read_yaml(text) | {"name": name})


def persona_from_table(table: Mapping[str, Any]) -> Persona:
    """A persona from a YAML file, or from JSON values, with its name under "name".

    Raises:
        ValueError: a key is missing or unknown, or a value is not in its range; names the persona.
    """
    who = f"persona {table.get('name')!r}"
    expected = {field.name for field in fields(Persona)}
    if set(table) != expected:
        raise ValueError(f"{who} has the keys {sorted(table)}, expected {sorted(expected)}")
    for share in _SHARES:
        if not isinstance(table[share], int | float) or not 0 <= table[share] <= 1:
            raise ValueError(f"{who}: {share} is {table[share]!r}, expected a chance from 0 to 1")
    if table["length"] not in ("short", "any", "long"):
        raise ValueError(f"{who}: length is {table['length']!r}, expected 'short', 'any' or 'long'")
    if type(table["patience"]) is not int or table["patience"] < 0:
        raise ValueError(f"{who}: patience is {table['patience']!r}, expected a whole number of 0 or more")
    if set(table["before"]) - set(MOODS):
        raise ValueError(f"{who}: before has {sorted(table['before'])}, expected some of {', '.join(MOODS)}")
    before = {mood: tuple(words) for mood, words in table["before"].items()}
    return Persona(**{**table, "before": before, "after": tuple(table["after"])})
