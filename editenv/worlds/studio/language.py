"""One turn in words: what is meant goes in, a StudioTurn with text and canonical intent comes out."""

from collections.abc import Callable, Sequence

from editenv.worlds.studio.dialogue import POINTING, DialogueState, Request, pointing_slots
from editenv.worlds.studio.edit import Edit, MultiEdit
from editenv.worlds.studio.phrases import LEAVE_ALONE, THEN, intent_patterns
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.rule import Change, Rule, Statement, choose_open, demanded_looks, is_impossible
from editenv.worlds.studio.scene import Scene
from editenv.worlds.studio.session import StudioTurn
from editenv.worlds.studio.tasks import Undo

Wording = Callable[[str], Sequence[str]]
"""The sentences of an act that a speaker may choose from, such as `partial(all_phrasings, split="test")`."""
_WITHIN_SENTENCE = ("there", "same", "its")  # references that lie in the act's own sentences


def realize(
    state: DialogueState, request: Request, rng: Rng, wording: Wording, statements: Sequence[Statement] = ()
) -> StudioTurn:
    """What a user says who means an edit, and perhaps states, lifts or ends rules along with it.

    The session goes on at `state.stating(*statements).after(request.edit)`. `wording` gives the speaker's sentences of
    an act. ValueError where the reference cannot point at the edit's object.
    """
    edit, reference = request.edit, request.reference
    rules = state.stating(*statements).bound
    slots = edit.slots(edit.asked(), state.grid)
    if reference is not None and reference not in _WITHIN_SENTENCE:
        pointed = {}
        if reference in POINTING:
            target = getattr(edit, "target", None)
            if target is None:
                raise ValueError(f"reference {reference!r} needs an object to point at, which {edit} has not")
            pointed = pointing_slots(reference, state, target.cell)
        slots["old"] = rng.pick(wording(reference)).format(**pointed)
    text = rng.pick(wording(request.act or edit.act)).format(**slots)
    # Statements stand around the sentence so that they are read in their order: first those before it.
    before: list[tuple[str, Statement]] = []
    behind: list[tuple[str, Statement]] = []
    for statement in statements:
        options = wording(statement.act)
        if behind:
            options = [pattern for pattern in options if pattern.startswith("{edit}")]
        pattern = rng.pick(options)
        (behind if pattern.startswith("{edit}") else before).append((pattern, statement))
    for pattern, statement in (*reversed(before), *behind):
        text = pattern.format(**statement.slots(state.grid) | {"edit": text})
    changes = tuple(statement for statement in statements if isinstance(statement, Change))
    return StudioTurn(text, turn_intent(edit, rules, state.scene, state.grid), edit, rules, reference, changes)


def turn_intent(edit: Edit, rules: tuple[Rule, ...], before: Scene, grid: int) -> str:
    """A turn's self-contained instruction with every rule that binds it worked in; what an agent should write."""
    if is_impossible(edit, rules, before):
        return LEAVE_ALONE
    return canonical_intent(choose_open(edit, rules, before), rules, grid)


def canonical_intent(edit: Edit, rules: tuple[Rule, ...], grid: int) -> str:
    """An edit's self-contained instruction with every demand of the rules worked in.

    It does not look at the picture: `turn_intent` tells what an agent should write where rules forbid things.
    """
    if isinstance(edit, Undo):
        return canonical_intent(edit.instead, (), grid)
    if isinstance(edit, MultiEdit):
        return THEN.join(canonical_intent(part, rules, grid) for part in edit.parts)
    asked = edit.asked()
    looks = asked | demanded_looks(edit, rules)
    plain, *ruled = intent_patterns(edit.act)
    words = " ".join(word for word in (looks["material"], looks["color"]) if word)
    return (ruled[0] if ruled and looks != asked else plain).format(**edit.slots(looks, grid) | {"looks": words})
