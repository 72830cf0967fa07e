"""Where a turn's intent comes from when the picture is made by others."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from editenv.agents.baselines.oracle import studio_turn
from editenv.chat import chat_messages
from editenv.endpoint import ChatEndpoint, endpoint_settings
from editenv.records import RecordTurn
from editenv.registry import build, lookup
from editenv.session import Session


def right_intent(session: Session) -> str:
    """What the turn asks for, references resolved and rules worked in; of records the published sentence.

    Raises:
        ValueError: the session has neither studio scenes nor a record's turns.
    """
    meaning = session.message.meaning
    if isinstance(meaning, RecordTurn):
        return re.sub(r"\[([^\]]*)\]", r"\1", meaning.formatted_instruction)
    return studio_turn(session).intent


INTENTS: dict[str, Callable[[Session], str]] = {
    "instructions": lambda session: session.instruction,
    "concatenated": lambda session: "\n".join(session.transcript),
    "oracle": right_intent,
}
"""A turn's intent by name: the user's last words, all their words, or what was meant."""

LOCAL = {"local": "editenv.agents.external.chat_model:ChatModel"}
PROMPT_VERSION = "intent 1"
PROMPT = (
    "A user edits a picture with you over several turns. Write the user's latest request as one instruction for an "
    "image editor that sees the present picture alone and remembers nothing: say what words such as 'it' stand for, "
    "work in every rule stated before that is still in force and applies to this edit, and add nothing else. Answer "
    "with that instruction only."
)


class IntentWriter:
    """Writes turns' intents.

    Args:
        intents: a name in INTENTS, or "chat": a chat model without training.
        endpoint: with "chat", fields of `EndpointSettings` by name; without a `base_url` arguments of `ChatModel`, for
            a model of transformers that is loaded here.
        pictures: whether the chat model is shown the session's pictures; else the words alone.
        max_length: characters that an intent may have; a chat model's longer ones are failures.

    Raises:
        ValueError: a name is not known, or "chat" has no endpoint or another one has.
    """

    def __init__(self, intents: str, endpoint: Mapping[str, Any] | None, pictures: bool, max_length: int) -> None:
        self.plain = lookup("intents", intents, INTENTS | {"chat": INTENTS["instructions"]})
        self.pictures, self.max_length, self.failed = pictures, max_length, 0
        if (intents == "chat") != (endpoint is not None):
            raise ValueError(f"intents is {intents!r} and intent_endpoint is {endpoint}, expected it with chat alone")
        self.endpoint = None
        if endpoint is not None and "base_url" in endpoint:
            self.endpoint = ChatEndpoint(endpoint_settings(endpoint))
        elif endpoint is not None:
            self.endpoint = build("intent_endpoint", "local", LOCAL, endpoint, pictures)

    def write(self, sessions: Sequence[Session], seeds: Sequence[int]) -> list[str]:
        """One intent a session; the instruction where a chat model gives no answer that can be used."""
        plain = [self.plain(session) for session in sessions]
        if self.endpoint is None:
            return plain
        talks = []
        for session in sessions:
            messages = chat_messages(session)
            for message in messages:
                if not self.pictures and message["role"] == "user":
                    message["content"] = "\n".join(part["text"] for part in message["content"] if "text" in part)
            talks.append([{"role": "system", "content": PROMPT}, *messages])
        checks = [self.read] * len(talks)
        answers = self.endpoint.ask(talks, PROMPT_VERSION, [seed % 2**31 for seed in seeds], checks)
        found = []
        for words, answer in zip(plain, answers, strict=True):
            try:
                found.append(self.read(answer.text or ""))
            except ValueError:
                self.failed += 1
                found.append(words)
        return found

    def read(self, text: str) -> str:
        """The intent in a model's answer, what it thought before left out; ValueError for one of a wrong length."""
        intent = text.rpartition("</think>")[2].strip()
        if not 0 < len(intent) <= self.max_length:
            raise ValueError(f"the intent has {len(intent)} characters, expected 1 to {self.max_length}")
        return intent
