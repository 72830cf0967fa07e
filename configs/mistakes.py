"""What is wrong with words of the command line, said so that it can be mended: the key, and what to write."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from importlib.resources import files
from typing import Any

from editenv.configs.schema import COMMANDS, GROUPS, setting_names
from editenv.registry import unknown

_PARTS = {"eval_scorer": "scorer"}
"""Parts that nobody fills unless a file of a group is chosen for them."""


def check_parts(overrides: Sequence[str]) -> None:
    """Refuses settings of a part that has not been chosen, which Hydra answers with an assertion.

    Raises:
        ValueError: a part is not chosen, or a group is null; the message says what can be chosen.
    """
    written = [override.lstrip("+~").partition("=")[::2] for override in overrides]
    _check_not_null(written)
    chosen = [key for key, _ in written]
    for key, value in written:
        *above, name = key.split(".")
        if name in _PARTS and value not in ("", "null"):
            raise ValueError(_part_by_name(_PARTS[name], key, value))
        part = next((one for one in above if one in _PARTS), None)
        place = ".".join(above[: above.index(part) + 1]) if part else ""
        if part and f"{_PARTS[part]}@{place}" not in chosen:
            raise ValueError(
                f"{key} is set, but {place} is not chosen; expected {_PARTS[part]}@{place}=NAME beside it, "
                f"one of {', '.join(options(_PARTS[part]))}"
            )


def _check_not_null(written: Sequence[tuple[str, str]]) -> None:
    """Refuses null where a file of a group is chosen, which Hydra answers by a Python type."""
    for key, value in written:
        group, _, place = key.partition("@")
        if value == "null" and group in (*GROUPS, "experiment"):
            none = ", or nothing: leave it out for none" if group == "experiment" or place in _PARTS else ""
            raise ValueError(f"{key} is null, expected one of {', '.join(options(group))}{none}")


def check_known(settings: Any, prefix: str = "") -> None:
    """Refuses settings that were added with + and that nothing would read.

    Raises:
        ValueError: there is no such setting.
    """
    known = [field.name for field in fields(settings)]
    for name, value in vars(settings).items():
        if name not in known:
            raise ValueError(unknown("setting", prefix + name, [prefix + one for one in known]))
        if is_dataclass(value):
            check_known(value, f"{prefix}{name}.")


def options(group: str) -> list[str]:
    """The files of a group, by name."""
    folder = files("editenv.configs") / group
    return sorted(path.name.removesuffix(".yaml") for path in folder.iterdir() if path.name.endswith(".yaml"))


def explain_hydra(error: Exception, command: str) -> str:
    """What an error of Hydra's or OmegaConf's means for who typed the command."""
    text = str(error)
    if hasattr(error, "override") and error.override:
        return (
            f"{error.override!r} cannot be read, expected KEY=VALUE, with 'quotes' around =, comma and space"
        )
    if key := re.match(r"Could not override '([^']+)'", text):
        return _no_setting(key[1], command)
    if chosen := re.search(r"Could not find '(\w+)/([^']+)'", text):
        return unknown(chosen[1], chosen[2], options(chosen[1]))
    if empty := re.search(r"(?i)missing mandatory value: .*full_key: ([\w.]+)", text, re.DOTALL):
        return f"{empty[1]} has no value, expected {empty[1]}=VALUE: there is none that would suit everybody"
    if kind := re.match(r"Error merging override ([^=]+)=(.*)", text, re.DOTALL):
        if expected := next((said for sign, said in _KINDS.items() if sign in str(error.__cause__)), None):
            return f"{kind[1]} is {kind[2]!r}, expected {expected}"
    cause = f": {str(error.__cause__).splitlines()[0]}" if error.__cause__ else ""
    if plain := re.match(
        r"Error merging override ([\w.]+)=(.*): Invalid type assigned: str is not .* (\w+)\.", text + cause
    ):
        group = next((name for name, part in GROUPS.items() if part.__name__ == plain[3]), None)
        if group:
            return _part_by_name(group, plain[1], plain[2])
    return re.sub(r"\w+_schema\b", "", text.partition("Config search path")[0] + cause)


_KINDS = {
    "converted to Integer": "a whole number",
    "converted to Float": "a number",
    "not a valid bool": "true or false",
    "is not a ListConfig": "a list, such as [a,b]",
    "type hint 'int'": "whole numbers",
    "type hint 'float'": "numbers",
    "to string": "one name or text",
    "to Dict": "settings by name, such as {a: 1}",
    "is not Optional": "a value",
}
"""What OmegaConf says of a value, by what of it names the kind, and what that kind is to whoever types it."""


def _part_by_name(group: str, key: str, value: str) -> str:
    """That a part takes a name by way of its group, and how."""
    names = options(group)
    near = (get_close_matches(value, names, n=1) or ["NAME"])[0]
    return (
        f"{key} is {value!r}, a name where settings belong; expected {group}@{key}={near}, "
        f"one of {', '.join(names)}"
    )


def _no_setting(key: str, command: str) -> str:
    near = get_close_matches(key, [*setting_names(COMMANDS[command]), "experiment"], n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{command} has no setting {key!r}, {hint}`editenv {command} --help` names them"
