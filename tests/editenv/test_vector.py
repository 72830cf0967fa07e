"""The vector environment plays what single environments play, in every autoreset mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from editenv.env import MICEEditEnv
from editenv.records import Recorder, read_records
from editenv.session import Session
from editenv.types import Scores
from editenv.vector import MICEEditVectorEnv
from tests.fakes import FailingScorer, FakeSpec, FakeWorld, FlatScorer, ScriptUser, StubbornUser, answer

SIZE, SEED = 8, 6


class Ragged(FakeWorld):
    """Sessions of 1 to 3 turns, so that rows end at different times."""

    def session(self, split: str, seed: int, index: int) -> FakeSpec:
        spec = super().session(split, seed, index)
        return FakeSpec(spec.start, spec.wanted[: 1 + index % 3])


def vector(count: int, mode: AutoresetMode = AutoresetMode.SAME_STEP, **parts: Any) -> MICEEditVectorEnv:
    parts = {"world": Ragged(), "user": ScriptUser(), "scorer": FlatScorer()} | parts
    return MICEEditVectorEnv(count, autoreset_mode=mode, **parts)


def single(**parts: Any) -> MICEEditEnv:
    return MICEEditEnv(**({"world": Ragged(), "user": ScriptUser(), "scorer": FlatScorer()} | parts))


def greys(env: MICEEditVectorEnv, step: int) -> list[int]:
    """Right answers in even rows, other ones in odd rows."""
    return [(session.message.meaning + row % 2 * (step + 1)) % 256 for row, session in enumerate(env.sessions)]


def batch(values: list[int]) -> dict[str, Any]:
    image = np.stack([answer(SIZE, grey)["image"] for grey in values])
    return {"image": image, "intent": tuple(f"grey {grey}" for grey in values)}


@pytest.mark.parametrize("count", [1, 3, 4])
@pytest.mark.parametrize("history", [False, True])
def test_rows_are_single_environments_bit_for_bit(count: int, history: bool) -> None:
    env = vector(count, history=history)
    singles = [single(history=history) for _ in range(count)]
    seen, infos = env.reset(seed=SEED)
    played = [each.reset(seed=SEED, options={"session": row}) for row, each in enumerate(singles)]
    assert seen in env.observation_space
    for step in range(7):
        for row, values in enumerate(zip(*seen.values(), strict=True)):
            observation = dict(zip(seen, values, strict=True))
            observation["turn"] = int(observation["turn"])
            assert data_equivalence(observation, played[row][0], exact=True)
            assert infos["session"][row] == played[row][1]["session"]
            assert infos["versions"]["world"][row] == "fake 1"
        values = greys(env, step)
        seen, rewards, terminated, truncated, infos = env.step(batch(values))
        assert seen in env.observation_space
        for row, each in enumerate(singles):
            observation, reward, end, cut, info = each.step(answer(SIZE, values[row], f"grey {values[row]}"))
            assert (rewards[row], terminated[row], truncated[row]) == (reward, end, cut)
            assert infos["scores"][row] == info["scores"]
            assert infos["_scores"][row] and infos["scored"][row]
            played[row] = (observation, info)
            if end:
                assert data_equivalence(infos["final_obs"][row], observation, exact=True)
                assert infos["final_info"]["session"][row] == info["session"]
                assert infos["final_info"]["scores"][row] == info["scores"]
                played[row] = each.reset(options={"session": each.session.index + count})
            assert not end or infos["_final_obs"][row]
    assert rewards.dtype == np.float64


@pytest.mark.parametrize("count", [2, 5])
def test_sessions_do_not_depend_on_the_number_of_rows(count: int) -> None:
    played: dict[int, list[Any]] = {1: [], count: []}
    for rows, ended in played.items():
        env = vector(rows, world=FakeWorld(), on_end=ended.append)
        env.reset(seed=SEED)
        for _ in range(30 // rows):
            env.step(batch([int(session.spec.wanted[1]) for session in env.sessions]))
    told = [
        sorted((s.index, s.spec.id, s.transcript, [x.reward for x in s.scores]) for s in ended)
        for ended in played.values()
    ]
    assert len(told[0]) == 10
    assert told[0] == told[1]


def test_one_scorer_call_a_step() -> None:
    scorer = FlatScorer()
    env = vector(4, scorer=scorer)
    env.reset(seed=SEED)
    for step in range(3):
        env.step(batch(greys(env, step)))
    assert scorer.calls == [4, 4, 4]


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_modes_agree_with_gymnasiums_own_vector_environment(mode: AutoresetMode) -> None:
    ours = vector(1, mode)
    theirs = SyncVectorEnv([single], autoreset_mode=mode)
    assert ours.metadata["autoreset_mode"] is theirs.metadata["autoreset_mode"] is mode
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert data_equivalence(ours.reset(seed=SEED)[0], theirs.reset(seed=SEED)[0], exact=True)
    for step in range(9):
        action = batch([7 * step])
        mine, other = ours.step(action), theirs.step(action)
        assert data_equivalence(mine[:4], other[:4], exact=True)
        assert ("final_obs" in mine[4]) == ("final_obs" in other[4])
        if "final_obs" in mine[4]:
            assert data_equivalence(mine[4]["final_obs"][0], other[4]["final_obs"][0], exact=True)
            assert mine[4]["final_info"]["scores"][0] == other[4]["final_info"]["scores"][0]
            assert set(other[4]["final_info"]) == set(mine[4]["final_info"])


def test_next_step_ignores_the_action_of_a_row_that_restarts() -> None:
    scorer = FlatScorer()
    env = vector(3, AutoresetMode.NEXT_STEP, scorer=scorer)
    env.reset(seed=SEED)
    _, _, terminated, _, _ = env.step(batch(greys(env, 0)))
    assert terminated.tolist() == [True, False, False]
    seen, rewards, terminated, _, infos = env.step(batch(greys(env, 1)))
    assert scorer.calls == [3, 2]
    assert terminated.tolist() == [False, True, False]
    assert (rewards[0], seen["turn"][0], infos["index"][0]) == (0.0, 0, 3)
    assert infos["_scores"].tolist() == [False, True, True]


def test_disabled_rows_rest_until_the_mask_names_them() -> None:
    env = vector(3, AutoresetMode.DISABLED)
    env.reset(seed=SEED)
    env.step(batch(greys(env, 0)))
    seen, rewards, terminated, _, infos = env.step(batch(greys(env, 1)))
    assert terminated.tolist() == [True, True, False]
    assert (rewards[0], infos["scores"][0], infos["_scores"].tolist()) == (0.0, None, [False, True, True])
    third = seen["image"][2].copy()
    options = {"reset_mask": np.array([True, False, False])}
    seen, infos = env.reset(options=options)
    assert "reset_mask" in options
    assert infos["_index"].tolist() == [True, False, False]
    assert infos["index"][0] == 3
    assert seen["turn"].tolist() == [0, 2, 2]
    assert np.array_equal(seen["image"][2], third)
    env.step(batch([0, 0, 0]))
    with pytest.raises(ResetNeeded, match="all sessions are over"):
        env.step(batch([0, 0, 0]))


def test_sessions_can_be_picked_and_repeated() -> None:
    env = vector(4, world=FakeWorld())
    seen, infos = env.reset(seed=SEED, options={"sessions": [5, 5, 9, 9]})
    assert infos["index"].tolist() == [5, 5, 9, 9]
    assert np.array_equal(seen["source"][0], seen["source"][1])
    assert infos["session"][2] == FakeWorld().session("train", SEED, 9).id
    for step in range(3):
        _, _, _, _, infos = env.step(batch(greys(env, step)))
    assert infos["index"].tolist() == [9, 9, 13, 13]


def test_a_failed_judge_cuts_every_row_off() -> None:
    env = vector(2, world=FakeWorld(), scorer=FailingScorer(first=1))
    env.reset(seed=SEED)
    env.step(batch([0, 0]))
    _, rewards, terminated, truncated, infos = env.step(batch([0, 0]))
    assert (rewards.tolist(), terminated.any(), truncated.tolist()) == ([0.0, 0.0], False, [True, True])
    assert infos["scored"].tolist() == [False, False]
    assert list(infos["scores"]) == [Scores(error="judge: timed out")] * 2
    assert list(infos["final_info"]["end_reason"]) == ["unscored"] * 2


IMAGES = np.zeros((2, SIZE, SIZE, 3), dtype=np.uint8)
BAD_BATCHES = [
    ([], "action is a list"),
    ({"image": IMAGES}, "action has no 'intent'"),
    ({"intent": ("", "")}, "action has no 'image'"),
    ({"image": IMAGES[0], "intent": ("", "")}, r"action\['image'\] has shape \(8, 8, 3\).*\(2, 8, 8, 3\)"),
    ({"image": IMAGES.astype(int), "intent": ("", "")}, r"action\['image'\] has dtype int64"),
    ({"image": list(IMAGES), "intent": ("", "")}, r"action\['image'\] is a list"),
    ({"image": IMAGES, "intent": "ab"}, r"action\['intent'\] is a str, expected 2 texts"),
    ({"image": IMAGES, "intent": None}, r"action\['intent'\] is a NoneType"),
    ({"image": IMAGES, "intent": ("",)}, r"action\['intent'\] holds 1 texts, expected 2"),
    ({"image": IMAGES, "intent": ("", 3)}, r"action\['intent'\]\[1\] is a int"),
    ({"image": IMAGES, "intent": ("", "x" * 1001)}, r"action\['intent'\]\[1\] is 1001 characters long"),
]


@pytest.mark.parametrize(("action", "message"), BAD_BATCHES)
def test_a_bad_batch_names_field_and_row_and_changes_nothing(action: Any, message: str) -> None:
    env = vector(2, world=FakeWorld())
    env.reset(seed=SEED)
    before = [env.get_state(row) for row in range(2)]
    with pytest.raises(ValueError, match=message):
        env.step(action)
    assert [env.get_state(row) for row in range(2)] == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sessions": [1]}, r"options\['sessions'\] is \[1\], expected 2 session numbers"),
        ({"sessions": 3}, r"options\['sessions'\] is 3"),
        ({"sessions": [1, -2]}, r"options\['sessions'\]\[1\] is -2"),
        ({"reset_mask": [True, False]}, r"options\['reset_mask'\] is list"),
        ({"reset_mask": np.array([1, 0])}, r"options\['reset_mask'\] is int64 \(2,\)"),
        ({"reset_mask": np.array([True])}, r"options\['reset_mask'\] is bool \(1,\)"),
        ({"reset_mask": np.array([False, False])}, "at least one row"),
        ({"session": 1}, "reset option 'session' is not known, expected sessions or reset_mask"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    env = vector(2)
    env.reset(seed=SEED)
    with pytest.raises(ValueError, match=message):
        env.reset(options=options)


def test_arrays_are_fresh_every_time() -> None:
    env = vector(2, world=FakeWorld(), history=True)
    first, _ = env.reset(seed=SEED)
    action = batch([1, 2])
    second, *_ = env.step(action)
    for key in ("image", "source", "images"):
        assert not np.shares_memory(first[key], second[key])
        second[key][:] = 9
    action["image"][:] = 9
    third, *_ = env.step(batch([3, 4]))
    assert third["images"][0, 1, 0, 0].tolist() == [1, 1, 1]
    assert third["source"][0, 0, 0, 0] == env.sessions[0].spec.start


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_gymnasiums_statistics_wrapper_counts_our_rewards(mode: AutoresetMode) -> None:
    env = RecordEpisodeStatistics(vector(2, mode, world=FakeWorld(), scorer=FailingScorer(99)))
    env.reset(seed=SEED)
    for _ in range(3):
        _, _, _, _, infos = env.step(batch([0, 0]))
    assert infos["episode"]["r"].tolist() == [3.0, 3.0]
    assert infos["episode"]["l"].tolist() == [3, 3]


def test_stubborn_users_are_truncated_at_the_last_turn() -> None:
    env = vector(2, AutoresetMode.DISABLED, world=FakeWorld(), user=StubbornUser())
    env.reset(seed=SEED)
    right = env.sessions[0].message.meaning
    _, _, terminated, _, infos = env.step(batch([right, (env.sessions[1].message.meaning + 1) % 256]))
    assert (terminated.tolist(), list(infos["end_reason"])) == ([True, False], ["gave_up", None])


def test_a_step_before_reset_and_zero_rows_are_refused() -> None:
    with pytest.raises(ResetNeeded, match="no session is open"):
        vector(2).step(batch([0, 0]))
    with pytest.raises(ValueError, match="num_envs is 0"):
        vector(0)


def test_spaces_of_many_rows_are_gymnasiums_batches_and_small() -> None:
    """A thousand rows' bounds would take more memory than their pictures."""
    env = vector(1000)
    ours: Any = env.observation_space
    theirs = batch_space(env.single_observation_space, 1000)
    assert ours == theirs
    assert ours["image"].sample().shape == (1000, 8, 8, 3)
    assert ours["image"].low.strides == (0, 0, 0, 0)
    assert env.reset(seed=0)[0] in ours


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_step_whose_record_cannot_be_written_was_not_made(mode: AutoresetMode, tmp_path: Path) -> None:
    """Fails where rows before the one that failed are a turn ahead, or stand in the records."""
    full = {"disk": True}

    def published(session: Session) -> dict[str, Any]:
        if full["disk"] and session.index == 1:
            raise OSError(28, "No space left on device")
        return {}

    recorder = Recorder(tmp_path, published)
    envs = MICEEditVectorEnv(3, FakeWorld(turns=1), ScriptUser(), FlatScorer(), on_end=recorder, autoreset_mode=mode)
    seen, _ = envs.reset(seed=1)
    before = [envs.get_state(row) for row in range(3)]
    with pytest.raises(OSError, match="No space left"):
        envs.step({"image": seen["image"], "intent": ("first",) * 3})
    assert [envs.get_state(row) for row in range(3)] == before and not (tmp_path / "sessions.jsonl").exists()
    full["disk"] = False
    *_, terminated, _, _ = envs.step({"image": seen["image"], "intent": ("second",) * 3})
    assert terminated.all()
    assert [(one.index, one.intents) for one in read_records(tmp_path)] == [(row, ("second",)) for row in range(3)]
