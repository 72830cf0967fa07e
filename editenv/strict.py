"""Strict reading of JSON and YAML: every error says which key, what came, and what is expected."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

Model = TypeVar("Model", bound="Strict")


class Strict(BaseModel):
    """Base of schemas: exactly the declared keys, and values of exactly the declared types.

    A validator's ValueError says what the value is and what is expected, as in "5, expected 1 or more".
    """

    model_config = ConfigDict(strict=True, extra="forbid")


_TYPES = {
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
}
_BOUNDS = {
    "greater_than": ("gt", "more than {}"),
    "greater_than_equal": ("ge", "{} or more"),
    "less_than_equal": ("le", "{} at most"),
}


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
        found = error.errors(include_url=False)
        order = {"missing": 0, "extra_forbidden": 1}
        first = min(found, key=lambda one: order.get(one["type"], 2))
        keys = model.model_fields if len(first["loc"]) == 1 else ()
        raise ValueError(_told(first, ", ".join(keys))) from None


def _told(error: Any, keys: str) -> str:
    kind, context = error["type"], error.get("ctx", {})
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
    key, expected = f"key {shortened(name)}", f", expected {keys}" if keys else ""
    if not error["loc"]:  # half a surrogate pair
        return f"key {shortened(error['input'])} is not known"
    if kind == "literal_error":
        return f"{key} is {shortened(error['input'])}, expected {context['expected']}"
    if kind == "missing":
        return f"{key} is missing{expected}"
    if kind == "extra_forbidden":
        return f"{key} is not known{expected}"
    if kind == "value_error":
        return f"{key} is {context['error']}"
    if kind in ("string_unicode", "string_sub_type"):
        return f"{key} is no text that UTF-8 can write"
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        return f"{key} is {shortened(error['input'])}, expected {words.format(context[bound])}"
    return f"{key} is {shortened(error['input'])}, expected {_TYPES.get(kind, error['msg'])}"


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
        data = json.loads(text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"JSON is a {type(data).__name__}, expected an object")
    return data


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number that can be used")


def _finite(digits: str) -> float:
    """A number, unless it is too large for one."""
    value = float(digits)
    return value if isfinite(value) else _refuse(shortened(digits))


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
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} is no text: put it in quotes", node.start_mark
                )
        if len(found) < len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key is given twice", node.start_mark)
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
