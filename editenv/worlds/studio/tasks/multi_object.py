"""The same edit of several objects at once: "remove them", "make the star and the circle blue"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from editenv.worlds.studio.dialogue import DialogueState, Request
from editenv.worlds.studio.edit import Edit, Looks, Sampler
from editenv.worlds.studio.noun_phrases import Target
from editenv.worlds.studio.references import describe
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.scene import Scene
from editenv.worlds.studio.tasks.attribute_alter import ColorAlter, MaterialAlter
from editenv.worlds.studio.tasks.subject_remove import SubjectRemove

_KINDS: tuple[type[ColorAlter | MaterialAlter | SubjectRemove], ...] = (
    ColorAlter,
    ColorAlter,
    MaterialAlter,
    SubjectRemove,
)


@dataclass(frozen=True, slots=True)
class MultiEdit(Edit):
    """Several edits of one task, of objects in different cells.

    Attributes:
        parts: two or more single edits.

    Raises:
        ValueError: a part is itself one of several objects, or an undo.
    """

    simple: ClassVar[bool] = False

    parts: tuple[Edit, ...]

    def __post_init__(self) -> None:
        for part in self.parts:
            if part.single_edits() != (part,) or part.task == "undo":
                raise ValueError(f"parts hold {part}, expected single edits that are no undo")

    @property
    def task(self) -> str:  # type: ignore[override]
        return self.parts[0].task

    @property
    def covered_by_rules(self) -> bool:  # type: ignore[override]
        return self.parts[0].covered_by_rules

    def apply(self, scene: Scene) -> Scene:
        for part in self.parts:
            scene = part.apply(scene)
        return scene

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        """Every part is as asked."""
        return all(part.accepts(before, after, free) for part in self.parts)

    def touched(self, before: Scene) -> frozenset[int]:
        return frozenset().union(*(part.touched(before) for part in self.parts))

    def asked(self) -> Looks:
        return self.parts[0].asked()

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        words = [part.slots(looks, grid) for part in self.parts]
        return words[0] | {"old": " and ".join(word["old"] for word in words)}

    def single_edits(self) -> tuple[Edit, ...]:
        return self.parts

    def located(self, before: Scene) -> Edit | None:
        """All parts where their objects really stand."""
        found = tuple(at for part in self.parts if (at := part.located(before)) is not None)
        return MultiEdit(found) if len(found) == len(self.parts) else None

    @classmethod
    def sample(cls, state: DialogueState, rng: Rng, refer: bool) -> Request | None:
        """Two objects, or those that "them" means, removed or given one look."""
        targets = state.group if refer else _sample_two(state, rng)
        if len(targets) < 2 or not all(state.unique(target) for target in targets):
            return None
        if refer and any(target.cell in state.loose for target in targets):
            return None
        parts = _sample_parts(targets, state, rng)
        if parts is None or any(state.impossible(part) for part in parts):
            return None
        edit = MultiEdit(parts)
        return Request(edit, edit.task, "them" if refer else None)

    @classmethod
    def samplers(cls) -> dict[str, Sampler]:
        return {"multi_object": cls.sample}


def _sample_two(state: DialogueState, rng: Rng) -> tuple[Target, ...]:
    """Two objects in words that fit each alone."""
    cells = list(state.scene.occupied())
    found: list[Target] = []
    while cells and len(found) < 2:
        target = describe(state, rng, cells.pop(rng.below(len(cells))))
        if target is not None:
            found.append(target)
    return tuple(found)


def _sample_parts(targets: tuple[Target, ...], state: DialogueState, rng: Rng) -> tuple[Edit, ...] | None:
    """One edit a target, each of which changes something; None where one would not."""
    kind: type[ColorAlter | MaterialAlter | SubjectRemove] = rng.pick(_KINDS)
    if issubclass(kind, SubjectRemove):
        enough = len(state.scene.occupied()) > len(targets)
        return tuple(kind(target) for target in targets) if enough else None
    if state.demanded(kind.attribute):
        return None
    value = rng.pick(kind.values)
    objects = [state.scene.cells[target.cell] for target in targets]
    if any(obj is None or obj.text is not None or getattr(obj, kind.attribute) == value for obj in objects):
        return None
    return tuple(kind(target, value) for target in targets)
