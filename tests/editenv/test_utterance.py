"""Utterance is a real Gymnasium space: any text survives JSON, flattening and batching."""

from __future__ import annotations

import json

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.spaces import flatdim, flatten, flatten_space, unflatten
from gymnasium.vector.utils import batch_differing_spaces, batch_space, concatenate, create_empty_array, iterate
from hypothesis import given, settings
from hypothesis import strategies as st

from editenv.spaces import Utterance, action_space

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
SPACE = Utterance(40)


@given(TEXTS)
def test_flattening_round_trip(text: str) -> None:
    flat = flatten(SPACE, text)
    assert flat in flatten_space(SPACE)
    assert flat.shape == (flatdim(SPACE),)
    assert unflatten(SPACE, flat) == text


@given(st.lists(TEXTS, max_size=4))
def test_json_round_trip(texts: list[str]) -> None:
    written = json.dumps(SPACE.to_jsonable(texts))
    assert SPACE.from_jsonable(json.loads(written)) == texts


@settings(max_examples=30)
@given(st.integers(0, 2**31 - 1))
def test_samples_belong_to_the_space_and_follow_the_seed(seed: int) -> None:
    space, again = Utterance(40, seed=seed), Utterance(40, seed=seed)
    text = space.sample()
    assert text in space
    assert again.sample() == text


def test_samples_reach_both_ends_of_the_length() -> None:
    lengths = {len(Utterance(3, seed=seed).sample()) for seed in range(60)}
    assert lengths == {0, 1, 2, 3}


@pytest.mark.parametrize("wrong", ["x" * 41, 7, None, b"bytes", "\ud800", np.str_("x" * 41)])
def test_what_is_no_utterance(wrong: object) -> None:
    assert wrong not in SPACE
    with pytest.raises(ValueError, match="entry 1 of the batch is"):
        SPACE.from_jsonable(["fine", wrong])


def test_the_empty_text_and_every_script_belong_to_it() -> None:
    for text in ("", " ", "größer", "猫", "😀" * 40, "a\nb\t\0"):
        assert text in SPACE


def test_equality_and_repr() -> None:
    assert Utterance(3) == Utterance(3) != Utterance(4)
    assert eval(repr(Utterance(7))) == Utterance(7)


@pytest.mark.parametrize("length", [0, -1, 2.5, True, "9"])
def test_bad_length_is_refused(length: object) -> None:
    with pytest.raises(ValueError, match="max_length is"):
        Utterance(length)  # type: ignore[arg-type]


def test_masks_are_refused() -> None:
    with pytest.raises(ValueError, match="neither mask nor probability"):
        SPACE.sample(mask=np.ones(3))


def test_batches() -> None:
    batched = batch_space(SPACE, 3)
    texts = ("a b", "", "猫")
    assert texts in batched
    assert list(iterate(batched, texts)) == list(texts)
    assert concatenate(SPACE, texts, create_empty_array(SPACE, 3)) == texts
    assert create_empty_array(SPACE, 2) in batch_space(SPACE, 2)
    assert batch_differing_spaces([Utterance(3), Utterance(9)]) == spaces.Tuple([Utterance(3), Utterance(9)])


def test_batching_leaves_the_single_space_as_it_was() -> None:
    space, untouched = Utterance(40, seed=1), Utterance(40, seed=1)
    batch_space(space, 3)
    assert space.sample() == untouched.sample()


def test_a_whole_action_can_be_flattened() -> None:
    space = action_space((2, 2, 3), max_length=5)
    action = {"image": np.arange(12, dtype=np.uint8).reshape(2, 2, 3), "intent": "猫 a"}
    flat = flatten(space, action)
    assert flat in flatten_space(space)
    back = unflatten(space, flat)
    assert back["intent"] == "猫 a"
    assert np.array_equal(back["image"], action["image"])
