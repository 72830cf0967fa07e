"""Reads a suite's YAML strictly: every error names file and key, what came and what is expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

HELD_OUT = ("allow", "avoid", "seek")
"""May sessions use what is held out of training? "seek": the test split must, all others may not."""

_KEYS = frozenset(
    "measures cannot_show turns max_turns objects signs phrasings rule rules tempt undo reference held_out "
    "tasks".split()
)


@dataclass(frozen=True, slots=True)
class RuleEntry:
    """Something said about rules in some sessions.

    Attributes:
        family: of rules.RULES, or "exception", "revoke", "replace".
        share: share of sessions in which it is said.
        turns: turns, from 0, of which one is drawn for it.
    """

    family: str
    share: float
    turns: tuple[int, ...]


class SuiteReader:
    """Takes values out of one suite's data.

    Args:
        name: of the file, for errors.
        data: its keys and values.

    Raises:
        ValueError: a key is unknown; as all methods do where a value is missing or of the wrong kind.
    """

    def __init__(self, name: str, data: Mapping[str, Any]) -> None:
        self.name, self.data = name, data
        for key in data:
            if key not in _KEYS:
                raise self.error(key, data[key], f"one of the keys {', '.join(sorted(_KEYS))}")

    def error(self, key: str, came: Any, expected: str) -> ValueError:
        """What is wrong with a key."""
        return ValueError(f"suite {self.name}.yaml: key {key!r} is {came!r}, expected {expected}")

    def number(self, key: str, least: int, default: int | None = None) -> int:
        """A whole number."""
        value = self.data.get(key, default)
        if type(value) is not int or value < least:
            raise self.error(key, value, f"a whole number of {least} or more")
        return value

    def pair(self, key: str, default: tuple[int, int] | None = None) -> tuple[int, int]:
        """Two whole numbers, the smaller one first."""
        value = self.data.get(key, default)
        if not isinstance(value, Sequence) or len(value) != 2 or not all(type(n) is int for n in value):
            raise self.error(key, value, "two whole numbers")
        if not 0 <= value[0] <= value[1]:
            raise self.error(key, value, "a smallest and a largest number")
        return value[0], value[1]

    def choice(self, key: str, options: Sequence[str], default: str) -> str:
        """One of some words."""
        value = self.data.get(key, default)
        if value not in options:
            raise self.error(key, value, f"one of {', '.join(options)}")
        return str(value)

    def text(self, key: str) -> str:
        """Some words in one line; none where the key is missing."""
        value = self.data.get(key, "")
        if not isinstance(value, str):
            raise self.error(key, value, "a text")
        return " ".join(value.split())

    def share(self, key: str, value: Any) -> float:
        """A share from 0 to 1."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise self.error(key, value, "a share from 0 to 1")
        return float(value)

    def rules(self, families: Sequence[str], turns: int) -> tuple[RuleEntry, ...]:
        """The entries of `rules`; `rule` is short for one of family "attribute"."""
        if "rule" in self.data and "rules" in self.data:
            raise self.error("rule", self.data["rule"], "either rule or rules")
        short = (
            [{"family": "attribute", **self.table("rule", ("share", "turns"))}] if "rule" in self.data else []
        )
        entries = self.data.get("rules", short)
        if not isinstance(entries, list):
            raise self.error("rules", entries, "a list of mappings")
        return tuple(self._entry(entry, families, turns) for entry in entries)

    def reference(self, kinds: Sequence[str]) -> tuple[float, tuple[str, ...]]:
        """Share and further kinds of references."""
        table = self.table("reference", ("share", "kinds"))
        unknown = [kind for kind in table.get("kinds", ()) if kind not in kinds]
        if unknown:
            raise self.error("reference.kinds", unknown[0], f"one of {', '.join(kinds)}")
        return self.share("reference.share", table.get("share", 0.0)), tuple(table.get("kinds", ()))

    def tasks(self, names: Sequence[str]) -> dict[str, float]:
        """Weights of tasks."""
        table = self.table("tasks", names)
        for name, weight in table.items():
            if isinstance(weight, bool) or not isinstance(weight, int | float) or weight <= 0:
                raise self.error(f"tasks.{name}", weight, "a weight above 0")
        if not table:
            raise self.error("tasks", table, "at least one task")
        return dict(table)

    def table(self, key: str, known: Sequence[str]) -> Mapping[str, Any]:
        """A table of known keys."""
        value = self.data.get(key, {})
        if not isinstance(value, Mapping):
            raise self.error(key, value, "keys and values")
        for name in value:
            if name not in known:
                raise self.error(f"{key}.{name}", value[name], f"one of the keys {', '.join(known)}")
        return value

    def _entry(self, entry: Any, families: Sequence[str], turns: int) -> RuleEntry:
        if not isinstance(entry, Mapping) or set(entry) != {"family", "share", "turns"}:
            raise self.error("rules", entry, "the keys family, share and turns")
        if entry["family"] not in families:
            raise self.error("rules.family", entry["family"], f"one of {', '.join(families)}")
        when = entry["turns"]
        if not isinstance(when, list) or not all(type(turn) is int and 0 <= turn < turns for turn in when):
            raise self.error("rules.turns", when, f"turns from 0 to {turns - 1}")
        return RuleEntry(entry["family"], self.share("rules.share", entry["share"]), tuple(when))
