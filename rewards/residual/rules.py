"""What each family of rules asks of a turn, and when it is broken.

Demanding families (`DEMANDS`) want a look of the edited object. Forbidding ones (`FORBIDS`) look at the whole
change from one picture to the next. To add a family, write its function or functions and name them here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from editenv.rewards.residual.answers import Answer
from editenv.rewards.residual.kinds import EMPTY, Shown, look
from editenv.rewards.residual.places import part_of_grid
from editenv.worlds.studio.rules import Rule
from editenv.worlds.studio.scene import SIGN
from editenv.worlds.studio.tasks import (
    ColorAlter,
    Edit,
    MaterialAlter,
    PositionChange,
    SubjectAdd,
    SubjectReplace,
    TextChange,
)

_EDITS_AN_OBJECT = (SubjectAdd, SubjectReplace, ColorAlter, MaterialAlter, TextChange, PositionChange)


@dataclass(frozen=True, slots=True)
class Part:
    """A single edit and its right results in the picture before.

    Attributes:
        edit: None for going back to an earlier picture.
        answer: what is right.
    """

    edit: Edit | None
    answer: Answer


Asks = Callable[[Any, Part, Shown], bool]
Broken = Callable[[Any, tuple[Part, ...], Shown, Shown], bool]


def demands(rule: Rule, edit: Edit | None) -> bool:
    """Does a rule demand a look of the object that this edit adds or changes?"""
    wanted = DEMANDS.get(rule.family)
    return wanted is not None and wanted(rule, edit)


def demanded(rules: tuple[Rule, ...], edit: Edit | None) -> dict[str, str]:
    """Values by attribute that rules demand; where two speak of one attribute, the later rule's."""
    # Which fields a rule has depends on its family.
    asking: list[Any] = [rule for rule in rules if demands(rule, edit)]
    return {rule.attribute: rule.value for rule in asking}


def asked(rules: tuple[Rule, ...], part: Part, before: Shown) -> list[Rule]:
    """The rules that ask something of an edit, without demands that a later one contradicts."""
    found: dict[Any, Rule] = {}
    for place, rule in enumerate(rules):
        if demands(rule, part.edit):
            found[rule.attribute] = rule  # type: ignore[attr-defined]
        elif rule.family in FORBIDS and FORBIDS[rule.family][0](rule, part, before):
            found[place] = rule
    return list(found.values())


def lacks_look(rule: Any, part: Part, after: Shown) -> bool:
    """Is the edited object not to be found, not readable or without the look that a rule demands?"""
    cell = part.answer.edited(after)
    return cell is None or look(after.cells[cell], rule.attribute) != rule.value


def forbids(rule: Rule, parts: tuple[Part, ...], before: Shown, after: Shown) -> bool:
    """Is a forbidding rule broken by what changed from one picture to the next?"""
    return rule.family in FORBIDS and FORBIDS[rule.family][1](rule, parts, before, after)


def _everything(rule: Any, edit: Edit | None) -> bool:
    return isinstance(edit, _EDITS_AN_OBJECT) and not (rule.attribute == "material" and _ends_as_sign(edit))


def _ends_as_sign(edit: Any) -> bool:
    """Signs have no material that a rule could ask for."""
    if isinstance(edit, SubjectAdd | SubjectReplace):
        return bool(edit.shape == SIGN)
    return isinstance(edit, TextChange) or edit.target.shape == SIGN


def _added_of_a_shape(rule: Any, edit: Edit | None) -> bool:
    return isinstance(edit, SubjectAdd) and edit.shape == rule.shape


DEMANDS: dict[str, Callable[[Any, Edit | None], bool]] = {
    "attribute": _everything,
    "scoped": _added_of_a_shape,
}
"""By family: does the rule demand its look of this edit's object?"""


def _is_guarded(rule: Any, before: Shown) -> bool:
    """Is the protected object where it has to be? Something of another shape there is another object."""
    code = before.cells[rule.target.cell]
    return code != EMPTY and rule.target.shape in (None, look(code, "shape"))


