"""Forms of intents: how what a turn asks for is written down between the words and the picture.

To add a form, derive a class from `FreeForm`, name it in FORMS, and put a file of its name into `configs/intent_form`.
Words that are new to the studio go into `phrases.FORM_WORDS`.
"""

import re
from dataclasses import replace
from functools import lru_cache

from editenv.registry import lookup
from editenv.worlds.studio.edit import Edit, MultiEdit
from editenv.worlds.studio.language import canonical_intent
from editenv.worlds.studio.nlu import SpeechAct, apply_acts, apply_intent, intent_act, parse_act, read_rule
from editenv.worlds.studio.noun_phrases import INTENT_SLOTS, KNOWN_OBJECT, RELATIONS, Target, many_looks, read_looks
from editenv.worlds.studio.phrases import LEAVE_ALONE, THEN, intent_patterns, plain_words, template_regex
from editenv.worlds.studio.rule import Rule, right_result
from editenv.worlds.studio.scene import COLORS, MATERIALS, SIGN, TEXTS, Scene
from editenv.worlds.studio.session import StudioTurn
from editenv.worlds.studio.tasks import Undo


class FreeForm:
    """The published form, one self-contained instruction with every rule worked in: "make the circle red"."""

    tokens = 0  # most tokens that its intents take, the stop token included; 0 where the caller's own number is enough

    def write(self, turn: StudioTurn, grid: int) -> str:
        """What an agent should write in a turn; ValueError where the form has no words for what the turn means."""
        return turn.intent

    def read(self, text: str, scene: Scene, grid: int) -> Scene | None:
        """The scene that an intent asks for, None where it cannot be carried out; never raises.

        Case, punctuation and spaces do not matter.
        """
        return apply_intent(text, scene, grid)

    def name(self, target: Target, grid: int) -> str:
        """How an intent names an object: "the red circle"."""
        return target.words(grid)


class RulesForm(FreeForm):
    """The rules in force, then the edit: "rule : all red . edit : change the color of the circle".

    The intent writer only remembers what was said; the image editor applies it. An instruction that a rule makes
    impossible is written like any other. An undo names the edit that undoes, to which demands do not apply.
    """

    tokens = 64

    def write(self, turn: StudioTurn, grid: int) -> str:
        """The rules in the order in which they were stated, then the edit without them."""
        stated = [f"rule : {rule_words(rule, grid)}" for rule in turn.rules]
        return " . ".join([*stated, f"edit : {plain_edit(turn.edit, grid)}"])

    def read(self, text: str, scene: Scene, grid: int) -> Scene | None:
        """The edit's right result under the rules; `scene` where they make it impossible."""
        stated, mark, said = plain_words(text).rpartition("edit ")
        rules = [read_rule(words.strip(), grid) for words in stated.split("rule ")[1:]]
        known = tuple(rule for rule in rules if rule is not None)
        if not mark or len(known) < len(rules) or (stated and not stated.startswith("rule ")):
            return None
        instead = said.removeprefix("undo ")
        parsed = [parse_act(intent_act(part), scene, grid) for part in instead.split(THEN)]
        edits = tuple(edit for edit, looks in parsed if edit is not None and not looks)
        if len(edits) < len(parsed):
            return None
        edit = edits[0] if len(edits) == 1 else MultiEdit(edits)
        result = right_result(edit if instead == said else Undo(edit), known, scene)
        return result if result.known() else None


def plain_edit(edit: Edit, grid: int) -> str:
    """An edit in its canonical sentence, no rule worked in; looks that it leaves open stay open."""
    if isinstance(edit, Undo):
        return f"undo : {plain_edit(edit.instead, grid)}"
    if isinstance(edit, MultiEdit):
        return THEN.join(plain_edit(part, grid) for part in edit.parts)
    if getattr(edit, "value", "") is None:
        return intent_patterns("alter_open")[0].format(**edit.slots(edit.asked(), grid))
    return canonical_intent(edit, (), grid)


def rule_words(rule: Rule, grid: int) -> str:
    """A rule in its canonical sentence: "all red"; ValueError where its speech act has none."""
    patterns = intent_patterns(rule.act)
    if not patterns:
        raise ValueError(f"speech act {rule.act!r} has no sentence under 'intent', which intents that list rules need")
    target: Target | None = getattr(rule, "target", None)
    if target is not None:  # of two stars only one is meant, and only its place tells which
        rule = replace(rule, target=replace(target, placed=True))  # type: ignore[type-var]
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


class StructuredForm(FreeForm):
    """Keys and values, rules worked in as in `free`: "task change target striped circle in 2 3 color red"."""

    tokens = 32

    def write(self, turn: StudioTurn, grid: int) -> str:
        """The turn's canonical intent as keys and values."""
        return structured(turn.intent)

    def read(self, text: str, scene: Scene, grid: int) -> Scene | None:
        """What the canonical intent that says the same asks for."""
        said = plain_words(text)
        return scene if said == _LEAVE else apply_acts(list(map(_structured_act, said.split(THEN))), scene, grid)

    def name(self, target: Target, grid: int) -> str:
        """Looks and place without grammar: "striped circle in 2 3"."""
        return _short(plain_words(target.words(grid)))


def structured(intent: str) -> str:
    """A canonical intent as keys and values; ValueError where it is no canonical intent."""
    said = plain_words(intent)
    if said == LEAVE_ALONE:
        return _LEAVE
    written = []
    for act in map(intent_act, said.split(THEN)):
        name = act and act.act.replace("material_alter", "color_alter")
        if act is None or name not in _TASKS:
            raise ValueError(f"intent is {intent!r}, expected a canonical one where intents are structured")
        pattern, slots = _TASKS[name], {name: _short(words) for name, words in act.slots.items()}
        if "looks" in slots:
            slots["looks"] = " ".join(f"{key} {value}" for key, value in reversed(read_looks(slots["looks"]).items()))
            pattern += "" if "{looks}" in pattern else " {looks}"
        if many := many_looks(slots.get("many", "")):  # from "three red circles" to "red circle to three"
            number, *looks, _ = slots["many"].split()
            slots["many"] = " ".join([*looks, many["shape"], "to", number])
        written.append(pattern.format(**slots))
    return THEN.join(written)


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
    number, described = INTENT_SLOTS["many"].split(" ", 1)
    material, color = (f"{key} (?:{'|'.join(values)})" for key, values in (("material", MATERIALS), ("color", COLORS)))
    slots = INTENT_SLOTS | {
        "old": KNOWN_OBJECT,
        "new": KNOWN_OBJECT,
        "relation": f"(?:{'|'.join(RELATIONS)}) of {KNOWN_OBJECT}",
        "many": f"{described} to {number}",
        "looks": f"(?:{material}(?: {color})?|{color})",
    }
    return tuple(
        (act, template_regex(pattern + ruled, slots))
        for act, pattern in _TASKS.items()
        for ruled in ("", " {looks}")
        if not ruled or len(intent_patterns(act)) > 1  # a rule adds looks where a sentence for that exists
    )


FORMS: dict[str, FreeForm] = {"free": FreeForm(), "rules": RulesForm(), "structured": StructuredForm()}
"""Forms by name."""


def intent_form(name: str) -> FreeForm:
    """The form of a name; ValueError where there is none."""
    return lookup("intent_form", name, FORMS)
