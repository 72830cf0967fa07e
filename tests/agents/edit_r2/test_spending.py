"""Which settings of spending fit together, and that the others are refused by name."""

from dataclasses import replace

import pytest

from editenv.agents.edit_r2.credit import CreditSettings, check_spending
from editenv.agents.edit_r2.rollout import RolloutSettings
from editenv.agents.edit_r2.settings import TrainingSettings
from editenv.agents.edit_r2.spending import SpendSettings, check_surroundings
from editenv.agents.edit_r2.trainer import EditR2Trainer
from editenv.agents.train import training_settings
from editenv.configs.compose import compose
from editenv.vector import MICEEditVectorEnv
from tests.tiny_editor import brightness_envs, tiny_checkpoint

RESAMPLE = SpendSettings(filter="resample")


def test_nothing_unusual_is_done_unless_asked_for(tmp_path):
    settings = training_settings(compose("train", out=str(tmp_path)))
    assert settings.rollout.spending.unusual == [] and settings.rollout.temperature_end is None
    assert settings.update.text_entropy == 0.0


def test_the_settings_of_a_run_reach_rollout_credit_and_update(tmp_path):
    words = ["algorithm.filter=threshold", "algorithm.filter_threshold=0.3", "algorithm.stop_failed=true"]
    words += ["algorithm.first_rollouts=2", "algorithm.temperature_end=1.4", "algorithm.text_entropy=0.01"]
    settings = training_settings(compose("train", words, out=str(tmp_path)))
    assert settings.rollout.spending == SpendSettings("threshold", 0.3, stop_failed=True, first_rollouts=2)
    assert settings.rollout.temperature_end == 1.4 and settings.update.text_entropy == 0.01
    assert settings.credit.filter == "threshold" and settings.credit.filter_threshold == 0.3


@pytest.mark.parametrize("name", ["none", "resample"])
def test_only_a_filter_that_gives_sessions_up_stops_them(name):
    with pytest.raises(
        ValueError, match=f"stop_failed is True with filter '{name}'.* expected first_failure"
    ):
        SpendSettings(filter=name, stop_failed=True)


@pytest.mark.parametrize(
    ("spending", "changes", "paying", "message"),
    [
        (SpendSettings(first_rollouts=1), {}, {}, "first_rollouts is 1, expected 0, or 2 to 5"),
        (SpendSettings(first_rollouts=6), {}, {}, "first_rollouts is 6, expected 0, or 2 to 5"),
        (RESAMPLE, {"behaviour": "oracle"}, {}, "behaviour is 'oracle' with filter=resample"),
        (
            SpendSettings(stop_failed=True),
            {},
            {"advantage": "fused"},
            "advantage is 'fused' with stop_failed",
        ),
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
    both = replace(RESAMPLE, first_rollouts=2)
    check_surroundings(both, 4, 1, deferred=False)
    with pytest.raises(ValueError, match=r"'resample' with first_rollouts=2 on 2 processes, expected one"):
        check_surroundings(both, 4, 2, deferred=False)


def test_two_stages_may_divide_groups_but_each_process_plays_in_both():
    check_surroundings(SpendSettings(first_rollouts=2), 3, 2, deferred=False)
    with pytest.raises(
        ValueError, match=r"specs is 1 on 2 processes with first_rollouts=2, expected as many"
    ):
        check_surroundings(SpendSettings(first_rollouts=2), 1, 2, deferred=False)


def test_stopping_and_late_scores_bear_several_processes():
    check_surroundings(SpendSettings(stop_failed=True), 3, 2, deferred=False)
    check_surroundings(SpendSettings(first_rollouts=2), 4, 2, deferred=True)
