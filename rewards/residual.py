"""The second exact scorer, `residual`: distances between pictures and re-rendered right results.

It exists to disagree: an agent that exploits a hole in `exact` meets other measures and other code here.
Shared with `exact` are the data (the fields of edits, targets, rules and turns; the words and the list of all
objects in scene.py), the renderer (`cell_pictures`, GROUND), the reward's weights and the checks of what comes
in, and nothing else: no parser, no method of an edit, target or rule, no verdict. A test reads the imports and
attributes of this file and of residual_parse.py to keep it so.

From top to bottom: the scorer; a turn's verdict; right results of each task (`answer_to`); what each rule asks
(`demands`, `asks`) and when it is broken (`breaks`); whether a rule forbids all right results; which cells
words refer to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, reduce
from itertools import product
from typing import Any, NamedTuple

from editenv.rewards import require_meanings, studio_grid
from editenv.rewards.residual_parse import EMPTY, UNREAD, Shown, read, shown_from_codes
from editenv.rewards.weights import RewardWeights, with_reward
from editenv.types import Scores, TurnResult
from editenv.worlds.studio.edit import Edit, MultiEdit
from editenv.worlds.studio.noun_phrases import Beside, Target
from editenv.worlds.studio.rule import Rule
from editenv.worlds.studio.scene import BACKGROUNDS, COLORS, MATERIALS, SIGN, all_objects
from editenv.worlds.studio.tasks import (
    BackgroundChange,
    ColorAlter,
    CountChange,
    MaterialAlter,
    PositionChange,
    SubjectAdd,
    SubjectRemove,
    SubjectReplace,
    TextChange,
    Undo,
)

NAMES = ("shape", "color", "material", "text")
WORDS = {"color": frozenset(COLORS), "material": frozenset(MATERIALS)}
LOOKS: tuple[tuple[str, str, str, str | None], ...] = tuple(
    (one.shape, one.color, one.material, one.text) for one in all_objects()
)
"""Shape, colour, material and text of the object with code 1, 2, ..."""
GROUND = -1
"""Stands for the background among cells."""
TASKS = (
    SubjectAdd, SubjectRemove, SubjectReplace, ColorAlter, MaterialAlter, TextChange, PositionChange, CountChange,
    BackgroundChange, MultiEdit, Undo,
)  # fmt: skip
DEMANDS = ("attribute", "scoped")
"""Families of rules that want a look of the edited object."""
FORBIDS = ("protect", "avoid", "keep_empty", "limit", "limit_alike")
"""Families that look at the whole change from one picture to the next."""

Values = Mapping[str, frozenset[str]]
"""For each attribute that a rule demands of the edited object, the values that count: all of them for
following (a wrong one breaks the rule, not the instruction), the demanded one for what is right under the
rules."""
Contents = Mapping[int, frozenset[int]]
"""Codes that are right, by cell."""
_NOTHING: frozenset[int] = frozenset()
_NONE_THERE = frozenset((EMPTY,))


class ResidualScorer:
    """The scores that `exact` gives, with the same meaning, found by other code and other measures.

    `detail` keeps, for the turns to come, what this scorer saw ("residual") and what instructions have
    allowed to change so far ("licensed"); "leave_alone" marks turns whose right answer is to change nothing.
    A history that another scorer wrote is not used: its pictures are read anew, and nothing counts as
    licensed before.

    Args:
        world: gives the number of cells a side.
        weights: of the reward.
    """

    version = "residual-2"
    pure = True

    def __init__(self, world: Any, weights: RewardWeights | None = None) -> None:
        self.grid, self.weights = studio_grid(world), weights or RewardWeights()

    def score(self, turns: Sequence[TurnResult]) -> list[Scores]:
        """Scores of turns, in order; all pictures of the batch are read at once.

        Raises:
            ValueError: what the user meant is unknown, or is a task or rule that this scorer has no code for.
        """
        require_meanings(turns)
        # What the pictures before the edits show, as this scorer has seen them or sees them now.
        known = [_seen(turn, -1) for turn in turns]
        rows = [row for row, shown in enumerate(known) if shown is None]
        sources = [shown_from_codes(turn.spec.scene.codes()) for turn in turns]
        now = read([turns[row].before for row in rows], self.grid, [sources[row] for row in rows])
        found = dict(zip(rows, now, strict=True))
        before = [shown or found[row] for row, shown in enumerate(known)]
        after = read([turn.after for turn in turns], self.grid, before)
        return [self._score_turn(*row) for row in zip(turns, sources, before, after, strict=True)]

    def _score_turn(self, turn: TurnResult, source: Shown, before: Shown, after: Shown) -> Scores:
        meaning, earlier = turn.message.meaning, None
        if isinstance(meaning.edit, Undo) and turn.turn:
            earlier = source if turn.turn == 1 else _seen(turn, -2) or read([turn.earlier[-2]], self.grid, [source])[0]
        found = verdict(meaning.edit, meaning.rules, before, after, earlier)
        licensed = found.licensed.union(turn.history[-1].detail.get("licensed", ()) if turn.history else ())
        right = found.followed and not found.broken
        detail: dict[str, Any] = {"residual": after.codes(), "licensed": sorted(licensed)}
        if found.leave_alone:
            detail["leave_alone"] = True
        scores = Scores(
            instruction_following=float(found.followed),
            content_consistency=unchanged_share(source, after, licensed),
            global_awareness=float(right and all(past.global_awareness == 1 for past in turn.history)),
            turn_consistency=unchanged_share(before, after, found.may_change),
            rule_kept=None if found.kept is None else float(found.kept),
            detail=detail,
        )
        return with_reward(scores, self.weights)


def _seen(turn: TurnResult, back: int) -> Shown | None:
    """What this scorer saw of an earlier answer, counted from the end; the source before the first one."""
    if not turn.history and back == -1:
        return shown_from_codes(turn.spec.scene.codes())
    codes = turn.history[back].detail.get("residual") if len(turn.history) >= -back else None
    return shown_from_codes(codes) if codes else None


def unchanged_share(old: Shown, new: Shown, may_change: frozenset[int]) -> float | None:
    """Share of cells and background outside of `may_change` in which two pictures agree; None if it is empty.

    What cannot be read equals nothing.
    """
    cells = zip(old.cells, new.cells, strict=True)
    same = [a == b != UNREAD for cell, (a, b) in enumerate(cells) if cell not in may_change]
    if GROUND not in may_change:
        same.append(old.ground == new.ground != UNREAD)
    return sum(same) / len(same) if same else None


# A turn's verdict.


class Answer(NamedTuple):
    """The right results of an edit."""

    # Each a choice of cells with the codes that are right in them; one way must be met in full. None at all where the
    # object meant is not there.
    ways: tuple[Contents, ...] = ()
    may_change: frozenset[int] = frozenset()  # cells, and GROUND, that this edit may change, whichever way is taken
    spots: tuple[int, ...] = ()  # cells of which one holds the edited object afterwards
    moved_from: int | None = None  # where the edited object stood, if it leaves
    ground: int | None = None  # the background that is asked for
    number: tuple[frozenset[int], int] | None = None  # how many objects of some codes the whole picture shall show

    def met(self, after: Shown) -> bool:
        """Does a picture show one of the right results, whatever else it shows?"""
        if self.ground is not None and after.ground != self.ground:
            return False
        if self.number is not None and sum(c in self.number[0] for c in after.cells) != self.number[1]:
            return False
        return any(all(after.cells[cell] in codes for cell, codes in way.items()) for way in self.ways)

    def edited(self, after: Shown) -> int | None:
        """Where the edited object stands afterwards; None where none or several spots are filled."""
        if len(self.spots) < 2:
            return self.spots[0] if self.spots else None
        filled = [cell for cell in self.spots if after.cells[cell] != EMPTY]
        return filled[0] if len(filled) == 1 else None


class Part(NamedTuple):
    """A single edit, None for going back to an earlier picture, and its right results."""

    edit: Edit | None
    answer: Answer


class Verdict(NamedTuple):
    """What a picture made of a turn."""

    followed: bool  # was the instruction carried out, or the picture left alone where that is right?
    kept: bool | None  # were the rules kept that ask something of the turn? None where none does
    broken: bool  # was any rule broken?
    may_change: frozenset[int]  # cells, and GROUND, in which the pictures before and after may differ
    licensed: frozenset[int]  # the same for the source picture and all later ones
    leave_alone: bool  # was it right to change nothing?


def verdict(edit: Edit, rules: tuple[Rule, ...], before: Shown, after: Shown, earlier: Shown | None) -> Verdict:
    """Judges a turn; `earlier` is what an undo goes back to, None where there is nothing or no undo."""
    for rule in rules:
        if rule.family not in DEMANDS + FORBIDS:
            raise ValueError(f"scorer 'residual' knows no rule {rule.family!r}: add it to DEMANDS or FORBIDS")
    back = earlier if isinstance(edit, Undo) else None
    # What counts as following, of the whole edit and of each part.
    if back is not None:
        answer = restoring(back, before)
        parts: tuple[Part, ...] = (Part(None, answer),)
    else:
        edits = edit.parts if isinstance(edit, MultiEdit) else (edit,)
        free = {name: WORDS[name] for part in edits for name in demanded(rules, part)}
        answer, parts = answer_to(edit, before, free), tuple(Part(one, answer_to(one, before, free)) for one in edits)
    # Changing nothing is right where nothing is left to undo, or a rule forbids all that is right.
    alone = back == before
    if not alone and any(rule.family in FORBIDS for rule in rules):
        values = {name: value for part in parts for name, value in demanded(rules, part.edit).items()}
        ruled = {name: frozenset((value,)) for name, value in values.items()}
        alone = is_forbidden(answer_to(edit, before, ruled) if ruled else answer, parts, rules, before)
    kept, broken = _keeping(rules, parts, before, after, alone)
    if alone:
        return Verdict(after == before and after.readable(), kept, broken, _NOTHING, _NOTHING, leave_alone=True)
    # Going back licenses nothing: what it restores was licensed before, or was damage.
    licensed = _NOTHING if back else answer.may_change
    return Verdict(answer.met(after), kept, broken, answer.may_change, licensed, leave_alone=False)


def _keeping(
    rules: tuple[Rule, ...], parts: tuple[Part, ...], before: Shown, after: Shown, alone: bool
) -> tuple[bool | None, bool]:
    """Whether the rules that ask something were kept, None where none does; and whether any was broken.

    A prohibition that asks something of the turn is not seen to be kept in a picture with unread cells.
    Demands ask nothing of a turn that has to be left alone. Of two that speak of one attribute the later one
    asks.
    """
    faults = []
    for part in parts:
        asking: dict[Any, Any] = {}
        for place, rule in enumerate(rules):
            if demands(rule, part.edit):
                asking[rule.attribute] = rule  # type: ignore[attr-defined]
            elif asks(rule, part, before):
                asking[place] = rule
        for rule in asking.values():
            if rule.family in FORBIDS:
                faults.append(UNREAD in after.cells or breaks(rule, (part,), before, after))
            elif not alone:
                # Not to be found, not readable, or without the look.
                cell = part.answer.edited(after)
                faults.append(cell is None or look(after.cells[cell], rule.attribute) != rule.value)
    broken = any(faults) or any(breaks(rule, parts, before, after) for rule in rules)
    return (not any(faults) if faults else None), broken


# Right results: for each task, which contents of which cells carry an instruction out.


def restoring(earlier: Shown, before: Shown) -> Answer:
    """The right results of going back: what differs from the earlier picture is as it was, and readable."""
    pairs = enumerate(zip(before.cells, earlier.cells, strict=True))
    back = {cell: frozenset((then,)) - {UNREAD} for cell, (now, then) in pairs if now != then}
    if before.ground == earlier.ground:
        return Answer((back,), frozenset(back))
    ways = (back,) if earlier.ground != UNREAD else ()
    return Answer(ways, frozenset(back) | {GROUND}, ground=earlier.ground)


def answer_to(edit: Edit, before: Shown, ruled: Values) -> Answer:
    """The right results of an edit of a picture."""
    if type(edit) not in TASKS:
        raise ValueError(f"scorer 'residual' knows no task {type(edit).__name__}: add it to TASKS and answer_to")
    if isinstance(edit, MultiEdit):
        return reduce(_both, (answer_to(part, before, ruled) for part in edit.parts))
    if isinstance(edit, Undo):
        # What undoes the last edit, if that one was done right and no picture before is known.
        return answer_to(edit.instead, before, {})
    if isinstance(edit, BackgroundChange):
        ground = BACKGROUNDS.index(edit.background)
        return Answer(({},) if before.ground != ground else (), frozenset((GROUND,)), ground=ground)
    if isinstance(edit, CountChange):
        return _counting(edit, before)
    if isinstance(edit, SubjectAdd | PositionChange):
        return _placing(edit, before, ruled)
    # What remains changes one object in its place, or takes it away.
    cell = where(edit.target, before)  # type: ignore[attr-defined]
    if cell is None:
        return Answer()
    right, spots = _changed(edit, before.cells[cell], ruled), () if isinstance(edit, SubjectRemove) else (cell,)
    return Answer(({cell: right},), frozenset((cell,)), spots)


def _both(one: Answer, other: Answer) -> Answer:
    """Two edits at once: every pair of ways, with the codes that both allow."""
    ways = tuple(
        {**a, **b, **{cell: a[cell] & b[cell] for cell in a.keys() & b.keys()}} for a in one.ways for b in other.ways
    )
    return Answer(ways, one.may_change | other.may_change)


def _counting(edit: CountChange, before: Shown) -> Answer:
    counted = codes_of(edit.shape, _choice("color", edit.color), _choice("material", edit.material))
    there = [cell for cell, code in enumerate(before.cells) if code in counted]
    if len(there) == edit.count:
        return Answer()
    if len(there) > edit.count:
        way = {cell: frozenset((before.cells[cell], EMPTY)) for cell in there}
    else:
        way = {cell: counted | {EMPTY} for cell, code in enumerate(before.cells) if code == EMPTY}
    return Answer((way,), frozenset(way), number=(counted, edit.count))


def _placing(edit: SubjectAdd | PositionChange, before: Shown, ruled: Values) -> Answer:
    """An object that is new or moves: a way for each free cell, the others as empty as they were."""
    free = (edit.cell,) if edit.beside is None else free_beside(edit.beside, before)

    def ways(right: frozenset[int], left: Contents) -> tuple[Contents, ...]:
        return tuple({**{cell: right if cell == spot else _NONE_THERE for cell in free}, **left} for spot in free)

    if isinstance(edit, SubjectAdd):
        return Answer(ways(_new(edit, ruled), {}), frozenset(free), free)
    source = where(edit.target, before)
    if source is None or source in free:
        return Answer((), frozenset(free), free)
    right = _as_before(before.cells[source], ruled)
    return Answer(ways(right, {source: _NONE_THERE}), frozenset((*free, source)), free, source)


def _changed(edit: Any, old: int, ruled: Values) -> frozenset[int]:
    """What may stand in the place of an object."""
    match edit:
        case SubjectRemove():
            return _NONE_THERE
        case SubjectReplace():
            return _new(edit, ruled)
        case TextChange():
            return _as_before(old, ruled, edit.text) if look(old, "text") not in (None, edit.text) else _NOTHING
    name = "color" if isinstance(edit, ColorAlter) else "material"
    wanted = WORDS[name] - {look(old, name)} if edit.value is None else frozenset((edit.value,))
    return _as_before(old, {**ruled, name: wanted & ruled.get(name, wanted)})


def _new(edit: SubjectAdd | SubjectReplace, ruled: Values) -> frozenset[int]:
    """What fits the words for a new object, but for what rules demand."""
    colors = ruled.get("color") or _choice("color", edit.color)
    materials = ruled.get("material") or _choice("material", edit.material)
    return codes_of(edit.shape, colors, materials, edit.text)


def _as_before(code: int, ruled: Values, text: str | None = None) -> frozenset[int]:
    """The object as it was, but for what rules demand and perhaps a new text; nothing for the unread."""
    if code <= EMPTY:
        return _NOTHING
    values = [ruled[name] if name in ruled else frozenset((look(code, name) or "",)) for name in WORDS]
    return codes_of(look(code, "shape"), *values, text or look(code, "text"))


# Rules. Which fields one has depends on its family.


def demands(rule: Any, edit: Edit | None) -> bool:
    """Does a rule demand a look of the object that this edit adds or changes?"""
    if rule.family == "scoped":
        return isinstance(edit, SubjectAdd) and edit.shape == rule.shape
    kinds = (SubjectAdd, SubjectReplace, ColorAlter, MaterialAlter, TextChange, PositionChange)
    if rule.family != "attribute" or not isinstance(edit, kinds):
        return False
    # Signs have no material that a rule could ask for.
    shape = edit.shape if isinstance(edit, SubjectAdd | SubjectReplace) else edit.target.shape
    return rule.attribute != "material" or not (isinstance(edit, TextChange) or shape == SIGN)


def demanded(rules: tuple[Rule, ...], edit: Edit | None) -> dict[str, str]:
    """Values by attribute that rules demand; where two speak of one attribute, the later rule's."""
    asking: list[Any] = [rule for rule in rules if demands(rule, edit)]
    return {rule.attribute: rule.value for rule in asking}


