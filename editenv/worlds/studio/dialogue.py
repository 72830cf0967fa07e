"""Where a session stands: the scene, the rules in force, and how a user can speak of what is there.

To add a way of pointing at objects, write a function that lists what it can point at, name it in REFERENCES and give
it words in phrases_rules.yaml.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from editenv.worlds.studio.edit import Added, Edit, MultiEdit
from editenv.worlds.studio.noun_phrases import (
    DIRECTIONS,
    EXTREMES,
    ORDINALS,
    RELATIONS,
    Beside,
    Target,
    around,
    described,
    read_cell,
    region,
)
from editenv.worlds.studio.phrases import all_phrasings, tokens
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.rule import Except, Rule, Statement, demanded_looks, is_impossible, open_looks, right_result
from editenv.worlds.studio.scene import COLORS, MATERIALS, SIGN, Scene, SceneObject

MOST_OBJECTS = 7  # objects in a scene up to which users ask for more

# Chances, tuned so that every way of speaking turns up in a few hundred sessions.
_FULLER, _PLACED, _OTHERWISE = 0.3, 0.15, 0.5


@dataclass(frozen=True, slots=True)
class Request:
    """One possible instruction."""

    edit: Edit  # what is meant
    reference: str | None = None  # how it points back, a key of REFERENCES; None where it names its object itself
    act: str | None = None  # the speech act whose sentences say it, None for the edit's own


@dataclass(frozen=True, slots=True)
class DialogueState:
    """Where a session stands if every edit so far was right, and what the text alone tells about it."""

    scene: Scene  # what the picture should show
    grid: int  # cells a side
    rules: tuple[Rule, ...] = ()  # rules in force, in the order they were stated
    last: Edit | None = None  # the previous turn's edit
    focus: Target | None = None  # the object last edited, as far as the text tells its looks; None where there is none
    stated: frozenset[int] = frozenset()  # cells named in the text, where objects were put
    vacated: int | None = None  # a cell named in the text that the previous turn emptied
    # cells whose content some right result left to the agent; no later turn may rely on them
    loose: frozenset[int] = frozenset()
    vague: tuple[Target, ...] = ()  # descriptions of objects of which the same is true
    excepted: tuple[Rule, ...] = ()  # rules in force that do not bind the coming turn
    previous: Scene | None = None  # the scene before the last edit; None where there is nothing to undo
    added: Added = ()  # shape and cell of every object that was added, in order; the cell is None where it is gone
    group: tuple[Target, ...] = ()  # what the last turns put or changed that "them" would mean; two or more, or none
    pointing: tuple[str, ...] = ()  # further ways to point at objects (keys of REFERENCES) that may be used

    @property
    def bound(self) -> tuple[Rule, ...]:
        """The rules that bind the coming turn."""
        return tuple(r for r in self.rules if r not in self.excepted) if self.excepted else self.rules

    def stating(self, *statements: Statement) -> DialogueState:
        """The state once something has been said about rules."""
        if not statements:
            return self
        rules = self.rules
        for statement in statements:
            rules = statement.in_force(rules)
        excepted = tuple(statement.rule for statement in statements if isinstance(statement, Except))
        return replace(self, rules=rules, excepted=(*self.excepted, *excepted))

    def after(self, edit: Edit) -> DialogueState:
        """The state once an edit has been carried out, or left alone where it is impossible."""
        if self.impossible(edit):
            return replace(self, last=None, focus=None, vacated=None, excepted=(), previous=None, group=())
        rules, before, stated, parts = self.bound, self.scene, self.stated, edit.single_edits()
        focus, filled, added = self._focus_after(edit), edit.filled_cell(), self.added
        for part in parts:
            added = part.added_after(before, added)
        vague = (*self.vague, *edit.vague())
        if focus is not None and open_looks(edit, rules):
            vague = (*vague, focus)
        group: tuple[Target, ...] = ()  # objects named together, or added one after the other
        if len(parts) > 1:
            group = tuple(target for part in parts if (target := self._focus_after(part)) is not None)
        elif edit.adds and self.last is not None and self.last.adds and self.focus is not None and focus is not None:
            group = (self.focus, focus)
        return DialogueState(
            right_result(edit, rules, before, () if self.previous is None else (self.previous,)),
            self.grid,
            self.rules,
            last=edit,
            focus=focus,
            stated=stated if filled is None else stated | {filled},
            vacated=edit.emptied_cell(stated),
            loose=self.loose | edit.left_open(before),
            vague=vague,
            previous=before,
            added=added,
            group=group,
            pointing=self.pointing,
        )

    def _focus_after(self, edit: Edit) -> Target | None:
        """The edited object where it stands now, as far as the text tells its looks."""
        cell = edit.edited_cell(self.scene)
        return None if cell is None else edit.focus(cell, demanded_looks(edit, self.bound))

    def impossible(self, edit: Edit) -> bool:
        """Does a rule forbid every right result of the edit?"""
        return is_impossible(edit, self.bound, self.scene)

    def is_clear(self, edit: Edit) -> bool:
        """Can the edit be done, and is it plain which rules cover it, whatever the agent chose so far?"""
        return not (self.impossible(edit) or any(rule.is_unclear(edit, self) for rule in self.bound))

    def violates_rule(self, edit: Edit) -> bool:
        """Is the edit a simple one that is impossible under the rules in force, beyond doubt?"""
        return edit.simple and not edit.left_open(self.scene) and self.impossible(edit)

    def contradicts_rule(self, edit: Edit, rule: Rule) -> bool:
        """Would the edit, a simple one, need an exception to one rule in force?"""
        return edit.simple and not edit.left_open(self.scene) and rule.contradicts(edit, self)

    def can_refer(self) -> bool:
        """Is there something that the next turn could point back to without looking at the picture?"""
        return self.vacated is not None or (self.focus is not None and self.unique(self.focus))

    def unique(self, target: Target) -> bool:
        """Do the words fit exactly one object of the scene, however the agent chose so far?"""
        if any(target.overlaps(kind) for kind in self.vague):
            return False
        return [target.fits(obj) for obj in self.scene.cells if obj is not None].count(True) == 1

    def unsure(self) -> bool:
        """May the picture differ from the scene, because something was left to the agent?"""
        return bool(self.loose or self.vague)

    def room(self) -> list[int]:
        """Cells that are empty, however the agent chose so far."""
        return [cell for cell in self.scene.empty() if cell not in self.loose]

    def demanded(self, attribute: str, added: str | None = None) -> str | None:
        """The value that a rule asks for of everything, or of added objects of a shape."""
        values = (rule.demands(attribute, added) for rule in reversed(self.bound))
        return next((value for value in values if value is not None), None)


# Objects in words: what they look like, where they stand, what they are beside.


def descriptions(cell: int, obj: SceneObject) -> list[Target]:
    """An object by its looks, the shortest words first; a sign's text stands for its material."""
    more: dict[str, Any] = {"material": obj.material} if obj.text is None else {"text": obj.text}
    color: dict[str, Any] = {"color": obj.color}
    return [Target(cell, obj.shape, **looks) for looks in ({}, color, more, color | more)]


