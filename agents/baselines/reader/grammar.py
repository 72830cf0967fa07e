"""Every sentence a user may say, turned round: from text to speech acts and what fills their slots."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from editenv.worlds.studio.language import all_phrasings, speech_acts, tokens
from editenv.worlds.studio.references import REFERENCES
from editenv.worlds.studio.tasks import RELATIONS

_NOUN = "[a-z0-9 ,]+?"
_SLOTS = {
    "edit": ".+?",
    "place": r"row \d column \d",
    "relation": f"(?:{'|'.join(RELATIONS.values())}) {_NOUN}",
    "new": f"an? {_NOUN}",
    "attribute": "color|material|shape",
    "value": "[a-z]+",
}
"""What may stand in a slot; any words without marks may stand in those not named here."""

_MARKS = frozenset(".,:!?")


@dataclass(frozen=True, slots=True)
class Said:
    """One speech act.

    Attributes:
        act: its name in phrases.yaml.
        slots: the words in each of its slots.
        behind: do its words stand behind the sentence that they go with?
    """

    act: str
    slots: Mapping[str, str]
    behind: bool = False


def readings(text: str) -> Iterator[list[tuple[Said, ...]]]:
    """Ways to read a text as acts: what is said about rules, as the text has it, then what is to be done.

    Words that ask for nothing may stand around the sentence, set off by marks, so every run of clauses is
    read, the longest first.

    Yields:
        All readings of one run.
    """
    words = [word for word in tokens(text) if word != '"']
    for run in _runs(words):
        found = [_in_order(acts) for acts in _read(" ".join(run))]
        if found:
            yield found


def _read(text: str) -> Iterator[tuple[Said, ...]]:
    """Readings of a whole text, acts about rules taken off one by one."""
    for act, sentence in _sentences():
        match = sentence.fullmatch(text)
        if match is None:
            continue
        slots = match.groupdict()
        rest = slots.pop("edit", None)
        if rest is None:
            yield (Said(act, slots),)
        else:
            said = Said(act, slots, behind=match.start("edit") == 0)
            yield from ((said, *inner) for inner in _read(rest))


def _in_order(acts: tuple[Said, ...]) -> tuple[Said, ...]:
    """Acts from the outermost to the innermost, put in the order of the text; the deed comes last."""
    *spoken, deed = acts
    before = [said for said in spoken if not said.behind]
    return (*before, *(said for said in reversed(spoken) if said.behind), deed)


@lru_cache(maxsize=1)
def _sentences() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """All sentences of all splits that ask for something; those that only name an object are left out."""
    return tuple(
        (act, _reversed(pattern))
        for act in speech_acts()
        for pattern in dict.fromkeys((*all_phrasings(act, "train"), *all_phrasings(act, "test")))
        if act not in NAMING
    )


def _reversed(pattern: str) -> re.Pattern[str]:
    """A pattern with a group in place of each slot."""
    parts = re.split(r"\{(\w+)\}", pattern.replace('"', " "))
    written = [" ".join(tokens(part)) for part in parts[::2]]
    found = [re.escape(written[0])]
    for name, words in zip(parts[1::2], written[1:], strict=True):
        found += [f"(?P<{name}>{_SLOTS.get(name, _NOUN)})", re.escape(words)]
    return re.compile(r"\ ".join(part for part in found if part))


def _runs(words: list[str]) -> list[list[str]]:
    """All runs of whole clauses between marks, the longest first."""
    starts = [0, *(place + 1 for place, word in enumerate(words) if word in _MARKS)]
    ends = [*(place for place, word in enumerate(words) if word in _MARKS), len(words)]
    runs = [words[start:end] for start in starts for end in ends if start < end]
    return sorted(runs, key=len, reverse=True)


NAMING = frozenset(REFERENCES) & frozenset(speech_acts()) - {"same"}
"""Acts whose phrases stand in the slot of an object."""


def phrases_of(act: str, slots: Mapping[str, str]) -> set[str]:
    """All that can be said for an act whose slots are filled, as plain words."""
    found = (*all_phrasings(act, "train"), *all_phrasings(act, "test"))
    return {" ".join(tokens(phrase.format(**slots))) for phrase in found}