def _speaks_of_guarded(rule: Any, part: Part, before: Shown) -> bool:
    return _is_guarded(rule, before) and rule.target.cell in part.answer.may_change


def _guarded_changed(rule: Any, parts: tuple[Part, ...], before: Shown, after: Shown) -> bool:
    cell = rule.target.cell
    return _is_guarded(rule, before) and after.cells[cell] != before.cells[cell]


def _names_look(rule: Any, edit: Edit | None) -> tuple[bool, str | None]:
    """Does an edit give an object a look of the rule's kind, and which one do its words name?"""
    if isinstance(edit, ColorAlter | MaterialAlter):
        return rule.attribute == ("color" if isinstance(edit, ColorAlter) else "material"), edit.value
    if isinstance(edit, SubjectAdd | SubjectReplace):
        named = {"color": edit.color, "material": edit.material}
        return True, named.get(rule.attribute, edit.shape)
    return False, None


def _speaks_of_avoided(rule: Any, part: Part, before: Shown) -> bool:
    gives, named = _names_look(rule, part.edit)
    return gives and named in (None, rule.value)


def _avoided_appeared(rule: Any, parts: tuple[Part, ...], before: Shown, after: Shown) -> bool:
    """An object has the look and had it not: it is new, of another shape, or looked otherwise.

    An object that was asked to move takes its look along.
    """

    def has_it(code: int) -> bool:
        return look(code, rule.attribute) == rule.value

    moved = {
        part.answer.edited(after)
        for part in parts
        if part.answer.moved_from is not None and has_it(before.cells[part.answer.moved_from])
    }
    pairs = enumerate(zip(before.cells, after.cells, strict=True))
    return any(
        has_it(new) and cell not in moved and not (has_it(old) and look(old, "shape") == look(new, "shape"))
        for cell, (old, new) in pairs
    )


def _speaks_of_empty(rule: Any, part: Part, before: Shown) -> bool:
    region = part_of_grid(rule.where, before.side)
    return any(before.cells[cell] == EMPTY for cell in region & part.answer.may_change)


def _empty_filled(rule: Any, parts: tuple[Part, ...], before: Shown, after: Shown) -> bool:
    region = part_of_grid(rule.where, before.side)
    return any(before.cells[cell] == EMPTY != after.cells[cell] for cell in region)


def _adds_where_full(rule: Any, part: Part, before: Shown) -> bool:
    """Are objects asked for, and more of them than fit under the limit?"""
    wanted = int(isinstance(part.edit, SubjectAdd))
    if part.answer.number is not None:
        counted, number = part.answer.number
        wanted = number - sum(code in counted for code in before.cells)
    return wanted > 0 and _objects(before) + wanted > rule.most


def _too_many(rule: Any, parts: tuple[Part, ...], before: Shown, after: Shown) -> bool:
    return _objects(after) > max(rule.most, _objects(before))


def _objects(shown: Shown) -> int:
    """How many there are; what cannot be read counts as one."""
    return sum(code != EMPTY for code in shown.cells)


def _gives_look(rule: Any, part: Part, before: Shown) -> bool:
    return _names_look(rule, part.edit)[0]


def _more_alike(rule: Any, parts: tuple[Part, ...], before: Shown, after: Shown) -> bool:
    return _alike(rule, after) > _alike(rule, before)


def _alike(rule: Any, shown: Shown) -> int:
    """How many objects look like an earlier one; the unread look like each other."""
    looks = Counter(look(code, rule.attribute) for code in shown.cells if code != EMPTY)
    return sum(count - 1 for count in looks.values())


FORBIDS: dict[str, tuple[Asks, Broken]] = {
    "protect": (_speaks_of_guarded, _guarded_changed),
    "avoid": (_speaks_of_avoided, _avoided_appeared),
    "keep_empty": (_speaks_of_empty, _empty_filled),
    "limit": (_adds_where_full, _too_many),
    "limit_alike": (_gives_look, _more_alike),
}
"""By family: does the rule ask something of this edit? Is it broken by this change?"""
