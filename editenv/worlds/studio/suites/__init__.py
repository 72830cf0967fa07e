"""Named suites, one TOML file each: what kind of sessions an evaluation or a training is made of."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Suite:
    """How the sessions of a suite are drawn.

    Attributes:
        name: the file's name.
        turns: instructions a session's script holds.
        max_turns: turns a session may have; more than `turns` leaves room for users who react.
        objects: smallest and largest number of objects in the start scene.
        rule_share: share of sessions with a rule.
        rule_turns: turns, from 0, at which the rule may be stated.
        reference_share: chance that a later turn points back ("it", "there", "the same"); at 1 all do.
        tasks: weight of each way of asking, a key of PROPOSALS.
        signs: smallest and largest number of signs among the start scene's objects.
        phrasings: a key of language.PHRASINGS; "all" adds the sentences that came later.
    """

    name: str
    turns: int
    max_turns: int
    objects: tuple[int, int]
    rule_share: float
    rule_turns: tuple[int, ...]
    reference_share: float
    tasks: dict[str, float]
    signs: tuple[int, int] = (0, 0)
    phrasings: str = "first"


def suite_names() -> list[str]:
    """Names of all suites."""
    return sorted(
        f.name.removesuffix(".toml") for f in files(__package__).iterdir() if f.name.endswith(".toml")
    )


@lru_cache(maxsize=32)
def load_suite(name: str) -> Suite:
    """A suite by name.

    Raises:
        ValueError: no such suite; the message names the nearest ones.
    """
    if name not in suite_names():
        near = difflib.get_close_matches(name, suite_names()) or suite_names()
        raise ValueError(f"suite is {name!r}, which does not exist; did you mean {' or '.join(near)}?")
    data = tomllib.loads(files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8"))
    return Suite(
        name=name,
        turns=data["turns"],
        max_turns=data.get("max_turns", data["turns"]),
        objects=tuple(data["objects"]),
        rule_share=data["rule"]["share"],
        rule_turns=tuple(data["rule"]["turns"]),
        reference_share=data["reference"]["share"],
        tasks=data["tasks"],
        signs=tuple(data.get("signs", (0, 0))),
        phrasings=data.get("phrasings", "first"),
    )
