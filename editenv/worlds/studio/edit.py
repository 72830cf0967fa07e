"""What every editing task offers: one class holds what is right, how it is said, read, sampled and operated.

A task is a frozen dataclass of JSON values (and `Target`s) that derives from `Edit`, in a file of its own. `apply`,
`accepts`, `touched`, `edited_cell` and `slots` have to be written; the other members have defaults that fit a task
which names one object and leaves nothing open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from functools import lru_cache
from types import UnionType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

from editenv.worlds.studio.noun_phrases import Target
from editenv.worlds.studio.scene import (
    ATTRIBUTES,
    BACKGROUNDS,
    COLORS,
    MATERIALS,
    SHAPES,
    SIGN,
    TEXTS,
    UNREADABLE,
    Scene,
    SceneObject,
    object_with,
)

if TYPE_CHECKING:
    from editenv.worlds.studio.dialogue import Context, DialogueState, Request
    from editenv.worlds.studio.rng import Rng

T = TypeVar("T")
Looks = dict[str, str | None]  # colour and material that an edited object shall get; None where nothing is asked
Added = tuple[tuple[str, int | None], ...]
"""Shape and cell of every object that was added, in order; the cell is None where it is gone."""
_WORDS = ATTRIBUTES | {
    "shape": (*SHAPES, SIGN),
    "text": TEXTS,
    "background": BACKGROUNDS,
    "attribute": tuple(ATTRIBUTES),
    "value": (*SHAPES, *COLORS, *MATERIALS),
}
"""What the fields of edits and rules may say, by name."""
BACKGROUND = -1  # stands for the background where elements of a picture are named by cell numbers
Sampler = Callable[["DialogueState", "Rng", bool], "Request | None"]
"""(state, rng, whether to point back) -> something to ask for; None where the task cannot be asked for."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One editing operation of `MICEEditTools-v0`; a task reads the parts it needs and ignores the others."""

    task: str  # "leave", or a task that has an operation
    cell: int  # where the object stands, or shall stand; where counting begins
    second: int  # the cell that an object moves to, or that of a second object
    both: bool  # whether removing, replacing and altering includes the object in `second`
    looks: Mapping[str, str]  # attributes by name; what is not named stays as it is; a new object needs all
    background: str  # a word of BACKGROUNDS
    count: int  # how many objects of these looks there shall be

    @property
    def cells(self) -> tuple[int, ...]:
        """The cells whose objects are edited."""
        return (self.cell, self.second) if self.both else (self.cell,)

    @property
    def kept_shape(self) -> dict[str, str]:
        """Looks that an object can take on without becoming another one."""
        return {name: value for name, value in self.looks.items() if name != "shape"}


