"""The user who wants a scene: works out what to say next from what the picture shows, until it is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from editenv.sims.choice import MOST_CHANGES, change_mind, choose
from editenv.sims.mind import GoalTurn, Mind, look
from editenv.sims.persona import Persona, load_persona, persona_from_table
from editenv.sims.voice import Voice
from editenv.sims.wish import wish_of
from editenv.types import SPLITS, Stop, TurnResult, UserMessage
from editenv.worlds.studio.dialogue import DialogueState
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.session import StudioSpec

_SALT = 20_605  # keeps a user's draws apart from those that made the session


class GoalUser:
    """Wants the scene that a session leads to, and reacts to what the pictures show.

    They ask again when an edit failed, have damage repaired, point back, state rules that spare them words
    and drop those that stand in the way, change their mind if that is their persona, and give up when their
    patience is out. They never see the agent's intent or its scores. They remember nothing themselves: their
    state of mind is part of what they meant last, and what they draw at random follows from session and turn.

    Args:
        persona: a name in `personas/`, or a persona's whole table as JSON values.
        patience: in place of the persona's.

    Raises:
        ValueError: there is no such persona, or it is not complete.
    """

    reads_scores = False

    def __init__(self, persona: str | Mapping[str, Any] = "plain", patience: int | None = None) -> None:
        given = load_persona(persona) if isinstance(persona, str) else persona_from_table(persona)
        self.persona: Persona = given if patience is None else replace(given, patience=patience)
        self.version = f"goal 2 {given.name}" + (f" patience {patience}" if patience is not None else "")

    def begin(self, spec: StudioSpec) -> UserMessage:
        """The first wish.

        Raises:
            ValueError: the session is of another world.
        """
        return self.said(self.first_wish(spec), spec, 0)

    def reply(self, outcome: TurnResult) -> UserMessage | Stop:
        """What is still to be done, "done" where there is nothing, "gave_up" where patience is out."""
        wish = self.next_wish(outcome)
        return wish if isinstance(wish, Stop) else self.said(wish, outcome.spec, outcome.turn + 1)

    def first_wish(self, spec: StudioSpec) -> GoalTurn:
        """What `begin` says, meant and in the template's words; raises what it raises."""
        if not isinstance(spec, StudioSpec):
            raise ValueError(
                f"session {spec.id} has no scene to wish for, which this user needs: expected one of a suite"
            )
        wish = wish_of(spec)
        mind = Mind(DialogueState(spec.scene, spec.scene.grid), wish.target, wish.rules)
        first = self._decide(spec, 0, mind)
        assert first is not None, "a wish always differs from the start scene"
        return first

    def next_wish(self, outcome: TurnResult) -> GoalTurn | Stop:
        """What `reply` says, meant and in the template's words."""
        spec, turn = outcome.spec, outcome.turn + 1
        meant: GoalTurn = outcome.message.meaning
        (shown,) = parse([outcome.after], spec.scene.grid)
        mind = look(meant, shown)
        if mind.annoyance > self.persona.patience:
            return Stop("gave_up")
        return self._decide(spec, turn, mind, meant) or Stop("done")

    def said(self, meant: GoalTurn, spec: StudioSpec, turn: int) -> UserMessage:
        """What is meant, in the words of its template; other kinds of user find others."""
        return UserMessage(meant.text, meant, kept(meant))

    def _decide(
        self, spec: StudioSpec, turn: int, mind: Mind, last: GoalTurn | None = None
    ) -> GoalTurn | None:
        """What to ask for in a turn, None where the picture shows all that is wanted."""
        draws = Rng((_SALT, SPLITS.index(spec.split), spec.seed, spec.index, turn))
        mood, persona = "ask", self.persona
        went_well = mind.failed is None and not mind.damaged
        if last and went_well and mind.changes < MOST_CHANGES and draws.chance(persona.changes):
            changed = change_mind(mind, last.edit, draws)
            mood, mind = ("mind" if changed is not mind else "ask"), changed
        if mind.situation.scene == mind.target:
            return None
        choice = choose(mind, persona, draws, mood)
        return Voice(persona, spec.split, draws).realize(choice)


def kept(meant: GoalTurn) -> dict[str, Any]:
    """What infos and records keep about an instruction: why and how it was said."""
    return {
        "mood": meant.mood,
        "reference": meant.reference,
        "states_rule": meant.states,
        "drops_rule": meant.drops,
    }
