"""Keys and values: what the published form says, without its grammar."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from editenv.worlds.studio.language import LARGEST_GRID, LEAVE_ALONE, THEN, intent_patterns
from editenv.worlds.studio.noun_phrases import NUMBERS, plural
from editenv.worlds.studio.read import plain_words, read_intent, sentence
from editenv.worlds.studio.scene import COLORS, MATERIALS, SHAPES, SIGN, TEXTS, Scene
from editenv.worlds.studio.session import StudioTurn
from editenv.worlds.studio.tasks import MOST_COUNT, RELATIONS, Target

_LEAVE = "task leave"
_SAYS, _AT = " that says ", " in "

_TASKS = {
    "subject_add": "task add new {new} to {place}",
    "subject_add_beside": "task add new {new} to {relation} of {anchor}",
    "subject_remove": "task remove target {old}",
    "subject_replace": "task replace target {old} new {new}",
    "color_alter": "task change target {old}{looks}",
    "alter_open": "task {attribute} target {old}",
    "position_change": "task move target {old} to {place}{looks}",
    "position_change_beside": "task move target {old} to {relation} of {anchor}{looks}",
    "text_change": "task text target {old} text {text}{looks}",
    "count_change": "task number target {many}",
    "background_change": "task background to {value}",
}
"""By speech act; material_alter has the sentence of color_alter."""


class StructuredForm:
    """As in "task change target striped circle in 2 3 color red": the rules are worked in as in `free`."""

    tokens = 32

    def write(self, turn: StudioTurn, grid: int) -> str:
        """The turn's canonical intent as keys and values.

        Raises:
            ValueError: the intent is no canonical one.
        """
        return shortened(turn.intent)

    def read(self, text: str, scene: Scene, grid: int) -> Scene | None:
        """What the canonical intent that says the same asks for."""
        sentences = expanded(text)
        return None if sentences is None else read_intent(sentences, scene, grid)

    def name(self, target: Target, grid: int) -> str:
        """Looks and place without grammar: "striped circle in 2 3"."""
        return _short_object(plain_words(target.words(grid)))


def shortened(intent: str) -> str:
    """A canonical intent as keys and values.

    Raises:
        ValueError: it is no canonical intent.
    """
    said = plain_words(intent)
    if said == LEAVE_ALONE:
        return _LEAVE
    return THEN.join(_shortened(part, intent) for part in said.split(THEN))


def expanded(text: str) -> str | None:
    """The canonical intent that keys and values stand for, quotation marks left out; None for other texts."""
    said = plain_words(text)
    if said == _LEAVE:
        return LEAVE_ALONE
    parts = [_expanded(part) for part in said.split(THEN)]
    return THEN.join(part for part in parts if part) if all(parts) else None


def _shortened(said: str, intent: str) -> str:
    for act, patterns in _sentences():
        for _, pattern in patterns:
            match = pattern.fullmatch(said)
            if match:
                slots = match.groupdict()
                return _TASKS[act].format(**{"looks": ""} | {n: _SHORTEN[n](v) for n, v in slots.items()})
    raise ValueError(f"intent is {intent!r}, expected a canonical one where intents are structured")


def _expanded(said: str) -> str | None:
    for act, pattern in _tasks():
        match = pattern.fullmatch(said)
        if match:
            slots = {name: value for name, value in match.groupdict().items() if value}
            return _spoken(act, {name: _EXPAND[name](value) for name, value in slots.items()})
    return None


def _spoken(act: str, slots: Mapping[str, str]) -> str | None:
    """The act's sentence that has just these slots."""
    if "anchor" in slots:
        slots = {**slots, "relation": f"{slots['relation']} {slots['anchor']}"}
    wanted = set(slots) - {"anchor"}
    for pattern, _ in dict(_sentences())[act]:
        if set(re.findall(r"\{(\w+)\}", pattern)) == wanted:
            return pattern.format(**slots)
    return None


