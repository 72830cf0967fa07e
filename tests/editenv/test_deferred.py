"""Deferred scoring: sessions go on while the scorer works, and in the end everything is as without it."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from editenv.env import MICEEditEnv
from editenv.records import Recorder, read_records
from editenv.sims.replay import ReplayUser
from editenv.types import Scores
from editenv.vector import MICEEditVectorEnv
from tests.fakes import FailingScorer, FakeWorld, FlatScorer, StubbornUser, answer


class GatedScorer(FlatScorer):
    """A FlatScorer that waits at a gate."""

    def __init__(self):
        super().__init__()
        self.gate = threading.Event()

    def score(self, turns):
        assert self.gate.wait(10)
        return super().score(turns)


def make(scorer, scoring="deferred", **settings):
    return MICEEditEnv(FakeWorld(), ReplayUser(), scorer, scoring=scoring, **settings)


def play(env, right, session=0):
    """Rewards, infos and flags of one session; turn k is answered rightly where right[k]."""
    env.reset(seed=1, options={"session": session})
    wanted = env.session.spec.wanted
    return [env.step(answer(8, grey if good else (grey + 1) % 256)) for grey, good in zip(wanted, right, strict=True)]


def test_a_session_goes_on_while_the_judge_is_at_work_and_the_last_step_waits():
    scorer = GatedScorer()
    env = make(scorer)
    env.reset(seed=1)
    for grey in env.session.spec.wanted[:2]:
        _, reward, terminated, truncated, info = env.step(answer(8, grey))
        assert (reward, terminated, truncated) == (0.0, False, False)
        assert info["scores"] == Scores() and info["scored"] and info["session_scores"] is None
    assert scorer.calls == []
    threading.Timer(0.05, scorer.gate.set).start()
    _, reward, terminated, _, info = env.step(answer(8, env.session.spec.wanted[2]))
    assert terminated and reward == 3.0
    assert [scores.reward for scores in info["session_scores"]] == [1.0, 1.0, 1.0]
    assert info["scores"] == info["session_scores"][-1]


@pytest.mark.parametrize("right", [(True, True, True), (True, False, True), (False, True, False)])
def test_scores_and_return_are_those_of_immediate_scoring(right):
    now, later = play(make(FlatScorer(), "immediate"), right), play(make(FlatScorer()), right)
    assert later[-1][4]["session_scores"] == tuple(step[4]["scores"] for step in now)
    assert later[-1][1] == sum(step[1] for step in now)
    for one, other in zip(now, later, strict=True):
        assert np.array_equal(one[0]["image"], other[0]["image"])
        assert one[0]["transcript"] == other[0]["transcript"]
        assert one[2:4] == other[2:4]


def test_records_are_the_same_as_with_immediate_scoring(tmp_path):
    for scoring in ("immediate", "deferred"):
        env = make(FlatScorer(), scoring, on_end=Recorder(tmp_path / scoring))
        for session in range(3):
            play(env, (True, False, True), session)
    lines = [(tmp_path / name / "sessions.jsonl").read_text() for name in ("immediate", "deferred")]
    assert lines[0] == lines[1] and len(lines[0].splitlines()) == 3


def test_a_judge_that_fails_in_the_middle_loses_no_turn_and_no_score(tmp_path):
    env = make(FailingScorer(first=1), on_end=Recorder(tmp_path))
    _, reward, terminated, truncated, info = play(env, (True, True, True))[-1]
    assert (reward, terminated, truncated) == (1.0, False, True)
    assert not info["scored"] and info["end_reason"] == "unscored"
    (record,) = read_records(tmp_path)
    assert [scores.error for scores in record.scores] == [None, "judge: timed out", "judge: timed out"]
    assert len(record.pictures) == 4 and record.reason == "unscored"


def test_an_error_of_the_scorer_comes_out_of_the_step_that_waits_for_it():
    class Broken(FlatScorer):
        def score(self, turns):
            return []

    env = make(Broken())
    env.reset(seed=1)
    env.step(answer(8, 0))
    env.step(answer(8, 0))
    with pytest.raises(RuntimeError, match="returned 0 scores for 1 turns"):
        env.step(answer(8, 0))
    assert env.session.turn == 2 and env.session.ending is None


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_every_row_of_a_vector_environment_scores_as_it_does_alone(mode):
    envs = MICEEditVectorEnv(3, FakeWorld(), ReplayUser(), FlatScorer(), scoring="deferred", autoreset_mode=mode)
    envs.reset(seed=1)
    specs = [session.spec for session in envs.sessions]
    for turn in range(3):
        pictures = np.stack([np.full((8, 8, 3), spec.wanted[turn], np.uint8) for spec in specs])
        pictures[1] += turn == 1  # Row 1 fails its second turn.
        _, rewards, terminated, _, infos = envs.step({"image": pictures, "intent": ("",) * 3})
        assert terminated.tolist() == [turn == 2] * 3
        assert turn == 2 or rewards.tolist() == [0.0] * 3
    assert rewards.tolist() == [3.0, 1.5, 3.0]
    for row in range(3):
        alone = play(make(FlatScorer(), "immediate"), (True, row != 1, True), row)
        assert infos["session_scores"][row] == tuple(step[4]["scores"] for step in alone)
    if mode == AutoresetMode.SAME_STEP:
        assert infos["final_info"]["session_scores"].tolist() == infos["session_scores"].tolist()


def test_the_scorer_is_asked_once_a_step_for_all_rows():
    scorer = FlatScorer()
    envs = MICEEditVectorEnv(4, FakeWorld(), ReplayUser(), scorer, scoring="deferred")
    envs.reset(seed=0)
    for _ in range(3):
        envs.step({"image": np.zeros((4, 8, 8, 3), np.uint8), "intent": ("",) * 4})
    assert scorer.calls == [4, 4, 4]


def test_a_state_taken_in_the_middle_waits_for_the_scores_and_goes_on_the_same():
    scorer = GatedScorer()
    env = make(scorer)
    env.reset(seed=1)
    wanted = env.session.spec.wanted
    env.step(answer(8, wanted[0]))
    env.step(answer(8, (wanted[1] + 1) % 256))
    threading.Timer(0.05, scorer.gate.set).start()
    state = env.get_state()
    other = make(FlatScorer())
    other.set_state(state)
    ends = [place.step(answer(8, wanted[2])) for place in (env, other)]
    assert ends[0][1] == ends[1][1] == 1.5
    assert ends[0][4]["session_scores"] == ends[1][4]["session_scores"]
    assert json.dumps([scores.to_json() for scores in ends[1][4]["session_scores"]])


def test_users_who_read_scores_and_other_names_are_refused():
    with pytest.raises(ValueError, match=r"scoring is deferred, but the user \(stubborn 1\)"):
        MICEEditEnv(FakeWorld(), StubbornUser(), FlatScorer(), scoring="deferred")
    with pytest.raises(ValueError, match="scoring is 'later', expected 'immediate' or 'deferred'"):
        MICEEditEnv(FakeWorld(), ReplayUser(), FlatScorer(), scoring="later")


def test_without_a_scorer_nothing_is_waited_for():
    steps = play(make(None), (True, True, True))
    assert [step[1] for step in steps] == [0.0, 0.0, 0.0]
    assert "session_scores" not in steps[-1][4]


def test_scores_still_come_after_the_environment_was_closed():
    """Fails where closing drops waiting turns, for whose scores a session would wait in vain."""
    scorer = GatedScorer()
    env = make(scorer)
    env.reset(seed=1)
    for grey in env.session.spec.wanted[:2]:
        env.step(answer(8, grey))
    env.close()
    scorer.gate.set()
    env.session.resolve()
    assert [scores.reward for scores in env.session.scores] == [1.0, 1.0]
