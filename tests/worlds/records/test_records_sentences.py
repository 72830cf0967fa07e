"""Sentences taken apart: every published pattern and its variations, rules and pronouns, by hand."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editenv.records import TASKS, record_from_json
from editenv.worlds.records.sentences import (
    LONGEST_SENTENCE,
    POSITIONS,
    Sentence,
    StatedRule,
    pronouns,
    stated_rule,
    take_apart,
    turn_meaning,
)
from tests.worlds.records.handmade import MEMORY, SINGLE, UNDERSTANDING, records

PATTERNS = [
    (
        "Add [tin boat] on the [left] of [old pier]",
        Sentence("subject_add", "tin boat", position="left", beside="old pier"),
    ),
    ("Add [tin boat]", Sentence("subject_add", "tin boat")),
    ("Remove [wool grey scarf]", Sentence("subject_remove", "wool grey scarf")),
    ("Replace [oak chair] with [stool]", Sentence("subject_replace", "oak chair", "stool")),
    ("Change the color of [oak chair] to [teal]", Sentence("color_alter", "oak chair", "teal")),
    ("Change the material of [oak chair] to [steel]", Sentence("material_alter", "oak chair", "steel")),
    ("Change the count of [egg] to [4]", Sentence("count_change", "egg", "4")),
    (
        "Change the position of [egg] to [below] of [blue bowl]",
        Sentence("position_change", "egg", position="below", beside="blue bowl"),
    ),
    ("Change the background to [harbour]", Sentence("background_change", value="harbour")),
    ("Add text '[Salut]' on the image", Sentence("text_change", value="Salut")),
    (
        "Replace the text '[A-4]' on [tin sign] with '[B'7]'",
        Sentence("text_change", "tin sign", "B'7", old_text="A-4"),
    ),
]
VARIATIONS = [
    ("add a tin boat to the right of the old pier.", "Add [tin boat] on the [right] of [old pier]"),
    ("Add [tin boat] above [old pier]", "Add [tin boat] on the [above] of [old pier]"),
    ("Add [tin boat] on the top of [old pier]", "Add [tin boat] on the [above] of [old pier]"),
    ("Delete the egg", "Remove [egg]"),
    ("REMOVE [egg]", "Remove [egg]"),
    ('"Change the count of [egg] to [4]"', "Change the count of [egg] to [4]"),
    ("Change the number of eggs to 4", "Change the count of [eggs] to [4]"),
    ("Change the colour of the egg to teal", "Change the color of [egg] to [teal]"),
    ("Move [egg] to the [left] of [pan]", "Change the position of [egg] to [left] of [pan]"),
    ("Replace the egg by a nut", "Replace [egg] with [nut]"),
    ("Add text 'Salut' on the image", "Add text '[Salut]' on the image"),
    ("Add text “Salut” to the image", "Add text '[Salut]' on the image"),
    ("Replace the text 'A' on sign with 'B'", "Replace the text '[A]' on [sign] with '[B]'"),
]


@pytest.mark.parametrize(("sentence", "parts"), PATTERNS, ids=[sentence for sentence, _ in PATTERNS])
def test_published_patterns(sentence, parts):
    assert take_apart(sentence) == parts


def test_every_task_has_a_pattern():
    assert {parts.task for _, parts in PATTERNS} == set(TASKS)


@pytest.mark.parametrize(("sentence", "usual"), VARIATIONS, ids=[sentence for sentence, _ in VARIATIONS])
def test_variations_mean_what_the_usual_form_means(sentence, usual):
    assert take_apart(usual) is not None and take_apart(sentence) == take_apart(usual)


def test_a_background_may_name_what_stays():
    parts = take_apart("Change the background to a harbour, remain the tin boat, old pier unchanged")
    assert parts == Sentence("background_change", value="harbour", kept=("tin boat", "old pier"))


@pytest.mark.parametrize("sentence", ["", "Dance", "Make it nicer", "Change the count of", "Add " + "x" * 1000])
def test_other_sentences_are_not_guessed(sentence):
    assert take_apart(sentence) is None


def test_an_empty_text_is_empty():
    assert take_apart("Add text '[]' on the image") == Sentence("text_change", value="")


PHRASES = st.text(
    st.characters(exclude_categories=["C", "Z"], exclude_characters="[]'\"\u2018\u2019\u201c\u201d,."),
    min_size=1,
    max_size=20,
)


@given(PHRASES, PHRASES, st.sampled_from(POSITIONS))
def test_any_phrase_comes_back_as_it_was_given(thing, other, position):
    """Composed, decomposed, right-to-left: no character of a phrase is changed."""
    assert take_apart(f"Replace [{thing}] with [{other}]") == Sentence("subject_replace", thing, other)
    added = Sentence("subject_add", thing, position=position, beside=other)
    assert take_apart(f"Add [{thing}] on the [{position}] of [{other}]") == added
    written = Sentence("text_change", thing, other, old_text=other)
    assert take_apart(f"Replace the text '[{other}]' on [{thing}] with '[{other}]'") == written


@given(st.text())
def test_no_text_breaks_the_reading(text):
    take_apart(text)
    stated_rule(text)
    pronouns(text)


@pytest.mark.parametrize(
    "piece",
    [
        "' on x with '",
        "to left of ",
        "a ",
        "[",
        "'' on ",
        ", remain the ",
        " with ",
        "change the color of ",
        "rule only x ",
        "rule a-",
        "a-",
        "'a ",
    ],
)
def test_hostile_repetition_takes_no_time(piece):
    """Fails where a pattern backtracks for seconds."""
    for start in ("", "Replace the text '", "Change the position of ", "Change the background to ", "Add "):
        text = (start + piece * LONGEST_SENTENCE)[:LONGEST_SENTENCE]
        began = time.process_time()
        take_apart(text)
        stated_rule(text * 10)
        pronouns(text * 10)
        assert time.process_time() - began < 0.5


RULES = [
    ("From now on, all edits use teal color only on the thing that is edited. Remove the egg", ("color", "teal")),
    ("Keep one rule for later: stainless steel material must be used. Add a pan", ("material", "stainless steel")),
    ("A standing constraint: what is edited should be given wax material alone. Add a pan", ("material", "wax")),
    ("From now on the colour must be gold. Add a pan", ("color", "gold")),
    (MEMORY["instruction"][0], ("material", "copper")),
    ("In this session whatever is changed must be blue. Add a pan", ("color", "blue")),
    ("Change the color of the pan to red", None),
    ("Add a pan of red color", None),
    ("Remove the pan", None),
]


@pytest.mark.parametrize(("said", "rule"), RULES, ids=[said[:40] for said, _ in RULES])
def test_rules_that_users_state(said, rule):
    assert stated_rule(said) == (StatedRule(*rule) if rule else None)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Change its colour to red", ("its",)),
        ("Put them there", ("them", "there")),
        ("Add text 'read it' on the wall", ()),
        ("Replace the text 'it' on it with 'its'", ("it",)),
        ("Move the post-it notes", ()),
        ("Rule: only what it edits turns red. With this rule active, remove the pan", ()),
    ],
)
def test_words_that_point_back(said, words):
    assert pronouns(said) == words


def test_a_pronoun_stands_for_the_object_that_the_user_leaves_out():
    record = records()[1]
    record["instruction"] = ["Remove the bicycle", "Make its frame wooden", "Add a cat on the left of it"]
    record["formatted_instruction"][2] = "Add [cat] on the [left] of [wood red sign]"
    spec = record_from_json(record)
    assert turn_meaning(spec, 0).referent is None
    assert (turn_meaning(spec, 1).pronouns, turn_meaning(spec, 1).referent) == (("its",), "red sign")
    assert turn_meaning(spec, 2).referent == "wood red sign"


def test_whole_records_are_taken_apart():
    memory, understanding, single = map(record_from_json, (MEMORY, UNDERSTANDING, SINGLE))
    first = turn_meaning(memory, 0)
    assert first.sentence == Sentence("subject_add", "copper kettle", position="right", beside="bread")
    assert first.rule == StatedRule("material", "copper") and turn_meaning(memory, 1).rule is None
    text = turn_meaning(understanding, 0).sentence
    assert (text.object, text.old_text, text.value) == ("red sign", "饭店", "茶馆")
    assert turn_meaning(single, 0).sentence == Sentence("color_alter", "black cat", "white")


HOSTILE = {
    "quotation marks": "change the text '" + "'' on a to " * 200,
    "two texts": "replace the text " + "' on a with '" * 80,
    "places": "add " + "on left of " * 100,
    "moves": "move " + "to left of " * 100,
    "kept": "change the background to " + ", remain the a unchanged" * 40,
    "open brackets": "change the color of " + "[a " * 300,
    "values": "change the color of " + " to " * 300 + "]",
    "a rule": "from now on all " + "must be color " * 300,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_sentences_made_to_be_slow_take_no_longer_than_others(name):
    """Of the longest that are looked at; a search that goes back and forth took a tenth of a second each."""
    text = HOSTILE[name][: LONGEST_SENTENCE - 1] + "!"
    began = time.process_time()
    for _ in range(20):
        take_apart(text)
        stated_rule(text)
    assert time.process_time() - began < 0.4
