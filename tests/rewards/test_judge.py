"""The judge before a real server: what it asks, how it counts, and that a failure is data, never a loss."""

from __future__ import annotations

import json
import re
import socket
from dataclasses import fields

import numpy as np
import pytest

pytest.importorskip("openai")

from editenv.build import make_env, make_vector_env
from editenv.endpoint import EndpointSettings
from editenv.records import read_records
from editenv.rewards.judge import VOTES, JudgeScorer
from tests.chat_server import (
    ChatServer,
    agrees,
    cuts_the_line,
    filled,
    first,
    pictures,
    says,
    sends,
    slowly,
    stalls,
    trickles,
    words,
)
from tests.worlds.records.handmade import MEMORY, UNDERSTANDING, draw_pictures, records, write_lines

FAST = {"votes": 1, "check": False}
SERVER = {"model": "m", "timeout": 5.0, "retries": 0}
NOWHERE = SERVER | {"base_url": "http://127.0.0.1:9/v1"}
ENDPOINT = [field.name for field in fields(EndpointSettings)]


@pytest.fixture
def sessions_file(tmp_path):
    """Two sessions of three turns and one of one."""
    draw_pictures(tmp_path)
    return str(write_lines(tmp_path, records()))


def judged(url, sessions_file=None, **settings):
    """An environment before the judge."""
    env_names = ("scoring", "record_to", "suite")
    env = {name: settings.pop(name) for name in env_names if name in settings}
    server = {name: settings.pop(name) for name in ENDPOINT if name in settings}
    judge = FAST | {"endpoint": SERVER | {"base_url": url} | server} | settings
    return make_env(scorer="judge", scorer_settings=judge, sessions_file=sessions_file, **env)


def play(env, session=0):
    """Infos of a session that answers every turn with another flat picture."""
    env.reset(seed=0, options={"session": session})
    infos = []
    for turn in range(3):
        picture = np.full(env.action_space["image"].shape, 60 * turn, np.uint8)
        *_, terminated, truncated, info = env.step({"image": picture, "intent": ""})
        infos.append(info)
        if terminated or truncated:
            break
    return infos


def question_of(request):
    """Which of the three questions a request asks."""
    text = words(request)
    return "ga" if "<answer_final>" in text else "cc" if "<answer_1>" in text else "if"


def test_a_judge_that_agrees_gives_every_point(sessions_file):
    with ChatServer(agrees) as server:
        infos = play(judged(server.url, sessions_file, votes=2))
    assert [info["scores"].reward for info in infos] == [1.0, 1.0, 1.0]
    last = infos[-1]["scores"]
    assert (last.instruction_following, last.content_consistency, last.global_awareness) == (1.0, 1.0, 1.0)
    assert last.detail["votes"]["global_awareness"] == [1.0, 1.0]
    assert len(server.requests) == 3 * 3 * 2
    assert {request["seed"] for request in server.requests} == {0, 1}
    assert infos[0]["versions"]["scorer"].startswith("judge 1 m mice-2:")


def test_it_shows_what_each_question_is_about(sessions_file):
    with ChatServer(agrees) as server:
        env = judged(server.url, sessions_file)
        play(env)
        shown = env.session.pictures
    by_kind = {}
    for request in server.requests:
        by_kind.setdefault(question_of(request), []).append(request)
    assert [len(pictures(request)) for request in by_kind["if"]] == [2, 2, 2]
    assert sorted(len(pictures(request)) for request in by_kind["ga"]) == [2, 3, 4]
    last = next(request for request in by_kind["ga"] if len(pictures(request)) == 4)
    text = words(last)
    assert all(f"{n}. <words>{said}</words>" in text for n, said in enumerate(MEMORY["instruction"], start=1))
    assert "Add [copper kettle] on the [right] of [bread]" in text and "keeps every rule" in text
    assert len(set(pictures(last))) == len({picture.tobytes() for picture in shown})
    consistency = [words(request) for request in by_kind["cc"]]
    assert any("1. <words>bread</words>\n2. <words>apple</words>\n3. the background" in text for text in consistency)
    removal = next(text for text in map(words, by_kind["if"]) if "Remove [steel knife]" in text)
    assert "gone completely" in removal


def test_sessions_without_a_rule_are_asked_about_referents(sessions_file):
    with ChatServer(agrees) as server:
        infos = play(judged(server.url, sessions_file), session=1)
        asked = [words(request) for request in server.requests if question_of(request) == "ga"]
        assert all("points back at" in text for text in asked)
        assert UNDERSTANDING["instruction"][0] in asked[0]
        server.requests.clear()
        play(judged(server.url, sessions_file, awareness="cm"), session=1)
        asked = [words(request) for request in server.requests if question_of(request) == "ga"]
        assert asked and all("keeps every rule" in text for text in asked)
    assert infos[2]["scores"].content_consistency is None  # Nothing had to stay in this turn.
    assert infos[2]["scores"].reward == 1.0


