"""count_change: the number of objects that fit a description becomes another."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from editenv.worlds.studio.dialogue import MOST_OBJECTS, Context, DialogueState, Request
from editenv.worlds.studio.edit import Added, Edit, Looks, Operation
from editenv.worlds.studio.noun_phrases import MOST_COUNT, Target, many_looks, many_objects
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.scene import COLORS, MATERIALS, SHAPES, Scene, SceneObject, object_with

_NAMED = 0.5  # chance that colour, and likewise material, is named
_NEW_KIND = 0.3  # chance that objects are asked for of which there may be none yet


@dataclass(frozen=True, slots=True)
class CountChange(Edit):
    """Add objects of a kind to free cells, or remove some, until there are as many as asked for, 1 to MOST_COUNT.

    Every choice of cells is right, and so is every look that the description leaves open (None: all count); nothing is
    moved. No rule covers it: removals are exempt, and sessions ask for more objects only where the description itself
    agrees with the rules in force.
    """

    task: ClassVar[str] = "count_change"
    operation_words: ClassVar[str] = "{task}: {count} {looks}"
    covered_by_rules: ClassVar[bool] = False
    simple: ClassVar[bool] = False

    count: int
    shape: str
    color: str | None = None
    material: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST_COUNT:
            raise ValueError(f"count is {self.count}, expected 1 to {MOST_COUNT}")

    def cells(self, scene: Scene) -> tuple[int, ...]:
        (described,) = self.vague()
        return tuple(cell for cell, obj in enumerate(scene.cells) if described.fits(obj))

    def apply(self, scene: Scene) -> Scene:
        there, free = self.cells(scene), scene.empty()
        if self.count - len(there) > len(free):
            raise ValueError(f"{self.count} are asked for, {len(there)} there, expected room for the others")
        like = (scene.cells[there[0]] if there else None) or SceneObject(self.shape, COLORS[0])
        new = SceneObject(self.shape, self.color or like.color, self.material or like.material)
        for cell in free[: max(0, self.count - len(there))]:
            scene = scene.put(cell, new)
        for cell in there[self.count :]:
            scene = scene.put(cell, None)
        return scene

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        """As many fit as asked for, and the cells that could be used show nothing but what was asked for."""
        there, now = self.cells(before), self.cells(after)
        if len(there) == self.count or len(now) != self.count:
            return False
        if len(there) > self.count:
            return all(after.cells[cell] in (None, before.cells[cell]) for cell in there)
        return all(after.cells[cell] is None or cell in now for cell in before.empty())

    def touched(self, before: Scene) -> frozenset[int]:
        there = self.cells(before)
        if len(there) == self.count:
            return frozenset()
        return frozenset(there if len(there) > self.count else before.empty())

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        return {"many": many_objects(self.count, self.shape, self.color, self.material)}

    @classmethod
    def read(cls, slots: Mapping[str, str], context: Context) -> list[Edit]:
        looks = many_looks(slots["many"])
        return [cls(**looks)] if looks else []

    def left_open(self, before: Scene) -> frozenset[int]:
        return self.touched(before)

    def other_results(self, before: Scene, breaks: Callable[[Scene], bool]) -> Iterator[Scene]:
        """One choice of cells and looks that breaks no rule, where there is one.

        Objects come or go one after the other, each so that no rule is broken. That is enough: what breaks a rule with
        few changes breaks it with more of them, and no choice spoils a later one.
        """
        there, result = self.cells(before), before
        missing = self.count - len(there)
        cells = list(before.empty() if missing > 0 else there)
        colors = COLORS if self.color is None else (self.color,)
        materials = MATERIALS if self.material is None else (self.material,)
        fitting = [SceneObject(self.shape, color, material) for color in colors for material in materials]
        for _ in range(abs(missing)):
            options = fitting if missing > 0 else [None]
            steps = ((cell, result.put(cell, obj)) for cell in cells for obj in options)
            step = next((s for s in steps if not breaks(s[1])), None)
            if step is None:
                return
            cells.remove(step[0])
            result = step[1]
        yield result

    def added_after(self, before: Scene, added: Added) -> Added:
        """Objects of which no later turn can tell which are gone or where they came."""
        gone = self.touched(before)
        return (*((shape, None if cell in gone else cell) for shape, cell in added), (self.shape, None))

    def objects_added(self, before: Scene) -> int:
        return self.count - len(self.cells(before))

    def vague(self) -> tuple[Target, ...]:
        return (Target(0, self.shape, self.color, self.material),)

    @classmethod
    def sample(cls, state: DialogueState, rng: Rng, refer: bool) -> Request | None:
        """Another number of objects of a kind, where there is room for them and no rule speaks against it."""
        scene = state.scene
        shown = [obj for obj in scene.cells if obj is not None and obj.text is None]
        like = rng.pick(shown) if shown and not rng.chance(_NEW_KIND) else None
        shape = like.shape if like else rng.pick(SHAPES)
        color = (like.color if like else rng.pick(COLORS)) if rng.chance(_NAMED) else None
        material = (like.material if like else rng.pick(MATERIALS)) if rng.chance(_NAMED) else None
        there = len(cls(1, shape, color, material).cells(scene))
        most = min(MOST_COUNT, there + min(len(scene.empty()), MOST_OBJECTS - len(scene.occupied())))
        options = [count for count in range(1, most + 1) if abs(count - there) in (1, 2)]
        if not options:
            return None
        edit = cls(rng.pick(options), shape, color, material)
        if any(described.overlaps(kind) for described in edit.vague() for kind in state.vague):
            return None
        agree = all(state.demanded(name) in (None, value) for name, value in edit.asked().items())
        return Request(edit) if edit.count < there or agree else None

    @classmethod
    def operate(cls, operation: Operation, scene: Scene, earlier: Scene | None) -> Scene | None:
        """As many objects as asked for: added or removed in the order of the cells, beginning at `cell`."""
        looks, start = operation.looks, operation.cell
        shown = {cell: obj.attributes() for cell, obj in enumerate(scene.cells) if obj is not None}
        # Attributes that a shape has not are no matter.
        fitting = [
            c for c, has in shown.items() if all(has.get(name, value) == value for name, value in looks.items())
        ]
        missing = operation.count - len(fitting)
        new = object_with({**(shown[fitting[0]] if fitting else {}), **looks}) if missing > 0 else None
        cells = scene.empty() if missing > 0 else fitting
        places = [cell for cell in cells if cell >= start] + [cell for cell in cells if cell < start]
        if "shape" not in looks or len(places) < abs(missing) or (missing > 0 and new is None):
            return None
        for cell in places[: abs(missing)]:
            scene = scene.put(cell, new)
        return scene
