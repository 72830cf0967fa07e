"""Rules that stay in force after the turn in which they were stated, one file a family.

To add a family, write a frozen dataclass with the members of `Rule` in a file of its own, name it in RULES,
and give its speech act sentences in phrases.yaml.

Order of precedence: the later rule wins over an earlier one that cannot be kept beside it; an exception lasts
one turn; a rule that forbids wins over an instruction, which is then impossible and leaves the picture alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from editenv.worlds.studio.constraints.attribute import AttributeRule
from editenv.worlds.studio.constraints.avoid import AvoidLook, KeepEmpty
from editenv.worlds.studio.constraints.base import Rule
from editenv.worlds.studio.constraints.changes import (
    Change,
    Except,
    Replace,
    Revoke,
    Statement,
    binding,
    in_force,
)
from editenv.worlds.studio.constraints.choices import demanded_looks, open_looks
from editenv.worlds.studio.constraints.judging import (
    Verdict,
    decided,
    freed,
    is_impossible,
    judge,
    right_result,
)
from editenv.worlds.studio.constraints.limit import LimitAlike, LimitCount
from editenv.worlds.studio.constraints.protect import Protect
from editenv.worlds.studio.constraints.scoped import ScopedRule
from editenv.worlds.studio.edits import Target

__all__ = [
    "CHANGES",
    "RULES",
    "AttributeRule",
    "AvoidLook",
    "Change",
    "Except",
    "KeepEmpty",
    "LimitAlike",
    "LimitCount",
    "Protect",
    "Replace",
    "Revoke",
    "Rule",
    "ScopedRule",
    "Statement",
    "Verdict",
    "binding",
    "change_from_json",
    "decided",
    "demanded_looks",
    "freed",
    "in_force",
    "is_impossible",
    "judge",
    "open_looks",
    "right_result",
    "rule_from_json",
    "rule_to_json",
    "statement_to_json",
]

RULES: dict[str, type[Rule]] = {
    kind.family: kind
    for kind in (AttributeRule, ScopedRule, Protect, AvoidLook, KeepEmpty, LimitCount, LimitAlike)
}
"""Rules by family."""

CHANGES: dict[str, type[Change]] = {kind.family: kind for kind in (Except, Revoke, Replace)}
"""What can be said about a rule in force, by family."""


def rule_to_json(rule: Rule) -> dict[str, Any]:
    """A rule as JSON values, its family under "family"."""
    return {"family": rule.family, **_shallow(rule)}


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
    """A rule, or what is said about one, as JSON values."""
    return {"family": statement.family, **_shallow(statement)}


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


def _shallow(value: Any) -> dict[str, Any]:
    """A dataclass's fields by name, rules and targets in them as JSON values too."""
    found = {field.name: getattr(value, field.name) for field in fields(value)}
    for name, part in found.items():
        if isinstance(part, Target):
            found[name] = _shallow(part)
        elif hasattr(part, "family"):
            found[name] = rule_to_json(part)
    return found