class Edit:
    """One editing task with its arguments."""

    __slots__ = ()

    task: ClassVar[str]
    covered_by_rules: ClassVar[bool] = True
    """Do rules about edited objects cover this task? Not removals and backgrounds (MICE-Bench)."""
    simple: ClassVar[bool] = True
    """Is it one edit of one object that its words alone tell? Else it is never asked for against a rule."""
    adds: ClassVar[bool] = False  # does it add one object, of its `shape`?
    licenses: ClassVar[bool] = True
    """May what it touches differ from the source picture from now on? Not what an undo brings back."""
    acts: ClassVar[tuple[str, ...]] = ()  # speech acts beside `task` whose sentences ask for it
    sentences: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """By speech act, as an entry of phrases.yaml; for tasks of other packages."""

    # What is right.

    def apply(self, scene: Scene) -> Scene:
        """One right result where no rule is in force and the object meant is there; else ValueError."""
        raise NotImplementedError

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        """Is this edit, and its object, as asked? What else changed is judged by consistency.

        Attributes that a rule in force speaks of are `free`: they may differ from what was there.
        """
        raise NotImplementedError

    def touched(self, before: Scene) -> frozenset[int]:
        """Elements (cells, BACKGROUND) that this edit may change."""
        raise NotImplementedError

    def edited_cell(self, before: Scene, after: Scene | None = None) -> int | None:
        """Where the edited object stands afterwards (without `after`: where `apply` leaves it), if it can be told."""
        return None

    # What is said.

    @property
    def act(self) -> str:
        """The speech act whose sentences say it."""
        return self.task

    def asked(self) -> Looks:
        """The looks that the instruction itself asks for."""
        return {"color": getattr(self, "color", None), "material": getattr(self, "material", None)}

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        """Words for the slots of this task's sentences, given the looks (the instruction's or a rule's)."""
        return {}

    @classmethod
    def read(cls, slots: Mapping[str, str], context: Context) -> list[Edit]:
        """The edits that the words in a sentence's slots may mean: the way back from `slots`."""
        return []

    # What is left to the agent.

    def single_edits(self) -> tuple[Edit, ...]:
        """The edits of which it consists."""
        return (self,)

    def gives(self) -> Looks:
        """Attributes that it gives an object, None where any value will do."""
        return {}

    def open_looks(self) -> tuple[str, ...]:
        """Attributes that it gives an object and that the instruction leaves open."""
        return tuple(name for name, value in self.gives().items() if value is None)

    def choices(self, attribute: str, before: Scene) -> Sequence[str]:
        """Values that an open attribute may get."""
        return ATTRIBUTES[attribute]

    def choosing(self, looks: Mapping[str, Any]) -> Edit:
        """The edit with open looks said."""
        return replace(self, **looks)  # type: ignore[type-var]

    def placements(self, before: Scene) -> Iterator[Edit]:
        """The edit in each of its right cells, as itself where it names one or none is free."""
        yield self

    def left_open(self, before: Scene) -> frozenset[int]:
        """Cells whose content the instruction leaves to the agent."""
        return frozenset()

    def located(self, before: Scene) -> Edit | None:
        """The edit of the object where it really stands, None where that cannot be told."""
        target: Target | None = getattr(self, "target", None)
        cell = target and target.find(before)
        if target is None or cell == target.cell:
            return self
        return None if cell is None else replace(self, target=replace(target, cell=cell))  # type: ignore[type-var]

    def other_results(self, before: Scene, breaks: Callable[[Scene], bool]) -> Iterator[Scene]:
        """Right results that break no rule and that no choice of looks and place says."""
        yield from ()

    def resolved(self, past: Sequence[Scene]) -> Edit:
        """The edit once the scenes shown before the one to be edited, in order, are known; undo depends on them."""
        return self

    # What later turns can speak of.

    def focus(self, cell: int, looks: Mapping[str, str]) -> Target | None:
        """The edited object, which now stands in `cell`, as far as the text and a rule's looks tell it."""
        target: Target | None = getattr(self, "target", None)
        said = {name: value for name, value in self.asked().items() if value}
        return target and replace(target, cell=cell, placed=False, **{**said, **looks})

    def added_after(self, before: Scene, added: Added) -> Added:
        """The objects added so far, once this edit has been carried out."""
        return added

    def objects_added(self, before: Scene) -> int:
        """How many objects there are more afterwards, as far as the words tell."""
        return int(self.adds)

    def filled_cell(self) -> int | None:
        """A cell named in the text where an object is put."""
        return None

    def emptied_cell(self, stated: frozenset[int]) -> int | None:
        """A cell that is emptied and whose place the text names, now or when it was filled (`stated`)."""
        return None

    def vague(self) -> tuple[Target, ...]:
        """Descriptions of objects of which the words do not tell the cells."""
        return ()

    # How it is sampled and operated.

    @classmethod
    def sample(cls, state: DialogueState, rng: Rng, refer: bool) -> Request | None:
        """Something to ask for, None where the task makes no sense here."""
        return None

    @classmethod
    def samplers(cls) -> dict[str, Sampler]:
        """Samplers by the key that suites name them with; the task's own comes first."""
        return {cls.task: cls.sample}

    needs_attribute: ClassVar[str | None] = None
    """Attribute that an object must have for the operation, "shape" for any; None where none is needed."""
    needs_room: ClassVar[bool] = False  # does the operation need an empty cell?
    operation_words: ClassVar[str] = "{task} in {cells}: {looks}"
    """What an operation does, for records: "color_alter in row 1 column 2: red"."""

    @classmethod
    def has_operation(cls) -> bool:
        """Does the task define `operate`, or name the look that the one of `EditOfTarget` needs?"""
        defined = next(base for base in cls.__mro__ if "operate" in vars(base))
        return defined is not Edit and (defined is not EditOfTarget or cls.needs_attribute is not None)

    @classmethod
    def operate(cls, operation: Operation, scene: Scene, earlier: Scene | None) -> Scene | None:
        """The operation's result, None where it is impossible; tasks that do not define it have no operation.

        `earlier` is what the picture showed a turn before, None in the first turn.
        """
        return None


class EditOfTarget(Edit):
    """An edit of the one object that `target` denotes, which stays in its cell.

    Its operation gives new looks, among them `needs_attribute`, to one or two objects that have it.
    """

    __slots__ = ()
    target: Target

    def touched(self, before: Scene) -> frozenset[int]:
        """The object's cell."""
        cell = self.target.find(before)
        return frozenset() if cell is None else frozenset((cell,))

    def edited_cell(self, before: Scene, after: Scene | None = None) -> int | None:
        """The object's cell."""
        return self.target.find(before)

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        """The object in words."""
        return {"old": self.target.words(grid)}

    @classmethod
    def operate(cls, operation: Operation, scene: Scene, earlier: Scene | None) -> Scene | None:
        """The new looks; without the shape, unless it is the one needed."""
        name, objects = cls.needs_attribute, [scene.cells[cell] for cell in operation.cells]
        if name not in operation.looks or any(obj is None or name not in obj.attributes() for obj in objects):
            return None
        looks = operation.looks if name == "shape" else operation.kept_shape
        return with_new_looks(scene, operation.cells, looks)


