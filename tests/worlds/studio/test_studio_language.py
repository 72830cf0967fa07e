"""Every sentence of every session: made of known words, complete, and new in the test split."""

import re

import pytest

from editenv.types import SPLITS
from editenv.worlds.studio.language import canonical_intent
from editenv.worlds.studio.noun_phrases import Target
from editenv.worlds.studio.phrases import all_phrasings, intent_patterns, phrasings, speech_acts, tokens, vocabulary
from editenv.worlds.studio.rules import AttributeRule
from editenv.worlds.studio.suites import suite_names
from editenv.worlds.studio.tasks import EDITS, SAMPLERS, ColorAlter, PositionChange, SubjectAdd, SubjectRemove
from tests.studio_play import drawn_sessions

SESSIONS = 150


def texts(suite: str, split: str) -> list[str]:
    specs = drawn_sessions(suite, split, SESSIONS)
    return [words for spec in specs for turn in spec.turns for words in (turn.text, turn.intent)]


@pytest.mark.parametrize("act", speech_acts())
def test_test_phrasings_are_new_sentences_of_known_words(act: str) -> None:
    """Fails where evaluation repeats a training sentence, or asks with a word that training never showed."""
    train, test = all_phrasings(act, "train"), all_phrasings(act, "test")
    assert len(set(train)) == len(train) > 1
    assert len(set(test)) == len(test) > 1
    assert not set(train) & set(test)
    assert all_phrasings(act, "validation") == train
    for split, every in (("train", train), ("test", test)):
        first = phrasings(act, split)
        assert every[: len(first)] == first  # what came later comes last, so that earlier draws stay
    for pattern in test:
        assert set(tokens(re.sub(r"\{\w+\}", "", pattern))) <= set(vocabulary())
        assert set(re.findall(r"\{\w+\}", pattern)) == set(re.findall(r"\{\w+\}", train[0]))


def test_no_test_sentence_can_be_said_in_training() -> None:
    """Fails where a training pattern, of this act or another, gives a held-out sentence."""
    canned = {act: [_any_slots(p) for p in all_phrasings(act, "train")] for act in speech_acts()}
    for act in speech_acts():
        for pattern in all_phrasings(act, "test"):
            said = re.sub(r"\{\w+\}", "x", pattern)
            same = [other for other in canned if any(p.fullmatch(said) for p in canned[other])]
            assert not same, (act, pattern, same)


def _any_slots(pattern: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{\w+\\\}", "x", re.escape(pattern)))


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("suite", suite_names())
def test_sentences_are_complete_and_known(suite: str, split: str) -> None:
    """Fails where a slot stays open or empty, or where a word is outside of the vocabulary."""
    known = set(vocabulary())
    for words in texts(suite, split):
        assert not re.search(r"[{}]|  |^ | $|\bnone\b|None|\"\"| \.$", words), words
        assert set(tokens(words)) <= known, words
        assert words == words.lower()


def test_the_tokenizer_knows_every_word() -> None:
    """Fails where a sentence reaches the model with an unknown token in it."""
    pytest.importorskip("transformers")
    from editenv.agents.unified.tokenizer import build_tokenizer

    tokenizer = build_tokenizer(vocabulary())
    said = sorted({words for suite in suite_names() for words in texts(suite, "test")})
    for words, ids in zip(said, tokenizer(said)["input_ids"], strict=True):
        assert tokenizer.unk_token_id not in ids, words


def test_every_task_has_sentences_and_proposals() -> None:
    """Fails where a task is added to one of the three lists alone."""
    assert set(EDITS) - {"undo"} <= set(SAMPLERS)
    assert set(EDITS) <= set(speech_acts())
    # An undo's intent is that of the edit that brings the picture back.
    assert all(intent_patterns(task) for task in EDITS if task != "undo")
    assert intent_patterns("same") == ()


RED = AttributeRule("color", "red")


def test_intents_by_hand() -> None:
    """Fails where the canonical intent leaves out what a rule or the instruction asks for."""
    star = Target(5, "star", color="blue")
    assert canonical_intent(SubjectRemove(star), (RED,), 4) == "remove the blue star"
    assert canonical_intent(ColorAlter(star, "green"), (), 4) == "make the blue star green"
    assert canonical_intent(ColorAlter(star), (RED,), 4) == "make the blue star red"
    assert canonical_intent(PositionChange(star, 6), (), 4) == "move the blue star to row 2 column 3"
    ruled = "move the blue star to row 2 column 3 and make it striped red"
    assert canonical_intent(PositionChange(star, 6), (AttributeRule("material", "striped"), RED), 4) == ruled
    added = "add a dotted red circle in row 4 column 1"
    assert canonical_intent(SubjectAdd(12, "circle", material="dotted"), (RED,), 4) == added
    placed = Target(5, "star", placed=True)
    assert canonical_intent(SubjectRemove(placed), (), 4) == "remove the star in row 2 column 2"
