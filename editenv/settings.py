"""Settings declared once: a dataclass field with its default, one line of help and the values it may have.

Hydra's schema, `--help`, the tables in docs/ and the check before anything runs all read these fields.

    @dataclass(kw_only=True)
    class Example:
        rate: float = setting(3e-4, "learning rate", gt=0)
        schedule: str = setting("constant", "of the learning rate", choices=("constant", "linear"))
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from math import isfinite
from os import PathLike
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from editenv.registry import unknown

_BOUNDS = {"gt": "above {:g}", "ge": "{:g} or more", "lt": "below {:g}", "le": "{:g} or less"}
"""How a bound is said, by keyword of `setting`, which is also its function's name in `operator`."""

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "one name or text"}


def setting(
    default: Any = MISSING,
    help: str = "",
    *,
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
    choices: Iterable[str] | None = None,
    names: Callable[[], Iterable[str]] | None = None,
    group: str | None = None,
    default_factory: Any = MISSING,
) -> Any:
    """A dataclass field that says what it means and which values it takes.

    Args:
        default: of the field; left out where a value has to be given.
        help: one line, without the field's name.
        gt, ge, lt, le: bounds of numbers (of each number of a list); None values are not held to them.
        choices: names a text may be; left out where any text, or "package.module:Name", will do.
        names: lists names that are known beforehand, for help alone: a path or "package.module:Name" will
            do too.
        group: the folder below configs/ whose files fill this part of the settings.
        default_factory: makes a default that is mutable.
    """
    bounds = {"gt": gt, "ge": ge, "lt": lt, "le": le}
    metadata = {
        "help": help,
        "bounds": {name: value for name, value in bounds.items() if value is not None},
        "choices": None if choices is None else tuple(choices),
        "names": names,
        "group": group,
    }
    if default_factory is not MISSING:
        return field(default_factory=default_factory, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class SettingHelp:
    """One setting as a reader sees it."""

    name: str  # as written on the command line, such as "algorithm.text_rate"
    kind: Any  # its type; a dataclass for a part that a group's file fills
    default: Any  # its value where nothing is given; MISSING where one has to be
    help: str  # one line
    expected: str  # the values it takes, such as "above 0", "" for any of its type
    names: tuple[str, ...] = ()  # values that are known beforehand
    group: str | None = None  # the folder below configs/ that fills it; None for a plain value


def describe(kind: type, prefix: str = "") -> Iterator[SettingHelp]:
    """All settings of a dataclass, those of a part under "part.name", in the order of declaration.

    A part with neither group nor help is not listed itself.
    """
    hints = get_type_hints(kind)
    for one in fields(kind):
        about: Mapping[str, Any] = one.metadata
        name, hint = prefix + one.name, hints[one.name]
        part = next((k for k in (hint, *get_args(hint)) if isinstance(k, type) and is_dataclass(k)), None)
        if part is None or about.get("group") or about.get("help"):
            default = one.default_factory() if one.default_factory is not MISSING else one.default
            names = tuple(about["names"]()) if about.get("names") else ()
            yield SettingHelp(name, hint, default, about.get("help", ""), _expected(about), names, about.get("group"))
        if part is not None:
            yield from describe(part, f"{name}.")


def check_settings(settings: Any, prefix: str = "") -> None:
    """Holds every value to the kind, bounds and choices of its field, in all parts.

    Raises:
        ValueError: names the setting, its value and what is expected.
    """
    hints = get_type_hints(type(settings))
    for one in fields(settings):
        name, value, about = prefix + one.name, getattr(settings, one.name), one.metadata
        if is_dataclass(value) and not isinstance(value, type):
            check_settings(value, f"{name}.")
            continue
        check_kind(name, value, hints[one.name])
        for single in value if isinstance(value, list | tuple) else (value,):
            choices = about.get("choices")
            if choices is not None and single is not None and single not in choices:
                raise ValueError(unknown(name, single, choices))
            for bound, limit in about.get("bounds", {}).items():
                # NaN is within no bound.
                if isinstance(single, int | float) and not getattr(operator, bound)(single, limit):
                    raise ValueError(f"{name} is {single}, expected {_expected(about)}")
            if isinstance(single, float) and not isfinite(single):
                raise ValueError(f"{name} is {single}, expected a finite number")


def check_kind(name: str, value: Any, hint: Any) -> None:
    """ValueError for a value of another kind than its type hint; None, numbers, texts and mappings are looked at."""
    kinds = (hint,) if get_origin(hint) in (list, dict) else get_args(hint) or (hint,)
    if any(get_origin(kind) is Mapping for kind in kinds):
        fits = isinstance(value, Mapping) or (value is None and NoneType in kinds)
    elif set(kinds) <= {*_KINDS, NoneType}:
        fits = type(value) in kinds or (float in kinds and type(value) is int)
        fits |= str in kinds and isinstance(value, str | PathLike)
    else:
        return
    if not fits:
        raise ValueError(f"{name} is {value!r:.100}, expected {kind_in_words(hint, value)}")


def _expected(about: Mapping[str, Any]) -> str:
    """The values that a field's metadata allow, in words; "" for any."""
    if about.get("choices"):
        return f"one of {', '.join(about['choices'])}"
    return " and ".join(_BOUNDS[name].format(value) for name, value in about.get("bounds", {}).items())


def kind_in_words(hint: Any, value: Any = MISSING) -> str:
    """The kind of value that a type hint asks for, in words; given a wrong value, what is wrong with its kind."""
    if value is None:
        return "a value"
    kinds = [kind for kind in get_args(hint) if kind is not NoneType]
    kind = hint if get_origin(hint) in (list, dict) or hint in (list, dict) or not kinds else kinds[0]
    if get_origin(kind) is list or kind is list:
        of = (get_args(kind) or (str,))[0]
        while get_origin(of) is list:
            of = get_args(of)[0]
        if isinstance(value, list):
            return {int: "whole numbers", float: "numbers"}.get(of, "a list of names")
        return "a list, such as [a,b]"
    return _KINDS.get(kind, "settings by name, such as {a: 1}")
