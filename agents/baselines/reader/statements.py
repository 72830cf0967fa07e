"""What a speech act says about rules: one function a family of rules or of changes to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from editenv.agents.baselines.reader.grammar import Said
from editenv.agents.baselines.reader.nouns import objects
from editenv.worlds.studio.dialogue import DialogueState
from editenv.worlds.studio.noun_phrases import NUMBERS, REGIONS
from editenv.worlds.studio.rules import (
    AttributeRule,
    AvoidLook,
    Except,
    KeepEmpty,
    LimitAlike,
    LimitCount,
    Protect,
    Replace,
    Revoke,
    Rule,
    ScopedRule,
    Statement,
)
from editenv.worlds.studio.scene import COLORS, MATERIALS

Slots = Mapping[str, str]


def statements_of(spoken: Sequence[Said], situation: DialogueState) -> list[tuple[Statement, ...]]:
    """All that a few acts may say about rules together; one that is empty where there are no acts."""
    found: list[tuple[Statement, ...]] = [()]
    for said in spoken:
        if said.act not in STATEMENTS:
            return []
        found = [
            (*before, statement)
            for before in found
            for statement in STATEMENTS[said.act](said.slots, situation.stating(*before))
        ]
    return found


def _attribute(slots: Slots, situation: DialogueState) -> list[Statement]:
    attribute = _attribute_of(slots["value"])
    return [] if attribute is None else [AttributeRule(attribute, slots["value"])]


def _revoke(slots: Slots, situation: DialogueState) -> list[Statement]:
    return [Revoke(rule) for rule in _named(slots["rule"], situation)]


def _named(words: str, situation: DialogueState) -> list[Rule]:
    """The rules in force that have such a name."""
    return [rule for rule in situation.rules if rule.slots(situation.grid)["rule"] == words]


def _replaced(slots: Slots, situation: DialogueState) -> list[Statement]:
    by = _attribute(slots, situation)
    named = (rule for rule in _named(slots["rule"], situation) if isinstance(rule, AttributeRule))
    return [
        Replace(rule, new)
        for rule in named
        for new in by
        if isinstance(new, AttributeRule) and rule.attribute == new.attribute
    ]


def _exception(slots: Slots, situation: DialogueState) -> list[Statement]:
    """Nobody says which rule: the one that the edit is against (`is_meant`)."""
    return [Except(rule) for rule in situation.rules]


def _scoped(slots: Slots, situation: DialogueState) -> list[Statement]:
    attribute = _attribute_of(slots["value"])
    return [] if attribute is None else [ScopedRule(slots["shape"], attribute, slots["value"])]


def _protect(slots: Slots, situation: DialogueState) -> list[Statement]:
    return [Protect(target) for target in objects(slots["old"], situation)]


def _avoid(slots: Slots, situation: DialogueState) -> list[Statement]:
    attribute = _attribute_of(slots["value"])
    return [] if attribute is None else [AvoidLook(attribute, slots["value"])]


def _keep_empty(slots: Slots, situation: DialogueState) -> list[Statement]:
    name = slots["where"].removeprefix("the ")
    return [KeepEmpty(name)] if name in REGIONS else []


def _limit(slots: Slots, situation: DialogueState) -> list[Statement]:
    return [LimitCount(NUMBERS.index(slots["count"]))] if slots["count"] in NUMBERS[1:] else []


def _alike(slots: Slots, situation: DialogueState) -> list[Statement]:
    return [LimitAlike(slots["attribute"])]


STATEMENTS: dict[str, Callable[[Slots, DialogueState], list[Statement]]] = {
    "rule_attribute": _attribute,
    "rule_scoped": _scoped,
    "rule_protect": _protect,
    "rule_avoid": _avoid,
    "rule_keep_empty": _keep_empty,
    "rule_limit": _limit,
    "rule_limit_alike": _alike,
    "revoke": _revoke,
    "replace": _replaced,
    "exception": _exception,
}
"""Acts about rules."""


def _attribute_of(value: str) -> str | None:
    """The attribute that has such a value."""
    return "color" if value in COLORS else "material" if value in MATERIALS else None
