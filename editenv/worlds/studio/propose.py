"""What a user could sensibly ask for next, one function a task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from editenv.worlds.studio.constraints import AttributeRule, right_result
from editenv.worlds.studio.draws import Draws
from editenv.worlds.studio.edits import (
    BackgroundChange,
    ColorAlter,
    Edit,
    MaterialAlter,
    PositionChange,
    SubjectAdd,
    SubjectRemove,
    SubjectReplace,
    Target,
)
from editenv.worlds.studio.scene import BACKGROUNDS, COLORS, MATERIALS, SHAPES, Scene, Thing

_MOST_OBJECTS = 7
_FULLER = 0.3
_PLACED = 0.15


@dataclass(frozen=True, slots=True)
class Proposal:
    """One possible instruction.

    Attributes:
        edit: what is meant.
        act: the speech act whose sentences say it.
        reference: how it points back, None where it names its object itself.
    """

    edit: Edit
    act: str
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """Where a session stands if every edit so far was right, and what the text alone tells about it.

    Attributes:
        scene: what the picture should show.
        grid: cells a side.
        rules: rules in force.
        last: the previous turn's edit.
        focus: the object last edited, as far as the text tells its looks; None where there is none.
        stated: cells named in the text, where objects were put.
        vacated: a cell named in the text that the previous turn emptied.
    """

    scene: Scene
    grid: int
    rules: tuple[AttributeRule, ...] = ()
    last: Edit | None = None
    focus: Target | None = None
    stated: frozenset[int] = frozenset()
    vacated: int | None = None

    def with_rule(self, rule: AttributeRule) -> Situation:
        """The situation once a rule has been stated."""
        return replace(self, rules=(*self.rules, rule))

    def after(self, edit: Edit) -> Situation:
        """The situation once an edit has been carried out."""
        scene = right_result(edit, self.rules, self.scene)
        cell = edit.edited_cell(self.scene)
        looks = {name: value for rule in self.rules for name, value in rule.looks().items()}
        focus, vacated, stated = None, None, self.stated
        if isinstance(edit, SubjectAdd | SubjectReplace) and cell is not None:
            said = edit.asked() | looks
            focus = Target(cell, edit.shape, said["color"], said["material"])
        elif isinstance(edit, ColorAlter | MaterialAlter | PositionChange) and cell is not None:
            said = {name: value for name, value in edit.asked().items() if value}
            focus = replace(edit.target, cell=cell, placed=False, **said | looks)
        elif isinstance(edit, SubjectRemove):
            gone = edit.target.cell
            vacated = gone if edit.target.placed or gone in stated else None
        if isinstance(edit, SubjectAdd | PositionChange):
            stated = stated | {edit.cell}
        return replace(self, scene=scene, last=edit, focus=focus, stated=stated, vacated=vacated)

    def can_refer(self) -> bool:
        """Is there something that the next turn could point back to without looking at the picture?"""
        return self.vacated is not None or (self.focus is not None and self.unique(self.focus))

    def unique(self, target: Target) -> bool:
        """Do the words fit exactly one object of the scene?"""
        return [target.fits(thing) for thing in self.scene.cells if thing is not None].count(True) == 1

    def ruled(self, attribute: str) -> str | None:
        """The value a rule in force asks for."""
        return next((rule.value for rule in reversed(self.rules) if rule.attribute == attribute), None)


def _object(situation: Situation, draws: Draws, refer: bool) -> tuple[Target, str | None] | None:
    """An object to speak of and how: pointing back, by the fewest words that fit it alone, or by more."""
    focus = situation.focus
    if refer and focus is not None and situation.unique(focus):
        added = isinstance(situation.last, SubjectAdd) and draws.chance(0.5)
        return focus, "just_added" if added else "it"
    cells = situation.scene.occupied()
    if not cells:
        return None
    cell = draws.pick(cells)
    thing = situation.scene.cells[cell]
    assert thing is not None
    if draws.chance(_PLACED):
        return Target(cell, thing.shape, placed=True), None
    options = [
        Target(cell, thing.shape),
        Target(cell, thing.shape, color=thing.color),
        Target(cell, thing.shape, material=thing.material),
        Target(cell, thing.shape, color=thing.color, material=thing.material),
    ]
    clear = [option for option in options if situation.unique(option)]
    if not clear:
        return None
    return (draws.pick(clear) if draws.chance(_FULLER) else clear[0]), None


def _looks(situation: Situation, draws: Draws) -> dict[str, str | None]:
    """Looks of a new object; what a rule fixes is left unsaid."""
    return {
        "color": None if situation.ruled("color") else draws.pick(COLORS),
        "material": None if situation.ruled("material") else draws.pick(MATERIALS),
    }


def _add(situation: Situation, draws: Draws, refer: bool) -> Proposal | None:
    empty = situation.scene.empty()
    if not empty or len(situation.scene.occupied()) >= _MOST_OBJECTS:
        return None
    there = refer and situation.vacated is not None
    cell = situation.vacated if there and situation.vacated is not None else draws.pick(empty)
    edit = SubjectAdd(cell, draws.pick(SHAPES), **_looks(situation, draws))
    return Proposal(edit, "subject_add_there", "there") if there else Proposal(edit, "subject_add")


def _remove(situation: Situation, draws: Draws, refer: bool) -> Proposal | None:
    found = _object(situation, draws, refer)
    if found is None or len(situation.scene.occupied()) < 2:
        return None
    return Proposal(SubjectRemove(found[0]), "subject_remove", found[1])


def _replace(situation: Situation, draws: Draws, refer: bool) -> Proposal | None:
    found = _object(situation, draws, refer)
    if found is None:
        return None
    old = situation.scene.cells[found[0].cell]
    shape = draws.pick(SHAPES)
    if isinstance(old, Thing) and old.shape == shape:
        return None
    return Proposal(SubjectReplace(found[0], shape, **_looks(situation, draws)), "subject_replace", found[1])


def _alter(
    situation: Situation, draws: Draws, refer: bool, kind: type[ColorAlter | MaterialAlter]
) -> Proposal | None:
    if refer and type(situation.last) is kind and draws.chance(0.5):
        return _same(situation, draws)
    found = _object(situation, draws, refer)
    thing = None if found is None else situation.scene.cells[found[0].cell]
    if found is None or thing is None:
        return None
    ruled, now = situation.ruled(kind.attribute), thing.attributes()[kind.attribute]
    value = ruled or draws.pick(kind.values)
    if value == now:
        return None
    edit = kind(found[0], None if ruled else value)
    return Proposal(edit, "alter_open" if ruled else kind.task, found[1])


def _same(situation: Situation, draws: Draws) -> Proposal | None:
    """What was done to one object, to another one; never what a rule stated since forbids."""
    last, found = situation.last, _object(situation, draws, refer=False)
    if found is None or not isinstance(last, ColorAlter | MaterialAlter):
        return None
    thing = situation.scene.cells[found[0].cell]
    ruled = situation.ruled(last.attribute)
    value = last.value or ruled
    if ruled not in (None, value):
        return None
    if thing is None or found[0].cell == last.target.cell or thing.attributes()[last.attribute] == value:
        return None
    return Proposal(replace(last, target=found[0]), "same", "same")


def _color(situation: Situation, draws: Draws, refer: bool) -> Proposal | None:
    return _alter(situation, draws, refer, ColorAlter)


def _material(situation: Situation, draws: Draws, refer: bool) -> Proposal | None:
    return _alter(situation, draws, refer, MaterialAlter)


def _move(situation: Situation, draws: Draws, refer: bool) -> Proposal | None:
    found = _object(situation, draws, refer)
    empty = situation.scene.empty()
    if found is None or not empty:
        return None
    return Proposal(PositionChange(found[0], draws.pick(empty)), "position_change", found[1])


def _background(situation: Situation, draws: Draws, refer: bool) -> Proposal | None:
    others = [name for name in BACKGROUNDS if name != situation.scene.background]
    return Proposal(BackgroundChange(draws.pick(others)), "background_change")


PROPOSALS: dict[str, Callable[[Situation, Draws, bool], Proposal | None]] = {
    "subject_add": _add,
    "subject_remove": _remove,
    "subject_replace": _replace,
    "color_alter": _color,
    "material_alter": _material,
    "position_change": _move,
    "background_change": _background,
}
