"""What the sentences of records mean: resolved instructions, rules, pronouns, and what contradicts itself."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from editenv.records import RecordSpec, RecordTurn

LONGEST_SENTENCE = 1000
"""Characters above which a sentence is not taken apart; what is longer holds notes, not an instruction."""

LONGEST_INSTRUCTION = 4000
"""Characters of an instruction in which rules and pronouns are looked for."""

POSITIONS = ("left", "right", "above", "below")


def plain(phrase: str) -> str:
    """A phrase as it is compared: one form of each character, no capitals, single blanks."""
    return " ".join(unicodedata.normalize("NFC", phrase).casefold().split())


# Resolved instructions.


@dataclass(frozen=True, slots=True)
class Sentence:
    """The parts of one resolved instruction; None where the sentence has no such part."""

    task: str  # the task type that the sentence asks for
    # phrase of what is edited: the new object of an addition, the old one of a replacement
    object: str | None = None
    # what is asked for: a colour, material, count, background or text, or the replacing object
    value: str | None = None
    position: str | None = None  # a word of POSITIONS
    beside: str | None = None  # phrase of the object that the position is told from
    old_text: str | None = None  # the text that is replaced
    kept: tuple[str, ...] = ()  # phrases that the sentence says to leave unchanged

    @property
    def new_object(self) -> str | None:
        """Phrase of the object that is there only after the edit."""
        return {"subject_add": self.object, "subject_replace": self.value}.get(self.task)

    @property
    def mentioned(self) -> tuple[str, ...]:
        """Phrases of the objects that must be there for the sentence to make sense."""
        phrases = (None if self.task == "subject_add" else self.object, self.beside)
        return tuple(phrase for phrase in phrases if phrase is not None)


def take_apart(sentence: str) -> Sentence | None:
    """The parts of a sentence, None where it follows no known pattern.

    Brackets, articles, capitals, quotation marks around the whole and a full stop may be there or not.
    """
    if len(sentence) > LONGEST_SENTENCE:
        return None
    whole = sentence.strip().strip('"').strip().removesuffix(".")
    for task, pattern in _PATTERNS:
        if found := pattern.fullmatch(whole):
            texts = {name: part.strip() for name, part in found.groupdict().items() if part is not None}
            position = texts.pop("position", "").lower()
            kept = tuple(phrase.strip() for phrase in texts.pop("kept", "").split(",") if phrase.strip())
            return Sentence(task, **texts, position=_SAME.get(position, position) or None, kept=kept)
    return None


_OPENS, _CLOSES = "'\"\u2018\u201c", "'\"\u2019\u201d"
_SAME = {"top": "above", "over": "above", "bottom": "below", "under": "below", "beneath": "below"}
_WHERE = "|".join((*POSITIONS, *_SAME))
_AIM = r"(?:on |to |at )?(?:the )?\[?"


def _phrase(name: str) -> str:
    """A slot for a phrase, in brackets or not; in brackets it may hold words of the pattern."""
    return rf"(?:the |an? )?\[?(?P<{name}>(?<=\[)[^\[\]]+(?=\])|[^\[\]]+?)\]?"


_SLOTS = {
    "object": _phrase("object"),
    "value": _phrase("value"),
    "beside": _phrase("beside"),
    "where": rf"{_AIM}(?P<position>{_WHERE})\]?(?: (?:side )?of)?",
    "to where": rf"to (?={_AIM}(?:{_WHERE}))",
    "new": rf"[{_OPENS}]\[?(?P<value>.*?)\]?[{_CLOSES}]",
    "to new": rf"(?:with|to) (?=[{_OPENS}])",
    "old": rf"[{_OPENS}]\[?(?P<old_text>.*?)\]?[{_CLOSES}]",
    "kept": "(?P<kept>.+?)",
}


def _pattern(text: str) -> re.Pattern[str]:
    """A sentence pattern as a regular expression that takes time linear in a sentence's length.

    What stands in front of each bar is matched at its first place and never again (an atomic group), so that
    a slot and the words behind it are not tried in every combination with the slots that follow.
    """
    *parts, last = re.sub(r"\{([\w ]+)\}", lambda slot: _SLOTS[slot[1]], text).split("¦")
    return re.compile("".join(f"(?>{part})" for part in parts) + last, re.IGNORECASE | re.DOTALL)


# In this order: a longer form before the shorter one that would take its words for part of a phrase.
_PATTERNS = tuple(
    (task, _pattern(text))
    for task, text in (
        ("text_change", r"(?:replace|change) the text {old} on ¦{object} {to new}¦{new}"),
        ("text_change", r"(?:replace|change) the text {old} {to new}¦{new}"),
        ("text_change", r"(?:add|write) (?:the )?text {new} (?:on|to) (?:(?:the )?\[?image\]?|{object})"),
        ("text_change", r"(?:add|write) (?:the )?text {new}"),
        ("color_alter", r"change the colou?r of {object} to ¦{value}"),
        ("material_alter", r"change the material of {object} to ¦{value}"),
        ("count_change", r"change the (?:count|number) of {object} to ¦{value}"),
        ("position_change", r"(?:change the position of|move) {object} {to where}¦{where} ¦{beside}"),
        (
            "background_change",
            r"change the background to {value},? (?:remain|keep)(?:ing)? (?:the )?¦{kept} unchanged",
        ),
        ("background_change", r"change the background to {value}"),
        ("subject_replace", r"replace {object} (?:with|by) ¦{value}"),
        ("subject_remove", r"(?:remove|delete) {object}"),
        ("subject_add", r"add {object} {where} ¦{beside}"),
        ("subject_add", r"add {object}"),
    )
)


# Rules and pronouns of what the user says.


@dataclass(frozen=True, slots=True)
class StatedRule:
    """A rule that stays in force over later turns, as the sessions of MICE-Bench's CM part state one."""

    attribute: str  # "color" or "material"
    value: str  # the colour or material


