"""Which settings of spending fit together, and that the others are refused by name."""

from dataclasses import replace

import pytest

from editenv.agents.edit_r2.credit import CreditSettings, check_spending
from editenv.agents.edit_r2.rollout import RolloutSettings
from editenv.agents.edit_r2.settings import TrainingSettings
from editenv.agents.edit_r2.spending import SpendSettings, check_surroundings
from editenv.agents.train import training_settings
from editenv.agents.trainer import EditR2Trainer
from editenv.configs.compose import compose
from editenv.vector import MICEEditVectorEnv
from tests.tiny_editor import brightness_envs, tiny_checkpoint

RESAMPLE = SpendSettings(filter="resample")


def test_the_settings_of_a_run_reach_rollout_and_credit(tmp_path):
    words = ["algorithm.filter=threshold", "algorithm.filter_threshold=0.3"]
    settings = training_settings(compose("train", words, out=str(tmp_path)))
    assert settings.rollout.spending == SpendSettings("threshold", 0.3)
    assert settings.credit.filter == "threshold" and settings.credit.filter_threshold == 0.3


@pytest.mark.parametrize(
    ("spending", "changes", "paying", "message"),
    [
        (RESAMPLE, {"behaviour": "oracle"}, {}, "behaviour is 'oracle' with filter=resample"),
        (RESAMPLE, {}, {"filter": "exclude"}, "played for filter 'resample' 0.5 and paid by 'exclude' 0.5"),
        (SpendSettings(), {}, {"filter": "resample"}, "played for filter 'first_failure'"),
    ],
)
def test_what_does_not_fit_is_named(spending, changes, paying, message):
    paying = {"filter": spending.filter} | paying
    with pytest.raises(ValueError, match=message):
        check_spending(RolloutSettings(spending=spending, **changes), CreditSettings(**paying))


def test_the_trainer_asks_for_all_of_this(tmp_path):
    rollout = RolloutSettings(spending=RESAMPLE)
    with pytest.raises(ValueError, match="paid by 'first_failure'"):
        TrainingSettings(tmp_path, rollout=rollout)
    made = brightness_envs(4).engine
    settings = TrainingSettings(
        tmp_path,
        specs=2,
        rollout=replace(rollout, rollouts=2),
        credit=CreditSettings(filter="resample"),
    )
    later = MICEEditVectorEnv(4, made.world, made.user, made.scorer, scoring="deferred")
    with pytest.raises(ValueError, match="scoring is 'deferred' with filter=resample"):
        EditR2Trainer(tiny_checkpoint(), later, settings)


def test_groups_that_look_at_each_other_stay_on_one_process():
    check_surroundings(RESAMPLE, 4, 2, deferred=False)
    with pytest.raises(ValueError, match=r"specs is 3 on 2 processes with filter.* expected a multiple"):
        check_surroundings(RESAMPLE, 3, 2, deferred=False)
