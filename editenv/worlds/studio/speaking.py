"""One turn in words: what is meant goes in, a StudioTurn with text and canonical intent comes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from editenv.worlds.studio.constraints import Except, Replace, Revoke, Statement
from editenv.worlds.studio.draws import Draws
from editenv.worlds.studio.edits import Edit, Undo
from editenv.worlds.studio.language import turn_intent
from editenv.worlds.studio.proposals.references import POINTING, pointing_slots
from editenv.worlds.studio.proposals.situation import DialogueState, Proposal
from editenv.worlds.studio.session import StudioTurn

Wording = Callable[[str], Sequence[str]]
"""The sentences of an act that a speaker may choose from, such as `partial(all_phrasings, split="test")`."""

_WITHOUT_WORDS = ("there", "same", "its")
"""References that lie in the act's own sentences."""


def speak(
    situation: DialogueState,
    proposal: Proposal,
    draws: Draws,
    wording: Wording,
    statements: Sequence[Statement] = (),
) -> StudioTurn:
    """What a user says who means an edit, and perhaps states, lifts or ends rules along with it.

    The session goes on at `situation.stating(*statements).after(proposal.edit)`.

    Args:
        situation: where the session stands before this turn.
        proposal: the edit, the speech act that says it, and how it points (a key of REFERENCES, or None).
        draws: chooses among sentences.
        wording: the speaker's sentences of an act.
        statements: rules stated in this turn, and what is said about rules in force.

    Raises:
        ValueError: the reference cannot point at the edit's object.
    """
    stated = situation.stating(*statements)
    edit, rules, reference = proposal.edit, stated.bound, proposal.reference
    slots = edit.slots(edit.asked(), situation.grid)
    if reference is not None and reference not in _WITHOUT_WORDS:
        pointed = _pointing(reference, edit, situation) if reference in POINTING else {}
        slots["old"] = draws.pick(wording(reference)).format(**pointed)
    text = draws.pick(wording(proposal.act)).format(**slots)
    text = _with_statements(text, statements, draws, wording, situation.grid)
    return StudioTurn(
        text=text,
        intent=turn_intent(edit, rules, situation.scene, situation.grid),
        edit=edit,
        rules=rules,
        reference=reference,
        changes=tuple(s for s in statements if isinstance(s, Except | Revoke | Replace)),
    )


def plain_proposal(edit: Edit) -> Proposal:
    """An edit asked for in its task's own sentences, its object named."""
    if isinstance(edit, Undo):
        return Proposal(edit, "undo")
    return Proposal(edit, f"{edit.task}_beside" if getattr(edit, "beside", None) else edit.task)


def _pointing(reference: str, edit: Edit, situation: DialogueState) -> dict[str, str]:
    target = getattr(edit, "target", None)
    if target is None:
        raise ValueError(f"reference {reference!r} needs an object to point at, which {edit} has not")
    return pointing_slots(reference, situation, target.cell)


def _with_statements(
    text: str, statements: Sequence[Statement], draws: Draws, wording: Wording, grid: int
) -> str:
    """The sentence with what is said about rules around it, in the order in which it counts.

    What is said in front of the sentence is read before what is said behind it.
    """
    before: list[tuple[str, Statement]] = []
    behind: list[tuple[str, Statement]] = []
    for statement in statements:
        options = wording(_act(statement))
        if behind:
            options = [pattern for pattern in options if pattern.startswith("{edit}")]
        pattern = draws.pick(options)
        (behind if pattern.startswith("{edit}") else before).append((pattern, statement))
    for pattern, statement in (*reversed(before), *behind):
        text = pattern.format(**_statement_slots(statement, grid) | {"edit": text})
    return text


def _act(statement: Statement) -> str:
    return statement.family if isinstance(statement, Except | Revoke | Replace) else statement.act


def _statement_slots(statement: Statement, grid: int) -> dict[str, str]:
    if isinstance(statement, Replace):
        return statement.rule.slots(grid) | {"value": statement.by.slots(grid)["value"]}
    return statement.rule.slots(grid) if isinstance(statement, Except | Revoke) else statement.slots(grid)
