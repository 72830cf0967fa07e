"""Suites, one YAML file each: what kind of sessions an evaluation or a training is made of.

Files are read strictly: every error names file and key, what came and what is expected.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from editenv.registry import import_object
from editenv.strict import read_yaml
from editenv.worlds.studio.edit import Edit
from editenv.worlds.studio.language import PHRASINGS, add_sentences
from editenv.worlds.studio.nlu import EDIT_READERS, RULE_READERS
from editenv.worlds.studio.references import POINTING
from editenv.worlds.studio.rule import Rule
from editenv.worlds.studio.rules import RULE_SAMPLERS, register_rule
from editenv.worlds.studio.tasks import SAMPLERS, register_task

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
        family: of RULE_SAMPLERS, or "exception".
        share: share of sessions in which it is said.
        turns: turns, from 0, of which one is drawn for it.
    """

    family: str
    share: float
    turns: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Suite:
    """How the sessions of a suite are drawn.

    Attributes:
        name: the file's name.
        turns: instructions a session's script holds.
        max_turns: turns a session may have; more than `turns` leaves room for users who react.
        objects: smallest and largest number of objects in the initial scene.
        rules: what is said about rules, in which share of sessions, and when.
        reference_share: chance that a later turn points back ("it", "there", "the same"); at 1 all do.
        tasks: weight of each way of asking, a key of SAMPLERS.
        signs: smallest and largest number of signs among the initial scene's objects.
        phrasings: a key of language.PHRASINGS; "all" adds the sentences that came later.
        pointing: further kinds of references, of references.POINTING.
        tempt: chance that a turn asks for what a rule in force forbids.
        undo: chance that a turn undoes the last one, where one sentence can say what that means.
        held_out: one of HELD_OUT.
        measures, cannot_show: for readers: what its scores tell, and what they do not.
    """

    name: str
    turns: int
    max_turns: int
    objects: tuple[int, int]
    rules: tuple[RuleEntry, ...]
    reference_share: float
    tasks: dict[str, float]
    signs: tuple[int, int] = (0, 0)
    phrasings: str = "first"
    pointing: tuple[str, ...] = ()
    tempt: float = 0.0
    undo: float = 0.0
    held_out: str = "avoid"
    measures: str = ""
    cannot_show: str = ""


def suite_names() -> list[str]:
    """Names of all suites."""
    return sorted(
        f.name.removesuffix(".yaml") for f in files(__package__).iterdir() if f.name.endswith(".yaml")
    )


def load_suite(name: str) -> Suite:
    """A suite by name, or by the path of a file of one's own that ends in ".yaml".

    Tasks and rules that the file names as "package.module:Class" are imported and made known.

    Raises:
        ValueError: no such suite, for which the message names the nearest ones; or its file cannot be used,
            for which it names file and key.
    """
    if name.endswith(".yaml"):
        path = Path(name)
        if not path.is_file():
            raise ValueError(f"suite is {name!r}, which is no file")
        return _parsed(path.stem, path.read_text(encoding="utf-8"))
    if name not in suite_names():
        near = difflib.get_close_matches(name, suite_names()) or suite_names()
        raise ValueError(f"suite is {name!r}, which does not exist; did you mean {' or '.join(near)}?")
    return _shipped(name)