def test_studio_sessions_are_judged_too():
    with ChatServer(agrees) as server:
        infos = play(judged(server.url, suite="mice-cm"))
        texts = [words(request) for request in server.requests]
    assert len(infos) == 3 and infos[-1]["scores"].reward == 1.0
    assert any("keeps every rule" in text for text in texts)
    assert any(re.search(r"1\. <words>\w+ \w+ \w+</words>\n", text) and "the background" in text for text in texts)


@pytest.mark.parametrize(("combine", "expected"), [("mean", 0.75), ("majority", 1.0)])
def test_votes_are_counted_as_asked_for(sessions_file, combine, expected):
    def one_of_four_says_no(handler, request):
        handler.say(filled(request, "no" if request["seed"] == 2 else "yes"))

    with ChatServer(one_of_four_says_no) as server:
        env = judged(server.url, sessions_file, votes=4, combine=combine)
        assert play(env)[0]["scores"].instruction_following == expected


def test_half_of_the_votes_are_no_majority():
    majority, mean = VOTES["majority"], VOTES["mean"]
    assert (majority([1, 1, 0, 0]), majority([1, 1, 1, 0]), mean([1, 0, 0, 0])) == (0.0, 1.0, 0.25)


def test_consistency_is_the_share_of_what_is_the_same(sessions_file):
    def the_apple_changed(handler, request):
        text = filled(request)
        if question_of(request) == "cc":
            apple = re.search(r"^(\d)\. <words>apple", words(request), re.MULTILINE)[1]
            text = text.replace(f"<answer_{apple}>yes", f"<answer_{apple}>no")
        handler.say(text)

    with ChatServer(the_apple_changed) as server:
        scores = play(judged(server.url, sessions_file))[0]["scores"]
    assert scores.content_consistency == 3 / 4  # Bread, knife, apple, background.
    assert scores.reward == pytest.approx(0.3 + 0.3 * 0.75 + 0.4)


