"""The replay user reads the script out and takes no notice of the pictures."""

from __future__ import annotations

import numpy as np

from editenv.sims.replay import ReplayUser
from editenv.types import Goodbye, TurnOutcome
from tests.fakes import FakeSpec


def outcome(spec: FakeSpec, turn: int, grey: int) -> TurnOutcome:
    picture = np.full((4, 4, 3), grey, dtype=np.uint8)
    return TurnOutcome(spec, turn, spec.speech(turn), picture, picture, picture)


def test_the_script_is_read_out_in_order_then_goodbye() -> None:
    user, spec = ReplayUser(), FakeSpec(0, (10, 20, 30))
    said = [user.begin(spec), *(user.reply(outcome(spec, turn, 0)) for turn in range(3))]
    assert said == [spec.speech(0), spec.speech(1), spec.speech(2), Goodbye("done")]


def test_pictures_make_no_difference() -> None:
    user, spec = ReplayUser(), FakeSpec(0, (10, 20))
    assert user.reply(outcome(spec, 0, 10)) == user.reply(outcome(spec, 0, 99))


def test_a_script_of_one_turn_ends_after_it() -> None:
    spec = FakeSpec(0, (10,))
    assert ReplayUser().reply(outcome(spec, 0, 0)) == Goodbye("done")
