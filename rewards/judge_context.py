"""What a turn was meant to do, in words: the context that judges and other reading scorers are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from editenv.records import RecordTurn
from editenv.types import TurnResult
from editenv.worlds.records.export import in_brackets, record_from_studio
from editenv.worlds.records.sentences import stated_rule
from editenv.worlds.studio.phrases import LEAVE_ALONE
from editenv.worlds.studio.session import StudioTurn


@dataclass(frozen=True, slots=True)
class JudgeContext:
    """A turn in words."""

    task: str  # one of the nine task types, or another edit's name for itself, such as "undo"
    instructions: tuple[str, ...]  # what the user said so far, in order; the last one is this turn's
    resolved: tuple[str, ...]  # the same with references spelt out as far as the world knows them, else as it was said
    # Phrases of the objects that must look as in the source picture; None where the world does not list them.
    unchanged: tuple[str, ...] | None
    objects: tuple[str, ...]  # phrases of all objects that were there up to this turn, as far as they are known
    background: bool  # must the background look as in the source picture
    ruled: bool  # is a rule in force that was stated in this session
    impossible: bool = False  # does a rule forbid this turn's edit, so that nothing may change


def judge_context(turn: TurnResult) -> JudgeContext:
    """The turn in words; ValueError where what the user meant is of a world that has none."""
    meaning, said = turn.message.meaning, turn.transcript or (turn.message.text,)
    if isinstance(meaning, RecordTurn):
        return _scripted(turn, turn.spec.turns, any(stated_rule(text) for text in said))
    if not isinstance(meaning, StudioTurn):
        raise ValueError(f"the turn's meaning is a {type(meaning).__name__}, expected a RecordTurn or a StudioTurn")
    script: Sequence[StudioTurn] = getattr(turn.spec, "turns", ())
    if turn.turn < len(script) and script[turn.turn] is meaning:
        scripted = _scripted(turn, record_from_studio(turn.spec).turns, bool(meaning.rules))
        # Records call an undo by the task that carries it out.
        return replace(scripted, task=meaning.edit.task)
    # A user who reacts: earlier turns are known as they were said, and no list of unchanged objects exists.
    return JudgeContext(
        task=meaning.edit.task,
        instructions=said,
        resolved=(*said[:-1], in_brackets(meaning.intent)),
        unchanged=None,
        objects=(),
        background=meaning.edit.task != "background_change",
        ruled=bool(meaning.rules),
        impossible=meaning.intent == LEAVE_ALONE,
    )


def _scripted(turn: TurnResult, script: Sequence[RecordTurn], ruled: bool) -> JudgeContext:
    """A turn of a session whose turns are all known in words."""
    own = script[turn.turn]
    return JudgeContext(
        task=own.task_type,
        instructions=turn.transcript or (turn.message.text,),
        resolved=tuple(past.formatted_instruction for past in script[: turn.turn + 1]),
        unchanged=own.unchanged_objects,
        objects=own.all_objects,
        background=own.bg_consistency,
        ruled=ruled,
        impossible=own.formatted_instruction == LEAVE_ALONE,
    )