def plain_target(state: DialogueState, cell: int) -> Target | None:
    """The object of a cell in the fewest words that fit it alone, with its place where no looks do."""
    obj = state.scene.cells[cell]
    if obj is None or cell in state.loose:
        return None
    clear = (option for option in descriptions(cell, obj) if state.unique(option))
    return next(clear, Target(cell, obj.shape, placed=True))


def describe(state: DialogueState, rng: Rng, cell: int) -> Target | None:
    """The object of a cell in words that fit it alone, None where there are none."""
    obj = state.scene.cells[cell]
    if obj is None or _lacks_material(state, obj.shape):
        return None
    if rng.chance(_PLACED):
        return None if cell in state.loose else Target(cell, obj.shape, placed=True)
    plain, color, *more = descriptions(cell, obj)
    options = (plain, color, *more) if obj.text is None else (plain, more[0], color)
    clear = [option for option in options if state.unique(option)]
    if not clear:
        return None
    return rng.pick(clear) if rng.chance(_FULLER) else clear[0]


def sample_object(state: DialogueState, rng: Rng, refer: bool) -> tuple[Target, str | None] | None:
    """An object to speak of and how: pointing back, by the fewest words that fit it alone, or by more."""
    focus = state.focus
    if refer and focus is not None and state.unique(focus) and not _lacks_material(state, focus.shape):
        if state.pointing and rng.chance(_OTHERWISE):
            pointed = _sample_pointed(state, rng)
            if pointed is not None:
                return pointed
        added = state.last is not None and state.last.adds and rng.chance(0.5)
        return focus, "just_added" if added else "it"
    if refer and state.pointing:
        return _sample_pointed(state, rng)
    cells = state.scene.occupied()
    target = describe(state, rng, rng.pick(cells)) if cells else None
    return None if target is None else (target, None)


