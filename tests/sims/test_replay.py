"""The replay user reads the script out and takes no notice of the pictures."""

from __future__ import annotations

import numpy as np

from editenv.sims.replay import ReplayUser
from editenv.types import Stop, TurnResult
from tests.fakes import FakeSpec


def outcome(spec: FakeSpec, turn: int, grey: int) -> TurnResult:
    picture = np.full((4, 4, 3), grey, dtype=np.uint8)
    return TurnResult(spec, turn, spec.message(turn), picture, picture, picture)


def test_the_script_is_read_out_in_order_then_goodbye() -> None:
    user, spec = ReplayUser(), FakeSpec(0, (10, 20, 30))
    said = [user.begin(spec), *(user.reply(outcome(spec, turn, 0)) for turn in range(3))]
    assert said == [spec.message(0), spec.message(1), spec.message(2), Stop("done")]


def test_pictures_make_no_difference() -> None:
    user, spec = ReplayUser(), FakeSpec(0, (10, 20))
    assert user.reply(outcome(spec, 0, 10)) == user.reply(outcome(spec, 0, 99))


def test_a_script_of_one_turn_ends_after_it() -> None:
    spec = FakeSpec(0, (10,))
    assert ReplayUser().reply(outcome(spec, 0, 0)) == Stop("done")
