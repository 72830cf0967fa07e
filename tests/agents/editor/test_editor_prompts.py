"""What the model reads, token by token."""

import pytest

from editenv.agents.editor.prompts import answer_block, intent_block, transcript_block
from editenv.agents.unified.tokenizer import build_tokenizer

PAD, UNK, BOS, EOS = range(4)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(["round", "add", "a", "star"])


def ids_of(tokenizer, *words: str) -> list[int]:
    return tokenizer.convert_tokens_to_ids(list(words))


def test_a_transcript_opens_each_instruction_and_ends_where_the_answer_starts(tokenizer):
    block = transcript_block(tokenizer, [("add a star", "add a"), ("a",)])
    said = ids_of(tokenizer, "round", "add", "a", "star", "round", "add", "a")
    assert block.ids.tolist() == [
        [BOS, *said, EOS, BOS],
        [PAD] * 5 + [BOS, *ids_of(tokenizer, "round", "a"), EOS, BOS],
    ]
    assert block.mask.tolist() == [[True] * 10, [False] * 5 + [True] * 5]


def test_an_intent_stands_between_marks_and_is_padded_on_the_right(tokenizer):
    block = intent_block(tokenizer, ["add a star", "add"])
    add, a, star = ids_of(tokenizer, "add", "a", "star")
    assert block.ids.tolist() == [[BOS, add, a, star, EOS], [BOS, add, EOS, PAD, PAD]]
    assert block.mask.tolist() == [[True] * 5, [True, True, True, False, False]]


def test_an_answer_holds_its_stop_token_and_no_start(tokenizer):
    block = answer_block(tokenizer, ["add a", "a add"])
    add, a = ids_of(tokenizer, "add", "a")
    assert block.ids.tolist() == [[add, a, EOS], [a, add, EOS]]
    assert block.mask is None, "rows of one length need no mask"


def test_nobody_ends_a_turn_by_typing_the_stop_tokens_name(tokenizer):
    inside = transcript_block(tokenizer, [("add <eos> a",)]).ids[0, 1:-2]
    assert EOS not in inside.tolist() and UNK in inside.tolist()