def _sample_pointed(state: DialogueState, rng: Rng) -> tuple[Target, str] | None:
    """An object that can be pointed at in one of the suite's further ways."""
    ways = list(state.pointing)
    while ways:
        way = ways.pop(rng.below(len(ways)))
        cells = [cell for cell, _ in REFERENCES[way](state)]
        target = plain_target(state, rng.pick(cells)) if cells else None
        if target is not None and not _lacks_material(state, target.shape):
            return target, way
    return None


def _lacks_material(state: DialogueState, shape: str | None) -> bool:
    """Is it a sign, which is always plain, while a rule asks for a material?"""
    return shape == SIGN and state.demanded("material") is not None


def sample_looks(state: DialogueState, rng: Rng, added: str | None = None) -> dict[str, Any]:
    """Looks of a new object; what a rule fixes is left unsaid."""
    return {
        "color": None if state.demanded("color", added) else rng.pick(COLORS),
        "material": None if state.demanded("material", added) else rng.pick(MATERIALS),
    }


def sample_beside(state: DialogueState, rng: Rng, mover: Target | None = None) -> Beside | None:
    """A place with room, whatever the agent chose so far, beside an object whose cell is sure.

    An object that is in the scene already and is to go there (`mover`) is not there yet.
    """
    found = sample_object(state, rng, refer=False)
    relation = rng.pick(tuple(RELATIONS))
    if found is None or found[0].cell in state.loose:
        return None
    anchor = found[0]
    near = around(relation, anchor.cell, state.grid)
    if mover and (mover.cell == anchor.cell or mover.cell in near or mover.cell in state.loose):
        return None
    return Beside(relation, anchor) if set(near) & set(state.room()) else None


# Ways of pointing. Each yields cells, with the slots of the words that point at the cell's object alone.

Pointed = Iterator[tuple[int, dict[str, str]]]


def pointing_slots(reference: str, state: DialogueState, cell: int) -> dict[str, str]:
    """The slots of a reference's words for the object of a cell; ValueError where it cannot point at that."""
    for place, slots in REFERENCES[reference](state):
        if place == cell:
            return slots
    raise ValueError(f"{reference} cannot point at cell {cell}, expected an object that it alone can mean")


def _nowhere(state: DialogueState) -> Pointed:
    yield from ()


def _focus(state: DialogueState) -> Pointed:
    if state.focus is not None and state.unique(state.focus):
        yield state.focus.cell, {}


def _added(state: DialogueState) -> Pointed:
    """The only object of its shape that was ever added."""
    for shape, cell in state.added:
        if cell is not None and [kind for kind, _ in state.added].count(shape) == 1:
            yield cell, {"shape": shape}


def _nth_added(state: DialogueState) -> Pointed:
    """One of several of a shape, all still there, by the order in which they came."""
    for shape in dict.fromkeys(shape for shape, _ in state.added):
        cells = [cell for kind, cell in state.added if kind == shape]
        if len(cells) > 1 and None not in cells:
            for nth, cell in zip(ORDINALS, cells, strict=False):
                yield cell, {"nth": nth, "shape": shape}  # type: ignore[misc]


def _nth_in_row(state: DialogueState) -> Pointed:
    """One of several objects of the top or bottom row, counted from a side."""
    for line in ("top row", "bottom row"):
        row = sorted(cell for cell in region(line, state.grid) if state.scene.cells[cell])
        if len(row) < 2 or state.unsure():
            continue
        for side, cells in (("left", row), ("right", row[::-1])):
            for nth, cell in zip(ORDINALS, cells, strict=False):
                yield cell, {"nth": nth, "side": side, "line": f"the {line}"}


def _beside(state: DialogueState) -> Pointed:
    """The only object in a direction from another one that its looks tell."""
    for anchor in () if state.unsure() else state.scene.occupied():
        target = plain_target(state, anchor)
        if target is None or target.placed:
            continue
        for relation in DIRECTIONS:
            near = [cell for cell in around(relation, anchor, state.grid) if state.scene.cells[cell]]
            if len(near) == 1:
                yield near[0], {"relation": Beside(relation, target).words(state.grid)}


