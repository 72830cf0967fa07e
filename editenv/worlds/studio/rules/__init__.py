"""Rules that stay in force after the turn in which they were stated: one file each holds rule, sampler and reader.

To add a rule, write a class that derives from `Rule` in a file of its own and name it in KINDS; its sentences stand in
phrases_rules.yaml. A rule of another package holds its sentences itself and is named as "package.module:Class" under
`rules` in a suite (examples/own_rule.py).
"""

from collections.abc import Mapping
from typing import Any

from editenv.worlds.studio.edit import from_fields
from editenv.worlds.studio.noun_phrases import Target
from editenv.worlds.studio.rule import Change, Except, Replace, Revoke, Rule, Statement
from editenv.worlds.studio.rules.attribute import AttributeRule
from editenv.worlds.studio.rules.avoid import AvoidLook
from editenv.worlds.studio.rules.keep_empty import KeepEmpty
from editenv.worlds.studio.rules.limit import LimitAlike, LimitCount
from editenv.worlds.studio.rules.protect import Protect
from editenv.worlds.studio.rules.scoped import ScopedRule

KINDS: tuple[type[Rule], ...] = (AttributeRule, ScopedRule, Protect, AvoidLook, KeepEmpty, LimitCount, LimitAlike)
RULES: dict[str, type[Rule]] = {kind.family: kind for kind in KINDS}  # rule class by family
CHANGES: dict[str, type[Change]] = {kind.family: kind for kind in (Except, Revoke, Replace)}
"""What can be said about a rule in force, by family."""


def register_rule(kind: type[Rule]) -> None:
    """Makes a rule of another package known; again is fine, ValueError where another class has the family's name."""
    if RULES.setdefault(kind.family, kind) is not kind:
        raise ValueError(f"rule family {kind.family!r} is {RULES[kind.family]} already, expected a new name")


def statement_of_act(act: str) -> type[Statement] | None:
    """The rule, or the change of one, whose `read` reads the slots of a speech act's sentences."""
    return next((kind for kind in (*RULES.values(), *CHANGES.values()) if kind.act == act), None)


def statement_from_json(data: Mapping[str, Any], kinds: Mapping[str, type[Statement]] = RULES) -> Any:
    """The inverse of to_json for rules, or for other `kinds` of statement by family, such as CHANGES.

    ValueError where the family is unknown or its fields are not those it has.
    """
    given = dict(data)
    family = given.pop("family", None)
    if family not in kinds:
        raise ValueError(f"family is {family!r}, expected one of {sorted(kinds)}")
    try:
        if isinstance(given.get("target"), Mapping):
            given["target"] = from_fields(Target, given["target"])
        given |= {name: statement_from_json(given[name]) for name in ("rule", "by") if name in given}
        return from_fields(kinds[family], given)
    except TypeError as error:
        raise ValueError(f"{family} has the fields {sorted(given)}: {error}") from error
