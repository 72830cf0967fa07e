"""Rules that stay in force after the turn in which they were stated, one class a family.

To add a family, write a frozen dataclass with the members of `Rule` and name it in RULES.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Protocol

from editenv.worlds.studio.edits import Edit
from editenv.worlds.studio.edits.base import Looks
from editenv.worlds.studio.scene import Scene


class Rule(Protocol):
    """A rule in force; a frozen dataclass of JSON values."""

    family: ClassVar[str]

    @property
    def free(self) -> frozenset[str]:
        """Attributes of an edited object that the rule may change, though the instruction names them not."""

    def looks(self) -> Looks:
        """Looks that the rule asks of an edited object, to be named in the intent."""

    def apply(self, edit: Edit, before: Scene, result: Scene) -> Scene:
        """The edit's right result, brought in line with the rule."""

    def holds(self, edit: Edit, before: Scene, after: Scene) -> bool | None:
        """Was the rule kept in this turn? None where it asks nothing of such an edit."""


@dataclass(frozen=True, slots=True)
class AttributeRule:
    """Every object that is added or changed must have one value of one attribute (MICE-Bench's CM).

    It covers the object that the turn edits and nothing else; removals and backgrounds are exempt.

    Attributes:
        attribute: "color" or "material".
        value: a word of COLORS or MATERIALS.
    """

    family: ClassVar[str] = "attribute"

    attribute: str
    value: str

    @property
    def free(self) -> frozenset[str]:
        """The one attribute."""
        return frozenset((self.attribute,))

    def looks(self) -> Looks:
        """The one value."""
        return {self.attribute: self.value}

    def apply(self, edit: Edit, before: Scene, result: Scene) -> Scene:
        """The result with the edited object given the rule's value."""
        cell = edit.edited_cell(before) if edit.covered_by_rules else None
        thing = None if cell is None else result.cells[cell]
        if cell is None or thing is None:
            return result
        return result.put(cell, replace(thing, **{self.attribute: self.value}))

    def holds(self, edit: Edit, before: Scene, after: Scene) -> bool | None:
        """Does the edited object show the value? An object that is missing or unreadable does not."""
        if not edit.covered_by_rules:
            return None
        cell = edit.edited_cell(before)
        thing = None if cell is None else after.cells[cell]
        return thing is not None and thing.attributes()[self.attribute] == self.value


RULES: dict[str, type[AttributeRule]] = {kind.family: kind for kind in (AttributeRule,)}


def right_result(edit: Edit, rules: tuple[Rule, ...], before: Scene) -> Scene:
    """One right result of an edit under the rules in force; later rules have the last word."""
    result = edit.apply(before)
    for rule in rules:
        result = rule.apply(edit, before, result)
    return result


def rule_to_json(rule: Rule) -> dict[str, Any]:
    """A rule as JSON values, its family under "family"."""
    return {"family": rule.family, **asdict(rule)}  # type: ignore[call-overload]


def rule_from_json(data: Mapping[str, Any]) -> Rule:
    """The inverse of rule_to_json.

    Raises:
        ValueError: the family is unknown or its fields are not those it has.
    """
    fields = dict(data)
    family = fields.pop("family", None)
    if family not in RULES:
        raise ValueError(f"family is {family!r}, expected one of {sorted(RULES)}")
    try:
        return RULES[family](**fields)
    except TypeError as error:
        raise ValueError(f"{family} has the fields {sorted(fields)}: {error}") from error
