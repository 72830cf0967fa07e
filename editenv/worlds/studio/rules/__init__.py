"""Rules that stay in force after the turn in which they were stated: one file each holds rule and sampler.

To add a rule, write a class that derives from `Rule` in a file of its own and name it in KINDS; its sentences
stand in phrases_rules.yaml. A rule of another package holds its sentences itself and is named as
"package.module:Class" under `rules` in a suite (examples/own_rule.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from editenv.worlds.studio.checking import (
    EditCheck,
    allowed_changes,
    check_edit,
    choose_open,
    demanded_looks,
    is_impossible,
    open_looks,
    right_result,
)
from editenv.worlds.studio.dialogue import DialogueState
from editenv.worlds.studio.noun_phrases import Target
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.rule import Change, Except, Replace, Revoke, Rule, Statement, binding, in_force
from editenv.worlds.studio.rules.attribute import AttributeRule
from editenv.worlds.studio.rules.avoid import AvoidLook
from editenv.worlds.studio.rules.keep_empty import KeepEmpty
from editenv.worlds.studio.rules.limit import LimitAlike, LimitCount
from editenv.worlds.studio.rules.protect import Protect
from editenv.worlds.studio.rules.scoped import ScopedRule
from editenv.worlds.studio.scene import ATTRIBUTES

# fmt: off
__all__ = [
    "CHANGES", "RULES", "RULE_SAMPLERS", "AttributeRule", "AvoidLook", "Change", "EditCheck", "Except",
    "KeepEmpty", "LimitAlike", "LimitCount", "Protect", "Replace", "Revoke", "Rule", "ScopedRule",
    "Statement", "allowed_changes", "binding", "change_from_json", "check_edit", "choose_open",
    "demanded_looks", "in_force", "is_impossible", "open_looks", "register_rule", "right_result",
    "rule_from_json", "rule_to_json", "statement_to_json",
]
# fmt: on

Allowed = Callable[[Rule], bool]
RuleSampler = Callable[[DialogueState, Rng, Allowed], Statement | None]

KINDS: tuple[type[Rule], ...] = (AttributeRule, ScopedRule, Protect, AvoidLook, KeepEmpty, LimitCount, LimitAlike)

RULES: dict[str, type[Rule]] = {kind.family: kind for kind in KINDS}
"""Rule class by family."""

CHANGES: dict[str, type[Change]] = {kind.family: kind for kind in (Except, Revoke, Replace)}
"""What can be said about a rule in force, by family."""


def sample_revoke(state: DialogueState, rng: Rng, allowed: Allowed) -> Statement | None:
    """The end of a rule in force."""
    return Revoke(rng.pick(state.rules)) if state.rules else None


def sample_replace(state: DialogueState, rng: Rng, allowed: Allowed) -> Statement | None:
    """Another value in the place of the one that everything must have."""
    rules = [rule for rule in state.rules if isinstance(rule, AttributeRule)]
    if not rules:
        return None
    old = rng.pick(rules)
    others = [AttributeRule(old.attribute, v) for v in ATTRIBUTES[old.attribute] if v != old.value]
    others = [rule for rule in others if allowed(rule)]
    return Replace(old, rng.pick(others)) if others else None


RULE_SAMPLERS: dict[str, RuleSampler] = {kind.family: kind.sample for kind in KINDS} | {
    "revoke": sample_revoke,
    "replace": sample_replace,
}
"""By family; "exception" is drawn along with the edit that it is for."""


def register_rule(kind: type[Rule]) -> None:
    """Makes a rule of another package known; again is fine.

    Raises:
        ValueError: another class has the family's name.
    """
    if RULES.setdefault(kind.family, kind) is not kind:
        raise ValueError(f"rule family {kind.family!r} is {RULES[kind.family]} already, expected a new name")
    RULE_SAMPLERS[kind.family] = kind.sample


def rule_to_json(rule: Rule) -> dict[str, Any]:
    """A rule as JSON values, its family under "family"."""
    return statement_to_json(rule)


def rule_from_json(data: Mapping[str, Any]) -> Rule:
    """The inverse of rule_to_json.

    Raises:
        ValueError: the family is unknown or its fields are not those it has.
    """
    given = dict(data)
    if isinstance(given.get("target"), Mapping):
        given["target"] = _made("target", Target, given["target"])
    rule: Rule = _made_by_family(given, RULES)
    return rule


def statement_to_json(statement: Statement) -> dict[str, Any]:
    """A rule, or what is said about one, as JSON values, with rules and targets in it."""
    data: dict[str, Any] = {"family": statement.family}
    for field in fields(statement):  # type: ignore[arg-type]
        part = getattr(statement, field.name)
        if isinstance(part, Target):
            part = {each.name: getattr(part, each.name) for each in fields(part)}
        data[field.name] = statement_to_json(part) if isinstance(part, Rule) else part
    return data


def change_from_json(data: Mapping[str, Any]) -> Change:
    """The inverse of statement_to_json for what is said about a rule in force.

    Raises:
        ValueError: the family is unknown or its fields are not those it has.
    """
    nested = {name: rule_from_json(rule) for name, rule in data.items() if name in ("rule", "by")}
    change: Change = _made_by_family(dict(data) | nested, CHANGES)
    return change


def _made_by_family(given: dict[str, Any], registry: Mapping[str, type[Any]]) -> Any:
    family = given.pop("family", None)
    if family not in registry:
        raise ValueError(f"family is {family!r}, expected one of {sorted(registry)}")
    return _made(family, registry[family], given)


def _made(name: str, kind: type[Any], given: Mapping[str, Any]) -> Any:
    try:
        return kind(**given)
    except TypeError as error:
        raise ValueError(f"{name} has the fields {sorted(given)}: {error}") from error
