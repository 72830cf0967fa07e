"""Is there a right result that no rule forbids?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from editenv.rewards.residual.answers import Answer
from editenv.rewards.residual.kinds import EMPTY, Shown
from editenv.rewards.residual.rules import FORBIDS, Part, forbids
from editenv.worlds.studio.rules import Rule


def is_forbidden(answer: Answer, parts: tuple[Part, ...], rules: tuple[Rule, ...], before: Shown) -> bool:
    """True where right results exist and every one of them breaks a rule.

    Args:
        answer: what is right with every look that rules demand.
        parts: the edit's.
        rules: those that bind the turn.
        before: the picture to be edited.
    """
    against = [rule for rule in rules if rule.family in FORBIDS]
    if not against:
        return False

    def allowed(result: Shown) -> bool:
        return not any(forbids(rule, parts, before, result) for rule in against)

    if answer.number is not None:
        return _number_is_forbidden(answer, against, parts, before)
    exists = False
    for result in _results(answer, before):
        if allowed(result):
            return False
        exists = True
    return exists


def _results(answer: Answer, before: Shown) -> Iterator[Shown]:
    """Every right result."""
    ground = before.ground if answer.ground is None else answer.ground
    for way in answer.ways:
        for codes in product(*(sorted(right) for right in way.values())):
            changed = before.having(dict(zip(way, codes, strict=True)))
            yield Shown(ground, changed.cells)


def _number_is_forbidden(answer: Answer, against: list[Rule], parts: tuple[Part, ...], before: Shown) -> bool:
    """Whether no way of adding or removing, one object after the other, keeps all rules.

    One after the other is enough: what breaks a rule with few changes breaks it with more of them.
    """
    if not answer.ways or answer.number is None:
        return False
    (way,), (counted, number) = answer.ways, answer.number
    missing = number - sum(code in counted for code in before.cells)
    if missing > len(way):
        return False
    result = before
    for _ in range(abs(missing)):
        steps = (
            result.having({cell: code})
            for cell, codes in way.items()
            for code in (sorted(codes - {EMPTY}) if missing > 0 else (EMPTY,))
            if (result.cells[cell] == EMPTY) == (missing > 0)
        )
        step = next(
            (step for step in steps if not any(forbids(rule, parts, before, step) for rule in against)), None
        )
        if step is None:
            return True
        result = step
    return False