def asks(rule: Any, part: Part, before: Shown) -> bool:
    """Does a forbidding rule ask something of this edit?"""
    edit, answer = part
    match rule.family:
        case "protect":
            return _is_guarded(rule, before) and rule.target.cell in answer.may_change
        case "avoid":
            gives, named = _names_look(rule, edit)
            return gives and named in (None, rule.value)
        case "keep_empty":
            region = part_of_grid(rule.where, before.side)
            return any(before.cells[cell] == EMPTY for cell in region & answer.may_change)
        case "limit":
            # Are objects asked for, and more of them than fit under the limit?
            wanted = int(isinstance(edit, SubjectAdd))
            if answer.number is not None:
                wanted = answer.number[1] - sum(code in answer.number[0] for code in before.cells)
            return wanted > 0 and _objects(before) + wanted > rule.most
        case "limit_alike":
            return _names_look(rule, edit)[0]
    return False


def breaks(rule: Any, parts: tuple[Part, ...], before: Shown, after: Shown) -> bool:
    """Is a forbidding rule broken by what changed from one picture to the next?"""
    match rule.family:
        case "protect":
            cell = rule.target.cell
            return _is_guarded(rule, before) and after.cells[cell] != before.cells[cell]
        case "avoid":
            return _avoided_appeared(rule, parts, before, after)
        case "keep_empty":
            region = part_of_grid(rule.where, before.side)
            return any(before.cells[cell] == EMPTY != after.cells[cell] for cell in region)
        case "limit":
            return _objects(after) > max(rule.most, _objects(before))
        case "limit_alike":
            return _alike(rule, after) > _alike(rule, before)
    return False


