"""The chat endpoint against a real server: whatever happens, each question gets its own answer or error."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import socket
import sqlite3

import pytest

pytest.importorskip("openai")
pytest.importorskip("diskcache")

from editenv.endpoint import ChatEndpoint, EndpointSettings, endpoint_settings
from tests.chat_server import ChatServer, cuts_the_line, says, sends, stalls, trickles, words

HELLO = [{"role": "user", "content": "hello"}]


def echo(handler, request):
    handler.say(f"{words(request)}/{request.get('seed')}")


def ask(server_url, texts=("hello",), seeds=None, version="1", **settings):
    endpoint = ChatEndpoint(EndpointSettings(server_url, "m", **({"timeout": 20.0, "retries": 0} | settings)))
    answers = endpoint.ask([[{"role": "user", "content": text}] for text in texts], version, seeds)
    return endpoint, answers


def test_answers_come_in_the_order_of_the_questions_with_settings_and_key(monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "secret")
    with ChatServer(echo) as server:
        _, answers = ask(
            server.url, list("abcdef"), range(6), api_key_env="JUDGE_KEY", temperature=0.6, max_tokens=9
        )
    assert [answer.text for answer in answers] == [f"{text}/{seed}" for seed, text in enumerate("abcdef")]
    assert all(answer.error is None and not answer.cached for answer in answers)
    assert {key: server.requests[0][key] for key in ("model", "temperature", "max_tokens")} == {
        "model": "m",
        "temperature": 0.6,
        "max_tokens": 9,
    }
    assert set(server.keys) == {"Bearer secret"}


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (stalls, "no answer within 0.4 seconds"),
        (trickles, "no answer within 0.4 seconds"),
        (cuts_the_line, "Connection error"),
        (sends(200, b"<html>busy</html>", "text/html"), "holds no text"),
        (sends(200, b"{not json"), "JSONDecodeError"),
        (sends(200, b'{"choices": "none"}'), "holds no text"),
        (sends(200, b"[" * 100_000), ""),
        (says(None), "holds no text"),
        (says("   "), "holds no text"),
        (sends(500), "500"),
        (sends(429), "429"),
        (sends(400, b'{"error": {"message": "no pictures, please"}}'), "no pictures, please"),
        (sends(401), "401"),
        (sends(302, location="ftp://nowhere"), ""),
    ],
)
def test_a_server_that_misbehaves_gives_an_error_in_time(behaviour, error):
    with ChatServer(behaviour) as server:
        endpoint, answers = ask(server.url, timeout=0.4 if "seconds" in error else 20.0)
    assert answers[0].text is None and error in answers[0].error
    assert (endpoint.calls, endpoint.failed, len(server.requests)) == (1, 1, 1)


def test_a_port_that_refuses_gives_an_error():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        _, answers = ask(f"http://127.0.0.1:{taken.getsockname()[1]}/v1")
    assert answers[0].text is None and "Connection error" in answers[0].error


def test_one_bad_answer_spoils_no_other():
    def odd_ones_fail(handler, request):
        (echo if int(words(request)) % 2 == 0 else sends(500))(handler, request)

    with ChatServer(odd_ones_fail) as server:
        endpoint, answers = ask(server.url, list("0123"))
    assert [answer.text for answer in answers] == ["0/None", None, "2/None", None]
    assert (endpoint.calls, endpoint.failed) == (4, 2)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(status):
    def busy_twice(handler, request):
        (sends(status) if len(server.requests) <= 2 else echo)(handler, request)

    with ChatServer(busy_twice) as server:
        endpoint, answers = ask(server.url, retries=2)
    assert answers[0].text == "hello/None" and len(server.requests) == 3 and endpoint.calls == 1


def test_no_more_calls_are_open_than_allowed():
    def waits(handler, request):
        handler.server.over.wait(0.03)
        echo(handler, request)

    with ChatServer(waits) as server:
        _, answers = ask(server.url, [str(number) for number in range(9)], concurrency=3, timeout=5.0)
    assert server.most_open == 3 and None not in [answer.text for answer in answers]


def test_answers_are_kept_on_disk_by_content_seed_settings_and_version(tmp_path):
    kept = {"cache": str(tmp_path / "cache")}
    with ChatServer(echo) as server:
        ask(server.url, ["a", "b"], [1, 1], **kept)
        endpoint, again = ask(server.url, ["a", "b"], [1, 1], **kept)
        assert len(server.requests) == 2 and all(answer.cached for answer in again)
        assert (endpoint.calls, endpoint.cached) == (0, 2)
        for change in ({"seeds": [2]}, {"version": "2"}, {"temperature": 1.0}, {"max_tokens": 3}):
            before = len(server.requests)
            ask(server.url, ["a"], **({"seeds": [1]} | change), **kept)
            assert len(server.requests) == before + 1, change
    _, offline = ask("http://127.0.0.1:9/v1", ["b"], [1], **kept)
    assert offline[0].text == "b/1"


def test_failures_are_not_kept(tmp_path):
    kept = {"cache": str(tmp_path)}
    with ChatServer(sends(500)) as server:
        ask(server.url, **kept)
        server.behave = echo
        _, answers = ask(server.url, **kept)
    assert answers[0].text == "hello/None"


def test_equal_questions_are_asked_once():
    with ChatServer(echo) as server:
        endpoint, answers = ask(server.url, ["a", "a", "a"])
    assert [answer.text for answer in answers] == ["a/None"] * 3
    assert len(server.requests) == 1 and (endpoint.calls, endpoint.cached) == (1, 2)


def test_the_budget_is_never_exceeded_and_kept_answers_are_free(tmp_path):
    kept = {"cache": str(tmp_path), "max_calls": 3}
    with ChatServer(echo) as server:
        endpoint, answers = ask(server.url, list("abcde"), **kept)
        again = endpoint.ask([[{"role": "user", "content": text}] for text in "abcde"], "1")
        assert len(server.requests) == 3
    texts = [answer.text for answer in answers]
    assert texts.count(None) == 2 and [answer.text for answer in again] == texts
    assert "budget of 3 calls" in next(answer.error for answer in answers if answer.error)


def test_the_transcript_has_a_line_a_question_with_hashes_for_pictures(tmp_path):
    path = tmp_path / "calls.jsonl"
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    talk = [{"role": "user", "content": [picture, {"type": "text", "text": "größer 猫"}]}]
    with ChatServer(says("yes")) as server:
        endpoint = ChatEndpoint(EndpointSettings(server.url, "m", transcript=str(path), retries=0))
        endpoint.ask([talk], "v7", [3])
        server.behave = sends(500)
        endpoint.ask([HELLO], "v7")
    good, bad = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert (good["text"], good["error"], good["version"], good["request"]["seed"]) == ("yes", None, "v7", 3)
    parts = good["request"]["messages"][0]["content"]
    assert parts[1]["text"] == "größer 猫" and parts[0]["image_url"]["url"].startswith("sha256:")
    assert bad["text"] is None and "500" in bad["error"] and good["seconds"] > 0


def test_a_damaged_cache_and_a_lost_transcript_cost_a_warning_not_the_answer(tmp_path):
    with ChatServer(echo) as server:
        settings = {"cache": str(tmp_path / "cache"), "transcript": str(tmp_path / "none" / "calls.jsonl")}
        endpoint = ChatEndpoint(EndpointSettings(server.url, "m", retries=0, **settings))
        with pytest.warns(UserWarning, match="the transcript lacks a line"):
            assert endpoint.ask([HELLO], "1")[0].text == "hello/None"
        with sqlite3.connect(tmp_path / "cache" / "cache.db") as database:
            database.execute("UPDATE Cache SET value = x'00'")
        with pytest.warns(UserWarning, match="a kept answer cannot be read"):
            assert endpoint.ask([HELLO], "1")[0].text == "hello/None"


def test_health_passes_or_says_what_to_check():
    with ChatServer(echo) as server:
        endpoint = ChatEndpoint(EndpointSettings(server.url, "m", timeout=20.0))
        endpoint.health()
        server.behave = sends(401)
        with pytest.raises(ConnectionError, match=f"'m' at {server.url} .*401.*check that .*OPENAI_API_KEY"):
            endpoint.health()
    assert endpoint.calls == 0
    with pytest.raises(ConnectionError, match="the server runs"):
        ChatEndpoint(EndpointSettings("http://127.0.0.1:9/v1", "m")).health()


def test_it_can_be_asked_inside_a_running_event_loop():
    async def inside():
        return ask(server.url)[1]

    with ChatServer(echo) as server:
        assert asyncio.run(inside())[0].text == "hello/None"


def _in_a_child(endpoint, pipe):
    pipe.send(endpoint.ask([HELLO], "1")[0].text)


def test_it_works_after_a_fork():
    if not hasattr(os, "fork"):
        pytest.skip("this system does not fork")
    context = multiprocessing.get_context("fork")
    with ChatServer(echo) as server:
        endpoint, _ = ask(server.url)
        here, there = context.Pipe()
        child = context.Process(target=_in_a_child, args=(endpoint, there))
        child.start()
        assert here.poll(5) and here.recv() == "hello/None"
        child.join(5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base_url": "localhost:8000"}, "base_url is 'localhost:8000', expected"),
        ({"model": ""}, "model is ''"),
        ({"timeout": 0}, "timeout is 0"),
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"retries": -1}, "retries is -1"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"max_calls": 1.5}, "max_calls is 1.5"),
        ({"temperature": True}, "temperature is True"),
        ({"modle": "m"}, "setting 'modle' is not known, expected one of base_url"),
        ({"base_url": None}, "setting 'base_url' is missing"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        endpoint_settings({"base_url": "http://127.0.0.1:1/v1", "model": "m"} | change)
