"""What a goal user asks for next: what failed, what broke, what can be pointed at, then the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from editenv.sims.mind import Mind
from editenv.sims.persona import Persona
from editenv.sims.plan import conforming, elements, remaining
from editenv.worlds.studio.dialogue import DialogueState
from editenv.worlds.studio.generator import scene_is_held_out
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.rules import AttributeRule, Rule, in_force
from editenv.worlds.studio.scene import COLORS, MATERIALS
from editenv.worlds.studio.tasks import ColorAlter, Edit, MaterialAlter, SubjectAdd, SubjectReplace

MOST_CHANGES = 3
"""Changes of mind a session; a user who never stops changing theirs would never be done."""

WORTH_A_RULE = 2
"""Edits that a rule must make shorter to be stated."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing to ask for.

    Attributes:
        mind: of the user, with the rules that will be in force.
        edit: what is wanted, by cells.
        mood: why, one of `persona.MOODS`.
        refer: whether the user would point back rather than name things.
        states: the rule to be stated with it.
        drops: rules to be dropped with it.
    """

    mind: Mind
    edit: Edit
    mood: str
    refer: bool
    states: AttributeRule | None = None
    drops: tuple[Rule, ...] = ()


def choose(mind: Mind, persona: Persona, draws: Rng, mood: str = "ask") -> Choice:
    """The next thing to ask for; the picture must not show the target already."""
    edits = remaining(mind.situation.scene, mind.target)
    kept, possible = _drop_rules(mind, edits)
    drops = mind.situation.rules[len(kept) :]
    stated = None if drops else _rule_worth_stating(mind, edits)
    if stated:
        kept = in_force(kept, stated)
        possible = _shortened(edits, stated, mind)
    refer = draws.chance(persona.references)
    mood, wanted = _most_urgent(mind, possible, refer, mood)
    mind = replace(
        mind,
        situation=replace(mind.situation, rules=kept),
        wishes=tuple(rule for rule in mind.wishes if rule != stated),
    )
    return Choice(mind, draws.pick(wanted), mood, refer, stated, drops)


def change_mind(mind: Mind, edit: Edit, draws: Rng) -> Mind:
    """The mind with another look wanted for the object just edited; the same where nothing can be changed.

    Who wanted nothing that is held out of training goes on without it.
    """
    cell = edit.edited_cell(mind.situation.scene)
    thing = None if cell is None else mind.situation.scene.cells[cell]
    if cell is None or thing is None or thing != mind.target.cells[cell]:
        return mind
    looks = {"color": COLORS} if thing.text is not None else {"color": COLORS, "material": MATERIALS}
    for attribute, values in looks.items():
        if mind.situation.ruled(attribute) is None:
            old = thing.attributes()[attribute]
            others: list[dict[str, Any]] = [{attribute: value} for value in values if value != old]
            targets = [mind.target.put(cell, replace(thing, **other)) for other in others]
            if not scene_is_held_out(mind.target):
                targets = [target for target in targets if not scene_is_held_out(target)]
            target = draws.pick(targets)
            return replace(mind, target=target, changes=mind.changes + 1, damaged=frozenset((cell,)))
    return mind


def is_pointed_at(edit: Edit, situation: DialogueState) -> bool:
    """Could the edit's object, or its place, be pointed back to?"""
    if isinstance(edit, SubjectAdd):
        return edit.cell == situation.vacated
    target, focus = getattr(edit, "target", None), situation.focus
    return target is not None and focus is not None and target.cell == focus.cell and situation.unique(focus)


def is_the_same(edit: Edit, situation: DialogueState) -> bool:
    """Is it what was done to another object in the last turn?"""
    last = situation.last
    if not isinstance(edit, ColorAlter | MaterialAlter) or not isinstance(last, type(edit)):
        return False
    return edit.value == last.value and edit.target.cell != last.target.cell


def _drop_rules(mind: Mind, edits: list[Edit]) -> tuple[tuple[Rule, ...], list[Edit]]:
    """The rules in force less those, from the last one on, that leave nothing to do; what can be done."""
    situation = mind.situation
    for count in range(len(situation.rules), -1, -1):
        possible = conforming(edits, situation.rules[:count], situation.scene, mind.target)
        if possible:
            return situation.rules[:count], possible
    raise ValueError("the picture shows the target already, expected something to be left to ask for")


def _rule_worth_stating(mind: Mind, edits: list[Edit]) -> AttributeRule | None:
    """A wished rule that makes some of the edits shorter to say."""
    return next((r for r in mind.wishes if len(_shortened(edits, r, mind)) >= WORTH_A_RULE), None)


def _shortened(edits: list[Edit], rule: AttributeRule, mind: Mind) -> list[Edit]:
    """The edits that need not name an attribute once the rule is in force."""
    situation = mind.situation
    possible = conforming(edits, in_force(situation.rules, rule), situation.scene, mind.target)
    attribute = rule.attribute
    return [
        edit
        for edit in possible
        if isinstance(edit, SubjectAdd | SubjectReplace) or getattr(edit, "attribute", None) == attribute
    ]


def _most_urgent(mind: Mind, edits: list[Edit], refer: bool, mood: str) -> tuple[str, list[Edit]]:
    """The mood to speak in and the edits to speak of."""
    failed = mind.failed
    asked = elements(failed) if failed else frozenset()

    def among(wanted: Callable[[Edit], bool]) -> list[Edit]:
        return [edit for edit in edits if wanted(edit)]

    again = among(lambda edit: type(edit) is type(failed) and bool(elements(edit) & asked))
    again = again or among(lambda edit: bool(elements(edit) & asked))
    if again:
        return "again", again
    urgent = among(lambda edit: bool(elements(edit) & mind.damaged))
    if urgent:
        return (mood if mood == "mind" else "repair"), urgent
    pointed = refer and among(lambda edit: is_pointed_at(edit, mind.situation))
    same = refer and among(lambda edit: is_the_same(edit, mind.situation))
    return "ask", pointed or same or edits
