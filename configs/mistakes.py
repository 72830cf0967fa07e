"""What is wrong with words of the command line, said so that it can be mended: the key, and what to write."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from importlib.resources import files
from typing import Any

from editenv.configs.schema import COMMANDS, GROUPS, setting_names
from editenv.named import unknown

_PARTS = {"eval_scorer": "scorer"}
"""Parts that nobody fills unless a file of a group is chosen for them."""


def check_parts(overrides: Sequence[str]) -> None:
    """Refuses settings of a part that has not been chosen, which Hydra answers with an assertion.

    Raises:
        ValueError: the message says what chooses the part.
    """
    written = [override.lstrip("+~").partition("=")[::2] for override in overrides]
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
    cause = f": {str(error.__cause__).splitlines()[0]}" if error.__cause__ else ""
    if plain := re.match(
        r"Error merging override ([\w.]+)=(.*): Invalid type assigned: str is not .* (\w+)\.", text + cause
    ):
        group = next((name for name, part in GROUPS.items() if part.__name__ == plain[3]), None)
        if group:
            return _part_by_name(group, plain[1], plain[2])
    return re.sub(r"\w+_schema\b", "", text.partition("Config search path")[0] + cause)


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
