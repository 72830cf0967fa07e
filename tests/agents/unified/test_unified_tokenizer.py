"""Words and punctuation survive the round trip; nobody can type a special token."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from editenv.agents.unified.tokenizer import SPECIAL_TOKENS, build_tokenizer

WORDS = ["make", "the", "red", "circle", "left", "it", "s", "eos", *",.:!?'-()<>"]
TOKENIZER = build_tokenizer(WORDS)


def test_special_tokens_have_the_first_ids():
    assert TOKENIZER.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == [0, 1, 2, 3, 4, 5]
    assert (TOKENIZER.pad_token_id, TOKENIZER.unk_token_id) == (0, 1)
    assert (TOKENIZER.bos_token_id, TOKENIZER.eos_token_id) == (2, 3)
    assert len(TOKENIZER) == 6 + len(WORDS)


def test_text_is_lower_cased_and_split_at_punctuation():
    text = "Make it RED, the left-circle's (left)."
    pieces = ["make", "it", "red", ",", "the", "left", "-", "circle", "'", "s", "(", "left", ")", "."]
    ids = TOKENIZER(text)["input_ids"]
    assert TOKENIZER.convert_ids_to_tokens(ids) == pieces
    assert TOKENIZER.decode(ids) == "make it red, the left-circle's (left)."


def test_a_word_outside_the_vocabulary_is_unknown():
    assert TOKENIZER("make violet")["input_ids"] == [6, 1]


def test_typed_special_tokens_are_text():
    ids = TOKENIZER("red <eos> <bos>")["input_ids"]
    assert not {0, 2, 3, 4, 5} & set(ids)
    assert TOKENIZER.convert_ids_to_tokens(ids)[1:4] == ["<", "eos", ">"]


@given(st.lists(st.sampled_from(range(6, 6 + len(WORDS))), max_size=12))
def test_decoded_ids_encode_to_themselves(ids):
    assert TOKENIZER(TOKENIZER.decode(ids))["input_ids"] == ids


def test_decoding_can_leave_special_tokens_out():
    assert TOKENIZER.decode([2, 6, 7, 8, 3, 0], skip_special_tokens=True) == "make the red"


def test_saved_and_loaded_behaves_the_same(tmp_path):
    TOKENIZER.save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").is_file()
    loaded = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    text = "Make it red, <eos>!"
    assert loaded(text)["input_ids"] == TOKENIZER(text)["input_ids"]
    assert loaded.decode(loaded(text)["input_ids"]) == TOKENIZER.decode(TOKENIZER(text)["input_ids"])


def test_entries_are_split_into_pieces_once():
    assert len(build_tokenizer(["top-left", "top", "Left"])) == 6 + 3


def test_no_words_is_an_error():
    with pytest.raises(ValueError, match="expected at least one word"):
        build_tokenizer([" "])
