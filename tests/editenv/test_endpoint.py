"""The chat endpoint against a real server: whatever happens, each question gets its own answer or error."""

from __future__ import annotations

import asyncio
import gzip
import json
import multiprocessing
import os
import socket
import sqlite3
import threading
import time
import zlib
from base64 import b64encode
from concurrent.futures import CancelledError
from contextlib import closing

import pytest

pytest.importorskip("openai")

from editenv.endpoint import MOST_BYTES, Answer, ChatEndpoint, EndpointSettings, endpoint_settings
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
        _, answers = ask(server.url, list("abcdef"), range(6), api_key_env="JUDGE_KEY", temperature=0.6, max_tokens=9)
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
    _, offline = ask(server.url, ["b"], [1], **kept)
    assert offline[0].text == "b/1"
    _, elsewhere = ask("http://127.0.0.1:9/v1", ["b"], [1], **kept)
    assert elsewhere[0].text is None  # Another server may be another model.


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
        for damage in ("x'00'", "NULL", "'no JSON'", "'[1]'", "'" + "[" * 100_000 + "'"):
            with sqlite3.connect(tmp_path / "cache" / "cache.db") as database:
                database.execute(f"UPDATE Cache SET value = {damage}")
            with pytest.warns(UserWarning, match="a kept answer cannot be read, the question is asked again"):
                assert endpoint.ask([HELLO], "1")[0].text == "hello/None"
        (tmp_path / "cache" / "cache.db").write_bytes(b"junk" * 500)
        with pytest.warns(UserWarning, match="an answer is not kept"):
            assert endpoint.ask([HELLO], "1")[0].text == "hello/None"


def test_a_locked_cache_costs_a_warning_not_the_answer(tmp_path):
    with ChatServer(echo) as server:
        endpoint, _ = ask(server.url, cache=str(tmp_path))
        other = sqlite3.connect(tmp_path / "cache.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.warns(UserWarning, match="database is locked"):
            assert endpoint.ask([HELLO], "1")[0].text == "hello/None"
        other.close()
        assert endpoint.ask([HELLO], "1")[0].cached


def test_nothing_in_a_cache_folder_runs(tmp_path):
    """A file with a trigger of somebody else's is left alone, and the question is answered."""
    with ChatServer(echo) as server:
        endpoint, _ = ask(server.url, cache=str(tmp_path))
        with sqlite3.connect(tmp_path / "cache.db") as database:
            database.execute("CREATE TRIGGER t AFTER INSERT ON Cache BEGIN SELECT load_extension('evil'); END")
        with pytest.warns(UserWarning, match="an answer is not kept: ValueError: .*more than answers"):
            assert endpoint.ask([[{"role": "user", "content": "new"}]], "1")[0].text == "new/None"


def test_answers_that_cannot_be_read_are_not_kept(tmp_path):
    def numbers_alone(text):
        if not text.isdigit():
            raise ValueError("no number")

    with ChatServer(says("seven")) as server:
        endpoint = ChatEndpoint(EndpointSettings(server.url, "m", cache=str(tmp_path)))
        assert endpoint.ask([HELLO], "1", checks=[numbers_alone])[0].text == "seven"
        server.behave = says("7")
        assert endpoint.ask([HELLO], "1", checks=[numbers_alone])[0].text == "7"
        server.behave = says("8")
        assert endpoint.ask([HELLO], "1", checks=[numbers_alone])[0] == Answer("7", None, cached=True)


@pytest.mark.parametrize(
    "behaviour",
    [
        stalls,
        cuts_the_line,
        sends(200, b"<html>busy</html>", "text/html"),
        sends(200, b"{not json"),
        says(None),
        says("  "),
        sends(408),
        sends(502, b"<html>bad gateway</html>", "text/html"),
    ],
)
def test_what_may_pass_is_asked_again(behaviour):
    def at_first(handler, request):
        (behaviour if len(server.requests) == 1 else echo)(handler, request)

    with ChatServer(at_first) as server:
        _, answers = ask(server.url, retries=1, timeout=0.5 if behaviour is stalls else 20.0)
    assert answers[0].text == "hello/None" and len(server.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_will_not_pass_is_not_asked_again(status):
    with ChatServer(sends(status)) as server:
        _, answers = ask(server.url, retries=3)
    assert str(status) in answers[0].error and len(server.requests) == 1


@pytest.mark.parametrize("packed", [False, True])
def test_a_long_answer_is_an_error(packed):
    body = b" " * (MOST_BYTES + 1)
    headers = {"content_encoding": "gzip"} if packed else {}
    with ChatServer(sends(200, gzip.compress(body) if packed else body, **headers)) as server:
        _, answers = ask(server.url)
    assert f"more than {MOST_BYTES} bytes" in answers[0].error if packed else "longer than" in answers[0].error


def test_packed_answers_are_read_and_broken_ones_are_errors():
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "yes"}}
    body = json.dumps({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]})
    for pack, name in ((gzip.compress, "gzip"), (zlib.compress, "deflate")):
        with ChatServer(sends(200, pack(body.encode()), content_encoding=name)) as server:
            assert ask(server.url)[1][0].text == "yes"
    for data, name, error in (
        (gzip.compress(body.encode())[:-20], "gzip", "ends too early"),
        (b"nothing", "gzip", "incorrect header"),
        (body.encode(), "br", "packed as 'br'"),
    ):
        with ChatServer(sends(200, data, content_encoding=name)) as server:
            assert error in ask(server.url)[1][0].error


