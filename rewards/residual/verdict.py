"""Judges one turn: right results, rules in force, and what may differ from now on."""

from __future__ import annotations

from dataclasses import dataclass

from editenv.rewards.residual.answers import GROUND, Answer, answer_to, restoring
from editenv.rewards.residual.kinds import UNREAD, WORDS, Shown
from editenv.rewards.residual.possible import is_forbidden
from editenv.rewards.residual.rules import FORBIDS, Part, asked, demanded, forbids, lacks_look
from editenv.worlds.studio.rules import Rule
from editenv.worlds.studio.tasks import Edit, MultiEdit, Undo


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a picture made of a turn.

    Attributes:
        followed: was the instruction carried out, or the picture left alone where that is right?
        kept: were the rules kept that ask something of the turn? None where none does.
        broken: was any rule broken?
        may_change: cells, and GROUND, in which the pictures before and after may differ.
        licensed: the same for the source picture and all later ones.
        leave_alone: was it right to change nothing?
    """

    followed: bool
    kept: bool | None
    broken: bool
    may_change: frozenset[int]
    licensed: frozenset[int]
    leave_alone: bool


_NOTHING: frozenset[int] = frozenset()


def verdict(
    edit: Edit, rules: tuple[Rule, ...], before: Shown, after: Shown, earlier: Shown | None
) -> Verdict:
    """Judges a turn; `earlier` is what an undo goes back to, None where there is nothing or no undo."""
    back = earlier if isinstance(edit, Undo) else None
    answer, parts = _right(edit, rules, before, back)
    alone = back == before or (bool(rules) and _is_impossible(edit, rules, before, answer, parts))
    kept, broken = _keeping(rules, parts, before, after, alone)
    if alone:
        same = after == before and after.readable()
        return Verdict(same, kept, broken, _NOTHING, _NOTHING, leave_alone=True)
    # Going back licenses nothing: what it restores was licensed before, or was damage.
    licensed = _NOTHING if back else answer.may_change
    return Verdict(answer.met(after), kept, broken, answer.may_change, licensed, leave_alone=False)


def unchanged_share(old: Shown, new: Shown, may_change: frozenset[int]) -> float | None:
    """Share of cells and background outside of some that two pictures agree in; None where none is left.

    The unread is equal to nothing.
    """
    cells = zip(old.cells, new.cells, strict=True)
    same = [a == b != UNREAD for cell, (a, b) in enumerate(cells) if cell not in may_change]
    if GROUND not in may_change:
        same.append(old.ground == new.ground != UNREAD)
    return sum(same) / len(same) if same else None


def _right(
    edit: Edit, rules: tuple[Rule, ...], before: Shown, back: Shown | None
) -> tuple[Answer, tuple[Part, ...]]:
    """What counts as following, of the whole edit and of each part."""
    if back is not None:
        answer = restoring(back, before)
        return answer, (Part(None, answer),)
    ruled = {name: WORDS[name] for part in _parts(edit) for name in demanded(rules, part)}
    answer = answer_to(edit, before, ruled)
    if not isinstance(edit, MultiEdit):
        return answer, (Part(edit, answer),)
    return answer, tuple(Part(part, answer_to(part, before, ruled)) for part in edit.parts)


def _is_impossible(
    edit: Edit, rules: tuple[Rule, ...], before: Shown, answer: Answer, parts: tuple[Part, ...]
) -> bool:
    """Does a rule forbid whatever is right?"""
    if not any(rule.family in FORBIDS for rule in rules):
        return False
    values = {name: value for part in parts for name, value in demanded(rules, part.edit).items()}
    if values:
        answer = answer_to(edit, before, {name: frozenset((value,)) for name, value in values.items()})
    return is_forbidden(answer, parts, rules, before)


def _keeping(
    rules: tuple[Rule, ...], parts: tuple[Part, ...], before: Shown, after: Shown, alone: bool
) -> tuple[bool | None, bool]:
    """Whether the rules that ask something were kept, None where none does; and whether any was broken.

    A prohibition that asks something of the turn is not seen to be kept in a picture with unread cells.
    Demands ask nothing of a turn that has to be left alone.
    """
    if not rules:
        return None, False
    unread = UNREAD in after.cells
    faults = []
    for part in parts:
        for rule in asked(rules, part, before):
            if rule.family in FORBIDS:
                faults.append(unread or forbids(rule, (part,), before, after))
            elif not alone:
                faults.append(lacks_look(rule, part, after))
    broken = any(faults) or any(forbids(rule, parts, before, after) for rule in rules)
    return (not any(faults) if faults else None), broken


def _parts(edit: Edit) -> tuple[Edit, ...]:
    return edit.parts if isinstance(edit, MultiEdit) else (edit,)