def _short_object(words: str) -> str:
    """From "the red sign that says open in row 2 column 3" to "red sign open in 2 3"."""
    words, _, where = words.partition(_AT)
    looks = re.sub("^(the|an?) ", "", words).replace(_SAYS, " ")
    return f"{looks}{_AT}{_short_place(where)}" if where else looks


def _long_object(words: str, article: str) -> str:
    words, _, where = words.partition(_AT)
    *looks, last = words.split()
    said = f"{' '.join(looks)}{_SAYS}{last}" if last in TEXTS else words
    return f"{article} {said}" + (f"{_AT}{_long_place(where)}" if where else "")


def _long_new(words: str) -> str:
    return _long_object(words, "an" if words[0] in "aeiou" else "a")


def _short_place(words: str) -> str:
    return " ".join(word for word in words.split() if word.isdigit())


def _long_place(numbers: str) -> str:
    row, column = numbers.split()
    return f"row {row} column {column}"


def _short_looks(words: str) -> str:
    keys = ("material" if word in MATERIALS else "color" for word in words.split())
    return "".join(f" {key} {word}" for key, word in zip(keys, words.split(), strict=True))


def _long_looks(words: str) -> str:
    return " ".join(words.split()[1::2])


def _short_many(words: str) -> str:
    """From "three red circles" to "red circle to three"."""
    number, *looks, last = words.split()
    shape = next(shape for shape in SHAPES if last in (shape, plural(shape)))
    return " ".join([*looks, shape, "to", number])


def _long_many(words: str) -> str:
    *looks, shape, _, number = words.split()
    return " ".join([number, *looks, shape if number == NUMBERS[1] else plural(shape)])


_SHORTEN: dict[str, Callable[[str], str]] = {
    "old": _short_object,
    "anchor": _short_object,
    "new": _short_object,
    "place": _short_place,
    "looks": _short_looks,
    "many": _short_many,
    "relation": {words: name for name, words in RELATIONS.items()}.__getitem__,
    "text": str,
    "value": str,
    "attribute": str,
}
_EXPAND: dict[str, Callable[[str], str]] = _SHORTEN | {
    "old": lambda words: _long_object(words, "the"),
    "anchor": lambda words: _long_object(words, "the"),
    "new": _long_new,
    "place": _long_place,
    "looks": _long_looks,
    "many": _long_many,
    "relation": RELATIONS.__getitem__,
}
"""From a slot's words to its keys and values, and back."""


@lru_cache(maxsize=1)
def _sentences() -> tuple[tuple[str, tuple[tuple[str, re.Pattern[str]], ...]], ...]:
    """Acts with their canonical sentences, quotation marks left out, as patterns and regular expressions."""
    found = []
    for act in _TASKS:
        patterns = [pattern.replace('"', "") for pattern in intent_patterns(act)]
        found.append((act, tuple((pattern, sentence(pattern)) for pattern in patterns)))
    return tuple(found)


@lru_cache(maxsize=1)
def _tasks() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Acts with the regular expressions of their keys and values."""
    colors, materials, shapes, texts = ("|".join(words) for words in (COLORS, MATERIALS, SHAPES, TEXTS))
    place, numbers = f"[1-{LARGEST_GRID}] [1-{LARGEST_GRID}]", "|".join(NUMBERS[1 : MOST_COUNT + 1])
    looks = f"(?:(?:{materials}) )?(?:(?:{colors}) )?"
    known = f"{looks}(?:{shapes}|object|{SIGN}(?: (?:{texts}))?)(?:{_AT}{place})?"
    slots = {
        "old": known,
        "anchor": known,
        "new": f"{looks}(?:{shapes}|{SIGN} (?:{texts}))",
        "place": place,
        "looks": f"(?: material (?:{materials}))?(?: color (?:{colors}))?",
        "many": f"{looks}(?:{shapes}) to (?:{numbers})",
        "relation": "|".join(RELATIONS),
        "text": texts,
    }
    value = "\\w+"  # of the background; the sentence is read again
    return tuple((act, sentence(pattern, **slots, value=value)) for act, pattern in _TASKS.items())
