"""What a user says about rules already in force: an exception, an end, another one in place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from editenv.worlds.studio.constraints.base import Rule


@dataclass(frozen=True, slots=True)
class Except:
    """As in "just this once, make it green": the rule does not bind this turn, and does again in the next.

    Attributes:
        rule: one in force.
    """

    family: ClassVar[str] = "exception"

    rule: Rule


@dataclass(frozen=True, slots=True)
class Revoke:
    """As in "forget the red rule".

    Attributes:
        rule: one in force.
    """

    family: ClassVar[str] = "revoke"

    rule: Rule


@dataclass(frozen=True, slots=True)
class Replace:
    """As in "in place of the red rule: from now on everything must be blue".

    Attributes:
        rule: one in force.
        by: the one that takes its place.
    """

    family: ClassVar[str] = "replace"

    rule: Rule
    by: Rule


Change = Except | Revoke | Replace
Statement = Rule | Change


def in_force(rules: tuple[Rule, ...], statement: Statement) -> tuple[Rule, ...]:
    """The rules in force once something has been said about them, in the order they were stated.

    The later rule wins: it ends earlier ones that cannot be kept beside it (`Rule.overrides`). An exception
    leaves the list as it is, since it lasts one turn (`binding`).
    """
    if isinstance(statement, Except):
        return rules
    if isinstance(statement, Revoke):
        return tuple(rule for rule in rules if rule != statement.rule)
    if isinstance(statement, Replace):
        return in_force(in_force(rules, Revoke(statement.rule)), statement.by)
    return (*(rule for rule in rules if not statement.overrides(rule)), statement)


def binding(rules: tuple[Rule, ...], statements: tuple[Statement, ...]) -> tuple[Rule, ...]:
    """Of the rules in force, those that bind the turn in which the statements were made."""
    excepted = [statement.rule for statement in statements if isinstance(statement, Except)]
    return tuple(rule for rule in rules if rule not in excepted)