@dataclass(frozen=True, slots=True)
class Meaning:
    """One turn of a record taken apart."""

    sentence: Sentence  # the parts of `formatted_instruction`
    # what the user's words state for this and all later turns, None where they state nothing
    rule: StatedRule | None = None
    pronouns: tuple[str, ...] = ()  # words that point at something said before, such as "its", in order
    # the phrase that they stand for, as the resolved instruction tells; None where it does not
    referent: str | None = None


def turn_meaning(record: RecordSpec, turn: int) -> Meaning | None:
    """A turn taken apart; None where its resolved instruction follows no known pattern."""
    sentence, said = take_apart(record.turns[turn].formatted_instruction), record.instruction[turn]
    if sentence is None:
        return None
    # The one object of the resolved instruction that the user's words leave out.
    left_out = [phrase for phrase in sentence.mentioned if plain(phrase) not in plain(said)]
    pointing = pronouns(said)
    referent = left_out[0] if pointing and len(left_out) == 1 else None
    return Meaning(sentence, stated_rule(said), pointing, referent)


def stated_rule(instruction: str) -> StatedRule | None:
    """The rule that an instruction states for all later edits, None where it states none."""
    beginning = instruction[:LONGEST_INSTRUCTION]
    if not _LASTING.search(beginning):
        return None
    for pattern in _RULES:
        if found := pattern.search(beginning):
            value = found["value"].lower()
            named = (found.groupdict().get("attribute") or ("color" if value in _COLORS else "material")).lower()
            return StatedRule("material" if named == "material" else "color", value)
    return None


def pronouns(instruction: str) -> tuple[str, ...]:
    """The words of an instruction that point back, those of a rule and of quoted texts left out."""
    edit = _AFTER_RULE.split(_QUOTED.sub("", instruction[:LONGEST_INSTRUCTION]), maxsplit=1)[-1]
    return tuple(word.lower() for word in _PRONOUNS.findall(edit))


_LASTING = re.compile(
    r"\b(?:rule|constraint|from now on|all (?:following|subsequent|later) edits|every edit|in this session"
    r"|always)\b",
    re.IGNORECASE,
)
_MUST = r"(?:must|has to|have to|should|shall|is to)"
_NOUN = r"(?P<attribute>colou?r|material)\b"
# Words and quotations have a longest length, so that no text makes the search go back and forth for long.
_WORD = rf"(?P<value>[\w-]{{1,40}}(?: [\w-]{{1,40}})?) {_NOUN}"
_RULES = tuple(
    re.compile(text, re.IGNORECASE)
    for text in (
        rf"\b{_NOUN} {_MUST} (?:always )?be (?!applied|used|given)(?P<value>[\w-]{{1,40}})",
        rf"(?:: |\b(?:apply|given|give|receive|use|using|only|in|of) )(?:the |an? )?{_WORD}",
        rf"\b{_WORD} {_MUST}\b",
        rf"\b(?:added|modified|changed|edited|add|modify|change|edit) {_MUST} be (?P<value>[\w-]{{1,40}})",
    )
)
_AFTER_RULE = re.compile(r"with this rule active,?", re.IGNORECASE)
_QUOTED = re.compile(r"(?<!\w)(['\"]).{0,200}?\1(?!\w)", re.DOTALL)
_PRONOUNS = re.compile(r"(?<![\w-])(it|its|them|their|there)(?![\w-])", re.IGNORECASE)
_COLORS = frozenset(
    "red green blue yellow purple orange pink brown black white gray grey teal navy peach gold silver".split()
)


# Contradictions.


@dataclass(frozen=True, slots=True)
class Contradiction:
    """One finding."""

    turn: int  # number of the turn, from 0
    kind: str  # a word of KINDS
    text: str  # what contradicts what


