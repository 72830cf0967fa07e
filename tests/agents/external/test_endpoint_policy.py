"""`policy=endpoint`: pictures and intents of models behind servers."""

from __future__ import annotations

import json
import threading
from base64 import b64decode, b64encode
from email.parser import BytesParser
from email.policy import HTTP
from io import BytesIO
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("openai")

from editenv.agents.evaluate import evaluate, run_evaluation
from editenv.configs.compose import compose
from tests.chat_server import ChatServer, Handler, says, words


def do_post(handler):
    """Multipart bodies too, as {"model", "prompt", "image": [bytes], ...}."""
    body, kind = handler.rfile.read(int(handler.headers["content-length"])), handler.headers["content-type"]
    if kind.startswith("multipart/"):
        parts = BytesParser(policy=HTTP).parsebytes(f"content-type: {kind}\r\n\r\n".encode() + body)
        request = {"image": []}
        for part in parts.iter_parts():
            name = part.get_param("name", header="content-disposition")
            if part.get_filename():
                assert part.get_content_type() == "image/png"
                request["image"].append(part.get_payload(decode=True))
            else:
                request[name] = part.get_payload(decode=True).decode()
    else:
        request = json.loads(body)
    server = handler.server
    with server.lock:
        server.requests.append(request | {"path": handler.path})
        server.keys.append(handler.headers.get("authorization"))
        server.open += 1
        server.most_open = max(server.most_open, server.open)
    try:
        server.behave(handler, request)
    finally:
        with server.lock:
            server.open -= 1


@pytest.fixture(autouse=True)
def multipart():
    with patch.object(Handler, "do_POST", do_post):
        yield


def png(picture, kind="PNG"):
    file = BytesIO()
    Image.fromarray(picture).save(file, format=kind)
    return file.getvalue()


def sends_picture(handler, data, api="images"):
    code = b64encode(data).decode()
    answer = {"created": 1, "data": [{"b64_json": code}]}
    if api != "images":
        shown = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{code}"}}]
        message = {"role": "assistant", "content": "Here." if api == "chat" else shown}
        message |= {"images": shown} if api == "chat" else {}
        answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
        answer["choices"] = [{"index": 0, "finish_reason": "stop", "message": message}]
    handler.send(200, json.dumps(answer).encode())


def brighter(handler, request):
    """Each picture one brighter than the last one shown; of chat completions in either place."""
    if "image" in request:
        shown, api = np.array(Image.open(BytesIO(request["image"][-1]))), "images"
    else:
        urls = [part["image_url"]["url"] for part in request["messages"][-1]["content"] if part["type"] == "image_url"]
        shown, api = np.array(Image.open(BytesIO(b64decode(urls[-1].partition(",")[2])))), request["model"]
    sends_picture(handler, png(shown + np.uint8(1)), api)


def played(server, out, run=run_evaluation, sessions=2, **policy):
    policy = {"base_url": server.url, "model": "chat", "retries": 1, "check": False} | policy
    return run(
        compose("evaluate", out=str(out), policy="endpoint", policy_settings=policy, sessions=sessions, filmstrip=0,
                save_images=True)
    )  # fmt: skip


@pytest.mark.parametrize(("api", "model"), [("images", "m"), ("chat", "chat"), ("chat", "parts")])
@pytest.mark.parametrize("history", ["last", "all"])
def test_pictures_come_from_the_server_by_the_users_words(tmp_path, monkeypatch, api, model, history):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    with ChatServer(brighter) as server:
        found = played(server, tmp_path, api=api, model=model, history=history, parameters={"size": "64x64"})
    records = list(found.records())
    for record in records:
        first, *later = record.pictures
        assert all(np.array_equal(one, first + np.uint8(k)) for k, one in enumerate(later, 1)) and len(later) == 3
        assert record.intents == record.transcript
    assert found.facts["failed_turns"] == found.facts["fitted_turns"] == 0 and found.facts["edit_calls"] == 6
    count = {"last": [1] * 6, "all": [1, 1, 2, 2, 3, 3]}[history]
    if api == "images":
        assert {one["path"] for one in server.requests} == {"/v1/images/edits"}
        assert [len(one["image"]) for one in server.requests] == count
        asked = [one["prompt"] for one in server.requests]
    else:
        asked = [words(one) for one in server.requests]
        assert [len(one["messages"][0]["content"]) - 1 for one in server.requests] == count
    assert sorted(asked) == sorted(text for record in records for text in record.transcript)
    assert {one["size"] for one in server.requests} == {"64x64"} and set(server.keys) == {"Bearer sk-very-secret"}
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*.json*"))
    assert b"very-secret" not in written


