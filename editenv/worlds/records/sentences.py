"""Takes the sentences of `formatted_instruction` apart: which task, which object, which value, where."""

from __future__ import annotations

import re
from dataclasses import dataclass

LONGEST_SENTENCE = 1000
"""Characters above which a sentence is not taken apart; what is longer holds notes, not an instruction."""

POSITIONS = ("left", "right", "above", "below")


@dataclass(frozen=True, slots=True)
class Sentence:
    """The parts of one resolved instruction; None where the sentence has no such part.

    Attributes:
        task: the task type that the sentence asks for.
        object: phrase of what is edited: the new object of an addition, the old one of a replacement.
        value: what is asked for: a colour, material, count, background or text, or the replacing object.
        position: a word of POSITIONS.
        beside: phrase of the object that the position is told from.
        old_text: the text that is replaced.
        kept: phrases that the sentence says to leave unchanged.
    """

    task: str
    object: str | None = None
    value: str | None = None
    position: str | None = None
    beside: str | None = None
    old_text: str | None = None
    kept: tuple[str, ...] = ()

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
    plain = sentence.strip().strip('"').strip().removesuffix(".")
    for task, pattern in _PATTERNS:
        if found := pattern.fullmatch(plain):
            return _sentence(task, found.groupdict())
    return None


def _sentence(task: str, parts: dict[str, str | None]) -> Sentence:
    texts = {name: part.strip() for name, part in parts.items() if part is not None}
    position = texts.pop("position", "").lower()
    kept = tuple(phrase.strip() for phrase in texts.pop("kept", "").split(",") if phrase.strip())
    return Sentence(task, **texts, position=_SAME.get(position, position) or None, kept=kept)


_OPENS, _CLOSES = "'\"\u2018\u201c", "'\"\u2019\u201d"
_SAME = {"top": "above", "over": "above", "bottom": "below", "under": "below", "beneath": "below"}
_WHERE = "|".join((*POSITIONS, *_SAME))


def _pattern(text: str) -> re.Pattern[str]:
    """A pattern whose capitals stand for parts: OBJ an object, VAL a value, BESIDE, WHERE, 'OLD', 'NEW'."""
    article = r"(?:the |an? )?"
    slots = {
        "OBJ": rf"{article}\[?(?P<object>[^\[\]]+?)\]?",
        "VAL": rf"{article}\[?(?P<value>[^\[\]]+?)\]?",
        "BESIDE": rf"{article}\[?(?P<beside>[^\[\]]+?)\]?",
        "WHERE": rf"(?:on |to |at )?(?:the )?\[?(?P<position>{_WHERE})\]?(?: (?:side )?of)?",
        "NEW": rf"[{_OPENS}]\[?(?P<value>.*?)\]?[{_CLOSES}]",
        "OLD": rf"[{_OPENS}]\[?(?P<old_text>.*?)\]?[{_CLOSES}]",
    }
    return re.compile(re.sub("|".join(slots), lambda slot: slots[slot[0]], text), re.IGNORECASE | re.DOTALL)


# In this order: a longer form before the shorter one that would take its words for part of a phrase.
_PATTERNS = tuple(
    (task, _pattern(text))
    for task, text in (
        ("text_change", r"(?:replace|change) the text OLD on OBJ (?:with|to) NEW"),
        ("text_change", r"(?:replace|change) the text OLD (?:with|to) NEW"),
        ("text_change", r"(?:add|write) (?:the )?text NEW(?: (?:on|to) (?:(?:the )?\[?image\]?|OBJ))?"),
        ("color_alter", r"change the colou?r of OBJ to VAL"),
        ("material_alter", r"change the material of OBJ to VAL"),
        ("count_change", r"change the (?:count|number) of OBJ to VAL"),
        ("position_change", r"(?:change the position of|move) OBJ to WHERE BESIDE"),
        (
            "background_change",
            r"change the background to VAL(?:,? (?:remain|keep)(?:ing)? (?:the )?(?P<kept>.+?) unchanged)?",
        ),
        ("subject_replace", r"replace OBJ (?:with|by) VAL"),
        ("subject_remove", r"(?:remove|delete) OBJ"),
        ("subject_add", r"add OBJ WHERE BESIDE"),
        ("subject_add", r"add OBJ"),
    )
)
