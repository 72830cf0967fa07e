"""Strict reading of JSON that others wrote: every error says which key, what came, and what is expected."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from math import isfinite
from typing import Any, TypeVar

from editenv.types import SCORE_NAMES, Scores

Kind = TypeVar("Kind")

_WORDS = {str: "a text", int: "a whole number", bool: "true or false", list: "a list", dict: "an object"}


def read_object(text: str | bytes) -> dict[str, Any]:
    """The JSON object a text holds; NaN, infinities and a key given twice are refused.

    Raises:
        ValueError: the text holds no JSON object.
    """
    try:
        data = json.loads(text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"JSON is a {type(data).__name__}, expected an object")
    return data


def check_keys(data: Mapping[str, Any], expected: tuple[str, ...]) -> None:
    """Refuses an object without exactly the expected keys, with a ValueError naming the first wrong one."""
    for key in expected:
        if key not in data:
            raise ValueError(f"key {key!r} is missing, expected {', '.join(expected)}")
    for key in data:
        if key not in expected:
            raise ValueError(f"key {_short(key)} is not known, expected {', '.join(expected)}")


def read_value(data: Mapping[str, Any], key: str, kind: type[Kind]) -> Kind:
    """The value of a key, once it is of the kind (JSON has no bool that is a number).

    Raises:
        ValueError: the key is missing or its value of another kind.
    """
    if key not in data:
        raise ValueError(f"key {key!r} is missing")
    value = data[key]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"key {key!r} is {_short(value)}, expected {_WORDS.get(kind, kind.__name__)}")
    return value


def read_list(data: Mapping[str, Any], key: str, kind: type[Kind], length: int | None = None) -> list[Kind]:
    """The list under a key, once its entries are of the kind and, where given, its length is right.

    Raises:
        ValueError: it is missing, no list, or an entry is of another kind.
    """
    values = read_value(data, key, list)
    if length is not None and len(values) != length:
        raise ValueError(f"key {key!r} has {len(values)} entries, expected {length}")
    named = {f"{key}[{place}]": value for place, value in enumerate(values)}
    return [read_value(named, name, kind) for name in named]


def scores_from_json(data: Mapping[str, Any]) -> Scores:
    """The inverse of Scores.to_json.

    Raises:
        ValueError: a key is missing or unknown, a score lies outside of [0, 1] and is not null.
    """
    check_keys(data, tuple(field.name for field in fields(Scores)))
    parts: dict[str, Any] = {name: _score(data, name) for name in SCORE_NAMES}
    reward = data["reward"]
    if isinstance(reward, bool) or not isinstance(reward, int | float) or not isfinite(reward):
        raise ValueError(f"key 'reward' is {_short(reward)}, expected a finite number")
    error = None if data["error"] is None else read_value(data, "error", str)
    return Scores(**parts, reward=float(reward), detail=read_value(data, "detail", dict), error=error)


def _score(data: Mapping[str, Any], name: str) -> float | None:
    """One score, a float in [0, 1] or None."""
    value = data[name]
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"key {name!r} is {_short(value)}, expected a number from 0 to 1, or null")
    return float(value)


def _short(value: Any) -> str:
    """The value in at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number that can be used")


def _finite(digits: str) -> float:
    """A number, unless it is too large for one."""
    value = float(digits)
    return value if isfinite(value) else _refuse(_short(digits))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object from its pairs; a key given twice would hide a value."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {_short(key)} is given twice, expected once")
        found[key] = value
    return found
