"""What a speech act says about rules: one function a family of rules or of changes to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from editenv.agents.baselines.reader.grammar import Said
from editenv.worlds.studio.constraints import AttributeRule, Revoke, Rule, Statement
from editenv.worlds.studio.proposals import Situation
from editenv.worlds.studio.scene import COLORS, MATERIALS

Slots = Mapping[str, str]


def statements_of(spoken: Sequence[Said], situation: Situation) -> list[tuple[Statement, ...]]:
    """All that a few acts may say about rules together; one of them without acts."""
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


def _attribute(slots: Slots, situation: Situation) -> list[Statement]:
    attribute = _attribute_of(slots["value"])
    return [] if attribute is None else [AttributeRule(attribute, slots["value"])]


def _revoke(slots: Slots, situation: Situation) -> list[Statement]:
    return [Revoke(rule) for rule in _named(slots["rule"], situation)]


def _named(words: str, situation: Situation) -> list[Rule]:
    """The rules in force that have such a name."""
    return [rule for rule in situation.rules if rule.slots(situation.grid)["rule"] == words]


STATEMENTS: dict[str, Callable[[Slots, Situation], list[Statement]]] = {
    "rule_attribute": _attribute,
    "revoke": _revoke,
}
"""Acts about rules."""


def _attribute_of(value: str) -> str | None:
    """The attribute that has such a value."""
    return "color" if value in COLORS else "material" if value in MATERIALS else None