def test_sessions_are_asked_side_by_side_and_a_cache_spares_calls(tmp_path):
    together = threading.Barrier(4, timeout=20)

    def waits(handler, request):
        together.wait()
        brighter(handler, request)

    with ChatServer(waits) as server:
        played(server, tmp_path / "a", sessions=4, cache=str(tmp_path / "cache"), concurrency=4)
        assert server.most_open == 4 and len(server.requests) == 12
        again = played(server, tmp_path / "b", sessions=4, cache=str(tmp_path / "cache"), concurrency=4)
        assert len(server.requests) == 12 and again.facts["failed_turns"] == 0


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"created": 1, "data": []}', "holds no picture"),
        (b'{"created": 1, "data": [{"url": "http://elsewhere/a.png"}]}', "holds no picture"),
        (b'{"created": 1, "data": [{"b64_json": "bm8gcGljdHVyZQ=="}]}', "no picture that can be used"),
        (b"<html>busy</html>", ""),
        (None, r"moderation \*\*\*"),
    ],
)
def test_an_answer_without_a_picture_is_a_failed_turn_and_the_next_one_goes_on(
    tmp_path, monkeypatch, capsys, body, reason
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")

    def fails_at_first(handler, request):
        with handler.server.lock:
            seen = sum(one["prompt"] == request["prompt"] for one in handler.server.requests)
            early = request["prompt"] in firsts or not firsts
            firsts.update({request["prompt"]} if early else set())
        if not early:
            return brighter(handler, request)
        if body is None:
            refusal = {"error": {"message": "moderation sk-very-secret"}}
            return handler.send(400, json.dumps(refusal).encode())
        assert seen <= 2  # retries=1
        return handler.send(200, body, "application/json")

    firsts = set()
    with ChatServer(fails_at_first) as server, pytest.warns(UserWarning, match=f"turn 1: no edit.*{reason}"):
        found = played(server, tmp_path, run=evaluate, sessions=1, retries=int(body is not None))
    [record] = found.records()
    assert np.array_equal(record.pictures[0], record.pictures[1])
    assert not np.array_equal(record.pictures[1], record.pictures[2])
    assert (found.facts["failed_turns"], found.facts["turns"]) == (1, 3)
    assert "edits that failed, where the picture stayed as it was: 1 of 3" in capsys.readouterr().out


def test_pictures_of_another_size_are_fitted_and_counted(tmp_path):
    large = png(np.full((512, 512, 3), 77, np.uint8), "JPEG")
    with ChatServer(lambda handler, request: sends_picture(handler, large)) as server:
        found = played(server, tmp_path, sessions=1)
    [record] = found.records()
    assert {int(value) for picture in record.pictures[1:] for value in picture.flat} == {77}
    assert found.facts["fitted_turns"] == 3


def test_a_wrong_address_or_setting_is_said_before_anything_is_played(tmp_path):
    with ChatServer(lambda handler, request: handler.send(404, b"{}")) as server:
        with pytest.raises(ConnectionError, match=r"model 'chat' at .* gives no answer .*404"):
            played(server, tmp_path, check=True)
        for changed, message in (
            ({"api": "image"}, "api 'image' is not known, did you mean 'images'"),
            ({"history": "lats"}, "history 'lats' is not known, did you mean 'last'"),
            ({"retires": 2}, "no setting 'retires', did you mean 'retries'"),
            ({"base_url": "localhost"}, "base_url is 'localhost', expected"),
            ({"intents": "chat"}, "intent_endpoint is None, expected it with chat alone"),
        ):
            with pytest.raises(ValueError, match=message):
                played(server, tmp_path, **changed)
    assert not (tmp_path / "scores.jsonl").exists()


def test_a_chat_model_writes_the_intents_that_pictures_are_made_from(tmp_path):
    """It is shown the session with its pictures; where it says nothing usable, the user's words are the intent."""

    def reconstructs(handler, request):
        last = words(request)
        handler.say("x" * 2000 if last == unlucky else f"<think>hm</think> do: {last}")

    unlucky = None
    with ChatServer(brighter) as server, ChatServer(reconstructs) as writer:
        chat = {"intents": "chat", "intent_endpoint": {"base_url": writer.url, "model": "w"}}
        found = played(server, tmp_path / "a", sessions=1, **chat)
        [record] = found.records()
        assert record.intents == tuple(f"do: {text}" for text in record.transcript)
        assert [one["prompt"] for one in server.requests] == list(record.intents)
        assert [len(one["messages"]) for one in writer.requests] == [2, 4, 6]
        assert "image_url" in str(writer.requests[0]["messages"]) and found.facts["failed_intents"] == 0
        unlucky = record.transcript[1]
        found = played(server, tmp_path / "b", sessions=1, intent_pictures=False, **chat)
        assert found.lines[0]["intents"][1] == unlucky and found.facts["failed_intents"] == 1
        assert "image_url" not in str(writer.requests[3:])


def test_an_evaluation_goes_on_with_a_server_elsewhere_and_with_another_model_does_not(tmp_path):
    with ChatServer(brighter) as first, ChatServer(brighter) as second:
        login = first.url.replace("//", "//me:pass-word@")
        kept = played(first, tmp_path, sessions=2, base_url=login)
        again = played(second, tmp_path, sessions=2)
        assert again.lines == kept.lines and len(first.requests) == 6 and not second.requests
        with pytest.raises(ValueError, match=r"policy_settings.model"):
            played(second, tmp_path, sessions=2, model="another")
    assert b"pass-word" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*.json*"))


def test_a_chat_model_that_only_talks_fails(tmp_path):
    with ChatServer(says("I cannot draw.")) as server, pytest.warns(UserWarning, match="holds no picture"):
        found = played(server, tmp_path, api="chat", sessions=1, retries=0)
    assert found.facts["failed_turns"] == 3
