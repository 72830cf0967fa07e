"""The rules in force one by one, then the edit as the user meant it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from editenv.worlds.studio.language import THEN, canonical_intent, intent_patterns
from editenv.worlds.studio.noun_phrases import NUMBERS, REGIONS
from editenv.worlds.studio.read import Said, described, plain_words, read_sentence, sentence
from editenv.worlds.studio.rules import (
    RULES,
    AttributeRule,
    AvoidLook,
    KeepEmpty,
    LimitAlike,
    LimitCount,
    Protect,
    Rule,
    ScopedRule,
    right_result,
)
from editenv.worlds.studio.scene import COLORS, MATERIALS, SHAPES, Scene
from editenv.worlds.studio.session import StudioTurn
from editenv.worlds.studio.tasks import Edit, MultiEdit, Target, Undo

_RULE, _EDIT, _UNDO = "rule", "edit", "undo"


class RulesForm:
    """As in "rule : all red . rule : no blue . edit : change the color of the circle".

    Whoever writes only remembers what was said; whoever paints applies it. An instruction that a rule makes
    impossible is written like any other. An undo names the edit that undoes, to which demands do not apply.
    """

    tokens = 64

    def write(self, turn: StudioTurn, grid: int) -> str:
        """The rules in the order in which they were stated, then the edit without them.

        Raises:
            ValueError: a rule's speech act has no "intent" among its sentences.
        """
        stated = [f"{_RULE} : {rule_words(rule, grid)}" for rule in turn.rules]
        return " . ".join([*stated, f"{_EDIT} : {plain_edit(turn.edit, grid)}"])

    def read(self, text: str, scene: Scene, grid: int) -> Scene | None:
        """The edit's right result under the rules; `scene` where they make it impossible."""
        stated, mark, said = plain_words(text).rpartition(f"{_EDIT} ")
        rules = [read_rule(words.strip(), grid) for words in stated.split(f"{_RULE} ")[1:]]
        known = tuple(rule for rule in rules if rule is not None)
        edit = read_edit(said, scene, grid) if mark else None
        begins = not stated or stated.startswith(f"{_RULE} ")
        if edit is None or len(known) < len(rules) or not begins:
            return None
        result = right_result(edit, known, scene)
        return result if result.known() else None

    def name(self, target: Target, grid: int) -> str:
        """As sentences do: "the red circle"."""
        return target.words(grid)


def plain_edit(edit: Edit, grid: int) -> str:
    """An edit in its canonical sentence, no rule worked in; looks that it leaves open stay open."""
    if isinstance(edit, Undo):
        return f"{_UNDO} : {plain_edit(edit.instead, grid)}"
    if isinstance(edit, MultiEdit):
        return THEN.join(plain_edit(part, grid) for part in edit.parts)
    if getattr(edit, "value", "") is None:
        return intent_patterns("alter_open")[0].format(**edit.slots(edit.asked(), grid))
    return canonical_intent(edit, (), grid)


def read_edit(said: str, scene: Scene, grid: int) -> Edit | None:
    """The inverse of `plain_edit` on a scene, from plain words; None where it cannot be carried out."""
    instead = said.removeprefix(f"{_UNDO} ")
    meant = [read_sentence(part, scene, grid) for part in instead.split(THEN)]
    edits = tuple(part.edit for part in meant if part is not None and not part.looks)
    if len(edits) < len(meant):
        return None
    edit: Edit = edits[0]
    if len(edits) > 1:
        edit = MultiEdit(edits)  # type: ignore[assignment]
    return edit if instead == said else Undo(edit)


def rule_words(rule: Rule, grid: int) -> str:
    """A rule in its canonical sentence: "all red", "never touch the star in row 1 column 2".

    Raises:
        ValueError: its speech act has none.
    """
    patterns = intent_patterns(rule.act)
    if not patterns:
        raise ValueError(
            f"speech act {rule.act!r} has no sentence under 'intent', which intents that list rules need"
        )
    if isinstance(rule, Protect):
        # Of two stars only one is protected, and only its place tells which.
        rule = replace(rule, target=replace(rule.target, placed=True))
    return patterns[0].format(**rule.slots(grid)).replace('"', "")


def read_rule(said: str, grid: int) -> Rule | None:
    """The inverse of `rule_words`, from plain words; None where it is no such sentence."""
    for pattern, reader in _sentences():
        match = pattern.fullmatch(said)
        if match:
            return reader(match.groupdict(), grid)
    return None


def _attribute(value: str) -> str:
    return "color" if value in COLORS else "material"


def _protect(said: Said, grid: int) -> Rule | None:
    target = described(said["old"], grid)
    return Protect(target) if target is not None and target.placed else None


_READERS: dict[str, Callable[[Said, int], Rule | None]] = {
    "attribute": lambda said, grid: AttributeRule(_attribute(said["value"]), said["value"]),
    "scoped": lambda said, grid: ScopedRule(said["shape"], _attribute(said["value"]), said["value"]),
    "protect": _protect,
    "avoid": lambda said, grid: AvoidLook(_attribute(said["value"]), said["value"]),
    "keep_empty": lambda said, grid: KeepEmpty(said["where"].removeprefix("the ")),
    "limit": lambda said, grid: LimitCount(NUMBERS.index(said["count"])),
    "limit_alike": lambda said, grid: LimitAlike(said["attribute"]),
}
"""Families of rules that can be read back."""


@lru_cache(maxsize=1)
def _sentences() -> tuple[tuple[re.Pattern[str], Callable[[Said, int], Rule | None]], ...]:
    slots = {
        "value": "|".join((*COLORS, *MATERIALS)),
        "shape": "|".join(SHAPES),
        "where": "|".join(f"the {where}" for where in REGIONS),
        "count": "|".join(NUMBERS[1:]),
        "attribute": "color|material|shape",
    }
    return tuple(
        (sentence(pattern, **slots), reader)
        for family, reader in _READERS.items()
        for pattern in intent_patterns(RULES[family].act)
    )