def _is_guarded(rule: Any, before: Shown) -> bool:
    """Is the protected object where it has to be? Something of another shape there is another object."""
    code = before.cells[rule.target.cell]
    return code != EMPTY and rule.target.shape in (None, look(code, "shape"))


def _names_look(rule: Any, edit: Edit | None) -> tuple[bool, str | None]:
    """Does an edit give an object a look of the rule's kind, and which one do its words name?"""
    if isinstance(edit, ColorAlter | MaterialAlter):
        return rule.attribute == ("color" if isinstance(edit, ColorAlter) else "material"), edit.value
    if isinstance(edit, SubjectAdd | SubjectReplace):
        named = {"color": edit.color, "material": edit.material}
        return True, named.get(rule.attribute, edit.shape)
    return False, None


def _avoided_appeared(rule: Any, parts: tuple[Part, ...], before: Shown, after: Shown) -> bool:
    """An object has the look and had it not: it is new, of another shape, or looked otherwise.

    An object that was asked to move takes its look along.
    """

    def has_it(code: int) -> bool:
        return look(code, rule.attribute) == rule.value

    moved = {
        answer.edited(after)
        for _, answer in parts
        if answer.moved_from is not None and has_it(before.cells[answer.moved_from])
    }
    pairs = enumerate(zip(before.cells, after.cells, strict=True))
    return any(
        has_it(new) and cell not in moved and not (has_it(old) and look(old, "shape") == look(new, "shape"))
        for cell, (old, new) in pairs
    )


