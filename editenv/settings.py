"""Settings declared once: a dataclass field with its default, one line of help and the values it may have.

Hydra's schema, `--help`, the tables in docs/ and the check before anything runs all read these fields.

    @dataclass(kw_only=True)
    class Example:
        rate: float = setting(3e-4, "learning rate", gt=0)
        schedule: str = setting("constant", "of the learning rate", choices=("constant", "linear"))
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, get_args, get_type_hints

from editenv.registry import unknown

_BOUNDS = {"gt": "above {}", "ge": "{} or more", "lt": "below {}", "le": "{} or less"}


def setting(
    default: Any = MISSING,
    help: str = "",
    *,
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
    choices: Iterable[str] | None = None,
    default_factory: Any = MISSING,
) -> Any:
    """A dataclass field that says what it means and which values it takes.

    Args:
        default: of the field; left out where a value has to be given.
        help: one line, without the field's name.
        gt, ge, lt, le: bounds of numbers (of each number of a list); None values are not held to them.
        choices: names a text may be; left out where any text, or "package.module:Name", will do.
        default_factory: makes a default that is mutable.
    """
    bounds = {"gt": gt, "ge": ge, "lt": lt, "le": le}
    metadata = {
        "help": help,
        "bounds": {name: value for name, value in bounds.items() if value is not None},
        "choices": None if choices is None else tuple(choices),
    }
    if default_factory is not MISSING:
        return field(default_factory=default_factory, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class SettingHelp:
    """One setting as a reader sees it.

    Attributes:
        name: as written on the command line, such as "algorithm.text_rate".
        default: its value where nothing is given; MISSING where one has to be.
        help: one line.
        expected: the values it takes, such as "above 0", "" for any of its type.
    """

    name: str
    default: Any
    help: str
    expected: str


def describe(kind: type, prefix: str = "") -> Iterator[SettingHelp]:
    """All settings of a dataclass, those of its parts under "part.name", in the order of declaration."""
    hints = get_type_hints(kind)
    for one in fields(kind):
        part = _part_of(hints[one.name])
        if part is not None:
            yield from describe(part, f"{prefix}{one.name}.")
            continue
        default = one.default_factory() if one.default_factory is not MISSING else one.default
        metadata = one.metadata
        yield SettingHelp(prefix + one.name, default, metadata.get("help", ""), expected(metadata))


def check_settings(settings: Any, prefix: str = "") -> None:
    """Holds every value to the bounds and choices of its field, in all parts.

    Raises:
        ValueError: names the setting, its value and what is expected.
    """
    for one in fields(settings):
        name, value = prefix + one.name, getattr(settings, one.name)
        if is_dataclass(value) and not isinstance(value, type):
            check_settings(value, f"{name}.")
        elif value is not None:
            for single in value if isinstance(value, list | tuple) else (value,):
                _check(name, single, one.metadata)


def expected(metadata: Any) -> str:
    """The values that a field's metadata allow, in words; "" for any."""
    if metadata.get("choices"):
        return f"one of {', '.join(metadata['choices'])}"
    return " and ".join(
        _BOUNDS[name].format(f"{value:g}") for name, value in metadata.get("bounds", {}).items()
    )


def _check(name: str, value: Any, metadata: Any) -> None:
    choices: Sequence[str] | None = metadata.get("choices")
    if choices is not None and value not in choices:
        raise ValueError(unknown(name, value, choices))
    for bound, limit in metadata.get("bounds", {}).items():
        # Written so that NaN fails.
        if (
            isinstance(value, int | float)
            and not {"gt": value > limit, "ge": value >= limit, "lt": value < limit, "le": value <= limit}[
                bound
            ]
        ):
            raise ValueError(f"{name} is {value}, expected {expected(metadata)}")


def _part_of(hint: Any) -> type | None:
    return next((kind for kind in (hint, *get_args(hint)) if is_dataclass(kind)), None)