KINDS = {
    "removed_object": "an edit of or beside an object that an earlier turn removed",
    "replaced_object": "an object called by the name it had before an earlier turn replaced it",
    "old_name": "an object called by the colour or material it had before an earlier turn changed it",
    "already_there": "an object is added or put in place though one of that name is there, and named later",
    "no_change": "a turn asks for what is there already",
    "empty_text": "a turn asks for a text without a character",
    "two_rules": "a later turn states another rule for the same attribute",
    "against_rule": "a turn asks for another value than the rule in force",
    "other_task": "the sentence is one of another task than `task_type` says",
    "kept_but_edited": "`unchanged_objects` names what the same turn removes or replaces",
    "kept_background": "`bg_consistency` is true where the background is changed",
}

_FATES = {
    "color_alter": "old_name",
    "material_alter": "old_name",
    "subject_replace": "replaced_object",
    "subject_remove": "removed_object",
}
"""What a task makes of the name of the object that it edits; later ones outweigh earlier ones."""


def contradictions(record: RecordSpec) -> list[Contradiction]:
    """What in a record cannot be meant as it stands, in the order of its turns.

    Turns whose sentence follows no known pattern are passed over.
    """
    meanings = [turn_meaning(record, turn) for turn in range(record.turn_count)]
    fates: dict[str, tuple[str, int]] = {}  # what became of an object's name, and in which turn
    rules: dict[str, tuple[StatedRule, int]] = {}  # rule in force by attribute, and its turn
    found: list[Contradiction] = []
    weight = list(_FATES.values()).index
    for turn, meaning in enumerate(meanings):
        if meaning is None:
            continue
        sentence = meaning.sentence
        # Names of the objects that are there before the turn, as far as they are listed.
        there = set(map(plain, record.turns[turn - 1].available_objects)) if turn else set[str]()
        told = [*_of_names(sentence, there, fates), *_of_rules(turn, meaning, rules)]
        told += _of_keys(record.turns[turn], sentence)
        new = plain(sentence.new_object or "")
        same = sentence.task == "subject_replace" and new == plain(sentence.object or "")
        later = [n for n, one in enumerate(meanings) if n > turn and one and new in map(plain, one.sentence.mentioned)]
        if new in there and not same and later:
            text = f"[{sentence.new_object}] is there already, and turn {later[0]} speaks of it"
            told.append(("already_there", text))
        found += [Contradiction(turn, kind, text) for kind, text in told]
        fates.pop(new, None)
        name, fate = plain(sentence.object or ""), _FATES.get(sentence.task)
        if fate and name and (name not in fates or weight(fate) >= weight(fates[name][0])):
            fates[name] = fate, turn
    return found


def _of_names(sentence: Sentence, there: set[str], fates: Mapping[str, tuple[str, int]]) -> Iterator[tuple[str, str]]:
    """Objects that are gone, or have another name by now: kind and text of each."""
    says = {"removed_object": "was removed in", "replaced_object": "was replaced in"}
    for phrase in sentence.mentioned:
        name = plain(phrase)
        kind, turn = fates.get(name, ("", 0))
        if kind in says or (kind and there and name not in there):
            yield kind, f"[{phrase}] {says.get(kind, 'has looked different since')} turn {turn}"


def _of_rules(turn: int, meaning: Meaning, rules: dict[str, tuple[StatedRule, int]]) -> Iterator[tuple[str, str]]:
    """Rules stated twice differently, and values asked for that are not the rule's."""
    rule, sentence = meaning.rule, meaning.sentence
    if rule is not None:
        first, since = rules.setdefault(rule.attribute, (rule, turn))
        if first != rule:
            yield "two_rules", f"{rule.attribute} {rule.value!r}, but {first.value!r} since turn {since}"
    asked = {"color_alter": "color", "material_alter": "material"}.get(sentence.task, "")
    if asked in rules and plain(sentence.value or "") != plain(rules[asked][0].value):
        stated, since = rules[asked]
        what = f"{asked} {sentence.value!r} is asked for, the rule of turn {since} says {stated.value!r}"
        yield "against_rule", what


def _of_keys(said: RecordTurn, sentence: Sentence) -> Iterator[tuple[str, str]]:
    """Sentences that do not fit the other keys of their turn, or ask for nothing."""
    if sentence.task != said.task_type:
        yield "other_task", f"the sentence is one of {sentence.task}, task_type is {said.task_type}"
    if sentence.task == "background_change" and said.bg_consistency:
        yield "kept_background", "the background is changed, bg_consistency is true"
    kept, name, value = (
        set(map(plain, said.unchanged_objects)),
        plain(sentence.object or ""),
        plain(sentence.value or ""),
    )
    if sentence.task in ("subject_remove", "subject_replace") and name in kept:
        yield "kept_but_edited", f"[{sentence.object}] is edited and stands in unchanged_objects"
    nothing = sentence.task == "subject_replace" and name == value
    if sentence.task == "text_change":
        if not sentence.value:
            yield "empty_text", "the new text is empty"
        nothing = bool(sentence.value) and sentence.old_text == sentence.value
    elif sentence.task in ("color_alter", "material_alter"):
        # The last word names the thing: "petrified wood" need not be made of wood.
        looks = name.split()[:-1]
        nothing = value in looks and "and" not in looks
    if nothing:
        yield "no_change", f"[{sentence.object or sentence.old_text}] is so already"
