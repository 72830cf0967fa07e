"""Pay where groups have unequal sizes and rows hold several attempts, and what objectives use of it."""

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from editenv.agents.edit_r2.credit import CreditSettings, credit
from editenv.agents.edit_r2.objective import OBJECTIVES
from editenv.agents.edit_r2.places import Place
from editenv.agents.edit_r2.rollout import Rollout
from editenv.agents.edit_r2.spending import SpendSettings
from editenv.agents.edit_r2.update import UpdateSettings
from editenv.agents.metrics import group_by_turn
from editenv.types import Scores
from tests.tiny_editor import tiny_trainer

NAN = math.nan


def rollout(rewards, following, places=None):
    reward = torch.tensor(rewards, dtype=torch.float64)
    tensors = {
        "reward": reward.nan_to_num(),
        "instruction_following": torch.tensor(following, dtype=torch.float64),
        "valid": ~reward.isnan(),
        "intent_mask": torch.ones(*reward.shape, 4).bool(),
    }
    scores = [Scores(1.0, None, 1.0, reward=0.5)]
    return Rollout(tuple(SimpleNamespace(scores=scores) for _ in rewards), tensors, 0.0, places)


def attempt(group, row, columns, number=0):
    """Places of an attempt in some columns of a row."""
    found = {}
    for turn, column in enumerate(columns):
        past = tuple((row, c) for c in columns[:turn])
        found[row, column] = Place(group, number, turn, (row, column), past)
    return found


def test_a_try_moves_no_return_and_is_paid_by_its_state():
    """The row that failed tries the second turn of the other row; 0.5 there is paid against 0.9."""
    again = Place(0, 2, 1, (1, 1), ((1, 0),), again=True)
    places = attempt(0, 0, [0]) | {(0, 1): again} | attempt(0, 1, [0, 1])
    following = [[0.0, 1.0], [1.0, 1.0]]
    paying = CreditSettings(advantage="return_to_go", advantage_std="group", filter="resample")
    paid, worse = (
        credit(rollout([[0.0, value], [0.3, 0.9]], following, places), 2, paying, {})[0]["advantage"]
        for value in (0.5, 0.1)
    )
    ordinary = [(0, 0), (1, 0), (1, 1)]
    assert all(paid[at] == worse[at] for at in ordinary) and paid[1, 0] > 0
    assert paid[0, 1].item() == pytest.approx(-0.2 / (0.2 + 1e-4))
    assert worse[0, 1].item() == pytest.approx(-0.4 / (0.4 + 1e-4))


@pytest.mark.parametrize(
    ("name", "update", "wasted"),
    [
        ("policy", UpdateSettings(), 2 / 4),
        ("policy", UpdateSettings(flow_kl=0.1), 1 / 4),
        ("nft", UpdateSettings(), 2 / 4),
        ("rft", UpdateSettings(), 3 / 4),
        ("supervised", UpdateSettings(), 0.0),
    ],
)
def test_what_is_wasted_depends_on_what_the_objective_uses(name, update, wasted):
    """Of four turns one follows a failure and one has nobody to beat; one of the others is the better."""
    one = rollout([[0.0, 0.4], [0.8, 0.4]], [[0.0, 1.0], [1.0, 1.0]])
    trains = partial(OBJECTIVES[name].trains, update=update)
    paying = CreditSettings(advantage="turn", filter="exclude")
    assert credit(one, 2, paying, {}, trains)[1]["wasted_share"] == wasted


def test_turns_that_were_never_played_are_no_waste_and_unscored_ones_are():
    one = rollout([[0.0, 0.0], [0.8, 0.4]], [[1.0, NAN], [1.0, 1.0]])
    one.tensors["valid"][0, 1] = False
    trains = partial(OBJECTIVES["supervised"].trains, update=UpdateSettings())
    assert credit(one, 2, CreditSettings(filter="none"), {}, trains)[1]["wasted_share"] == 0.0
    one.tensors["reward"][0, 1] = NAN
    assert credit(one, 2, CreditSettings(filter="none"), {}, trains)[1]["wasted_share"] == 1 / 4


def test_a_trainer_learns_from_what_is_played_in_place_of_lost_turns(tmp_path):
    spending = SpendSettings("resample")
    trainer = tiny_trainer(
        tmp_path, rollouts=4, spending=spending, filter=spending.filter, advantage="turn", iterations=2
    )
    trainer.train()
    logs = group_by_turn(trainer.state.log_history, 2)
    assert [log["iteration"] for log in logs] == [0, 1]
    for log in logs:
        assert log["filtered_share"] == 0.0 and log["text_grad_norm"] > 0 and log["flow_grad_norm"] > 0
