"""The same done to several objects at once: named together, or "them"."""

from __future__ import annotations

from editenv.worlds.studio.draws import Draws
from editenv.worlds.studio.edits import ColorAlter, Each, Edit, MaterialAlter, SubjectRemove, Target
from editenv.worlds.studio.proposals.objects import describe
from editenv.worlds.studio.proposals.situation import DialogueState, Proposal

_KINDS = (ColorAlter, ColorAlter, MaterialAlter, SubjectRemove)


def propose_several(situation: DialogueState, draws: Draws, refer: bool) -> Proposal | None:
    """Two objects, or those that "them" means, removed or given one look."""
    targets = situation.several if refer else _draw_two(situation, draws)
    if len(targets) < 2 or not all(situation.unique(target) for target in targets):
        return None
    if refer and any(target.cell in situation.loose for target in targets):
        return None
    kind = draws.pick(_KINDS)
    parts = _parts(kind, targets, situation, draws)
    if parts is None or any(situation.impossible(part) for part in parts):
        return None
    edit = Each(parts)
    # Each takes its task from its parts, where the protocol has a class variable.
    return Proposal(edit, edit.task, "them" if refer else None)  # type: ignore[arg-type]


def _draw_two(situation: DialogueState, draws: Draws) -> tuple[Target, ...]:
    """Two objects in words that fit each alone."""
    cells = list(situation.scene.occupied())
    found: list[Target] = []
    while cells and len(found) < 2:
        target = describe(situation, draws, cells.pop(draws.below(len(cells))))
        if target is not None:
            found.append(target)
    return tuple(found)


def _parts(
    kind: type[ColorAlter | MaterialAlter | SubjectRemove],
    targets: tuple[Target, ...],
    situation: DialogueState,
    draws: Draws,
) -> tuple[Edit, ...] | None:
    """One edit a target, each of which changes something; None where one would not."""
    if kind is SubjectRemove:
        enough = len(situation.scene.occupied()) > len(targets)
        return tuple(SubjectRemove(target) for target in targets) if enough else None
    assert issubclass(kind, ColorAlter | MaterialAlter)
    if situation.ruled(kind.attribute):
        return None
    value = draws.pick(kind.values)
    things = [situation.scene.cells[target.cell] for target in targets]
    if any(t is None or t.text is not None or getattr(t, kind.attribute) == value for t in things):
        return None
    return tuple(kind(target, value) for target in targets)