@dataclass(frozen=True, slots=True)
class MultiEdit(Edit):
    """Two or more edits of one task, of objects in different cells; ValueError where one is not single, or an undo."""

    simple: ClassVar[bool] = False

    parts: tuple[Edit, ...]

    def __post_init__(self) -> None:
        for part in self.parts:
            if part.single_edits() != (part,) or part.task == "undo":
                raise ValueError(f"parts hold {part}, expected single edits that are no undo")

    @property
    def task(self) -> str:  # type: ignore[override]
        """The task of all parts."""
        return self.parts[0].task

    @property
    def covered_by_rules(self) -> bool:  # type: ignore[override]
        """As the parts are."""
        return self.parts[0].covered_by_rules

    def apply(self, scene: Scene) -> Scene:
        """Every part, one after the other."""
        for part in self.parts:
            scene = part.apply(scene)
        return scene

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        """Every part is as asked."""
        return all(part.accepts(before, after, free) for part in self.parts)

    def touched(self, before: Scene) -> frozenset[int]:
        """All that the parts may change."""
        return frozenset().union(*(part.touched(before) for part in self.parts))

    def asked(self) -> Looks:
        """The same of all parts."""
        return self.parts[0].asked()

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        """The objects joined by "and"."""
        words = [part.slots(looks, grid) for part in self.parts]
        return words[0] | {"old": " and ".join(word["old"] for word in words)}

    def single_edits(self) -> tuple[Edit, ...]:
        """The parts."""
        return self.parts

    def located(self, before: Scene) -> Edit | None:
        """All parts where their objects really stand."""
        found = tuple(at for part in self.parts if (at := part.located(before)) is not None)
        return MultiEdit(found) if len(found) == len(self.parts) else None


def same_but(before: SceneObject | None, after: SceneObject | None, free: Iterable[str]) -> bool:
    """True when two objects agree in every attribute that is not free; the unreadable agree with nothing."""
    if before is None or after is None or UNREADABLE in (before, after):
        return False
    old, new = before.attributes(), after.attributes()
    return all(new.get(name) == value for name, value in old.items() if name not in free)


def with_new_looks(scene: Scene, cells: Iterable[int], looks: Mapping[str, str]) -> Scene | None:
    """The scene with new looks for the objects in some cells; None where one cannot take them on."""
    for cell in cells:
        old = scene.cells[cell]
        new = None if old is None or old is UNREADABLE else object_with({**old.attributes(), **looks})
        if new is None:
            return None
        scene = scene.put(cell, new)
    return scene


def to_json(value: Any, sparse: bool = True) -> Any:
    """An edit, a rule or what they hold as JSON values, its "task" or "family" first; quicker than `asdict`.

    Where `sparse`, fields marked SPARSE are left out while they have their default.
    """
    if isinstance(value, tuple):
        return [to_json(part, sparse) for part in value]
    if not is_dataclass(value):
        return value
    kind, names = _fields(type(value))
    data = {} if kind is None else {kind: getattr(value, kind)}
    for name, default in names:
        part = getattr(value, name)
        if default is MISSING or not sparse or part != default:
            data[name] = to_json(part, sparse)
    return data


def from_fields(kind: type[T], given: Mapping[str, Any]) -> T:
    """An edit, a rule or a part of one from its fields; TypeError where there is no such field or a value is wrong.

    A class of another package may have words of its own.
    """
    words = _WORDS if kind.__module__.startswith("editenv.") else {}
    for name, kinds in _kinds(kind).items():
        value = given.get(name)
        if name in given and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            raise TypeError(f"{name} is {value!r:.60}, expected {' or '.join(one.__name__ for one in kinds)}")
        if isinstance(value, str) and name in words and value not in words[name]:
            raise TypeError(f"{name} is {value!r:.60}, expected one of {', '.join(words[name])}")
    return kind(**given)


@lru_cache(maxsize=64)
def _kinds(kind: type) -> dict[str, tuple[type, ...]]:
    """What fields may be, of those that hold one value; none of a class whose hints name what it does not import."""
    found = {}
    with suppress(NameError):
        for name, hint in get_type_hints(kind).items():
            kinds = get_args(hint) if get_origin(hint) is UnionType else (hint,)
            if all(isinstance(one, type) for one in kinds):
                found[name] = (*kinds, int) if float in kinds else kinds
    return found


@lru_cache(maxsize=64)
def _fields(kind: type) -> tuple[str | None, tuple[tuple[str, Any], ...]]:
    """What names a dataclass's kind, and its fields, each with the value that is left out (MISSING: none is)."""
    names = tuple((f.name, f.default if f.metadata.get("sparse") else MISSING) for f in fields(kind))
    return next((name for name in ("task", "family") if hasattr(kind, name)), None), names
