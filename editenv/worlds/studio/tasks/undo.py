"""undo: back to the picture before the last edit, as it was shown, mistakes included."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from editenv.worlds.studio.dialogue import Context, DialogueState, Request, plain_target
from editenv.worlds.studio.edit import BACKGROUND, Added, Edit, Operation
from editenv.worlds.studio.noun_phrases import Target
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.rule import open_looks
from editenv.worlds.studio.scene import UNREADABLE, Scene, SceneObject
from editenv.worlds.studio.tasks.attribute_alter import ColorAlter, MaterialAlter
from editenv.worlds.studio.tasks.background_change import BackgroundChange
from editenv.worlds.studio.tasks.position_change import PositionChange
from editenv.worlds.studio.tasks.subject_add import SubjectAdd
from editenv.worlds.studio.tasks.subject_remove import SubjectRemove
from editenv.worlds.studio.tasks.subject_replace import SubjectReplace
from editenv.worlds.studio.tasks.text_change import TextChange


@dataclass(frozen=True, slots=True)
class Undo(Edit):
    """Undo the last edit.

    What is right depends on the pictures that were shown (`resolved`); where they are not known, the session's edits
    count as all done right, and `instead` is the edit that undoes the last one: what an intent names, and no undo
    itself.
    """

    task: ClassVar[str] = "undo"
    operation_words: ClassVar[str] = "{task}"
    covered_by_rules: ClassVar[bool] = False
    simple: ClassVar[bool] = False

    instead: Edit

    def __post_init__(self) -> None:
        if self.instead.task == "undo":
            raise ValueError("undo has the edit 'undo' as instead, expected an edit of another task")

    def apply(self, scene: Scene) -> Scene:
        return self.instead.apply(scene)

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        return self.instead.accepts(before, after, frozenset())

    def touched(self, before: Scene) -> frozenset[int]:
        return self.instead.touched(before)

    def resolved(self, past: Sequence[Scene]) -> Edit:
        """A `Restore` of the scene that was shown before the last edit."""
        return Restore(past[-1]) if past else self

    def added_after(self, before: Scene, added: Added) -> Added:
        """No later turn counts across an undo: whatever came or went with the undone edit."""
        return tuple((shape, None) for shape, _ in added)

    @classmethod
    def read(cls, slots: Mapping[str, str], context: Context) -> list[Edit]:
        """What is undone is what was shown; the single edit that would do it serves the intent alone."""
        then = context.state.previous
        return [] if then is None else [cls(inverse_edit(context.state) or BackgroundChange(then.background))]

    @classmethod
    def sample(cls, state: DialogueState, rng: Rng, refer: bool) -> Request | None:
        """Undo of the last edit; not of an undo, nor of an edit that left something to the agent."""
        last, previous = state.last, state.previous
        if last is None or previous is None or isinstance(last, cls):
            return None
        if last.left_open(previous) or open_looks(last, state.rules):
            return None
        instead = inverse_edit(state)
        if instead is None or instead.apply(state.scene) != previous or state.impossible(cls(instead)):
            return None
        return Request(cls(instead))

    @classmethod
    def operate(cls, operation: Operation, scene: Scene, earlier: Scene | None) -> Scene | None:
        return earlier


@dataclass(frozen=True, slots=True)
class Restore(Edit):
    """An `Undo` once it is known what was shown before the last edit."""

    task: ClassVar[str] = "undo"
    covered_by_rules: ClassVar[bool] = False
    simple: ClassVar[bool] = False
    licenses: ClassVar[bool] = False  # What comes back was licensed, or it was damage, which nothing licenses.

    shown: Scene

    def apply(self, scene: Scene) -> Scene:
        return self.shown

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        """Everything that the last edit changed is as it was shown before; unreadable never counts."""
        parts = self.touched(before)
        if BACKGROUND in parts and not (after.background == self.shown.background != UNREADABLE.shape):
            return False
        cells = parts - {BACKGROUND}
        return all(after.cells[c] == self.shown.cells[c] and after.cells[c] is not UNREADABLE for c in cells)

    def touched(self, before: Scene) -> frozenset[int]:
        pairs = enumerate(zip(before.cells, self.shown.cells, strict=True))
        cells = {cell for cell, (now, then) in pairs if now != then}
        return frozenset(cells | {BACKGROUND} if before.background != self.shown.background else cells)


def inverse_edit(state: DialogueState) -> Edit | None:
    """The edit that turns the scene into the one before the last edit; None where it takes more than one."""
    now, then = state.scene, state.previous
    if then is None:
        return None
    changed = [cell for cell, old in enumerate(then.cells) if old != now.cells[cell]]
    if now.background != then.background:
        return None if changed else BackgroundChange(then.background)
    if len(changed) == 1:
        cell = changed[0]
        target = plain_target(state, cell) if now.cells[cell] else Target(cell)
        if target is None:
            return None
        edits = cell_edits(target, now.cells[cell], then.cells[cell])
        return edits[0] if len(edits) == 1 else SubjectReplace(target, **_as_asked(then.cells[cell]))
    if len(changed) == 2:
        here = next((cell for cell in changed if then.cells[cell] is None), None)
        target = None if here is None else plain_target(state, here)
        back = next((cell for cell in changed if now.cells[cell] is None), None)
        return PositionChange(target, back) if target is not None and back is not None else None
    return None


def cell_edits(target: Target, now: SceneObject | None, then: SceneObject | None) -> list[Edit]:
    """What each brings the object of a cell nearer to what it shall be: one edit a look that differs."""
    if then is None:
        return [SubjectRemove(target)]
    if now is None:
        return [SubjectAdd(target.cell, **_as_asked(then))]
    if now.shape != then.shape:
        return [SubjectReplace(target, **_as_asked(then))]
    edits: list[Edit] = []
    if now.color != then.color:
        edits.append(ColorAlter(target, then.color))
    if now.material != then.material:
        edits.append(MaterialAlter(target, then.material))
    if then.text is not None and now.text != then.text:
        edits.append(TextChange(target, then.text))
    return edits


def _as_asked(obj: SceneObject | None) -> dict[str, Any]:
    """The looks of an object as it is asked for; of a sign nobody says that it is plain."""
    looks: dict[str, Any] = {} if obj is None else dict(obj.attributes())
    return looks | {"material": None} if "text" in looks else looks
