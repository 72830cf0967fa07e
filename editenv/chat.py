"""A session as chat messages with pictures, in the format of OpenAI's chat completions, and back."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

import numpy as np

from editenv.picturefile import MAX_BYTES, opened
from editenv.session import Session
from editenv.strict import Strict, check
from editenv.types import Image

EDITED = "(the edited picture follows)"
"""What the assistant says where it wrote no intent: most servers want some text there."""

_PREFIX = "data:image/png;base64,"


@dataclass(frozen=True, slots=True)
class Conversation:
    """What chat messages tell of a session.

    Attributes:
        pictures: uint8 [H, W, 3] each: the source, then the one after each turn; None where it is not shown.
        transcript: what the user said.
        intents: what the assistant wrote, one entry a finished turn, empty where it wrote nothing.
    """

    pictures: tuple[Image | None, ...]
    transcript: tuple[str, ...]
    intents: tuple[str, ...]


def chat_messages(session: Session | Mapping[str, Any]) -> list[dict[str, Any]]:
    """The session so far, ready to be answered by a chat model.

    A turn is a message of the user with the picture as it is now and the instruction, then one of the
    assistant with its intent. Pictures are PNG data URLs and stand in the user's messages, since servers take
    none from assistants: what a turn led to is shown with the next instruction, or alone at the end.

    Args:
        session: a `Session` (every picture and intent is known), or an observation of `MICEEdit-v0` of one
            session; without `images` the pictures between source and present one are left out.
    """
    told = _of_session(session) if isinstance(session, Session) else _of_observation(session)
    messages: list[dict[str, Any]] = []
    for turn, picture in enumerate(told.pictures):
        said = told.transcript[turn] if turn < len(told.transcript) else ""
        if turn:
            messages.append({"role": "assistant", "content": told.intents[turn - 1] or EDITED})
        messages.append({"role": "user", "content": _user_parts(picture, said)})
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
    pictures: list[Image | None] = []
    transcript, intents = [], []
    for place, message in enumerate(messages):
        try:
            if place % 2:
                written = check(_AssistantSaid, message).content
                intents.append("" if written == EDITED else written)
                continue
            parts = check(_UserSaid, message).content
            shown, texts = _told(parts)
            if not texts and place < len(messages) - 1:
                raise ValueError("it has no text, expected an instruction in all but the last message")
            pictures.append(picture_from_url(shown[0]) if shown else None)
            transcript += texts
        except ValueError as error:
            raise ValueError(f"message {place}: {error}") from error
    return Conversation(tuple(pictures), tuple(transcript), tuple(intents))


def _told(parts: Sequence[_Part]) -> tuple[list[str], list[str]]:
    """The URL and the text of a user's message, at most one of each."""
    shown = [part.image_url.url for part in parts if part.type == "image_url" and part.image_url]
    texts = [part.text for part in parts if part.type == "text" and part.text is not None]
    if len(shown) + len(texts) != len(parts):
        raise ValueError("a part lacks what its type says, expected 'image_url' with a url or 'text'")
    for name, found in (("pictures", shown), ("texts", texts)):
        if len(found) > 1:
            raise ValueError(f"it has {len(found)} {name}, expected one at most")
    return shown, texts


def data_url(picture: Image) -> str:
    """A picture, uint8 [H, W, 3], as a PNG data URL; nothing is lost."""
    from PIL import Image as PILImage

    file = BytesIO()
    PILImage.fromarray(picture).save(file, format="PNG")
    return _PREFIX + b64encode(file.getvalue()).decode()


def picture_from_url(url: str) -> Image:
    """The inverse of data_url.

    Raises:
        ValueError: the URL holds no PNG picture.
    """
    if not url.startswith(_PREFIX):
        raise ValueError(f"picture's URL begins with {url[:30]!r}, expected {_PREFIX!r}")
    data = url[len(_PREFIX) :]
    if len(data) > MAX_BYTES * 4 // 3:
        raise ValueError(f"picture's URL has {len(data)} characters, expected {MAX_BYTES * 4 // 3} at most")
    try:
        content = BytesIO(b64decode(data, validate=True))
    except Base64Error as error:
        raise ValueError(f"picture's URL holds no readable PNG: {error}") from error
    with opened(content, "picture's URL", ("PNG",)) as image:
        return np.array(image.convert("RGB"))


def _user_parts(picture: Image | None, said: str) -> list[dict[str, Any]]:
    """One message's parts: the picture where it is known, the instruction where there is one."""
    parts: list[dict[str, Any]] = []
    if picture is not None:
        parts.append({"type": "image_url", "image_url": {"url": data_url(picture)}})
    if said:
        parts.append({"type": "text", "text": said})
    return parts


def _of_session(session: Session) -> Conversation:
    return Conversation(tuple(session.pictures), session.transcript, tuple(session.intents))


def _of_observation(seen: Mapping[str, Any]) -> Conversation:
    turn = int(seen["turn"])
    if "images" in seen:
        pictures = tuple(seen["images"][: turn + 1])
    else:
        pictures = (seen["source"], *[None] * (turn - 1), *([seen["image"]] if turn else []))
    return Conversation(pictures, tuple(seen["transcript"]), ("",) * turn)
