"""Words for what users mean: phrasings by split, and the canonical intent of a turn."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from editenv.strict import read_yaml
from editenv.worlds.studio.noun_phrases import EXTREMES, NUMBERS, ORDINALS, REGIONS, new_object, plural
from editenv.worlds.studio.rules import Rule, choose_open, demanded_looks, is_impossible
from editenv.worlds.studio.scene import BACKGROUNDS, COLORS, MATERIALS, SHAPES, SIGN, TEXTS, Scene
from editenv.worlds.studio.tasks import RELATIONS, Edit, MultiEdit, Undo

LARGEST_GRID = 5
LEAVE_ALONE = "leave the image as it is"
"""The canonical intent of an instruction that a rule makes impossible."""

THEN = " then "
"""Stands between the canonical intents of several edits done in one turn."""

MARKS = frozenset(".,:!?")
"""What sets sentences off from each other."""

FORM_WORDS = ("task", "target")
"""Words of intents in other forms than sentences (`intents`) that no sentence has."""


@lru_cache(maxsize=1)
def _phrases() -> dict[str, dict[str, Any]]:
    read: dict[str, dict[str, Any]] = {}
    for name in ("phrases.yaml", "phrases_rules.yaml"):
        read |= read_yaml(files("editenv.worlds.studio").joinpath(name).read_text(encoding="utf-8"))
    return read


def add_sentences(act: str, sentences: Mapping[str, Any]) -> None:
    """Teaches the studio the sentences of a new speech act, before any session is drawn with it.

    Words that are new to the studio move the numbers of the others in `vocabulary()`: models trained before
    do not fit any more.

    Args:
        act: its name; that of a task or of a rule's `act`.
        sentences: as one entry of phrases.yaml: "train" and "test", and "intent" for a task.

    Raises:
        ValueError: the act is there already with other sentences, "train" or "test" is missing or empty, or
            {edit} stands inside of a sentence.
    """
    if _phrases().get(act, sentences) != sentences:
        raise ValueError(f"speech act {act!r} is there already, expected a new name")
    for key in ("train", "test"):
        if not sentences.get(key):
            raise ValueError(f"speech act {act!r} has no sentences under {key!r}, expected one or more")
        for sentence in sentences[key]:
            before, slot, behind = (part.strip() for part in sentence.partition("{edit}"))
            mark = behind[:1] if not before else "" if behind else before[-1:]
            if slot and mark not in MARKS:
                raise ValueError(
                    f"speech act {act!r} says {sentence!r}, expected {{edit}} first or last and set off by "
                    f"one of {' '.join(sorted(MARKS))}"
                )
    _phrases()[act] = dict(sentences)
    vocabulary.cache_clear()


def phrasings(act: str, split: str) -> list[str]:
    """Sentence patterns of a speech act: "test" has its own, all other splits share those of "train"."""
    patterns: list[str] = _phrases()[act]["test" if split == "test" else "train"]
    return patterns


def all_phrasings(act: str, split: str) -> list[str]:
    """As `phrasings`, with those that came later and that only suites with phrasings = "all" use."""
    more: list[str] = _phrases()[act].get("more_test" if split == "test" else "more_train", [])
    return [*phrasings(act, split), *more]


PHRASINGS = {"first": phrasings, "all": all_phrasings}
"""What a suite's key `phrasings` stands for."""


def speech_acts() -> tuple[str, ...]:
    """Names of all speech acts."""
    return tuple(_phrases())


def intent_patterns(act: str) -> tuple[str, ...]:
    """Patterns of a task's canonical intent, the one that names a rule's looks included."""
    return tuple(_phrases()[act][key] for key in ("intent", "ruled") if key in _phrases()[act])


@lru_cache(maxsize=1)
def vocabulary() -> tuple[str, ...]:
    """Every word and mark that users say or intents hold, sorted; made without the test phrasings."""
    patterns = [p for act in speech_acts() for p in (*all_phrasings(act, "train"), *intent_patterns(act))]
    words = set(tokens(re.sub(r"\{\w+\}", " ", " ".join(patterns))))
    words |= {*SHAPES, *COLORS, *MATERIALS, *BACKGROUNDS, *(str(n + 1) for n in range(LARGEST_GRID))}
    words |= {*TEXTS, *NUMBERS[1:], *ORDINALS, *EXTREMES, *(plural(shape) for shape in SHAPES)}
    words |= set(tokens(" ".join((LEAVE_ALONE, THEN, "the rule about one shape for objects", *REGIONS))))
    words |= set(tokens(" ".join((new_object(SIGN, None, None, TEXTS[0]), *RELATIONS.values()))))
    words |= set(FORM_WORDS)
    return tuple(sorted(words | {"a", "an", "the", "object", "row", "column", "color", "material", "round"}))


def tokens(text: str) -> list[str]:
    """A text's words and marks."""
    return re.findall(r"[a-z]+|\d+|[^\sa-z\d]", text.lower())


def plain_words(text: str) -> str:
    """A text's words and numbers, in lower case, with single spaces between them."""
    return " ".join(token for token in tokens(text) if token.isalnum())


def template_regex(pattern: str, slots: Mapping[str, str]) -> re.Pattern[str]:
    """A sentence pattern as a regular expression over `tokens` joined by blanks, without quotation marks.

    Args:
        pattern: with its slots in braces; each becomes a group of its name.
        slots: regular expression of each slot.
    """
    parts = re.split(r"\{(\w+)\}", pattern.replace('"', " "))
    written = [re.escape(" ".join(tokens(part))) for part in parts[::2]]
    groups = [f"(?P<{name}>{slots[name]})" for name in parts[1::2]]
    found = [part for pair in zip(written, [*groups, ""], strict=True) for part in pair if part]
    return re.compile(r"\ ".join(found))


def canonical_intent(edit: Edit, rules: tuple[Rule, ...], grid: int) -> str:
    """An edit's self-contained instruction with every demand of the rules worked in.

    It does not look at the picture: `turn_intent` tells what an agent should write where rules forbid things.
    """
    if isinstance(edit, Undo):
        return canonical_intent(edit.instead, (), grid)
    if isinstance(edit, MultiEdit):
        return THEN.join(canonical_intent(part, rules, grid) for part in edit.parts)
    asked = edit.asked()
    looks = dict(asked)
    looks |= demanded_looks(edit, rules)
    act = _phrases()[f"{edit.task}_beside" if getattr(edit, "beside", None) else edit.task]
    pattern = act["ruled"] if "ruled" in act and looks != asked else act["intent"]
    words = " ".join(word for word in (looks["material"], looks["color"]) if word)
    return str(pattern.format(**edit.slots(looks, grid) | {"looks": words}))


def turn_intent(edit: Edit, rules: tuple[Rule, ...], before: Scene, grid: int) -> str:
    """A turn's self-contained instruction with every rule in force worked in; what an agent should write.

    Args:
        edit: what was asked for.
        rules: those that bind the turn.
        before: what the picture shows.
        grid: cells a side.
    """
    if is_impossible(edit, rules, before):
        return LEAVE_ALONE
    return canonical_intent(choose_open(edit, rules, before), rules, grid)
