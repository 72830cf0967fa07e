"""Forms of intents: how what a turn asks for is written down between the words and the picture.

To add a form, write a class with the members of `IntentForm`, name it in FORMS, and put a file of its name
into `configs/intent_form`. Words that are new to the studio go into `language.FORM_WORDS`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Protocol

from editenv.registry import lookup
from editenv.worlds.studio.language import (
    LEAVE_ALONE,
    THEN,
    canonical_intent,
    intent_patterns,
    plain_words,
    template_regex,
)
from editenv.worlds.studio.nlu import (
    INTENT_SLOTS,
    SpeechAct,
    apply_all,
    apply_intent,
    carried_out,
    intent_act,
    parse_intent,
    read_looks,
    read_rule,
)
from editenv.worlds.studio.noun_phrases import plural
from editenv.worlds.studio.rules import Protect, Rule, right_result
from editenv.worlds.studio.scene import COLORS, MATERIALS, SHAPES, SIGN, TEXTS, Scene
from editenv.worlds.studio.session import StudioTurn
from editenv.worlds.studio.tasks import RELATIONS, Edit, MultiEdit, Target, Undo

__all__ = ["FORMS", "IntentForm", "intent_form", "plain_edit"]


class IntentForm(Protocol):
    """A way to write a turn's intent, and to carry it out."""

    tokens: int
    """Most tokens that intents of the form take, the stop token included; 0 where the caller's own number is
    enough."""

    def write(self, turn: StudioTurn, grid: int) -> str:
        """What an agent should write in a turn.

        Args:
            turn: what the user says, with what is meant by it.
            grid: cells a side.

        Raises:
            ValueError: the form has no words for what the turn means.
        """
        ...

    def read(self, text: str, scene: Scene, grid: int) -> Scene | None:
        """The scene that an intent asks for, None where it cannot be carried out; never raises.

        Args:
            text: an intent in this form; case, punctuation and spaces do not matter.
            scene: what the picture shows now.
            grid: cells a side.
        """
        ...

    def name(self, target: Target, grid: int) -> str:
        """How an intent names an object."""
        ...


class FreeForm:
    """The published form, one self-contained instruction with every rule worked in: "make the circle red"."""

    tokens = 0

    def write(self, turn: StudioTurn, grid: int) -> str:
        """The turn's canonical intent."""
        return turn.intent

    def read(self, text: str, scene: Scene, grid: int) -> Scene | None:
        """See `apply_intent`."""
        return apply_intent(text, scene, grid)

    def name(self, target: Target, grid: int) -> str:
        """As sentences do: "the red circle"."""
        return target.words(grid)


_RULE, _EDIT, _UNDO = "rule", "edit", "undo"


class RulesForm(FreeForm):
    """The rules in force, then the edit: "rule : all red . edit : change the color of the circle".

    The intent writer only remembers what was said; the image editor applies it. An instruction that a rule
    makes impossible is written like any other. An undo names the edit that undoes, to which demands do not
    apply.
    """

    tokens = 64

    def write(self, turn: StudioTurn, grid: int) -> str:
        """The rules in the order in which they were stated, then the edit without them.

        Raises:
            ValueError: a rule's speech act has no "intent" among its sentences.
        """
        stated = [f"{_RULE} : {rule_words(rule, grid)}" for rule in turn.rules]
        return " . ".join([*stated, f"{_EDIT} : {plain_edit(turn.edit, grid)}"])

    def read(self, text: str, scene: Scene, grid: int) -> Scene | None:
        """The edit's right result under the rules; `scene` where they make it impossible."""
        stated, mark, said = plain_words(text).rpartition(f"{_EDIT} ")
        rules = [read_rule(words.strip(), grid) for words in stated.split(f"{_RULE} ")[1:]]
        known = tuple(rule for rule in rules if rule is not None)
        edit = _read_edit(said, scene, grid) if mark else None
        begins = not stated or stated.startswith(f"{_RULE} ")
        if edit is None or len(known) < len(rules) or not begins:
            return None
        result = right_result(edit, known, scene)
        return result if result.known() else None


def plain_edit(edit: Edit, grid: int) -> str:
    """An edit in its canonical sentence, no rule worked in; looks that it leaves open stay open."""
    if isinstance(edit, Undo):
        return f"{_UNDO} : {plain_edit(edit.instead, grid)}"
    if isinstance(edit, MultiEdit):
        return THEN.join(plain_edit(part, grid) for part in edit.parts)
    if getattr(edit, "value", "") is None:
        return intent_patterns("alter_open")[0].format(**edit.slots(edit.asked(), grid))
    return canonical_intent(edit, (), grid)


def _read_edit(said: str, scene: Scene, grid: int) -> Edit | None:
    """The inverse of `plain_edit` on a scene, from plain words; None where it cannot be carried out."""
    instead = said.removeprefix(f"{_UNDO} ")
    parsed = [parse_intent(part, scene, grid) for part in instead.split(THEN)]
    edits = tuple(part.edit for part in parsed if part is not None and not part.looks)
    if len(edits) < len(parsed):
        return None
    edit: Edit = edits[0] if len(edits) == 1 else MultiEdit(edits)  # type: ignore[assignment]
    return edit if instead == said else Undo(edit)


def rule_words(rule: Rule, grid: int) -> str:
    """A rule in its canonical sentence: "all red", "never touch the star in row 1 column 2".

    Raises:
        ValueError: its speech act has none.
    """
    patterns = intent_patterns(rule.act)
    if not patterns:
        raise ValueError(f"speech act {rule.act!r} has no sentence under 'intent', which intents that list rules need")
    if isinstance(rule, Protect):
        # Of two stars only one is protected, and only its place tells which.
        rule = replace(rule, target=replace(rule.target, placed=True))
    return patterns[0].format(**rule.slots(grid)).replace('"', "")


