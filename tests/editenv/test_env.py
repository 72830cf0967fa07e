"""The episode loop: counting sessions, endings, scores and rejected actions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence

from editenv.build import make_env
from editenv.env import MICEEditEnv
from editenv.types import Scores
from tests.fakes import FailingScorer, FakeWorld, FlatScorer, ScriptUser, StubbornUser, answer

SIZE = 8


def make(scorer: Any = None, user: Any = None, **settings: Any) -> MICEEditEnv:
    return MICEEditEnv(FakeWorld(), user or ScriptUser(), scorer or FlatScorer(), **settings)


def wanted(env: MICEEditEnv) -> dict[str, Any]:
    return answer(SIZE, env.session.message.meaning, intent="as you said")


def test_a_session_from_first_word_to_goodbye() -> None:
    env = make(history=True)
    seen, info = env.reset(seed=4)
    spec = env.session.spec
    said = tuple(spec.message(turn).text for turn in range(3))
    assert info["session"] == spec.id
    assert info["versions"] == {"world": "fake 1", "user": "script 1", "scorer": "flat 1"}
    for turn in range(3):
        assert (seen["instruction"], seen["transcript"], seen["turn"]) == (said[turn], said[: turn + 1], turn)
        assert seen in env.observation_space
        before = seen["image"]
        seen, reward, terminated, truncated, info = env.step(wanted(env))
        assert reward == 1.0 and isinstance(reward, float)
        assert info["scores"].instruction_following == 1.0
        assert (terminated, truncated) == (turn == 2, False)
        assert not np.shares_memory(before, seen["image"])
    assert info["end_reason"] == "done"
    assert (seen["instruction"], seen["transcript"], seen["turn"]) == ("", said, 3)
    assert seen in env.observation_space
    assert [int(picture[0, 0, 0]) for picture in seen["images"]] == [spec.start, *spec.wanted]


def test_history_is_zero_where_not_yet_reached() -> None:
    seen, _ = make(history=True).reset(seed=4)
    assert seen["images"].shape == (4, SIZE, SIZE, 3)
    assert np.array_equal(seen["images"][0], seen["source"])
    assert not seen["images"][1:].any()


def test_resets_count_sessions_of_the_seed() -> None:
    env, world = make(), FakeWorld()
    ids = [env.reset(seed=9)[1]["session"], *(env.reset()[1]["session"] for _ in range(2))]
    assert ids == [world.session("train", 9, index).id for index in range(3)]
    _, info = env.reset(options={"session": 7})
    assert (info["session"], info["index"], info["seed"]) == (world.session("train", 9, 7).id, 7, 9)
    assert env.reset()[1]["index"] == 8
    assert env.reset(seed=9)[1]["session"] == ids[0]
    assert env.reset(seed=3, options={"session": np.int64(2)})[1]["session"] == world.session("train", 3, 2).id


def test_a_first_reset_without_seed_draws_one() -> None:
    seeds = {make().reset()[1]["seed"] for _ in range(4)}
    assert len(seeds) > 1


def test_split_chooses_the_sessions() -> None:
    ids = {split: make(split=split).reset(seed=0)[1]["session"] for split in ("train", "validation", "test")}
    assert len(set(ids.values())) == 3
    with pytest.raises(ValueError, match="split is 'dev', expected one of train, validation, test"):
        make(split="dev")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"session": -1}, r"options\['session'\] is -1, expected a whole number"),
        ({"session": True}, r"options\['session'\] is True"),
        ({"session": 1.0}, r"options\['session'\] is 1.0"),
        ({"sesion": 1}, "reset option 'sesion' is not known, expected session"),
    ],
)
def test_bad_options_leave_the_session(options: dict[str, Any], message: str) -> None:
    env = make()
    env.reset(seed=1)
    env.step(wanted(env))
    with pytest.raises(ValueError, match=message):
        env.reset(options=options)
    assert env.session.turn == 1


GOOD = answer(SIZE, 0)
BAD_ACTIONS = [
    (None, "action is a NoneType, expected a dict"),
    ([GOOD["image"], ""], "action is a list"),
    ({"intent": ""}, "action has no 'image'"),
    ({"image": GOOD["image"]}, "action has no 'intent'"),
    (GOOD | {"seed": 1}, "action has a field 'seed'"),
    (GOOD | {"image": [[0]]}, r"action\['image'\] is a list"),
    (GOOD | {"image": GOOD["image"].astype(np.float32)}, r"action\['image'\] has dtype float32"),
    (GOOD | {"image": GOOD["image"][:4]}, r"action\['image'\] has shape \(4, 8, 3\).*expected.*\(8, 8, 3\)"),
    (GOOD | {"image": GOOD["image"][None]}, r"action\['image'\] has shape \(1, 8, 8, 3\)"),
    (GOOD | {"intent": None}, r"action\['intent'\] is a NoneType, expected a str"),
    (GOOD | {"intent": "x" * 1001}, r"action\['intent'\] is 1001 characters long, expected at most 1000"),
    (GOOD | {"intent": "\ud800"}, r"action\['intent'\] is no text that UTF-8 can write"),
]


@pytest.mark.parametrize(("action", "message"), BAD_ACTIONS)
def test_a_bad_action_is_named_and_changes_nothing(action: Any, message: str) -> None:
    env, spared = make(), make()
    for each in (env, spared):
        each.reset(seed=1)
        each.step(wanted(each))
    with pytest.raises(ValueError, match=message):
        env.step(action)
    assert env.get_state() == spared.get_state()
    assert data_equivalence(env.step(wanted(env)), spared.step(wanted(spared)), exact=True)


def test_the_agents_array_is_copied() -> None:
    env = make()
    env.reset(seed=1)
    action = wanted(env)
    seen, *_ = env.step(action)
    kept = seen["image"].copy()
    action["image"][:] = 1
    seen["image"][:] = 2
    assert np.array_equal(env.session.pictures[1], kept)


def test_stepping_before_reset_or_after_the_end_is_refused() -> None:
    env = make()
    with pytest.raises(ResetNeeded, match="no session is open"):
        env.step(GOOD)
    env.reset(seed=1)
    for _ in range(3):
        env.step(wanted(env))
    with pytest.raises(ResetNeeded, match=r"over \(done\)"):
        env.step(GOOD)


def test_a_failed_judge_cuts_the_session_off() -> None:
    env = make(scorer=FailingScorer(first=1))
    env.reset(seed=1)
    assert env.step(GOOD)[4]["scored"] is True
    _, reward, terminated, truncated, info = env.step(GOOD)
    assert (reward, terminated, truncated, info["scored"]) == (0.0, False, True, False)
    assert info["scores"] == Scores(error="judge: timed out")
    assert info["end_reason"] == "unscored"


def test_without_scorer_the_session_goes_on_unscored() -> None:
    env = MICEEditEnv(FakeWorld(), ScriptUser())
    env.reset(seed=1)
    steps = [env.step(GOOD) for _ in range(3)]
    assert [step[1] for step in steps] == [0.0] * 3
    assert [step[2:4] for step in steps] == [(False, False), (False, False), (True, False)]
    assert all(step[4]["scores"] == Scores() for step in steps)
    assert steps[0][4]["versions"]["scorer"] is None


def test_making_an_environment_without_scorer_says_how_to_get_one() -> None:
    with pytest.warns(UserWarning, match="no scorer is configured.*scorer='exact'"):
        make_env(scorer=None)


def test_a_user_who_never_stops_runs_out_of_turns_and_one_may_give_up() -> None:
    env = make(user=StubbornUser())
    env.reset(seed=1)
    wrong = answer(SIZE, (env.session.message.meaning + 1) % 256)
    ends = [env.step(wrong)[2:] for _ in range(3)]
    assert [end[:2] for end in ends] == [(False, False), (False, False), (False, True)]
    assert ends[-1][2]["end_reason"] == "max_turns"
    env.reset(seed=1)
    _, _, terminated, truncated, info = env.step(wanted(env))
    assert (terminated, truncated, info["end_reason"]) == (True, False, "gave_up")


def test_users_and_scorers_cannot_write_into_pictures() -> None:
    env = make()
    env.reset(seed=1)
    env.step(GOOD)
    assert not any(picture.flags.writeable for picture in env.session.pictures)


def test_a_users_overlong_instruction_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the user's instruction is \d+ characters long, expected at most 5"):
        make(max_length=5).reset(seed=0)


def test_a_scorer_that_miscounts_is_an_error_and_changes_nothing() -> None:
    class Short(FlatScorer):
        def score(self, turns: Any) -> list[Scores]:
            return []

    env = make(scorer=Short())
    env.reset(seed=1)
    with pytest.raises(RuntimeError, match="0 scores for 1 turns"):
        env.step(GOOD)
    assert env.session.turn == 0


def test_users_and_scorers_are_told_the_whole_story_and_never_the_intent() -> None:
    class Spy(FlatScorer):
        def score(self, turns: Any) -> list[Scores]:
            told.extend(turns)
            return super().score(turns)

    told: list[Any] = []
    env = make(scorer=Spy())
    env.reset(seed=1)
    spec = env.session.spec
    scores = [env.step(answer(SIZE, grey, "my intent"))[4]["scores"] for grey in (11, 22, 33)]
    last = told[-1]
    assert (last.spec, last.turn, last.message) == (spec, 2, spec.message(2))
    shown = [int(p[0, 0, 0]) for p in (last.source, last.before, last.after)]
    assert shown == [spec.start, 22, 33]
    assert [int(picture[0, 0, 0]) for picture in last.earlier] == [11, 22]
    assert last.history == tuple(scores[:2])
    assert "my intent" not in repr(last)
