"""Judge servers that answer at random: every question ends in a score or an error, in time and in order.

EDITENV_FUZZ_SECONDS=3600 goes on for as long in each test. A failure names the seed of the answer that caused it.
"""

from __future__ import annotations

import gzip
import json
import random
import time
import zlib
from pathlib import Path

import pytest

pytest.importorskip("openai")

from editenv.endpoint import ChatEndpoint, EndpointSettings
from editenv.rewards.judge import read_answers
from editenv.sims.llm import cleaned
from editenv.sims.wording import wording_problem
from tests.chat_server import ChatServer, cuts_the_line, words
from tests.fuzz.rounds import rounds

PIECES = (
    "<answer>", "</answer>", "<answer_1>", "</answer_1>", "<answer_final>", "yes", "no", "YES ", "</think>",
    "<think>", "<", ">", "\n", "\u200b", "\ud800", "\x00", "ß", "{", "}", "[", '"', "\\", " " * 50, "a" * 50,
    "```json", "1e999",
)  # fmt: skip


def some_text(rng: random.Random) -> str:
    return "".join(rng.choices(PIECES, k=rng.randrange(1, 40))) * rng.choice((1, 1, 1, 200))


def some_json(rng: random.Random, depth: int = 0) -> object:
    kinds = (None, True, -1, 1e300, some_text(rng), [], {})
    if depth > 3 or rng.random() < 0.4:
        return rng.choice(kinds)
    if rng.random() < 0.5:
        return [some_json(rng, depth + 1) for _ in range(rng.randrange(3))]
    names = ("choices", "message", "content", "error", "id", "index", "x")
    return {name: some_json(rng, depth + 1) for name in rng.sample(names, 3)}


def completion(content: object) -> dict:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
    return {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


def some_body(rng: random.Random) -> bytes:
    """Mostly a completion, broken in one place or none."""
    draw = rng.random()
    if draw < 0.3:
        return json.dumps(completion(some_text(rng))).encode()
    if draw < 0.5:
        data = completion("yes")
        place = rng.choice((data, data["choices"][0], data["choices"][0]["message"]))
        place[rng.choice([*place, "x"])] = some_json(rng)
        return json.dumps(data).encode()
    if draw < 0.7:
        return json.dumps(some_json(rng)).encode()
    if draw < 0.8:
        return rng.choice((b"[", b'{"a":')) * rng.choice((5, 100_000))
    body = bytearray(json.dumps(completion("yes")).encode())
    for _ in range(rng.randrange(1, 5)):
        body[rng.randrange(len(body))] = rng.randrange(256)
    return bytes(body)


def at_random(handler, request) -> None:
    """An answer that follows from the question's words alone."""
    rng = random.Random(words(request))
    body, headers = some_body(rng), {}
    draw = rng.random()
    if draw < 0.05:
        cuts_the_line(handler, request)
        return
    if draw < 0.2:
        name, pack = rng.choice((("gzip", gzip.compress), ("deflate", zlib.compress), ("br", bytes)))
        headers["content_encoding"] = name
        body = pack(body)[: rng.choice((None, None, -3))]
    if draw > 0.9:
        headers["location"] = rng.choice(("/v1", "//elsewhere/", "http://127.0.0.1:9/", "file:///etc", "\\"))
    status = rng.choice((200,) * 12 + (201, 204, 302, 307, 400, 401, 429, 500, 503))
    kind = rng.choice(("application/json",) * 5 + ("text/html", "text/event-stream", "x"))
    handler.send(status, b"" if status == 204 else body, kind, retry_after_ms="1", **headers)


def test_every_question_ends_in_text_or_an_error_and_spoils_no_other(tmp_path) -> None:
    """Fails where a call raises, hangs, spoils its neighbours or is answered otherwise from disk."""
    with ChatServer(at_random) as server:
        for number in rounds(1):
            one_round(server.url, tmp_path / str(number), number)


def one_round(url: str, folder: Path, number: int) -> None:
    """150 questions at once, and again from the cache alone."""
    folder.mkdir()
    path, started = folder / "calls.jsonl", time.monotonic()
    asked = [[{"role": "user", "content": f"{seed}"}] for seed in range(150 * number, 150 * (number + 1))]
    settings = {"cache": str(folder / "cache"), "transcript": str(path), "timeout": 10.0, "retries": 1}
    endpoint = ChatEndpoint(EndpointSettings(url, "m", **settings))
    answers = endpoint.ask(asked, "1")
    assert time.monotonic() - started < 120
    for place, answer in enumerate(answers):
        assert (answer.text is None) != (answer.error is None), place
        (answer.error or "").encode()
    again = ChatEndpoint(EndpointSettings(url, "m", **settings, max_calls=0)).ask(asked, "1")
    assert [one.text for one in again] == [one.text for one in answers]
    endpoint.close()
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 2 * len(asked)
    assert 0.2 < sum(answer.text is None for answer in answers) / len(answers) < 0.9


@pytest.mark.parametrize("seed", range(4))
def test_any_text_is_read_or_refused_at_once(seed: int) -> None:
    """Fails where a reader of foreign text raises anything but ValueError, or takes long."""
    for number in rounds(250):
        rng = random.Random(4 * number + seed)
        text, started = some_text(rng), time.monotonic()
        try:
            assert set(read_answers(text).values()) <= {True, False}
        except ValueError as error:
            assert "expected" in str(error), (4 * number + seed, text)
        problem = wording_problem(cleaned(text), "add a red star in row 1 column 1", "subject_add", None)
        assert problem is not None, (4 * number + seed, text)
        assert time.monotonic() - started < 5, (4 * number + seed, text)
