"""The sentences of phrases.yaml and phrases_rules.yaml by speech act and split, and the words they are made of."""

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from editenv.strict import read_yaml
from editenv.worlds.studio.noun_phrases import EXTREMES, NUMBERS, ORDINALS, REGIONS, RELATIONS, new_object, plural
from editenv.worlds.studio.scene import BACKGROUNDS, COLORS, MATERIALS, SHAPES, SIGN, TEXTS

LARGEST_GRID = 5
LEAVE_ALONE = "leave the image as it is"  # the canonical intent of an instruction that a rule makes impossible
THEN = " then "  # stands between the canonical intents of several edits done in one turn
MARKS = frozenset(".,:!?")  # what sets sentences off from each other
FORM_WORDS = ("task", "target")  # words of intents in other forms than sentences (`intents`) that no sentence has


@lru_cache(maxsize=1)
def _phrases() -> dict[str, dict[str, Any]]:
    folder = files("editenv.worlds.studio")
    texts = [folder.joinpath(name).read_text(encoding="utf-8") for name in ("phrases.yaml", "phrases_rules.yaml")]
    return {act: sentences for text in texts for act, sentences in read_yaml(text).items()}


def add_sentences(act: str, sentences: Mapping[str, Any]) -> None:
    """Teaches the studio the sentences of a new speech act, before any session is drawn with it.

    Words that are new to the studio move the numbers of the others in `vocabulary()`: models trained before do not fit
    any more. ValueError where the act is there already with other sentences, "train" or "test" is missing or empty, or
    {edit} stands inside of a sentence.

    Args:
        act: its name; that of a task or of a rule's `act`.
        sentences: as one entry of phrases.yaml: "train" and "test", and "intent" for a task.
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


def speech_acts() -> tuple[str, ...]:
    """Names of all speech acts."""
    return tuple(_phrases())


def phrasings(act: str, split: str) -> list[str]:
    """Sentence patterns of a speech act: "test" has its own, all other splits share those of "train"."""
    return list(_phrases()[act]["test" if split == "test" else "train"])


def all_phrasings(act: str, split: str) -> list[str]:
    """As `phrasings`, with those that came later and that only suites with phrasings = "all" use."""
    return [*phrasings(act, split), *_phrases()[act].get("more_test" if split == "test" else "more_train", [])]


def intent_patterns(act: str) -> tuple[str, ...]:
    """Patterns of a task's canonical intent, then the one that names a rule's looks; none where it has none."""
    return tuple(_phrases()[act][key] for key in ("intent", "ruled") if key in _phrases()[act])


@lru_cache(maxsize=1)
def vocabulary() -> tuple[str, ...]:
    """Every word and mark that users say or intents hold, sorted; made without the test phrasings."""
    patterns = [p for act in speech_acts() for p in (*all_phrasings(act, "train"), *intent_patterns(act))]
    words = set(tokens(re.sub(r"\{\w+\}", " ", " ".join(patterns))))
    words |= {*SHAPES, *COLORS, *MATERIALS, *BACKGROUNDS, *(str(n + 1) for n in range(LARGEST_GRID))}
    words |= {*TEXTS, *NUMBERS[1:], *ORDINALS, *EXTREMES, *(plural(shape) for shape in SHAPES), *FORM_WORDS}
    sentences = (LEAVE_ALONE, THEN, "the rule about one shape for objects", new_object(SIGN, None, None, TEXTS[0]))
    words |= set(tokens(" ".join((*sentences, *REGIONS, *RELATIONS.values()))))
    return tuple(sorted(words | {"a", "an", "the", "object", "row", "column", "color", "material", "round"}))


def tokens(text: str) -> list[str]:
    """A text's words and marks."""
    return re.findall(r"[a-z]+|\d+|[^\sa-z\d]", text.lower())


def plain_words(text: str) -> str:
    """A text's words and numbers, in lower case, with single spaces between them."""
    return " ".join(token for token in tokens(text) if token.isalnum())


def template_regex(pattern: str, slots: Mapping[str, str]) -> re.Pattern[str]:
    """A sentence pattern as a regular expression over `tokens` joined by blanks, without quotation marks.

    Each slot in braces becomes a group of its name, with the expression that `slots` has for it.
    """
    parts = re.split(r"\{(\w+)\}", pattern.replace('"', " "))
    written = [re.escape(" ".join(tokens(part))) for part in parts[::2]]
    groups = [f"(?P<{name}>{slots[name]})" for name in parts[1::2]]
    found = [part for pair in zip(written, [*groups, ""], strict=True) for part in pair if part]
    return re.compile(r"\ ".join(found))