FAILURES = {
    "stalls": stalls,
    "trickles": trickles,
    "cuts": cuts_the_line,
    "garbage": sends(200, b"<html>", "text/html"),
    "no JSON": sends(200, b"{"),
    "500": sends(500),
    "429": sends(429),
    "404": sends(404),
    "no text": says(None),
    "no tags": says("Yes, certainly."),
    "other word": says("<answer>perhaps</answer>"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_leaves_none_and_an_error_and_sessions_go_on_in_order(name, sessions_file, tmp_path):
    with ChatServer(FAILURES[name]) as server:
        patience = {"timeout": 0.5 if name in ("stalls", "trickles") else 5.0, "concurrency": 8}
        env = judged(server.url, sessions_file, reasks=0, record_to=str(tmp_path / "out"), **patience)
        for session in range(2):
            (info,) = play(env, session)
            scores = info["scores"]
            assert not info["scored"] and info["end_reason"] == "unscored"
            assert scores.instruction_following is None and scores.global_awareness is None
            assert scores.reward == 0.0 and scores.error.startswith("judge: instruction_following: ")
        server.behave = agrees
        assert len(play(env, 2)) == 1
    written = list(read_records(tmp_path / "out"))
    assert [record.index for record in written] == [0, 1, 2]
    assert [record.scores[0].error is None for record in written] == [False, False, True]
    assert all(len(record.pictures) == 2 for record in written)


def test_a_server_that_is_not_there_is_a_failure_too_and_found_by_the_check(sessions_file):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        (info,) = play(judged(url, sessions_file))
        assert "Connection error" in info["scores"].error
        with pytest.raises(ConnectionError, match="check that the server runs"):
            judged(url, sessions_file, check=True)


@pytest.mark.parametrize("behaviour", [sends(429), sends(500), cuts_the_line], ids=["429", "500", "cut"])
def test_a_failure_that_passes_leaves_no_trace(behaviour, sessions_file):
    with ChatServer(first(behaviour)) as server:
        infos = play(judged(server.url, sessions_file, retries=1), session=2)
    assert infos[0]["scores"].reward == 1.0 and infos[0]["scores"].error is None
    assert len(server.requests) == 6


def test_slow_answers_in_time_count(sessions_file):
    with ChatServer(slowly) as server:
        assert play(judged(server.url, sessions_file))[-1]["scores"].reward == 1.0


def test_an_answer_that_cannot_be_read_is_asked_for_again_with_another_seed(sessions_file):
    def unclear_at_first(handler, request):
        (says("Hm.") if request["seed"] == 0 else agrees)(handler, request)

    with ChatServer(unclear_at_first) as server:
        infos = play(judged(server.url, sessions_file, reasks=1), session=2)
    assert infos[0]["scores"].reward == 1.0 and infos[0]["scores"].error is None
    assert len({request["seed"] for request in server.requests}) == 2


def test_one_lost_question_keeps_the_scores_of_the_others(sessions_file):
    def no_awareness(handler, request):
        (sends(500) if question_of(request) == "ga" else agrees)(handler, request)

    with ChatServer(no_awareness) as server:
        scores = play(judged(server.url, sessions_file))[0]["scores"]
    assert (scores.instruction_following, scores.content_consistency) == (1.0, 1.0)
    assert scores.global_awareness is None and scores.reward == 0.0 and "global_awareness" in scores.error


def test_the_same_session_is_judged_once_and_a_new_prompt_anew(sessions_file, tmp_path):
    from editenv.rewards.judge import FOLDER

    kept = {"cache": str(tmp_path / "cache")}
    with ChatServer(agrees) as server:
        once = play(judged(server.url, sessions_file, **kept))
        calls = len(server.requests)
        again = play(judged(server.url, sessions_file, **kept))
        assert len(server.requests) == calls
        own = tmp_path / "own"
        own.mkdir()
        for file in (FOLDER / "mice-2").iterdir():
            (own / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
        text = (own / "if.md").read_text(encoding="utf-8")
        (own / "if.md").write_text(f"{text}\nLook twice.", encoding="utf-8")
        changed = play(judged(server.url, sessions_file, prompts=str(own), **kept))
        assert len(server.requests) == 2 * calls
    assert [info["scores"] for info in once] == [info["scores"] for info in again]
    assert changed[0]["versions"]["scorer"] != once[0]["versions"]["scorer"]


def test_the_budget_ends_in_unscored_turns(sessions_file):
    with ChatServer(agrees) as server:
        infos = play(judged(server.url, sessions_file, max_calls=4))
        assert len(server.requests) == 4
    assert infos[0]["scores"].error is None and "budget of 4 calls" in infos[1]["scores"].error


def test_the_transcript_holds_every_call(sessions_file, tmp_path):
    path = tmp_path / "calls.jsonl"
    with ChatServer(agrees) as server:
        play(judged(server.url, sessions_file, transcript=str(path)))
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 9 and all("<answer" in line["text"] for line in lines)


def test_deferred_judging_ends_with_the_same_scores(sessions_file, tmp_path):
    with ChatServer(slowly) as server:
        kept = {"cache": str(tmp_path / "cache")}
        now = play(judged(server.url, sessions_file, **kept))
        later = play(judged(server.url, sessions_file, scoring="deferred", **kept))
    assert later[-1]["session_scores"] == tuple(info["scores"] for info in now)


def test_many_sessions_are_judged_side_by_side(sessions_file):
    with ChatServer(slowly) as server:
        envs = make_vector_env(
            num_envs=4,
            sessions_file=sessions_file,
            scorer="judge",
            scorer_settings=FAST | {"endpoint": SERVER | {"base_url": server.url, "concurrency": 6}},
        )
        envs.reset(seed=0)
        shape = envs.single_action_space["image"].shape
        _, rewards, *_ = envs.step({"image": np.zeros((4, *shape), np.uint8), "intent": ("",) * 4})
    assert rewards.tolist() == [1.0] * 4
    assert 3 <= server.most_open <= 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"votes": 0}, "scorer 'judge': votes is 0, expected a whole number of 1 or more"),
        ({"combine": "max"}, "combine is 'max', expected one of mean, majority"),
        ({"awareness": "both"}, "awareness is 'both'"),
        ({"prompts": "mice-0"}, r"prompts 'mice-0' lack if.md, expected mice-2"),
        ({"colour": 1}, "scorer 'judge' has no setting 'colour', expected endpoint, votes"),
        ({"endpoint": {"colour": 1}}, "endpoint 'chat' has no setting 'colour', expected base_url, model"),
        ({"endpoint": {"base_url": "http://x"}}, "endpoint 'chat' lacks the setting 'model'"),
        ({"endpoint": SERVER | {"base_url": "nowhere"}}, "base_url is 'nowhere'"),
        ({"endpoint": "http://x"}, "endpoint is 'http://x', expected a mapping"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        make_env(scorer="judge", scorer_settings=FAST | {"endpoint": NOWHERE} | settings)


def test_turns_of_a_world_without_words_are_refused():
    from editenv.types import TurnResult, UserMessage

    picture = np.zeros((4, 4, 3), np.uint8)
    judge = JudgeScorer(None, **FAST, endpoint=NOWHERE)
    with pytest.raises(ValueError, match="the turn's meaning is a int"):
        judge.score([TurnResult(None, 0, UserMessage("?", 5), picture, picture, picture)])