def _objects(shown: Shown) -> int:
    """How many there are; what cannot be read counts as one."""
    return sum(code != EMPTY for code in shown.cells)


def _alike(rule: Any, shown: Shown) -> int:
    """How many objects look like an earlier one; the unread look like each other."""
    looks = Counter(look(code, rule.attribute) for code in shown.cells if code != EMPTY)
    return sum(count - 1 for count in looks.values())


# Is there a right result that no rule forbids?


def is_forbidden(answer: Answer, parts: tuple[Part, ...], rules: tuple[Rule, ...], before: Shown) -> bool:
    """True where right results exist and every one of them breaks a rule; `answer` has all demanded looks."""

    def allowed(result: Shown) -> bool:
        return not any(breaks(rule, parts, before, result) for rule in rules)

    if answer.number is not None:
        return _number_is_forbidden(answer, allowed, before)
    exists, ground = False, before.ground if answer.ground is None else answer.ground
    for way in answer.ways:
        for codes in product(*(sorted(right) for right in way.values())):
            if allowed(Shown(ground, before.having(dict(zip(way, codes, strict=True))).cells)):
                return False
            exists = True
    return exists


def _number_is_forbidden(answer: Answer, allowed: Callable[[Shown], bool], before: Shown) -> bool:
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
        step = next(filter(allowed, steps), None)
        if step is None:
            return True
        result = step
    return False


