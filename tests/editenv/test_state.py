"""States: a session can be left and continued, twice, elsewhere, with the same results; damage is noticed."""

from __future__ import annotations

from typing import Any

import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from hypothesis import given, settings
from hypothesis import strategies as st

from editenv.env import MICEEditEnv
from editenv.types import Stop, TurnResult, UserMessage
from editenv.vector import MICEEditVectorEnv
from tests.fakes import FailingScorer, FakeWorld, FlatScorer, ScriptUser, StubbornUser, answer


def make(user: Any = None, **world: Any) -> MICEEditEnv:
    return MICEEditEnv(FakeWorld(**world), user or ScriptUser(), FlatScorer(), history=True)


def play_on(env: MICEEditEnv, steps: int) -> list[Any]:
    return [env.step(answer(8, 10 * turn, f"intent {turn}")) for turn in range(steps)]


@pytest.mark.parametrize("user", [ScriptUser(), StubbornUser()])
@pytest.mark.parametrize("done", [0, 1, 2])
def test_continued_twice_and_elsewhere(user: Any, done: int) -> None:
    env = make(user)
    env.reset(seed=5, options={"session": 3})
    play_on(env, done)
    state = env.get_state()
    first = play_on(env, 3 - done)
    env.set_state(state)
    assert env.get_state() == state
    second = play_on(env, 3 - done)
    other = make(user)
    other.set_state(state)
    third = play_on(other, 3 - done)
    assert data_equivalence(first, second, exact=True)
    assert data_equivalence(first, third, exact=True)
    assert data_equivalence(env.reset(), other.reset(), exact=True)


def test_set_state_returns_what_was_seen_last() -> None:
    env = make()
    env.reset(seed=5)
    seen, *_, info = env.step(answer(8, 1))
    restored, known = make().set_state(env.get_state())
    assert data_equivalence(restored, seen, exact=True)
    assert known.items() <= info.items()


def test_a_finished_session_stays_finished_and_counting_goes_on() -> None:
    env, other = make(), make()
    env.reset(seed=5)
    play_on(env, 3)
    other.set_state(env.get_state())
    with pytest.raises(ResetNeeded, match=r"over \(done\)"):
        other.step(answer(8, 1))
    assert other.reset()[1]["index"] == 1


def test_an_unscored_end_survives() -> None:
    env = MICEEditEnv(FakeWorld(), ScriptUser(), FailingScorer())
    env.reset(seed=5)
    env.step(answer(8, 1))
    other = MICEEditEnv(FakeWorld(), ScriptUser(), FailingScorer())
    other.set_state(env.get_state())
    assert other.session.scores[0].error == "judge: timed out"
    assert other.session.ending == env.session.ending


def test_states_move_between_rows_and_single_environments() -> None:
    vector = MICEEditVectorEnv(3, FakeWorld(), ScriptUser(), FlatScorer())
    vector.reset(seed=5)
    single = make()
    single.reset(seed=8)
    play_on(single, 1)
    seen, _ = vector.set_states({0: single.get_state(), 2: single.get_state()})
    assert seen["turn"].tolist() == [1, 0, 1]
    assert vector.get_state(0) == vector.get_state(2) == single.get_state()
    with pytest.raises(ValueError, match="state cannot be restored"):
        vector.set_states({1: single.get_state(), 0: b"junk"})
    assert vector.sessions[1].turn == 0


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_damaged_byte_is_noticed(data: st.DataObject) -> None:
    env = make()
    env.reset(seed=5)
    play_on(env, 1)
    state = bytearray(env.get_state())
    place = data.draw(st.integers(0, len(state) - 1))
    state[place] ^= data.draw(st.integers(1, 255))
    before = env.get_state()
    with pytest.raises(ValueError, match="state cannot be restored"):
        env.set_state(bytes(state))
    assert env.get_state() == before


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=200))
def test_any_other_bytes_are_refused(junk: bytes) -> None:
    with pytest.raises(ValueError, match="state cannot be restored"):
        make().set_state(junk)


def test_states_of_other_versions_and_sizes_are_refused() -> None:
    env = make()
    env.reset(seed=5)
    with pytest.raises(ValueError, match=r"versions is .*fake 1.*, this environment has .*fake 2"):
        make(version="2").set_state(env.get_state())
    with pytest.raises(ValueError, match=r"shape is \[8, 8, 3\], this environment has \[4, 4, 3\]"):
        make(size=4).set_state(env.get_state())


def test_no_state_before_the_first_reset() -> None:
    with pytest.raises(ResetNeeded):
        make().get_state()


class Changing(ScriptUser):
    """Says another thing each time it is asked, and calls itself the same version."""

    said = 0

    def reply(self, outcome: TurnResult) -> UserMessage | Stop:
        Changing.said += 1
        return UserMessage(f"wish {Changing.said}")


class Leaving(ScriptUser):
    """Leaves at once."""

    def reply(self, outcome: TurnResult) -> UserMessage | Stop:
        return Stop("done")


def test_a_user_who_does_not_say_the_same_again_is_noticed() -> None:
    env = make(Changing())
    env.reset(seed=5)
    play_on(env, 2)
    with pytest.raises(ValueError, match=r"the user now says .*wish 3.*, the state has .*wish 2"):
        env.set_state(env.get_state())
    with pytest.raises(ValueError, match="after turn 0 the user now says goodbye"):
        make(Leaving()).set_state(env.get_state())
