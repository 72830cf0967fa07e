"""Strict reading of JSON and YAML: every error says which key, what came, and what is expected."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from yaml.constructor import ConstructorError

Model = TypeVar("Model", bound="Strict")


class Strict(BaseModel):
    """Base of schemas: exactly the declared keys, and values of exactly the declared types.

    A validator's ValueError says what the value is and what is expected, as in "5, expected 1 or more".
    """

    model_config = ConfigDict(strict=True, extra="forbid")


_EXPECTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than_equal": "{le} at most",
}
"""What belongs in place of a value, by the type of pydantic's error, with the values of its context."""


def check(model: type[Model], data: Mapping[str, Any]) -> Model:
    """A JSON object as its schema has it.

    Raises:
        ValueError: a key is missing or unknown, or a value is not as expected; the first of these in this
            order.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"JSON is {shortened(data)}, expected an object")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        order = {"missing": 0, "extra_forbidden": 1}
        first: Any = min(error.errors(include_url=False), key=lambda one: order.get(one["type"], 2))
    kind, context, place = first["type"], first.get("ctx", {}), first["loc"]
    if is_key := place[-1:] == ("[key]",):  # a key of a dict, not its value
        place = place[:-1]
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    known = f", expected {', '.join(model.model_fields)}" if len(first["loc"]) == 1 else ""
    value = shortened(first["input"])
    if not first["loc"]:  # half a surrogate pair
        raise ValueError(f"key {value} is not known")
    if kind == "literal_error":
        words = context["expected"]
        several = f"one of {words.replace(' or ', ', ').replace(chr(39), '')}" if " or " in words else words
        told = f"is not known, expected {several}" if is_key else f"is {value}, expected {several}"
    elif kind == "missing":
        told = f"is missing{known}"
    elif kind == "extra_forbidden":
        told = f"is not known{known}"
    elif kind == "value_error":
        told = f"is {context['error']}"
    elif kind in ("string_unicode", "string_sub_type"):
        told = "is no text that UTF-8 can write"
    else:
        words = _EXPECTED[kind].format(**context) if kind in _EXPECTED else first["msg"]
        told = f"is {value}, expected {words}"
    raise ValueError(f"key {shortened(name)} {told}")


def shortened(value: Any) -> str:
    """A value in at most 60 characters."""
    try:
        text = repr(value)
    except RecursionError:
        return "deeply nested"
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_length(key: str, values: Sequence[Any], length: int) -> None:
    """Refuses a list of another length, with a ValueError that names its key."""
    if len(values) != length:
        raise ValueError(f"key {key!r} has {len(values)} entries, expected {length}")


def read_object(text: str | bytes) -> dict[str, Any]:
    """The JSON object a text holds; NaN, infinities and a key given twice are refused.

    Raises:
        ValueError: the text holds no JSON object.
    """
    try:
        data = json.loads(text, parse_constant=_finite, parse_float=_finite, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"JSON is a {type(data).__name__}, expected an object")
    return data


def _finite(word: str) -> float:
    value = float(word)
    if not isfinite(value):
        raise ValueError(f"{shortened(word)} is no JSON number that can be used")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object from its pairs; a key given twice would hide a value."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {shortened(key)} is given twice, expected once")
        found[key] = value
    return found


_FastLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_FastLoader):
    """Plain values only, and no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose every key is a text that stands there once."""
        found = super().construct_mapping(node, deep=deep)
        for key in found:
            if not isinstance(key, str):
                raise ConstructorError(None, None, f"key {key!r} is no text: put it in quotes", node.start_mark)
        if len(found) < len(node.value):
            raise ConstructorError(None, None, "a key is given twice", node.start_mark)
        return dict(found)


def read_yaml(text: str) -> dict[str, Any]:
    """The mapping that a YAML text holds; nothing in it can make objects or run code.

    Raises:
        ValueError: it is no YAML, a key is given twice or is no text, or it holds something else; says where.
    """
    loader = _Loader(text)
    try:
        data = loader.get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"no valid YAML: {' '.join(str(error).split())}") from error
    finally:
        loader.dispose()
    if not isinstance(data, dict):
        raise ValueError(f"YAML holds {'nothing' if data is None else repr(data)}, expected keys and values")
    return data