# Which cells, and which objects, words refer to.


def where(target: Target, shown: Shown) -> int | None:
    """The cell of the object that is meant: its own, or the one other cell whose object looks as described.

    "The object in row 2 column 3" stays in its cell, and may be one that nobody can read.
    """
    said = {name: value for name in NAMES if (value := getattr(target, name)) is not None}

    def described(code: int) -> bool:
        return code > EMPTY and all(look(code, name) == value for name, value in said.items())

    own = shown.cells[target.cell]
    if described(own):
        return target.cell
    if target.placed:
        return target.cell if not said and own == UNREAD else None
    fitting = [cell for cell, code in enumerate(shown.cells) if described(code)]
    return fitting[0] if len(fitting) == 1 else None


_STEPS = {"left": ((0, -1),), "right": ((0, 1),), "above": ((-1, 0),), "below": ((1, 0),)}
_AROUND = ((-1, 0), (0, -1), (0, 1), (1, 0))


def free_beside(beside: Beside, shown: Shown) -> tuple[int, ...]:
    """The empty cells in a relation to another object: all along a row or column, or those next to it."""
    anchor = where(beside.anchor, shown)
    if anchor is None:
        return ()
    found = []
    for down, right in _STEPS.get(beside.relation, _AROUND):
        row, column = anchor // shown.side + down, anchor % shown.side + right
        while 0 <= row < shown.side and 0 <= column < shown.side:
            found.append(row * shown.side + column)
            row, column = row + down, column + right
            if beside.relation not in _STEPS:
                break
    return tuple(cell for cell in found if shown.cells[cell] == EMPTY)


