"""A session as chat messages with pictures, in the format of OpenAI's chat completions, and back."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from editenv.session import Session
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


def read_chat(messages: Sequence[Mapping[str, Any]]) -> Conversation:
    """The inverse of chat_messages, which loses nothing but an intent equal to EDITED.

    Raises:
        ValueError: a message is none that chat_messages writes.
    """
    pictures: list[Image | None] = []
    transcript, intents = [], []
    for place, message in enumerate(messages):
        expected = "assistant" if place % 2 else "user"
        if message.get("role") != expected:
            raise ValueError(f"message {place} has the role {message.get('role')!r}, expected {expected!r}")
        if expected == "assistant":
            intents.append("" if message["content"] == EDITED else message["content"])
            continue
        parts = {part["type"]: part for part in message["content"]}
        shown = parts.get("image_url")
        pictures.append(None if shown is None else picture_from_url(shown["image_url"]["url"]))
        if "text" in parts:
            transcript.append(parts["text"]["text"])
    return Conversation(tuple(pictures), tuple(transcript), tuple(intents))


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
    from PIL import Image as PILImage

    if not url.startswith(_PREFIX):
        raise ValueError(f"picture's URL begins with {url[:30]!r}, expected {_PREFIX!r}")
    try:
        with PILImage.open(BytesIO(b64decode(url[len(_PREFIX) :], validate=True)), formats=["PNG"]) as image:
            return np.array(image.convert("RGB"))
    except (OSError, SyntaxError, Base64Error, PILImage.DecompressionBombError) as error:
        raise ValueError(f"picture's URL holds no readable PNG: {error}") from error


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
