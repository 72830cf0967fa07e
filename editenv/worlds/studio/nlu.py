"""What instructions and intents mean: the one inverse of the sentence templates in phrases.yaml.

    text -> match templates -> SpeechAct (act, words in its slots) -> where the session stands -> Edit,
    Statement

Three readers share it: `apply_intent` carries out canonical intents (an exact image editor), `meanings` reads
what users say (the observation oracle), and `read_rule` reads rules that intents list. A slot other than
{edit} holds at most LONGEST_PHRASE words and a turn at most MOST_STATEMENTS statements about rules, so
reading takes time linear in the text's length. What an act of one's own means is said by a function in
EDIT_READERS or RULE_READERS.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import product
from typing import Any

from editenv.worlds.studio.dialogue import DialogueState, contradicts_rule
from editenv.worlds.studio.language import (
    LEAVE_ALONE,
    MARKS,
    THEN,
    all_phrasings,
    intent_patterns,
    plain_words,
    speech_acts,
    template_regex,
    tokens,
)
from editenv.worlds.studio.noun_phrases import NUMBERS, REGIONS, plural
from editenv.worlds.studio.references import REFERENCES, plain_target
from editenv.worlds.studio.rules import (
    RULES,
    AttributeRule,
    AvoidLook,
    Except,
    KeepEmpty,
    LimitAlike,
    LimitCount,
    Protect,
    Replace,
    Revoke,
    Rule,
    ScopedRule,
    Statement,
)
from editenv.worlds.studio.scene import BACKGROUNDS, COLORS, MATERIALS, SHAPES, SIGN, TEXTS, Scene
from editenv.worlds.studio.tasks import (
    MOST_COUNT,
    RELATIONS,
    BackgroundChange,
    Beside,
    ColorAlter,
    CountChange,
    Edit,
    MaterialAlter,
    MultiEdit,
    PositionChange,
    SubjectAdd,
    SubjectRemove,
    SubjectReplace,
    Target,
    TextChange,
    Undo,
    inverse_edit,
)

LONGEST_PHRASE = 40
MOST_STATEMENTS = 4
_MOST_MARKS = 6
"""Marks inside of one sentence, such as the comma of "in row 1 column 2 , add a star"."""

Slots = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SpeechAct:
    """One sentence taken apart: the name of an act in phrases.yaml, and the words in each of its slots."""

    act: str
    slots: Slots


@dataclass(frozen=True, slots=True)
class Context:
    """Where words are read."""

    state: DialogueState  # where the session stands; its scene is what the picture shows
    # objects are named by looks and place alone, as in intents; users may also point back at them
    literal: bool = False

    @property
    def scene(self) -> Scene:
        """What the picture shows."""
        return self.state.scene

    def objects(self, words: str) -> list[Target]:
        """All single objects that the words may mean: one where they are clear, none where nothing fits."""
        target, fitting = described(words, self.state.grid), list[Target]()
        if target is not None:
            cells = (target.cell,) if target.placed else range(len(self.scene.cells))
            fitting = [replace(target, cell=cell) for cell in cells if target.fits(self.scene.cells[cell])]
        return fitting if fitting or self.literal else _pointed(words, self.state)

    def groups(self, words: str) -> list[tuple[Target, ...]]:
        """As `objects`, and objects named together: "the star and the circle", "them"."""
        single = [(target,) for target in self.objects(words)]
        if single or self.literal:
            return single
        if words in _phrases_of("them", {}):
            return [self.state.group] if self.state.group else []
        several = [self.objects(part) for part in words.split(" and ")]
        return list(product(*several)) if len(several) > 1 else []

    def places(self, slots: Slots) -> list[tuple[int, Beside | None]]:
        """Cells that {place} or {relation} may mean; with neither, the cell that was emptied last."""
        for name, said in RELATIONS.items() if "relation" in slots else ():
            if slots["relation"].startswith(f"{said} "):
                anchors = self.objects(slots["relation"].removeprefix(f"{said} "))
                found = [Beside(name, anchor) for anchor in anchors]
                return [(next(iter(beside.cells(self.scene)), 0), beside) for beside in found]
        cell = read_cell(slots["place"], self.state.grid) if "place" in slots else self.state.vacated
        return [] if cell is None else [(cell, None)]


# Noun phrases.

_PLACE = r"row \d column \d"


def _any_of(words: Iterable[str]) -> str:
    return f"(?:{'|'.join(words)})"


def _unnamed(expression: str) -> str:
    """A regular expression whose groups have no names."""
    return re.sub(r"\?P<\w+>", "?:", expression)


_LOOKS = rf"(?:(?P<material>{_any_of(MATERIALS)}) )?(?:(?P<color>{_any_of(COLORS)}) )?"
_NOUN = (
    rf"{_LOOKS}(?P<shape>{_any_of((*SHAPES, 'object', SIGN))})"
    rf"(?:(?<={SIGN}) that says (?P<text>{_any_of(TEXTS)}))?(?: in (?P<place>{_PLACE}))?"
)
_OBJECT = re.compile(f"(?P<article>the|an?) {_NOUN}")


def described(words: str, grid: int) -> Target | None:
    """The object of which "the striped red star in row 2 column 3" speaks, in cell 0 where no place is named.

    None where it is no such phrase, or the place lies outside of the grid.
    """
    match = _OBJECT.fullmatch(words)
    if match is None or match["article"] != "the":
        return None
    cell = read_cell(match["place"], grid) if match["place"] else 0
    shape = None if match["shape"] == "object" else match["shape"]
    if cell is None:
        return None
    return Target(cell, shape, match["color"], match["material"], bool(match["place"]), match["text"])


def new_looks(words: str) -> dict[str, Any] | None:
    """Looks of a new object, such as "a striped red star" or "a sign that says open"; None for others."""
    match = _OBJECT.fullmatch(words)
    if match is None or match["article"] == "the" or match["place"] or match["shape"] == "object":
        return None
    if match["shape"] == SIGN and match["text"] is None:
        return None
    return {name: match[name] for name in ("shape", "color", "material", "text")}


def read_cell(words: str, grid: int) -> int | None:
    """The number of the cell "row 2 column 3", None where it lies outside of the grid."""
    match = re.fullmatch(r"row (\d) column (\d)", words)
    if match is None or not (1 <= int(match[1]) <= grid and 1 <= int(match[2]) <= grid):
        return None
    return (int(match[1]) - 1) * grid + int(match[2]) - 1


def read_looks(words: str) -> dict[str, str]:
    """Colour and material that "striped red" names, by attribute, the colour first."""
    found = {attribute_of(word): word for word in words.split()}
    return {name: found[name] for name in ("color", "material") if name in found}


def attribute_of(value: str) -> str | None:
    """The attribute that has such a value."""
    return "color" if value in COLORS else "material" if value in MATERIALS else None


def _pointed(words: str, state: DialogueState) -> list[Target]:
    """Objects that users point at, in any way there is; "it" is what was edited last."""
    ways = ("it", "just_added") if isinstance(state.last, SubjectAdd) else ("it",)
    if state.focus is not None and any(words in _phrases_of(way, {}) for way in ways):
        return [state.focus]
    cells = {
        cell: None
        for way in _naming_acts()
        for cell, slots in REFERENCES[way].points(state)
        if words in _phrases_of(way, slots)
    }
    named = [plain_target(state, cell) for cell in cells]
    return [target for target in named if target is not None]


def _phrases_of(act: str, slots: Slots) -> set[str]:
    """All that can be said for an act whose slots are filled, without quotation marks."""
    found = (*all_phrasings(act, "train"), *all_phrasings(act, "test"))
    return {" ".join(tokens(phrase.format(**slots).replace('"', " "))) for phrase in found}


def _naming_acts() -> list[str]:
    """Acts whose phrases stand in the slot of an object."""
    return sorted((REFERENCES.keys() & set(speech_acts())) - {"same"})


_RELATION = _any_of(RELATIONS.values())
_KNOWN = _unnamed(_NOUN)
INTENT_SLOTS = {
    "place": _PLACE,
    "old": f"the {_KNOWN}",
    "new": f"an? {_KNOWN}",
    "relation": f"{_RELATION} the {_KNOWN}",
    "many": (f"{_any_of(NUMBERS[1 : MOST_COUNT + 1])} {_unnamed(_LOOKS)}{_any_of((*SHAPES, *map(plural, SHAPES)))}"),
    "text": _any_of(TEXTS),
    "looks": f"(?:{_any_of(MATERIALS)}(?: {_any_of(COLORS)})?|{_any_of(COLORS)})",
    "value": _any_of((*BACKGROUNDS, *COLORS, *MATERIALS)),
    "shape": _any_of(SHAPES),
    "where": f"the {_any_of(REGIONS)}",
    "count": _any_of(NUMBERS[1:]),
    "attribute": "(?:color|material|shape)",
}
"""Regular expressions of the slots of canonical intents, where every word is known."""

_PHRASE = rf"[a-z\d]+(?: [a-z\d,]+){{0,{LONGEST_PHRASE - 1}}}?"
_SAID_SLOTS: dict[str, str] = defaultdict(lambda: _PHRASE) | {
    "place": _PLACE,
    "relation": f"{_RELATION} {_PHRASE}",
    "new": f"an? {_PHRASE}",
    "attribute": INTENT_SLOTS["attribute"],
    "value": "[a-z]+",
}
"""Slots of what users say: a phrase may also point back, in any words."""


# Edits: all that an act may ask for; none where it makes no sense here, several where it is ambiguous.


def edits_of(act: SpeechAct, context: Context) -> list[Edit]:
    """All edits that an act may mean and that can be done in this scene."""
    if act.act not in EDIT_READERS:
        return []
    return [edit for edit in EDIT_READERS[act.act](act.slots, context) if _possible(edit, context.scene)]


def _possible(edit: Edit, scene: Scene) -> bool:
    try:
        edit.apply(scene)
    except ValueError:
        return False
    return True


def _of_each(edit: Callable[[Target], Edit], words: str, context: Context) -> list[Edit]:
    """The same edit of one object or of several at once."""
    found = [tuple(edit(target) for target in group) for group in context.groups(words)]
    return [parts[0] if len(parts) == 1 else MultiEdit(parts) for parts in found]


def _read_add(slots: Slots, context: Context) -> list[Edit]:
    looks = new_looks(slots["new"])
    return [SubjectAdd(cell, **looks, beside=beside) for cell, beside in context.places(slots)] if looks else []


def _read_replace(slots: Slots, context: Context) -> list[Edit]:
    looks = new_looks(slots["new"])
    return [SubjectReplace(target, **looks) for target in context.objects(slots["old"])] if looks else []


def _read_alter(slots: Slots, context: Context, attribute: str = "") -> list[Edit]:
    """Another colour or material; any other one where no value is said."""
    kind = {"color": ColorAlter, "material": MaterialAlter}.get(attribute or slots["attribute"])
    value = slots.get("value")
    if kind is None or value not in (None, *kind.values):
        return []
    return _of_each(lambda target: kind(target, value), slots.get("old", "it"), context)


def _read_move(slots: Slots, context: Context) -> list[Edit]:
    return [
        PositionChange(target, cell, beside)
        for target in context.objects(slots["old"])
        for cell, beside in context.places(slots)
        if beside is None or beside.anchor.cell != target.cell
    ]


def _read_text(slots: Slots, context: Context) -> list[Edit]:
    known = slots["text"] in TEXTS
    return [TextChange(target, slots["text"]) for target in context.objects(slots["old"])] if known else []


def _read_count(slots: Slots, context: Context) -> list[Edit]:
    if not re.fullmatch(INTENT_SLOTS["many"], slots["many"]):
        return []
    number, *looks, last = slots["many"].split()
    shape = next(shape for shape in SHAPES if last in (shape, plural(shape)))
    return [CountChange(NUMBERS.index(number), shape, **read_looks(" ".join(looks)))]


def _read_same(slots: Slots, context: Context) -> list[Edit]:
    last = context.state.last
    found = context.objects(slots["old"]) if hasattr(last, "target") else []
    return [replace(last, target=target) for target in found]  # type: ignore[type-var,misc]


def _read_undo(slots: Slots, context: Context) -> list[Edit]:
    previous = context.state.previous
    # What is undone is what was shown; the single edit that would do it serves the intent alone.
    return [] if previous is None else [Undo(inverse_edit(context.state) or BackgroundChange(previous.background))]


EDIT_READERS: dict[str, Callable[[Slots, Context], list[Edit]]] = {
    "subject_add": _read_add,
    "subject_add_there": _read_add,
    "subject_add_beside": _read_add,
    "subject_remove": lambda slots, context: _of_each(SubjectRemove, slots["old"], context),
    "subject_replace": _read_replace,
    "color_alter": partial(_read_alter, attribute="color"),
    "material_alter": partial(_read_alter, attribute="material"),
    "alter_open": _read_alter,
    "alter_its": _read_alter,
    "position_change": _read_move,
    "position_change_beside": _read_move,
    "text_change": _read_text,
    "count_change": _read_count,
    "background_change": lambda slots, _: [BackgroundChange(slots["value"])] if slots["value"] in BACKGROUNDS else [],
    "same": _read_same,
    "undo": _read_undo,
}
"""By speech act: all edits that its slots may mean."""


# Rules: all that an act may say about them.


def statements_of(acts: Sequence[SpeechAct], state: DialogueState) -> list[tuple[Statement, ...]]:
    """All that a few acts may say about rules together; one that is empty where there are no acts."""
    found: list[tuple[Statement, ...]] = [()]
    for act in acts:
        read = RULE_READERS[act.act]
        found = [
            (*before, statement) for before in found for statement in read(act.slots, Context(state.stating(*before)))
        ]
    return found


def _named_rules(slots: Slots, context: Context) -> list[Rule]:
    """The rules in force that have such a name."""
    return [rule for rule in context.state.rules if rule.slots(context.state.grid)["rule"] == slots["rule"]]


def _of_value(rule: Callable[[str, str], Rule], slots: Slots) -> list[Any]:
    attribute = attribute_of(slots["value"])
    return [] if attribute is None else [rule(attribute, slots["value"])]


def _read_replaced(slots: Slots, context: Context) -> list[Statement]:
    return [
        Replace(rule, new)
        for rule in _named_rules(slots, context)
        for new in _of_value(AttributeRule, slots)
        if isinstance(rule, AttributeRule) and rule.attribute == new.attribute
    ]


def _read_keep_empty(slots: Slots, context: Context) -> list[Statement]:
    name = slots["where"].removeprefix("the ")
    return [KeepEmpty(name)] if name in REGIONS else []


def _read_limit(slots: Slots, context: Context) -> list[Statement]:
    return [LimitCount(NUMBERS.index(slots["count"]))] if slots["count"] in NUMBERS[1:] else []


RULE_READERS: dict[str, Callable[[Slots, Context], Sequence[Statement]]] = {
    "rule_attribute": lambda slots, _: _of_value(AttributeRule, slots),
    "rule_scoped": lambda slots, _: _of_value(partial(ScopedRule, slots["shape"]), slots),
    "rule_protect": lambda slots, context: [Protect(target) for target in context.objects(slots["old"])],
    "rule_avoid": lambda slots, _: _of_value(AvoidLook, slots),
    "rule_keep_empty": _read_keep_empty,
    "rule_limit": _read_limit,
    "rule_limit_alike": lambda slots, _: [LimitAlike(slots["attribute"])],
    "revoke": lambda slots, context: [Revoke(rule) for rule in _named_rules(slots, context)],
    "replace": _read_replaced,
    # The words do not tell which rule: it is the one that the edit is against (`meanings`).
    "exception": lambda _, context: [Except(rule) for rule in context.state.rules],
}
"""By speech act: all that its slots may say about rules."""


# What users say.

Meaning = tuple[tuple[Statement, ...], Edit]
"""What a turn says about rules, and what is to be done."""


def meanings(text: str, state: DialogueState) -> list[Meaning]:
    """All that an instruction may mean where the session stands, without doubles; one where it is clear."""
    for run in readings(text):
        found: dict[Meaning, None] = {}
        for *spoken, asked in run:
            for statements in statements_of(spoken, state):
                for edit in edits_of(asked, Context(state.stating(*statements))):
                    if _excepts_rightly(statements, edit, state):
                        found[statements, edit] = None
        # What is said about rules may not be passed over as if it asked for nothing.
        if found or any(len(acts) > 1 for acts in run):
            return list(found)
    return []


def _excepts_rightly(statements: tuple[Statement, ...], edit: Edit, state: DialogueState) -> bool:
    """Is every exception made for a rule that the edit is against, and enough to let it pass?"""
    rules = [statement.rule for statement in statements if isinstance(statement, Except)]
    return not rules or (
        all(contradicts_rule(edit, rule, state) for rule in rules) and not state.stating(*statements).impossible(edit)
    )


def readings(text: str) -> Iterator[list[tuple[SpeechAct, ...]]]:
    """Ways to read a text as speech acts: what is said about rules in order, then what is asked.

    Words that ask for nothing may stand around the sentence, set off by marks, so every run of clauses that
    can be read is given, the longest first.

    Yields:
        All readings of one run.
    """
    asked, before, behind = _sentences_in([word for word in tokens(text) if word != '"'])
    runs: dict[tuple[int, int], list[tuple[SpeechAct, ...]]] = defaultdict(list)
    for start, end, act in asked:
        for first, said in _chains(before, start):
            for last, added in _chains(behind, end):
                if len(said) + len(added) <= MOST_STATEMENTS:
                    runs[first, last].append((*reversed(said), *added, act))
    for run in sorted(runs, key=lambda run: (run[0] - run[1], run[0])):
        yield runs[run]


_Steps = dict[int, list[tuple[int, SpeechAct]]]
"""By a place in the text: where a statement about rules that begins or ends there leads to, and its act."""


def _sentences_in(words: list[str]) -> tuple[list[tuple[int, int, SpeechAct]], _Steps, _Steps]:
    """Acts that ask for an edit (start, end, act); statements before edits by end, behind them by start."""
    templates = _templates(len(speech_acts()))

    def match(side: str, start: int, end: int) -> list[SpeechAct]:
        said = " ".join(words[start:end])
        known = (*templates.get((side, ""), ()), *templates.get((side, said.partition(" ")[0]), ()))
        found = ((act, pattern.fullmatch(said)) for act, pattern in known)
        return [SpeechAct(act, match.groupdict()) for act, match in found if match]

    marks = [place for place, word in enumerate(words) if word in MARKS]
    starts, ends = [0, *(place + 1 for place in marks)], [*marks, len(words)]
    asked: list[tuple[int, int, SpeechAct]] = []
    before: _Steps = defaultdict(list)
    behind: _Steps = defaultdict(list)
    for first, start in enumerate(starts):
        near = slice(first + 1, first + _MOST_MARKS + 2)
        for end in (ends[first], *ends[near]):
            asked += [(start, end, act) for act in match("asks", start, end)]
        for end in starts[near]:
            before[end] += [(start, act) for act in match("before", start, end)]
        for end in ends[near]:
            behind[ends[first]] += [(end, act) for act in match("behind", ends[first], end)]
    return asked, before, behind


def _chains(steps: _Steps, place: int, most: int = MOST_STATEMENTS) -> Iterator[tuple[int, tuple[SpeechAct, ...]]]:
    """Statements that follow each other without a gap from a place on, with the place that they reach."""
    yield place, ()
    for reached, act in steps.get(place, ()) if most else ():
        yield from ((last, (act, *more)) for last, more in _chains(steps, reached, most - 1))


@lru_cache(maxsize=1)
def _templates(acts: int) -> dict[tuple[str, str], list[tuple[str, re.Pattern[str]]]]:
    """Sentences of all splits by place ("asks", "before" {edit} or "behind" it) and first word.

    The first word is "" where a sentence begins with a slot. `acts` is how many speech acts there are; those
    that only name an object are left out.
    """
    found: dict[tuple[str, str], list[tuple[str, re.Pattern[str]]]] = defaultdict(list)
    naming = _naming_acts()
    for act in speech_acts():
        for pattern in dict.fromkeys((*all_phrasings(act, "train"), *all_phrasings(act, "test"))):
            side = "behind" if pattern.startswith("{edit}") else "before" if "{edit}" in pattern else "asks"
            said = pattern.replace("{edit}", "").strip()
            first = "" if said.startswith("{") else tokens(said)[0]
            if act not in naming:
                found[side, first].append((act, template_regex(said, _SAID_SLOTS)))
    return dict(found)


# Canonical intents.


@dataclass(frozen=True, slots=True)
class ParsedIntent:
    """One canonical sentence that was understood."""

    edit: Edit  # what is to be done; possible on the scene that it was read for
    # what the edited object shall get beside, by attribute; rules worked into a sentence say so
    looks: Mapping[str, str] = field(default_factory=dict)

    def apply(self, scene: Scene) -> Scene | None:
        """The edited scene; None where it holds what cannot be drawn."""
        cell = self.edit.edited_cell(scene) if self.looks else None
        edited = self.edit.apply(scene)
        thing = None if cell is None else edited.cells[cell]
        if cell is not None and thing is not None:
            edited = edited.put(cell, thing.with_looks(dict(self.looks)))
        return edited if edited.known() else None


def apply_intent(text: str, scene: Scene, grid: int) -> Scene | None:
    """The scene that a canonical intent asks for; never raises.

    Case, punctuation and spaces do not matter. What stands in a named cell gives way to an object that is
    added or moved there.

    Args:
        text: an intent such as "move the red star to row 2 column 3 and make it striped".
        scene: what the picture shows now.
        grid: cells a side.

    Returns:
        The edited scene; None where the text is no such sentence, names a cell outside of the grid, speaks
        of an object that is not there or of which there are several, lacks room, or asks for what cannot be
        drawn, such as a striped sign.
    """
    said = plain_words(text)
    if said == LEAVE_ALONE:
        return scene
    return apply_all([parse_intent(part, scene, grid) for part in said.split(THEN)], scene)


def apply_all(parsed: Sequence[ParsedIntent | None], scene: Scene) -> Scene | None:
    """The scene with the changes of all, each read on the scene as it was; None where one cannot be."""
    result = scene
    for intent in parsed:
        edited = None if intent is None else intent.apply(scene)
        if edited is None:
            return None
        for cell, thing in enumerate(edited.cells):
            if thing != scene.cells[cell]:
                result = result.put(cell, thing)
        if edited.background != scene.background:
            result = replace(result, background=edited.background)
    return result


def parse_intent(said: str, scene: Scene, grid: int) -> ParsedIntent | None:
    """What one canonical sentence (plain words) means; None as in `apply_intent`."""
    act = intent_act(said)
    return None if act is None else carried_out(act, scene, grid)


def intent_act(said: str) -> SpeechAct | None:
    """The act of a canonical sentence (plain words); None where it is no such sentence."""
    for act, pattern in _intent_templates(len(speech_acts())):
        if match := pattern.fullmatch(said):
            return SpeechAct(act, match.groupdict())
    return None


def carried_out(act: SpeechAct, scene: Scene, grid: int) -> ParsedIntent | None:
    """What a canonical act means on a scene, None where it cannot be carried out or is ambiguous."""
    slots, looks = dict(act.slots), read_looks(act.slots.get("looks", ""))
    name = act.act
    if name in ("color_alter", "material_alter") and looks:
        attribute = next(iter(looks))
        name, slots["value"] = f"{attribute}_alter", looks.pop(attribute)
    found = edits_of(SpeechAct(name, slots), Context(DialogueState(scene, grid), literal=True))
    return ParsedIntent(found[0], looks) if len(found) == 1 else None


def read_rule(said: str, grid: int) -> Rule | None:
    """The rule that a canonical sentence (plain words) states; None where it is no such sentence."""
    for act, pattern in _rule_templates(len(RULES)):
        match = pattern.fullmatch(said)
        if match and act == Protect.act:
            # Of two stars only one is protected, and only its place tells which; it need not be there.
            target = described(match["old"], grid)
            return Protect(target) if target is not None and target.placed else None
        if match:
            context = Context(DialogueState(Scene((None,) * grid**2, BACKGROUNDS[0]), grid), literal=True)
            stated = RULE_READERS[act](match.groupdict(), context)
            return stated[0] if stated else None  # type: ignore[return-value]
    return None


@lru_cache(maxsize=1)
def _intent_templates(acts: int) -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple(
        (act, template_regex(pattern, INTENT_SLOTS))
        for act in speech_acts()
        if act in EDIT_READERS
        for pattern in intent_patterns(act)
    )


@lru_cache(maxsize=1)
def _rule_templates(families: int) -> tuple[tuple[str, re.Pattern[str]], ...]:
    acts = [rule.act for rule in RULES.values() if rule.act in RULE_READERS]
    return tuple((act, template_regex(pattern, INTENT_SLOTS)) for act in acts for pattern in intent_patterns(act))