def part_of_grid(name: str, side: int) -> frozenset[int]:
    """The cells of a named part of the grid."""
    last = side - 1
    parts: dict[str, Callable[[int, int], bool]] = {
        "corners": lambda row, column: row in (0, last) and column in (0, last),
        "top row": lambda row, column: row == 0,
        "bottom row": lambda row, column: row == last,
        "left column": lambda row, column: column == 0,
        "right column": lambda row, column: column == last,
    }
    if name not in parts:
        raise ValueError(f"part of the grid is {name!r}, expected one of {', '.join(parts)}")
    return frozenset(cell for cell in range(side * side) if parts[name](cell // side, cell % side))


def look(code: int, name: str) -> str | None:
    """One attribute of an object by its code; None for what is empty or unread, and for a missing text."""
    return LOOKS[code - 1][NAMES.index(name)] if code > 0 else None


@lru_cache(maxsize=4096)
def codes_of(
    shape: str | None, colors: frozenset[str], materials: frozenset[str], text: str | None = None
) -> frozenset[int]:
    """Codes of the objects of a shape and text (any where None) with one of some colours and materials."""
    return frozenset(
        code
        for code, (its_shape, color, material, its_text) in enumerate(LOOKS, start=1)
        if shape in (None, its_shape) and color in colors and material in materials and text in (None, its_text)
    )


def _choice(name: str, value: str | None) -> frozenset[str]:
    """The values that an instruction's word for a colour or material allows: all where none is said."""
    return WORDS[name] if value is None else frozenset((value,))
