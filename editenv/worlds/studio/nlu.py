"""What instructions and intents mean: the one inverse of the sentence templates in phrases.yaml.

    text  --match templates-->  SpeechAct (act, words in its slots)  --where the session stands-->  Edit,
    Statement

Three readers share it: `apply_intent` carries out canonical intents (an exact image editor), `meanings`
reads what users say (the observation oracle), and `read_rule` reads rules that intents list. A slot other
than {edit} holds at most LONGEST_PHRASE words and a turn at most MOST_STATEMENTS statements about rules, so
reading takes time linear in the text's length.

To have an act of one's own understood, add a function to EDIT_READERS or RULE_READERS.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product

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
    """One sentence taken apart.

    Attributes:
        act: its name in phrases.yaml.
        slots: the words in each of its slots.
    """

    act: str
    slots: Slots


@dataclass(frozen=True, slots=True)
class Context:
    """Where words are read.

    Attributes:
        state: where the session stands; its scene is what the picture shows.
        literal: objects are named by looks and place alone, as in intents; users may also point back at them.
    """

    state: DialogueState
    literal: bool = False

    @property
    def scene(self) -> Scene:
        """What the picture shows."""
        return self.state.scene

    def objects(self, words: str) -> list[Target]:
        """All single objects that the words may mean: one where they are clear, none where nothing fits."""
        target = described(words, self.state.grid)
        cells = () if target is None else (target.cell,) if target.placed else range(len(self.scene.cells))
        fitting = [replace(target, cell=cell) for cell in cells if target.fits(self.scene.cells[cell])]
        return fitting if fitting or self.literal else _pointed(words, self.state)

    def groups(self, words: str) -> list[tuple[Target, ...]]:
        """As `objects`, and objects named together: "the star and the circle", "them"."""
        single = [(target,) for target in self.objects(words)]
        if self.literal:
            return single
        if words in _phrases_of("them", {}):
            return [self.state.group] if self.state.group else []
        several = [self.objects(part) for part in words.split(" and ")]
        return single or (list(product(*several)) if len(several) > 1 else [])

    def places(self, slots: Slots) -> list[tuple[int, Beside | None]]:
        """Cells that {place} or {relation} may mean; with neither, the cell that was emptied last."""
        if "relation" in slots:
            name = next(
                (name for name, said in RELATIONS.items() if slots["relation"].startswith(f"{said} ")), ""
            )
            anchors = self.objects(slots["relation"].removeprefix(f"{RELATIONS[name]} ")) if name else []
            found = [Beside(name, anchor) for anchor in anchors]
            return [(next(iter(beside.cells(self.scene)), 0), beside) for beside in found]
        cell = read_cell(slots["place"], self.state.grid) if "place" in slots else self.state.vacated
        return [] if cell is None else [(cell, None)]


# Noun phrases.


def described(words: str, grid: int) -> Target | None:
    """The object of which "the striped red star in row 2 column 3" speaks, in cell 0 where no place is named.

    None where it is no such phrase, or the place lies outside of the grid.
    """
    match = _object().fullmatch(words)
    if match is None or match["article"] != "the":
        return None
    cell = read_cell(match["place"], grid) if match["place"] else 0
    shape = None if match["shape"] == "object" else match["shape"]
    if cell is None:
        return None
    return Target(cell, shape, match["color"], match["material"], bool(match["place"]), match["text"])


def new_looks(words: str) -> dict[str, str | None] | None:
    """Looks of a new object, such as "a striped red star" or "a sign that says open"; None for others."""
    match = _object().fullmatch(words)
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
    """Colour and material that "striped red" names, by attribute."""
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
    """All that can be said for an act whose slots are filled, as plain words and marks."""
    found = (*all_phrasings(act, "train"), *all_phrasings(act, "test"))
    return {" ".join(tokens(phrase.format(**slots))).replace('" ', "").replace(' "', "") for phrase in found}


def _naming_acts() -> tuple[str, ...]:
    """Acts whose phrases stand in the slot of an object."""
    return tuple(sorted((REFERENCES.keys() & set(speech_acts())) - {"same"}))


def _any_of(words: Sequence[str]) -> str:
    return f"(?:{'|'.join(words)})"


_PLACE = r"row \d column \d"
_LOOKS = f"(?:{_any_of(MATERIALS)} )?(?:{_any_of(COLORS)} )?"


def _noun(group: Callable[[str, str], str]) -> str:
    """The regular expression of an object without its article; `group` wraps each named part."""
    looks = "".join(
        f"(?:{group(name, _any_of(values))} )?"
        for name, values in (("material", MATERIALS), ("color", COLORS))
    )
    shape = group("shape", _any_of((*SHAPES, "object", SIGN)))
    says = f"(?:(?<={SIGN}) that says {group('text', _any_of(TEXTS))})?"
    return f"{looks}{shape}{says}(?: in {group('place', _PLACE)})?"


@lru_cache(maxsize=1)
def _object() -> re.Pattern[str]:
    return re.compile(f"(?P<article>the|an?) {_noun(lambda name, words: f'(?P<{name}>{words})')}")


@lru_cache(maxsize=1)
def intent_slots() -> dict[str, str]:
    """Regular expressions of the slots of canonical intents, where every word is known."""
    known = _noun(lambda name, words: words)
    shapes = _any_of((*SHAPES, *map(plural, SHAPES)))
    return {
        "place": _PLACE,
        "old": f"the {known}",
        "new": f"an? {known}",
        "relation": f"{_any_of(tuple(RELATIONS.values()))} the {known}",
        "many": f"{_any_of(NUMBERS[1 : MOST_COUNT + 1])} {_LOOKS}{shapes}",
        "text": _any_of(TEXTS),
        "looks": f"(?:{_any_of(MATERIALS)}(?: {_any_of(COLORS)})?|{_any_of(COLORS)})",
        "value": _any_of((*BACKGROUNDS, *COLORS, *MATERIALS)),
        "shape": _any_of(SHAPES),
        "where": f"the {_any_of(REGIONS)}",
        "count": _any_of(NUMBERS[1:]),
        "attribute": "(?:color|material|shape)",
    }


_PHRASE = rf"[a-z\d]+(?: [a-z\d,]+){{0,{LONGEST_PHRASE - 1}}}?"
_SAID_SLOTS: dict[str, str] = defaultdict(lambda: _PHRASE) | {
    "place": _PLACE,
    "relation": f"{_any_of(tuple(RELATIONS.values()))} {_PHRASE}",
    "new": f"an? {_PHRASE}",
    "attribute": "(?:color|material|shape)",
    "value": "[a-z]+",
}
"""Slots of what users say: a phrase may also point back, in any words."""


# Edits: what an act asks to be done. None of a list where it makes no sense here, several where it is
# ambiguous.


def edits_of(act: SpeechAct, context: Context) -> list[Edit]:
    """All edits that an act may mean and that can be done in this scene."""
    read = EDIT_READERS.get(act.act)
    return (
        [] if read is None else [edit for edit in read(act.slots, context) if _possible(edit, context.scene)]
    )


def _possible(edit: Edit, scene: Scene) -> bool:
    try:
        edit.apply(scene)
    except ValueError:
        return False
    return True


def _read_add(slots: Slots, context: Context) -> list[Edit]:
    looks = new_looks(slots["new"])
    places = [] if looks is None else context.places(slots)
    return [SubjectAdd(cell, **looks, beside=beside) for cell, beside in places]  # type: ignore[arg-type]


def _read_remove(slots: Slots, context: Context) -> list[Edit]:
    return _of_each(SubjectRemove, slots["old"], context)


def _read_replace(slots: Slots, context: Context) -> list[Edit]:
    looks = new_looks(slots["new"])
    found = [] if looks is None else context.objects(slots["old"])
    return [SubjectReplace(target, **looks) for target in found]  # type: ignore[arg-type]


_ALTERS: dict[str, type[ColorAlter | MaterialAlter]] = {"color": ColorAlter, "material": MaterialAlter}


def _read_alter(attribute: str | None, slots: Slots, context: Context) -> list[Edit]:
    """Another colour or material; any other one where no value is said."""
    kind, value = _ALTERS.get(attribute or slots["attribute"]), slots.get("value")
    if kind is None or value not in (None, *kind.values):
        return []
    return _of_each(lambda target: kind(target, value), slots.get("old", "it"), context)


def _of_each(edit: Callable[[Target], Edit], words: str, context: Context) -> list[Edit]:
    """The same edit of one object or of several at once."""
    found = [tuple(edit(target) for target in group) for group in context.groups(words)]
    return [parts[0] if len(parts) == 1 else MultiEdit(parts) for parts in found]  # type: ignore[misc]


def _read_move(slots: Slots, context: Context) -> list[Edit]:
    return [
        PositionChange(target, cell, beside)
        for target in context.objects(slots["old"])
        for cell, beside in context.places(slots)
        if beside is None or beside.anchor.cell != target.cell
    ]


def _read_text(slots: Slots, context: Context) -> list[Edit]:
    found = context.objects(slots["old"]) if slots["text"] in TEXTS else []
    return [TextChange(target, slots["text"]) for target in found]


def _read_count(slots: Slots, context: Context) -> list[Edit]:
    match = re.fullmatch(intent_slots()["many"], slots["many"])
    if match is None:
        return []
    number, *looks, last = match[0].split()
    shape = next(shape for shape in SHAPES if last in (shape, plural(shape)))
    return [CountChange(NUMBERS.index(number), shape, **read_looks(" ".join(looks)))]


def _read_background(slots: Slots, context: Context) -> list[Edit]:
    return [BackgroundChange(slots["value"])] if slots["value"] in BACKGROUNDS else []


def _read_same(slots: Slots, context: Context) -> list[Edit]:
    last = context.state.last
    found = context.objects(slots["old"]) if hasattr(last, "target") else []
    return [replace(last, target=target) for target in found]  # type: ignore[type-var,misc]


def _read_undo(slots: Slots, context: Context) -> list[Edit]:
    previous = context.state.previous
    # What is undone is what was shown; the single edit that would do it serves the intent alone.
    return (
        []
        if previous is None
        else [Undo(inverse_edit(context.state) or BackgroundChange(previous.background))]
    )


EDIT_READERS: dict[str, Callable[[Slots, Context], list[Edit]]] = {
    "subject_add": _read_add,
    "subject_add_there": _read_add,
    "subject_add_beside": _read_add,
    "subject_remove": _read_remove,
    "subject_replace": _read_replace,
    "color_alter": lambda slots, context: _read_alter("color", slots, context),
    "material_alter": lambda slots, context: _read_alter("material", slots, context),
    "alter_open": lambda slots, context: _read_alter(None, slots, context),
    "alter_its": lambda slots, context: _read_alter(None, slots, context),
    "position_change": _read_move,
    "position_change_beside": _read_move,
    "text_change": _read_text,
    "count_change": _read_count,
    "background_change": _read_background,
    "same": _read_same,
    "undo": _read_undo,
}
"""By speech act: all edits that its slots may mean."""


# Rules: what an act says about them.


def statements_of(acts: Sequence[SpeechAct], state: DialogueState) -> list[tuple[Statement, ...]]:
    """All that a few acts may say about rules together; one that is empty where there are no acts."""
    found: list[tuple[Statement, ...]] = [()]
    for act in acts:
        read = RULE_READERS[act.act]
        found = [
            (*before, statement)
            for before in found
            for statement in read(act.slots, Context(state.stating(*before)))
        ]
    return found


def _read_attribute(slots: Slots, context: Context) -> list[AttributeRule]:
    attribute = attribute_of(slots["value"])
    return [] if attribute is None else [AttributeRule(attribute, slots["value"])]


def _read_scoped(slots: Slots, context: Context) -> list[Statement]:
    attribute = attribute_of(slots["value"])
    return [] if attribute is None else [ScopedRule(slots["shape"], attribute, slots["value"])]


def _read_protect(slots: Slots, context: Context) -> list[Statement]:
    return [Protect(target) for target in context.objects(slots["old"])]


def _read_avoid(slots: Slots, context: Context) -> list[Statement]:
    attribute = attribute_of(slots["value"])
    return [] if attribute is None else [AvoidLook(attribute, slots["value"])]


def _read_keep_empty(slots: Slots, context: Context) -> list[Statement]:
    name = slots["where"].removeprefix("the ")
    return [KeepEmpty(name)] if name in REGIONS else []


def _read_limit(slots: Slots, context: Context) -> list[Statement]:
    return [LimitCount(NUMBERS.index(slots["count"]))] if slots["count"] in NUMBERS[1:] else []


def _read_limit_alike(slots: Slots, context: Context) -> list[Statement]:
    return [LimitAlike(slots["attribute"])]


def _named_rules(words: str, context: Context) -> list[Rule]:
    """The rules in force that have such a name."""
    return [rule for rule in context.state.rules if rule.slots(context.state.grid)["rule"] == words]


def _read_revoke(slots: Slots, context: Context) -> list[Statement]:
    return [Revoke(rule) for rule in _named_rules(slots["rule"], context)]


def _read_replaced(slots: Slots, context: Context) -> list[Statement]:
    return [
        Replace(rule, new)
        for rule in _named_rules(slots["rule"], context)
        for new in _read_attribute(slots, context)
        if isinstance(rule, AttributeRule) and rule.attribute == new.attribute
    ]


def _read_exception(slots: Slots, context: Context) -> list[Statement]:
    """The words do not tell which rule: it is the one that the edit is against (`meanings`)."""
    return [Except(rule) for rule in context.state.rules]


RULE_READERS: dict[str, Callable[[Slots, Context], Sequence[Statement]]] = {
    "rule_attribute": _read_attribute,
    "rule_scoped": _read_scoped,
    "rule_protect": _read_protect,
    "rule_avoid": _read_avoid,
    "rule_keep_empty": _read_keep_empty,
    "rule_limit": _read_limit,
    "rule_limit_alike": _read_limit_alike,
    "revoke": _read_revoke,
    "replace": _read_replaced,
    "exception": _read_exception,
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
        all(contradicts_rule(edit, rule, state) for rule in rules)
        and not state.stating(*statements).impossible(edit)
    )


def readings(text: str) -> Iterator[list[tuple[SpeechAct, ...]]]:
    """Ways to read a text as speech acts: what is said about rules in order, then what is asked.

    Words that ask for nothing may stand around the sentence, set off by marks, so every run of clauses that
    can be read is given, the longest first.

    Yields:
        All readings of one run.
    """
    words = [word for word in tokens(text) if word != '"']
    marks = [place for place, word in enumerate(words) if word in MARKS]
    starts, ends = [0, *(place + 1 for place in marks)], [*marks, len(words)]
    templates = _templates(len(speech_acts()))
    before, behind = defaultdict(list), defaultdict(list)
    asked: list[tuple[int, int, SpeechAct]] = []
    for first, start in enumerate(starts):
        for end in ends[first : first + _MOST_MARKS + 1]:
            asked += [(start, end, act) for act in templates.match("asks", words[start:end])]
        for end in starts[first + 1 : first + _MOST_MARKS + 2]:
            for act in templates.match("before", words[start:end]):
                before[end].append((start, act))
        for end in ends[first + 1 : first + _MOST_MARKS + 2]:
            for act in templates.match("behind", words[ends[first] : end]):
                behind[ends[first]].append((end, act))
    runs: dict[tuple[int, int], list[tuple[SpeechAct, ...]]] = defaultdict(list)
    for start, end, act in asked:
        for first, said in _chains(before, start):
            for last, added in _chains(behind, end):
                if len(said) + len(added) <= MOST_STATEMENTS:
                    runs[first, last].append((*reversed(said), *added, act))
    for run in sorted(runs, key=lambda run: (run[0] - run[1], run[0])):
        yield runs[run]


def _chains(
    steps: Mapping[int, Sequence[tuple[int, SpeechAct]]], place: int, most: int = MOST_STATEMENTS
) -> Iterator[tuple[int, tuple[SpeechAct, ...]]]:
    """Statements that follow each other without a gap from a place on, with the place that they reach."""
    yield place, ()
    for reached, act in steps.get(place, ()) if most else ():
        yield from ((last, (act, *more)) for last, more in _chains(steps, reached, most - 1))


@dataclass(frozen=True, slots=True)
class _Templates:
    """Sentences of all splits by where they stand: "asks", "before" {edit} or "behind" {edit}."""

    by_side: Mapping[str, Sequence[tuple[str, re.Pattern[str]]]]

    def match(self, side: str, words: Sequence[str]) -> list[SpeechAct]:
        said = " ".join(words)
        found = ((act, pattern.fullmatch(said)) for act, pattern in self.by_side[side])
        return [SpeechAct(act, match.groupdict()) for act, match in found if match]


@lru_cache(maxsize=1)
def _templates(acts: int) -> _Templates:
    """Of all speech acts, of which there are so many; those that only name an object are left out."""
    found = _Templates({"asks": [], "before": [], "behind": []})
    for act in sorted(set(speech_acts()) - set(_naming_acts()), key=speech_acts().index):
        for pattern in dict.fromkeys((*all_phrasings(act, "train"), *all_phrasings(act, "test"))):
            side = "behind" if pattern.startswith("{edit}") else "before" if "{edit}" in pattern else "asks"
            regex = template_regex(pattern.replace("{edit}", ""), _SAID_SLOTS)
            found.by_side[side].append((act, regex))  # type: ignore[attr-defined]
    return found


# Canonical intents.


@dataclass(frozen=True, slots=True)
class ParsedIntent:
    """One canonical sentence that was understood.

    Attributes:
        edit: what is to be done; possible on the scene that it was read for.
        looks: what the edited object shall get beside, by attribute; rules worked into a sentence say so.
    """

    edit: Edit
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
        (act, template_regex(pattern, intent_slots()))
        for act in speech_acts()
        if act in EDIT_READERS
        for pattern in intent_patterns(act)
    )


@lru_cache(maxsize=1)
def _rule_templates(families: int) -> tuple[tuple[str, re.Pattern[str]], ...]:
    acts = [rule.act for rule in RULES.values() if rule.act in RULE_READERS]
    return tuple(
        (act, template_regex(pattern, intent_slots())) for act in acts for pattern in intent_patterns(act)
    )
