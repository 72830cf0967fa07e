"""What a user's words add to the resolved instruction: a rule they state, and what pronouns stand for."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from editenv.worlds.records.sentences import Sentence, take_apart
from editenv.worlds.records.session import RecordSpec


@dataclass(frozen=True, slots=True)
class StatedRule:
    """A rule that stays in force over later turns, as the sessions of MICE-Bench's CM part state one.

    Attributes:
        attribute: "color" or "material".
        value: the colour or material.
    """

    attribute: str
    value: str


@dataclass(frozen=True, slots=True)
class Meaning:
    """One turn of a record taken apart.

    Attributes:
        sentence: the parts of `formatted_instruction`.
        rule: what the user's words state for this and all later turns, None where they state nothing.
        pronouns: words that point at something said before, such as "its", in order.
        referent: the phrase that they stand for, as the resolved instruction tells; None where it does not.
    """

    sentence: Sentence
    rule: StatedRule | None = None
    pronouns: tuple[str, ...] = ()
    referent: str | None = None


def turn_meaning(record: RecordSpec, turn: int) -> Meaning | None:
    """A turn taken apart; None where its resolved instruction follows no known pattern."""
    sentence = take_apart(record.turns[turn].formatted_instruction)
    if sentence is None:
        return None
    said = record.instruction[turn]
    pointing = pronouns(said)
    return Meaning(sentence, stated_rule(said), pointing, _referent(sentence, said) if pointing else None)


def stated_rule(instruction: str) -> StatedRule | None:
    """The rule that an instruction states for all later edits, None where it states none."""
    beginning = instruction[:LONGEST_INSTRUCTION]
    if not _LASTING.search(beginning):
        return None
    for pattern in _RULES:
        if found := pattern.search(beginning):
            value = found["value"].lower()
            named = found.groupdict().get("attribute")
            if named:
                return StatedRule("material" if named.lower() == "material" else "color", value)
            return StatedRule("color" if value in _COLORS else "material", value)
    return None


def pronouns(instruction: str) -> tuple[str, ...]:
    """The words of an instruction that point back, those of a rule and of quoted texts left out."""
    edit = _AFTER_RULE.split(_QUOTED.sub("", instruction[:LONGEST_INSTRUCTION]), maxsplit=1)[-1]
    return tuple(word.lower() for word in _PRONOUNS.findall(edit))


def plain(phrase: str) -> str:
    """A phrase as it is compared: one form of each character, no capitals, single blanks."""
    return " ".join(unicodedata.normalize("NFC", phrase).casefold().split())


LONGEST_INSTRUCTION = 4000
"""Characters of an instruction in which rules and pronouns are looked for."""

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


def _referent(sentence: Sentence, said: str) -> str | None:
    """The one object of the resolved instruction that the user's words leave out."""
    words = plain(said)
    left_out = [phrase for phrase in sentence.mentioned if plain(phrase) not in words]
    return left_out[0] if len(left_out) == 1 else None
