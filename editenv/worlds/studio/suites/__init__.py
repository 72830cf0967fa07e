"""Named suites, one YAML file each: what kind of sessions an evaluation or a training is made of."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from editenv.strict import read_yaml
from editenv.worlds.studio.language import PHRASINGS
from editenv.worlds.studio.proposals import PROPOSALS
from editenv.worlds.studio.proposals.references import POINTING
from editenv.worlds.studio.statements import STATEMENTS
from editenv.worlds.studio.suites.reading import HELD_OUT, RuleEntry, SuiteReader


@dataclass(frozen=True, slots=True)
class Suite:
    """How the sessions of a suite are drawn.

    Attributes:
        name: the file's name.
        turns: instructions a session's script holds.
        max_turns: turns a session may have; more than `turns` leaves room for users who react.
        objects: smallest and largest number of objects in the start scene.
        rules: what is said about rules, in which share of sessions, and when.
        reference_share: chance that a later turn points back ("it", "there", "the same"); at 1 all do.
        tasks: weight of each way of asking, a key of PROPOSALS.
        signs: smallest and largest number of signs among the start scene's objects.
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
    reader = SuiteReader(name, data)
    turns = reader.number("turns", 1)
    share, pointing = reader.reference(POINTING)
    return Suite(
        name=name,
        turns=turns,
        max_turns=reader.number("max_turns", turns, turns),
        objects=reader.pair("objects"),
        rules=reader.rules((*STATEMENTS, "exception"), turns),
        reference_share=share,
        tasks=reader.tasks(tuple(PROPOSALS)),
        signs=reader.pair("signs", (0, 0)),
        phrasings=reader.choice("phrasings", tuple(PHRASINGS), "first"),
        pointing=pointing,
        tempt=reader.share("tempt", data.get("tempt", 0.0)),
        undo=reader.share("undo", data.get("undo", 0.0)),
        held_out=reader.choice("held_out", HELD_OUT, "avoid"),
        measures=reader.text("measures"),
        cannot_show=reader.text("cannot_show"),
    )
