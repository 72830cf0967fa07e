"""Sessions as chat messages: what servers take, and nothing lost on the way back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from editenv.chat import EDITED, chat_messages, read_chat
from editenv.env import MICEEditEnv
from editenv.pictures import data_url, picture_from_url
from tests.fakes import FakeWorld, FlatScorer, ScriptUser, answer


def played(steps: int, history: bool = True) -> tuple[MICEEditEnv, dict[str, Any]]:
    env = MICEEditEnv(FakeWorld(), ScriptUser(), FlatScorer(), history=history)
    seen, _ = env.reset(seed=5)
    for turn in range(steps):
        seen, *_ = env.step(answer(8, 10 * turn, "" if turn == 1 else f"größer {turn}"))
    return env, seen


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_a_session_survives_being_written_as_messages(steps: int) -> None:
    """Fails where a picture, a word or their order is lost; JSON stands for the way to a server."""
    session = played(steps)[0].session
    back = read_chat(json.loads(json.dumps(chat_messages(session))))
    assert back.transcript == session.transcript
    assert list(back.intents) == session.intents
    assert len(back.pictures) == steps + 1
    for mine, theirs in zip(back.pictures, session.pictures, strict=True):
        assert np.array_equal(mine, theirs)


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_roles_alternate_and_pictures_are_the_users(steps: int) -> None:
    messages = chat_messages(played(steps)[0].session)
    assert [message["role"] for message in messages] == (["user", "assistant"] * 4)[: 2 * steps + 1]
    for message in messages[1::2]:
        assert isinstance(message["content"], str)
        assert message["content"]
    for message in messages[::2]:
        assert message["content"][0]["type"] == "image_url"
    assert messages[3]["content"] == EDITED if steps > 1 else True
    last = [part["type"] for part in messages[-1]["content"]]
    assert last == (["image_url"] if steps == 3 else ["image_url", "text"])


@pytest.mark.parametrize("history", [True, False])
def test_an_observation_tells_what_it_shows(history: bool) -> None:
    env, seen = played(2, history)
    told = read_chat(chat_messages(seen))
    assert told.transcript == env.session.transcript
    assert told.intents == ("", "")
    assert np.array_equal(told.pictures[0], seen["source"])
    assert np.array_equal(told.pictures[2], seen["image"])
    if history:
        assert np.array_equal(told.pictures[1], env.session.pictures[1])
    else:
        assert told.pictures[1] is None


@settings(max_examples=25)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**31))
def test_pictures_survive_as_urls(height: int, width: int, seed: int) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    assert np.array_equal(picture_from_url(data_url(picture)), picture)


@pytest.mark.parametrize("url", ["http://x/y.png", "data:image/png;base64,AAAA", "data:image/png;base64,%%%"])
def test_what_is_no_picture_is_named(url: str) -> None:
    with pytest.raises(ValueError, match="picture's URL"):
        picture_from_url(url)


def test_messages_out_of_order_are_named() -> None:
    with pytest.raises(ValueError, match="message 0: key 'role' is 'system', expected 'user'"):
        read_chat([{"role": "system", "content": "paint"}])


SAID = {"type": "text", "text": "add a star"}


@pytest.mark.parametrize(
    ("messages", "error"),
    [
        ([{"role": "user", "content": "add a star"}], "message 0: key 'content' is 'add a star', expected a list"),
        ([{"role": "user"}], "message 0: key 'content' is missing"),
        (["add a star"], "message 0: JSON is 'add a star', expected an object"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}], "expected an object"),
        ([{"role": "user", "content": [{"type": "text"}]}], "a part lacks what its type says"),
        (
            [{"role": "user", "content": [{"type": "video"}]}],
            r"key 'content\[0\].type' is 'video', expected one of image",
        ),
        ([{"role": "user", "content": [SAID, SAID]}], "message 0: it has 2 texts, expected one at most"),
        ([{"role": "user", "content": [SAID]}, {"role": "assistant", "content": None}], "message 1: key 'content'"),
        ([{"role": "user", "content": []}, {"role": "assistant", "content": "x"}], "message 0: it has no text"),
    ],
)
def test_messages_of_others_are_refused_in_words(messages: list[Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        read_chat(messages)


def test_a_large_picture_in_a_message_is_not_decoded() -> None:
    large = {"type": "image_url", "image_url": {"url": data_url(np.zeros((4097, 4096, 3), np.uint8))}}
    with pytest.raises(ValueError, match="it has 4096 x 4097 pixels, expected 16777216 at most"):
        read_chat([{"role": "user", "content": [large, SAID]}])


@pytest.mark.parametrize("chat", [None, 3, "add a star", {"role": "user"}])
def test_what_is_no_list_of_messages_is_refused(chat: Any) -> None:
    with pytest.raises(ValueError, match="expected a list of messages"):
        read_chat(chat)
