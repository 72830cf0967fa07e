"""Finds turns that cannot be meant as they stand, such as an edit beside an object already removed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from editenv.worlds.records.sentences import Sentence
from editenv.worlds.records.session import RecordSpec
from editenv.worlds.records.spoken import Meaning, StatedRule, plain, turn_meaning


@dataclass(frozen=True, slots=True)
class Contradiction:
    """One finding.

    Attributes:
        turn: number of the turn, from 0.
        kind: a word of KINDS.
        text: what contradicts what.
    """

    turn: int
    kind: str
    text: str


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


@dataclass(slots=True)
class _Story:
    """What the turns so far did to the objects, by plain phrase.

    Attributes:
        removed, replaced: turn that removed or replaced the object of a phrase.
        renamed: turn that changed the looks of the object of a phrase.
        rules: turn and rule in force, by attribute.
    """

    removed: dict[str, int] = field(default_factory=dict)
    replaced: dict[str, int] = field(default_factory=dict)
    renamed: dict[str, int] = field(default_factory=dict)
    rules: dict[str, tuple[int, StatedRule]] = field(default_factory=dict)

    def tell(self, turn: int, sentence: Sentence) -> None:
        """Goes on by one turn."""
        new = sentence.new_object
        for fates in (self.removed, self.replaced, self.renamed):
            fates.pop(plain(new or ""), None)
        lost = {
            "subject_remove": self.removed,
            "subject_replace": self.replaced,
            "color_alter": self.renamed,
            "material_alter": self.renamed,
        }
        if sentence.task in lost and sentence.object:
            lost[sentence.task][plain(sentence.object)] = turn


def contradictions(record: RecordSpec) -> list[Contradiction]:
    """What in a record cannot be meant as it stands, in the order of its turns.

    Turns whose sentence follows no known pattern are passed over.
    """
    meanings = [turn_meaning(record, turn) for turn in range(record.turn_count)]
    story, found = _Story(), list[Contradiction]()
    for turn, meaning in enumerate(meanings):
        if meaning is None:
            continue
        found += _of_names(record, turn, meaning.sentence, story)
        found += _of_rules(turn, meaning, story)
        found += _of_keys(record, turn, meaning.sentence)
        found += _of_additions(record, turn, meanings)
        story.tell(turn, meaning.sentence)
    return found


def _of_names(record: RecordSpec, turn: int, sentence: Sentence, story: _Story) -> Iterator[Contradiction]:
    """Objects that are gone, or have another name by now."""
    listed = set(map(plain, record.turns[turn - 1].available_objects)) if turn else set()
    for phrase in sentence.mentioned:
        name = plain(phrase)
        if name in story.removed:
            yield Contradiction(
                turn, "removed_object", f"[{phrase}] was removed in turn {story.removed[name]}"
            )
        elif name in story.replaced:
            what = f"[{phrase}] was replaced in turn {story.replaced[name]}"
            yield Contradiction(turn, "replaced_object", what)
        elif name in story.renamed and listed and name not in listed:
            what = f"[{phrase}] has looked different since turn {story.renamed[name]}"
            yield Contradiction(turn, "old_name", what)


def _of_rules(turn: int, meaning: Meaning, story: _Story) -> Iterator[Contradiction]:
    """Rules stated twice differently, and values asked for that are not the rule's."""
    rule, sentence = meaning.rule, meaning.sentence
    if rule is not None:
        first = story.rules.setdefault(rule.attribute, (turn, rule))
        if first[1] != rule:
            what = f"{rule.attribute} {rule.value!r}, but {first[1].value!r} since turn {first[0]}"
            yield Contradiction(turn, "two_rules", what)
    asked = {"color_alter": "color", "material_alter": "material"}.get(sentence.task, "")
    if asked in story.rules and plain(sentence.value or "") != plain(story.rules[asked][1].value):
        stated, value = story.rules[asked][0], story.rules[asked][1].value
        what = f"{asked} {sentence.value!r} is asked for, the rule of turn {stated} says {value!r}"
        yield Contradiction(turn, "against_rule", what)


def _of_keys(record: RecordSpec, turn: int, sentence: Sentence) -> Iterator[Contradiction]:
    """Sentences that do not fit the other keys of their turn, or ask for nothing."""
    said = record.turns[turn]
    if sentence.task != said.task_type:
        what = f"the sentence is one of {sentence.task}, task_type is {said.task_type}"
        yield Contradiction(turn, "other_task", what)
    if sentence.task == "background_change" and said.bg_consistency:
        yield Contradiction(turn, "kept_background", "the background is changed, bg_consistency is true")
    kept = set(map(plain, said.unchanged_objects))
    if sentence.task in ("subject_remove", "subject_replace") and plain(sentence.object or "") in kept:
        what = f"[{sentence.object}] is edited and stands in unchanged_objects"
        yield Contradiction(turn, "kept_but_edited", what)
    if sentence.task == "text_change" and not sentence.value:
        yield Contradiction(turn, "empty_text", "the new text is empty")
    elif _asks_nothing(sentence):
        yield Contradiction(turn, "no_change", f"[{sentence.object or sentence.old_text}] is so already")


def _asks_nothing(sentence: Sentence) -> bool:
    """Whether the value asked for is what the sentence says is there."""
    value = plain(sentence.value or "")
    if sentence.task == "text_change":
        return sentence.old_text is not None and sentence.old_text == sentence.value
    if sentence.task == "subject_replace":
        return plain(sentence.object or "") == value
    if sentence.task in ("color_alter", "material_alter"):
        # The last word names the thing: "petrified wood" need not be made of wood.
        looks = plain(sentence.object or "").split()[:-1]
        return value in looks and "and" not in looks
    return False


def _of_additions(record: RecordSpec, turn: int, meanings: list[Meaning | None]) -> Iterator[Contradiction]:
    """Additions that make a later turn's words fit two objects."""
    sentences = [meaning.sentence if meaning else Sentence("") for meaning in meanings]
    this, new = sentences[turn], plain(sentences[turn].new_object or "")
    there = set(map(plain, record.turns[turn - 1].available_objects)) if turn else set()
    if this.task == "subject_replace":
        there.discard(plain(this.object or ""))
    for later in range(turn + 1, len(sentences)):
        if new in there and new in map(plain, sentences[later].mentioned):
            what = f"[{this.new_object}] is there already, and turn {later} speaks of it"
            yield Contradiction(turn, "already_there", what)
            return