def _extreme(state: DialogueState) -> Pointed:
    """Of several objects of a shape, the one that lies farthest out."""
    by_shape: dict[str, list[int]] = {}
    for cell in () if state.unsure() else state.scene.occupied():
        by_shape.setdefault(state.scene.cells[cell].shape, []).append(cell)  # type: ignore[union-attr]
    for shape, cells in by_shape.items():
        for number, extreme in enumerate(EXTREMES):  # along columns, then along rows, each from either end
            distance = {
                cell: (-1) ** number * (cell // state.grid if number > 1 else cell % state.grid) for cell in cells
            }
            first, *others = sorted(cells, key=distance.__getitem__)
            if others and distance[first] < distance[others[0]]:
                yield first, {"extreme": extreme, "shape": shape}


def _corner(state: DialogueState) -> Pointed:
    """The only object in a corner."""
    cells = [cell for cell in sorted(region("corners", state.grid)) if state.scene.cells[cell]]
    if len(cells) == 1 and not state.unsure():
        yield cells[0], {}


REFERENCES: dict[str, Callable[[DialogueState], Pointed]] = {
    **dict.fromkeys(("it", "its", "just_added"), _focus),
    **dict.fromkeys(("there", "same", "them"), _nowhere),  # with rules of their own
    "added": _added,
    "nth_added": _nth_added,
    "nth_in_row": _nth_in_row,
    "beside": _beside,
    "extreme": _extreme,
    "corner": _corner,
}
"""Every value that StudioTurn.reference can have, None aside; from "nth_in_row" on, they need the picture."""
POINTING = tuple(name for name, points in REFERENCES.items() if points not in (_nowhere, _focus))
"""References that a suite may name under reference.kinds."""
NAMING = tuple(sorted(REFERENCES.keys() - {"its", "same", "there"}))
"""References with words of their own, which stand in the slot of an object."""


# The way back, from words to what they mean.


@dataclass(frozen=True, slots=True)
class Context:
    """Where words are read; where `literal`, objects are named by looks and place alone, as in intents."""

    state: DialogueState
    literal: bool = False

    def objects(self, words: str) -> list[Target]:
        """All single objects that the words may mean: one where they are clear, none where nothing fits."""
        state, target, fitting = self.state, described(words, self.state.grid), list[Target]()
        if target is not None:
            cells = (target.cell,) if target.placed else range(len(state.scene.cells))
            fitting = [replace(target, cell=cell) for cell in cells if target.fits(state.scene.cells[cell])]
        if fitting or self.literal:
            return fitting
        ways = ("it", "just_added") if state.last is not None and state.last.adds else ("it",)
        if state.focus is not None and any(words in _said(way, {}) for way in ways):
            return [state.focus]
        pointed = {
            cell: None for way in NAMING for cell, slots in REFERENCES[way](state) if words in _said(way, slots)
        }
        return [named for cell in pointed if (named := plain_target(state, cell)) is not None]

    def of_each(self, edit: Callable[[Target], Edit], words: str) -> list[Edit]:
        """The edit of all single objects that the words may mean, or of "them", or of "the star and the circle"."""
        groups: list[tuple[Target, ...]] = [(target,) for target in self.objects(words)]
        if not groups and not self.literal:
            parts = words.split(" and ")
            if words in _said("them", {}):
                groups = [self.state.group] if self.state.group else []
            elif len(parts) > 1:
                groups = list(product(*(self.objects(part) for part in parts)))
        found = [tuple(edit(target) for target in group) for group in groups]
        return [parts[0] if len(parts) == 1 else MultiEdit(parts) for parts in found]

    def places(self, slots: Mapping[str, str]) -> list[tuple[int, Beside | None]]:
        """Cells that {place} or {relation} may mean; with neither, the cell that was emptied last."""
        for name, said in RELATIONS.items() if "relation" in slots else ():
            if slots["relation"].startswith(f"{said} "):
                anchors = self.objects(slots["relation"].removeprefix(f"{said} "))
                found = [Beside(name, anchor) for anchor in anchors]
                return [(next(iter(beside.cells(self.state.scene)), 0), beside) for beside in found]
        cell = read_cell(slots["place"], self.state.grid) if "place" in slots else self.state.vacated
        return [] if cell is None else [(cell, None)]

    def rules_named(self, name: str) -> list[Rule]:
        """The rules in force that have such a name: "the red rule"."""
        return [rule for rule in self.state.rules if rule.slots(self.state.grid)["rule"] == name]


def _said(act: str, slots: Mapping[str, str]) -> set[str]:
    """All that can be said for an act whose slots are filled, without quotation marks."""
    patterns = (*all_phrasings(act, "train"), *all_phrasings(act, "test"))
    return {" ".join(tokens(pattern.format(**slots).replace('"', " "))) for pattern in patterns}