_LEAVE = "task leave"
_TASKS = {
    "subject_add": "task add new {new} to {place}",
    "subject_add_beside": "task add new {new} to {relation}",
    "subject_remove": "task remove target {old}",
    "subject_replace": "task replace target {old} new {new}",
    "color_alter": "task change target {old} {looks}",
    "alter_open": "task {attribute} target {old}",
    "position_change": "task move target {old} to {place}",
    "position_change_beside": "task move target {old} to {relation}",
    "text_change": "task text target {old} text {text}",
    "count_change": "task number target {many}",
    "background_change": "task background to {value}",
}
"""By speech act; material_alter has color_alter's sentence, and looks that a rule adds stand at the end."""


class StructuredForm:
    """Keys and values, rules worked in as in `free`: "task change target striped circle in 2 3 color red"."""

    tokens = 32

    def write(self, turn: StudioTurn, grid: int) -> str:
        """The turn's canonical intent as keys and values.

        Raises:
            ValueError: the intent is no canonical one.
        """
        return structured(turn.intent)

    def read(self, text: str, scene: Scene, grid: int) -> Scene | None:
        """What the canonical intent that says the same asks for."""
        said = plain_words(text)
        if said == _LEAVE:
            return scene
        acts = [_structured_act(part) for part in said.split(THEN)]
        return apply_all([act and carried_out(act, scene, grid) for act in acts], scene)

    def name(self, target: Target, grid: int) -> str:
        """Looks and place without grammar: "striped circle in 2 3"."""
        return _short(plain_words(target.words(grid)))


def structured(intent: str) -> str:
    """A canonical intent as keys and values.

    Raises:
        ValueError: it is no canonical intent.
    """
    said = plain_words(intent)
    if said == LEAVE_ALONE:
        return _LEAVE
    acts = [intent_act(part) for part in said.split(THEN)]
    if any(act is None or act.act not in {**_TASKS, "material_alter": ""} for act in acts):
        raise ValueError(f"intent is {intent!r}, expected a canonical one where intents are structured")
    return THEN.join(_written(act) for act in acts if act is not None)


def _written(act: SpeechAct) -> str:
    pattern = _TASKS["color_alter" if act.act == "material_alter" else act.act]
    slots = {name: _short(words) for name, words in act.slots.items()}
    if "looks" in slots:
        slots["looks"] = " ".join(f"{key} {value}" for key, value in reversed(read_looks(slots["looks"]).items()))
        pattern += "" if "{looks}" in pattern else " {looks}"
    if "many" in slots:  # from "three red circles" to "red circle to three"
        number, *looks, last = slots["many"].split()
        shape = next(shape for shape in SHAPES if last in (shape, plural(shape)))
        slots["many"] = " ".join([*looks, shape, "to", number])
    return pattern.format(**slots)


def _short(words: str) -> str:
    """From "the red sign that says open in row 2 column 3" to "red sign open in 2 3"; other words stay."""
    for name, relation in RELATIONS.items():
        if words.startswith(f"{relation} the "):
            return f"{name} of {_short(words.removeprefix(f'{relation} '))}"
    words = re.sub("^(the|an?) ", "", words).replace(f"{SIGN} that says ", f"{SIGN} ")
    return re.sub(r"row (\d) column (\d)$", r"\1 \2", words)


def _structured_act(said: str) -> SpeechAct | None:
    """The act of keys and values (plain words); None where they are none."""
    if {"row", "column", "says"} & set(said.split()):
        return None
    words = re.sub(rf"\b{SIGN} ({'|'.join(TEXTS)})\b", rf"{SIGN} that says \1", said)
    words = re.sub(r"\b(\d) (\d)\b", r"row \1 column \2", words)
    for act, pattern in _structured_templates():
        if match := pattern.fullmatch(words):
            return SpeechAct(act, {name: _long(name, slot) for name, slot in match.groupdict().items()})
    return None


def _long(name: str, words: str) -> str:
    """What a slot of canonical sentences says for one of keys and values."""
    if name == "relation":
        relation, _, anchor = words.partition(" of ")
        return f"{RELATIONS[relation]} the {anchor}"
    if name == "many":
        looks, _, number = words.partition(" to ")
        return f"{number} {looks}"
    return {"old": "the ", "new": "a "}.get(name, "") + words


@lru_cache(maxsize=1)
def _structured_templates() -> tuple[tuple[str, re.Pattern[str]], ...]:
    known = INTENT_SLOTS["old"].removeprefix("the ")
    number, described = INTENT_SLOTS["many"].split(" ", 1)
    material, color = (f"{key} (?:{'|'.join(values)})" for key, values in (("material", MATERIALS), ("color", COLORS)))
    slots: Mapping[str, str] = INTENT_SLOTS | {
        "old": known,
        "new": known,
        "relation": f"(?:{'|'.join(RELATIONS)}) of {known}",
        "many": f"{described} to {number}",
        "looks": f"(?:{material}(?: {color})?|{color})",
    }
    return tuple(
        (act, template_regex(pattern + ruled, slots))
        for act, pattern in _TASKS.items()
        for ruled in ("", " {looks}")
        if not ruled or len(intent_patterns(act)) > 1  # a rule adds looks where a sentence for that exists
    )


FORMS: dict[str, IntentForm] = {"free": FreeForm(), "rules": RulesForm(), "structured": StructuredForm()}
"""Forms by name."""


def intent_form(name: str) -> IntentForm:
    """The form of a name.

    Raises:
        ValueError: there is none.
    """
    return lookup("intent_form", name, FORMS)
