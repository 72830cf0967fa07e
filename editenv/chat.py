"""A session as chat messages with pictures, in the format of OpenAI's chat completions, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from editenv.pictures import data_url, picture_from_url
from editenv.session import Session
from editenv.strict import Strict, check
from editenv.types import Image

EDITED = "(the edited picture follows)"
"""What the assistant says where it wrote no intent: most servers want some text there."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What chat messages tell of a session."""

    # the source, then the picture after each turn, uint8 [H, W, 3]; None where it is not shown
    pictures: tuple[Image | None, ...]
    transcript: tuple[str, ...]  # what the user said
    intents: tuple[str, ...]  # what the assistant wrote, one entry a finished turn, empty where it wrote nothing


def chat_messages(session: Session | Mapping[str, Any]) -> list[dict[str, Any]]:
    """The session so far, ready to be answered by a chat model.

    A turn is a message of the user with the picture as it is now and the instruction, then one of the
    assistant with its intent. Pictures are PNG data URLs and stand in the user's messages, since servers take
    none from assistants: what a turn led to is shown with the next instruction, or alone at the end.

    Args:
        session: a `Session` (every picture and intent is known), or an observation of `MICEEdit-v0` of one
            session; without `images` the pictures between source and present one are left out.
    """
    pictures: Sequence[Image | None]
    if isinstance(session, Session):
        pictures, transcript, intents = session.pictures, session.transcript, session.intents
    else:
        turn, transcript = int(session["turn"]), session["transcript"]
        intents = [""] * turn
        if "images" in session:
            pictures = session["images"][: turn + 1]
        else:
            pictures = (session["source"], *[None] * (turn - 1), *([session["image"]] if turn else []))
    messages: list[dict[str, Any]] = []
    for turn, picture in enumerate(pictures):
        if turn:
            messages.append({"role": "assistant", "content": intents[turn - 1] or EDITED})
        parts: list[dict[str, Any]] = []
        if picture is not None:
            parts.append({"type": "image_url", "image_url": {"url": data_url(picture)}})
        if turn < len(transcript) and transcript[turn]:
            parts.append({"type": "text", "text": transcript[turn]})
        messages.append({"role": "user", "content": parts})
    return messages


class _Url(Strict):
    url: str


class _Part(Strict):
    """A picture or a text."""

    type: Literal["image_url", "text"]
    image_url: _Url | None = None
    text: str | None = None


class _UserSaid(Strict):
    role: Literal["user"]
    content: list[_Part]


class _AssistantSaid(Strict):
    role: Literal["assistant"]
    content: str


def read_chat(messages: Sequence[Mapping[str, Any]]) -> Conversation:
    """The inverse of chat_messages, which loses nothing but an intent equal to EDITED.

    Raises:
        ValueError: a message is none that chat_messages writes, or its picture has more than MAX_PIXELS
            pixels; names the message and what is expected.
    """
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        raise ValueError(f"chat is a {type(messages).__name__}, expected a list of messages")
    pictures: list[Image | None] = []
    transcript, intents = [], []
    for place, message in enumerate(messages):
        try:
            if place % 2:
                written = check(_AssistantSaid, message).content
                intents.append("" if written == EDITED else written)
                continue
            parts = check(_UserSaid, message).content
            shown = [part.image_url.url for part in parts if part.type == "image_url" and part.image_url]
            texts = [part.text for part in parts if part.type == "text" and part.text is not None]
            if len(shown) + len(texts) != len(parts):
                raise ValueError("a part lacks what its type says, expected 'image_url' with a url or 'text'")
            for name, found in (("pictures", shown), ("texts", texts)):
                if len(found) > 1:
                    raise ValueError(f"it has {len(found)} {name}, expected one at most")
            if not texts and place < len(messages) - 1:
                raise ValueError("it has no text, expected an instruction in all but the last message")
            pictures.append(picture_from_url(shown[0]) if shown else None)
            transcript += texts
        except ValueError as error:
            raise ValueError(f"message {place}: {error}") from error
    return Conversation(tuple(pictures), tuple(transcript), tuple(intents))
