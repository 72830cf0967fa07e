"""One turn in words: what is meant goes in, a StudioTurn with text and canonical intent comes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from editenv.worlds.studio.dialogue import DialogueState, Request
from editenv.worlds.studio.edit import Edit
from editenv.worlds.studio.language import turn_intent
from editenv.worlds.studio.references import POINTING, pointing_slots
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.rule import Except, Replace, Revoke, Rule, Statement
from editenv.worlds.studio.session import StudioTurn

Wording = Callable[[str], Sequence[str]]
"""The sentences of an act that a speaker may choose from, such as `partial(all_phrasings, split="test")`."""

_WITHIN_SENTENCE = ("there", "same", "its")
"""References that lie in the act's own sentences."""


def realize(
    state: DialogueState, request: Request, rng: Rng, wording: Wording, statements: Sequence[Statement] = ()
) -> StudioTurn:
    """What a user says who means an edit, and perhaps states, lifts or ends rules along with it.

    The session goes on at `state.stating(*statements).after(request.edit)`.

    Args:
        state: where the session stands before this turn.
        request: the edit, the speech act that says it, and how it points (a key of REFERENCES, or None).
        rng: chooses among sentences.
        wording: the speaker's sentences of an act.
        statements: rules stated in this turn, and what is said about rules in force.

    Raises:
        ValueError: the reference cannot point at the edit's object.
    """
    edit, reference = request.edit, request.reference
    rules = state.stating(*statements).bound
    slots = edit.slots(edit.asked(), state.grid)
    if reference is not None and reference not in _WITHIN_SENTENCE:
        pointed = _pointing_slots(reference, edit, state) if reference in POINTING else {}
        slots["old"] = rng.pick(wording(reference)).format(**pointed)
    text = rng.pick(wording(request.act)).format(**slots)
    return StudioTurn(
        text=_with_statements(text, statements, rng, wording, state.grid),
        intent=turn_intent(edit, rules, state.scene, state.grid),
        edit=edit,
        rules=rules,
        reference=reference,
        changes=tuple(s for s in statements if isinstance(s, Except | Revoke | Replace)),
    )


def _pointing_slots(reference: str, edit: Edit, state: DialogueState) -> dict[str, str]:
    target = getattr(edit, "target", None)
    if target is None:
        raise ValueError(f"reference {reference!r} needs an object to point at, which {edit} has not")
    return pointing_slots(reference, state, target.cell)


def _with_statements(text: str, statements: Sequence[Statement], rng: Rng, wording: Wording, grid: int) -> str:
    """The sentence with what is said about rules around it, in the order in which it counts.

    What is said in front of the sentence is read before what is said behind it.
    """
    before: list[tuple[str, Statement]] = []
    behind: list[tuple[str, Statement]] = []
    for statement in statements:
        options = wording(statement.act if isinstance(statement, Rule) else statement.family)
        if behind:
            options = [pattern for pattern in options if pattern.startswith("{edit}")]
        pattern = rng.pick(options)
        (behind if pattern.startswith("{edit}") else before).append((pattern, statement))
    for pattern, statement in (*reversed(before), *behind):
        text = pattern.format(**_statement_slots(statement, grid) | {"edit": text})
    return text


def _statement_slots(statement: Statement, grid: int) -> dict[str, str]:
    if isinstance(statement, Replace):
        return statement.rule.slots(grid) | {"value": statement.by.slots(grid)["value"]}
    return statement.rule.slots(grid) if isinstance(statement, Except | Revoke) else statement.slots(grid)
