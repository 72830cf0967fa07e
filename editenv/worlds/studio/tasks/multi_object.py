"""The same edit of several objects at once: "remove them", "make the star and the circle blue"."""

from editenv.worlds.studio.dialogue import DialogueState, Request, describe
from editenv.worlds.studio.edit import Edit, MultiEdit
from editenv.worlds.studio.noun_phrases import Target
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.tasks.attribute_alter import AttributeAlter, ColorAlter, MaterialAlter
from editenv.worlds.studio.tasks.subject_remove import SubjectRemove

_KINDS: tuple[type[AttributeAlter | SubjectRemove], ...] = (ColorAlter, ColorAlter, MaterialAlter, SubjectRemove)


def sample_multi_object(state: DialogueState, rng: Rng, refer: bool) -> Request | None:
    """Two objects, or those that "them" means, removed or given one look."""
    targets = state.group if refer else _sample_two(state, rng)
    if len(targets) < 2 or not all(state.unique(target) for target in targets):
        return None
    if refer and any(target.cell in state.loose for target in targets):
        return None
    parts = _sample_parts(targets, state, rng)
    if not parts or any(state.impossible(part) for part in parts):
        return None
    return Request(MultiEdit(parts), "them" if refer else None)


def _sample_two(state: DialogueState, rng: Rng) -> tuple[Target, ...]:
    """Two objects in words that fit each alone."""
    cells = list(state.scene.occupied())
    found: list[Target] = []
    while cells and len(found) < 2:
        target = describe(state, rng, cells.pop(rng.below(len(cells))))
        if target is not None:
            found.append(target)
    return tuple(found)


def _sample_parts(targets: tuple[Target, ...], state: DialogueState, rng: Rng) -> tuple[Edit, ...]:
    """One edit a target, each of which changes something; none where one would not."""
    kind = rng.pick(_KINDS)
    if not issubclass(kind, AttributeAlter):
        return tuple(kind(target) for target in targets) if len(state.scene.occupied()) > len(targets) else ()
    if state.demanded(kind.attribute):
        return ()
    value = rng.pick(kind.values)
    objects = [state.scene.cells[target.cell] for target in targets]
    if any(obj is None or obj.text is not None or getattr(obj, kind.attribute) == value for obj in objects):
        return ()
    return tuple(kind(target, value) for target in targets)