def test_a_redirect_stays_on_its_host():
    with ChatServer(echo) as other, ChatServer(echo) as server:
        server.behave = sends(307, location=f"{other.url}/chat/completions")
        _, answers = ask(server.url, retries=2)
        assert "redirects to http://127.0.0.1" in answers[0].error and not other.requests
        assert len(server.requests) == 1
        server.behave = sends(307, location="/v1/chat/completions")
        assert "redirects in circles" in ask(server.url)[1][0].error

        def moved_once(handler, request):
            (echo if handler.path == "/v2" else sends(307, location="/v2"))(handler, request)

        server.behave = moved_once
        assert ask(server.url)[1][0].text == "hello/None"


def test_keys_and_passwords_come_back_from_nowhere(monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    path = tmp_path / "calls.jsonl"

    def repeats_all(handler, request):
        told = f"{handler.headers['authorization']} {handler.path} sk-0123456789 p%40ssword p@ssword"
        if words(request) == "fail":
            handler.send(401, json.dumps({"error": {"message": told}}).encode())
        else:
            handler.say(told)

    with ChatServer(repeats_all) as server:
        url = server.url.replace("//", "//me:p%40ssword@") + "?token=q1w2e3"
        endpoint, answers = ask(url, ["fail", "say it"], transcript=str(path))
        server.behave = sends(401)
        with pytest.raises(ConnectionError) as caught:
            endpoint.health()
        login = b64encode(b"me:p@ssword").decode()
        shown = f"{answers} {caught.value} {path.read_text()}"
        assert not any(secret in shown for secret in ("0123456789", "ssword", "q1w2e3", login))
        assert "***" in answers[0].error and "***" in answers[1].text
        server.behave = repeats_all
        _, (answer,) = ask(server.url, ["say it"])
        assert answer.text.startswith("Bearer *** /v1/chat/completions ***")
    with pytest.raises(ValueError, match=r"base_url is 'ftp://host/v1'"):
        EndpointSettings("ftp://me:secret@host/v1?key=1", "m")


@pytest.mark.parametrize("name", ["temperature", "max_tokens", "seed"])
def test_a_parameter_that_is_null_is_left_out(name):
    with ChatServer(echo) as server:
        endpoint, _ = ask(server.url, ["a", "a"], [0, 1], **{name: None})
        endpoint.health()
    assert len(server.requests) == 3  # Two votes stay two questions, even without a seed.
    rest = {"temperature", "max_tokens", "seed"} - {name}
    assert all(rest <= set(request) and name not in request for request in server.requests)


def test_the_limits_newer_name_takes_the_olds_place_and_seeds_are_added():
    with ChatServer(echo) as server:
        ask(server.url, ["a"], [2], max_completion_tokens=7, seed=40)
    (request,) = server.requests
    assert "max_tokens" not in request
    assert (request["max_completion_tokens"], request["seed"]) == (7, 42)


def test_threads_and_connections_are_given_back():
    def open_files():
        return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    with ChatServer(echo) as server:
        endpoint, _ = ask(server.url)
        endpoint.close()
        started, files = threading.active_count(), open_files()
        for closes in (True, False):
            for _ in range(5):
                endpoint, _ = ask(server.url)
                if closes:
                    endpoint.close()
                    endpoint.close()
                del endpoint
        deadline = time.monotonic() + 10
        while (threading.active_count() > started or open_files() > files) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert threading.active_count() <= started and open_files() <= files
        endpoint, _ = ask(server.url)
        endpoint.close()
        assert endpoint.ask([HELLO], "1")[0].text == "hello/None"


def test_half_surrogates_reach_no_file_and_no_error_as_such(tmp_path):
    path = tmp_path / "calls.jsonl"
    with ChatServer(says("\ud800")) as server:
        ask(server.url, transcript=str(path), cache=str(tmp_path / "cache"))
        server.behave = sends(400, b'{"error": {"message": "\\ud800"}}')
        _, answers = ask(server.url, transcript=str(path))
    answers[0].error.encode()
    assert json.loads(path.read_text(encoding="utf-8").splitlines()[0])["text"] == "\ud800"


def test_health_passes_or_says_what_to_check():
    with ChatServer(echo) as server:
        endpoint = ChatEndpoint(EndpointSettings(server.url, "m", timeout=20.0))
        endpoint.health()
        endpoint.health([{"role": "user", "content": "look"}])
        assert [words(request) for request in server.requests] == ["Answer with the word yes.", "look"]
        assert {request["seed"] for request in server.requests} == {0}  # As turns have one.
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
        ({"seed": "a"}, "seed is 'a', expected a whole number"),
        ({"timeout": None}, "timeout is None, expected a value"),
        ({"cache": 3}, "cache is 3, expected one name or text"),
        ({"modle": "m"}, "endpoint 'chat' has no setting 'modle', did you mean 'model'\\?"),
        ({"base_url": None}, "base_url is 'None', expected"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        endpoint_settings({"base_url": "http://127.0.0.1:1/v1", "model": "m"} | change)


def test_closing_ends_calls_that_are_on_their_way():
    with ChatServer(stalls) as server:
        endpoint = ChatEndpoint(EndpointSettings(server.url, "m", retries=0))
        ended = []

        def asks():
            with pytest.raises(CancelledError):
                endpoint.ask([HELLO], "1")
            ended.append(True)

        waiting = threading.Thread(target=asks)
        waiting.start()
        while not server.requests:
            time.sleep(0.01)
        endpoint.close()
        waiting.join(10)
    assert ended


@pytest.mark.parametrize(
    "evil",
    [
        "CREATE TRIGGER t AFTER INSERT ON Cache BEGIN DELETE FROM Cache; END",
        "CREATE VIEW v AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i FROM n",
    ],
)
def test_a_cache_that_holds_more_than_answers_is_left_alone(tmp_path, evil):
    with ChatServer(echo) as server:
        ask(server.url, cache=str(tmp_path))
        with sqlite3.connect(tmp_path / "cache.db") as database:
            database.execute(evil)
        with pytest.warns(UserWarning, match="holds more than answers"):
            assert ask(server.url, cache=str(tmp_path))[1][0].cached is False


def test_a_cache_that_somebody_holds_costs_one_second_a_call(tmp_path):
    with ChatServer(echo) as server:
        ask(server.url, cache=str(tmp_path))
        with closing(sqlite3.connect(tmp_path / "cache.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            start = time.perf_counter()
            with pytest.warns(UserWarning, match="database is locked"):
                _, answers = ask(server.url, [str(n) for n in range(8)], cache=str(tmp_path))
            assert time.perf_counter() - start < 4 and None not in [answer.text for answer in answers]


@pytest.mark.parametrize("url", ["me:p@sswrd@host/v1", "http:/me:p@sswrd@host/v1", "htp://me:p@sswrd@host/v1?k=sswrd"])
def test_a_mistyped_address_is_shown_without_its_password(url):
    with pytest.raises(ValueError, match=r"base_url is '.*host/v1', expected") as caught:
        EndpointSettings(url, "m")
    assert "sswrd" not in str(caught.value)
