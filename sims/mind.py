"""What a goal user keeps in mind between turns; it travels in the meaning of what they said last."""

from __future__ import annotations

from dataclasses import dataclass, replace

from editenv.sims.plan import elements
from editenv.worlds.studio.dialogue import DialogueState
from editenv.worlds.studio.rules import AttributeRule, check_edit
from editenv.worlds.studio.scene import Scene
from editenv.worlds.studio.session import StudioTurn
from editenv.worlds.studio.tasks import BACKGROUND, Edit


@dataclass(frozen=True, slots=True)
class Mind:
    """What a user knows and wants when they speak.

    Attributes:
        situation: what the picture shows, the rules in force, and what can be pointed back to.
        target: what the picture should show in the end.
        wishes: attribute rules they have not stated yet.
        annoyance: failed or damaging turns, less the good ones, never below 0.
        changes: how often they have changed their mind.
        failed: the last edit, where the picture does not show it done.
        damaged: cells, or BACKGROUND, that were right before the last turn, were not spoken of, and now are
            wrong.
    """

    situation: DialogueState
    target: Scene
    wishes: tuple[AttributeRule, ...] = ()
    annoyance: int = 0
    changes: int = 0
    failed: Edit | None = None
    damaged: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalTurn(StudioTurn):
    """An instruction of a goal user, with their state of mind when they said it.

    Attributes:
        mind: as it was once they had decided what to say.
        sentence: the request alone, without rules and pleasantries.
        frame: all of the text but the sentence, whose place is "{edit}".
        mood: why they said it, one of `persona.MOODS`.
        states, drops: whether a rule is stated or dropped along with the instruction.
    """

    mind: Mind
    sentence: str = ""
    frame: str = "{edit}"
    mood: str = "ask"
    states: bool = False
    drops: bool = False


def look(said: GoalTurn, shown: Scene) -> Mind:
    """The mind after a turn, from what the picture shows now and nothing else."""
    mind, edit = said.mind, said.edit
    before = mind.situation.scene
    good = followed(said, before, shown)
    damaged = _damage(before, shown, mind.target) - elements(edit)
    # What an agent was free to choose is seen now.
    situation = replace(mind.situation.after(edit), scene=shown, loose=frozenset(), vague=())
    if not good:
        situation = replace(situation, last=None, focus=None, vacated=None)
    return replace(
        mind,
        situation=situation,
        annoyance=mind.annoyance + 1 if damaged or not good else max(0, mind.annoyance - 1),
        failed=None if good else edit,
        damaged=damaged,
    )


def followed(said: StudioTurn, before: Scene, shown: Scene) -> bool:
    """Is the edit done as it was said, and every rule in force kept by it?"""
    verdict = check_edit(said.edit, said.rules, before, shown)
    return verdict.followed and not verdict.broken


def _damage(before: Scene, shown: Scene, target: Scene) -> frozenset[int]:
    """Elements that were as wanted and are no longer."""
    triples = enumerate(zip(before.cells, shown.cells, target.cells, strict=True))
    cells = {cell for cell, (old, new, wanted) in triples if old == wanted != new}
    if before.background == target.background != shown.background:
        cells.add(BACKGROUND)
    return frozenset(cells)