@lru_cache(maxsize=32)
def _shipped(name: str) -> Suite:
    return _parsed(name, files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8"))


def _parsed(name: str, text: str) -> Suite:
    try:
        data = read_yaml(text)
    except ValueError as error:
        raise ValueError(f"suite {name}.yaml: {error}") from error
    return read_suite(name, data)


def read_suite(name: str, data: dict[str, Any]) -> Suite:
    """A suite from the contents of its file.

    Raises:
        ValueError: naming file and key.
    """
    read = _Reader(name, data)
    for key in data:
        if key not in _KEYS:
            raise read.error(key, data[key], f"one of the keys {', '.join(sorted(_KEYS))}")
    turns = read.number("turns", 1)
    reference = read.table("reference", ("share", "kinds"))
    for kind in reference.get("kinds", ()):
        if kind not in POINTING:
            raise read.error("reference.kinds", kind, f"one of {', '.join(POINTING)}")
    return Suite(
        name=name,
        turns=turns,
        max_turns=read.number("max_turns", turns, turns),
        objects=read.pair("objects"),
        rules=read.rules(turns),
        reference_share=read.share("reference.share", reference.get("share", 0.0)),
        tasks=read.tasks(),
        signs=read.pair("signs", (0, 0)),
        phrasings=read.choice("phrasings", tuple(PHRASINGS), "first"),
        pointing=tuple(reference.get("kinds", ())),
        tempt=read.share("tempt", data.get("tempt", 0.0)),
        undo=read.share("undo", data.get("undo", 0.0)),
        held_out=read.choice("held_out", HELD_OUT, "avoid"),
        measures=read.text("measures"),
        cannot_show=read.text("cannot_show"),
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Takes values out of one suite's data; ValueError where one is missing or of the wrong kind."""

    name: str
    data: Mapping[str, Any]

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

    def table(self, key: str, known: Sequence[str] | None) -> Mapping[str, Any]:
        """A table of known keys, of any where `known` is None."""
        value = self.data.get(key, {})
        if not isinstance(value, Mapping):
            raise self.error(key, value, "keys and values")
        for name in value:
            if known is not None and name not in known:
                raise self.error(f"{key}.{name}", value[name], f"one of the keys {', '.join(known)}")
        return value

    def tasks(self) -> dict[str, float]:
        """Weights of tasks by sampler."""
        weights = {}
        for name, weight in self.table("tasks", None).items():
            known = name if name in SAMPLERS else self._import("task", f"tasks.{name}", name, Edit, weight)
            if isinstance(weight, bool) or not isinstance(weight, int | float) or weight <= 0:
                raise self.error(f"tasks.{name}", weight, "a weight above 0")
            weights[known] = weight
        if not weights:
            raise self.error("tasks", weights, "at least one task")
        return weights

    def rules(self, turns: int) -> tuple[RuleEntry, ...]:
        """The entries of `rules`; `rule` is short for one of family "attribute"."""
        if "rule" in self.data and "rules" in self.data:
            raise self.error("rule", self.data["rule"], "either rule or rules")
        short = [{"family": "attribute", **self.table("rule", ("share", "turns"))}]
        entries = self.data.get("rules", short if "rule" in self.data else [])
        if not isinstance(entries, list):
            raise self.error("rules", entries, "a list of mappings")
        return tuple(self._rule(entry, turns) for entry in entries)

    def _rule(self, entry: Any, turns: int) -> RuleEntry:
        if not isinstance(entry, Mapping) or set(entry) != {"family", "share", "turns"}:
            raise self.error("rules", entry, "the keys family, share and turns")
        family, when = entry["family"], entry["turns"]
        if family not in (*RULE_SAMPLERS, "exception"):
            family = self._import("rule", "rules.family", family, Rule, family)
        if not isinstance(when, list) or not all(type(turn) is int and 0 <= turn < turns for turn in when):
            raise self.error("rules.turns", when, f"turns from 0 to {turns - 1}")
        return RuleEntry(family, self.share("rules.share", entry["share"]), tuple(when))

    def _import(self, what: str, key: str, name: Any, base: type[Any], value: Any) -> str:
        """Makes a task or rule of another package known with its sentences; its name in the registry."""
        known = SAMPLERS if base is Edit else (*RULE_SAMPLERS, "exception")
        if ":" not in str(name):
            words = "one of the keys" if base is Edit else "one of"
            raise self.error(key, value, f"{words} {', '.join(known)}, or package.module:Class")
        try:
            kind = import_object(what, name)
        except ValueError as error:
            raise ValueError(f"suite {self.name}.yaml: key {key!r}: {error}") from error
        if not (isinstance(kind, type) and issubclass(kind, base)):
            raise self.error(key, name, f"a class that derives from {base.__module__}.{base.__name__}")
        if base is Edit:
            register_task(kind)
            for act, sentences in kind.sentences.items():
                add_sentences(act, sentences)
                EDIT_READERS[act] = kind.read
            return str(kind.task)
        register_rule(kind)
        if kind.sentences:
            add_sentences(kind.act, kind.sentences)
            RULE_READERS[kind.act] = kind.read
        return str(kind.family)
