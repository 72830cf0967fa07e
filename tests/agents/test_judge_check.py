"""`editenv judge check` before fake servers: agreement, repeats and what is true, by hand; and its alpha."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

pytest.importorskip("openai")

from editenv.agents.judge_check import agreement, repeat_variance
from editenv.agents.stats import krippendorff_alpha
from editenv.cli import main
from tests.chat_server import ChatServer, agrees, filled, sends, words

N = np.nan


def test_alpha_is_that_of_the_published_examples():
    """Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability": sections A (binary) and E (interval)."""
    two = [[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]
    assert krippendorff_alpha(two) == pytest.approx(0.095, abs=5e-4)
    four = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
        [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
    ]
    assert krippendorff_alpha(four) == pytest.approx(0.849, abs=5e-4)
    assert krippendorff_alpha([[0, 1, 0.5], [0, 1, 0.5]]) == 1
    assert krippendorff_alpha([[1, 1], [1, 1]]) is None and krippendorff_alpha([[1, N], [N, 0]]) is None


def lines(values, task=("subject_add", "color_alter")):
    """One session of two turns whose scores are all alike."""
    names = ("instruction_following", "content_consistency", "global_awareness")
    return [{"task": list(task), **{name: list(values) for name in names}}]


def test_agreement_and_variance_by_hand():
    [known] = {json.dumps(one) for one in agreement(lines([1.0, 0.25]), lines([0.75, 0.5])).values()}
    found = json.loads(known)
    assert found["turns"] == 2 and found["means"] == [0.625, 0.625]
    # The judge's yes with theirs for the addition; their yes alone for the colour.
    assert found["confusion"] == {"color_alter": [0, 0, 1, 0], "subject_add": [1, 0, 0, 0]}
    # D_o = 0.25^2, D_e: of 12 ordered pairs of 1, 0.75, 0.25, 0.5, the squares sum to 2.5.
    assert found["alpha"] == pytest.approx(1 - 0.0625 / (2.5 / 12))
    assert agreement(lines([None, None]), lines([1, 1])) == {}
    again = repeat_variance([lines([1.0, 0.0]), lines([0.0, 0.0])])["global_awareness"]
    assert (again["turns"], again["variance"], again["changed_verdicts"]) == (2, 0.25, 0.5)


def unsure(handler, request):
    """Yes, but no to every GA question with an odd seed."""
    no = "<answer_final>" in words(request) and request["seed"] % 2
    handler.say(filled(request, "no" if no else "yes"))


def checked(out, url, *more) -> tuple[int, Any]:
    endpoint = "scorer.settings.endpoint"
    words = [f"{endpoint}.base_url={url}", f"{endpoint}.model=a", f"{endpoint}.retries=0", "scorer.settings.votes=1"]
    status = main(["judge", "check", f"out={out}", "sessions=3", *words, *more])
    return status, json.loads((out / "judge.json").read_text()) if (out / "judge.json").exists() else None


def judged(server):
    """Questions about turns; others are checks whether the server answers."""
    return sum("<answer" in words(one) for one in server.requests)


def test_a_judge_that_agrees_with_everything_is_found_out(tmp_path, capsys):
    """It plays studio sessions, half right, and compares with what is true, itself and another judge."""
    with ChatServer(agrees) as sure, ChatServer(unsure) as other:
        more = [f"other.settings.endpoint.{name}" for name in (f"base_url={other.url}", "model=b", "retries=0")]
        status, report = checked(tmp_path, sure.url, "scorer@other=judge", "other.settings.votes=2", *more)
        calls = judged(sure), judged(other)
        again, same = checked(tmp_path, sure.url, "scorer@other=judge", "other.settings.votes=2", *more)
        assert (judged(sure), judged(other)) == calls  # nothing is asked twice
    assert status == again == 0 and same == report
    assert "ready: judge a" in (printed := capsys.readouterr().out) and "yes no" in printed
    truth = report["agreement"]["exact"]["global_awareness"]
    yes, false_yes, *nothing = np.sum(list(truth["confusion"].values()), 0)
    assert truth["turns"] == 9 and yes + false_yes == 9 and nothing == [0, 0] and 0 < false_yes < 9
    assert truth["means"][0] == 1 and truth["means"][1] == pytest.approx(yes / 9) and truth["alpha"] < 0.1
    assert report["agreement"]["residual"]["global_awareness"] == truth
    # Of the other judge's two votes the second one is a no: half.
    assert report["agreement"]["other"]["global_awareness"]["means"] == [1.0, 0.5]
    assert report["agreement"]["other"]["instruction_following"]["alpha"] is None
    assert report["repeats"]["global_awareness"]["variance"] == 0


def test_repeats_have_seeds_of_their_own_and_unscored_turns_are_told(tmp_path):
    with ChatServer(unsure) as server:
        status, report = checked(tmp_path / "a", server.url, "repeats=2", "scorer.settings.endpoint.cache=null")
    # 7919 is odd: the second time every GA vote is a no.
    assert status == 0 and report["repeats"]["global_awareness"]["changed_verdicts"] == 1
    with ChatServer(lambda h, r: (sends(500) if "<answer_final>" in words(r) else agrees)(h, r)) as server:
        status, report = checked(tmp_path / "b", server.url, "repeats=1")
    assert status == 1 and report["unscored"]["judge"]["share"] == 1 and report["repeats"] is None


def test_a_server_that_cannot_answer_is_told_what_to_do_before_anything_is_played(tmp_path, capsys):
    with ChatServer(sends(404)) as server:
        status, report = checked(tmp_path / "a", server.url)
    error = capsys.readouterr().err
    assert status == 2 and report is None and not (tmp_path / "a" / "played").exists()
    assert (
        "the model 'a' at" in error and "vllm serve" in error and "sglang" in error and "transformers serve" in error
    )


@pytest.mark.parametrize(
    ("command", "name", "port"),
    [("evaluate", "vllm", 8000), ("judge", "sglang", 30000), ("score", "transformers", 8000)],
)
def test_where_servers_answer_is_a_file_of_settings_for_every_judge(command, name, port):
    from editenv.configs.compose import compose

    overrides = ["scorer=judge", f"server={name}", "scorer.settings.endpoint.model=m", "out=x"]
    config = compose(command, overrides)
    assert config.scorer.settings["endpoint"]["base_url"] == f"http://127.0.0.1:{port}/v1"
