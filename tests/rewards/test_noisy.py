"""Imperfect judges err as often as stated, for reasons that lie in the picture, and keep the truth."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
import pytest

from editenv.build import make_env
from editenv.rewards import SCORERS
from editenv.rewards.noisy import NoisyScorer, is_flat, open_error_model, tint
from editenv.types import Scores, TurnResult, UserMessage

COUNT = 1500


@dataclass(frozen=True)
class Edit:
    task: str = "color_alter"


@dataclass(frozen=True)
class Meaning:
    edit: Edit = Edit()


class Oracle:
    """Says of a picture what its first pixel says: IF and GA 1 or 0, CC a half."""

    version = "oracle 1"

    def __init__(self, world, weights):
        pass

    def score(self, turns):
        values = [float(turn.after[0, 0, 0] > 127) for turn in turns]
        return [Scores(value, 0.5, value, rule_kept=value, detail={"seen": value}) for value in values]


@pytest.fixture(autouse=True)
def oracle(monkeypatch):
    monkeypatch.setitem(SCORERS, "oracle", f"{__name__}:Oracle")


def turns(right, count=COUNT, task="color_alter", start=0, shift=0):
    """Turns with noisy pictures, all right or all wrong; `shift` tints every one of them."""
    rng = np.random.default_rng(7 + start)
    pictures = rng.integers(0, 100, (count, 4, 4, 3)).astype(np.uint8)
    after = pictures + np.uint8(shift)
    after[:, 0, 0, 0] = 255 if right else 0
    return [
        TurnResult(None, 0, UserMessage("do", Meaning(Edit(task))), before, before, picture)
        for before, picture in zip(pictures, after, strict=True)
    ]


def judge(errors, **settings):
    return NoisyScorer(None, base="oracle", errors=errors, **settings)


def mean_following(errors, outcomes, **settings):
    return np.mean([scores.instruction_following for scores in judge(errors, **settings).score(outcomes)])


def close(measured, expected, count=COUNT):
    """Within four standard errors of a share."""
    return abs(measured - expected) < 4 * sqrt(max(expected * (1 - expected), 1e-6) / count)


def both_err(rate, correlation):
    """Probability that two votes err together: errors are independent once their shared luck is known."""
    normal, grid = NormalDist(), np.linspace(-8, 8, 4001)
    given = [normal.cdf((normal.inv_cdf(rate) - sqrt(correlation) * z) / sqrt(1 - correlation)) for z in grid]
    return sum(normal.pdf(z) * p * p for z, p in zip(grid, given, strict=True)) * (grid[1] - grid[0])


def rates(**values):
    return {"votes": 1, "scores": {"instruction_following": values, "global_awareness": {}}}


def test_rates_are_those_stated():
    errors = rates(miss=0.1, false_alarm=0.25)
    assert close(mean_following(errors, turns(True)), 0.9)
    assert close(mean_following(errors, turns(False)), 0.25)


def test_a_task_can_have_rates_of_its_own():
    errors = rates(miss=0.1, tasks={"text_change": {"miss": 0.4}})
    assert close(mean_following(errors, turns(True)), 0.9)
    assert close(mean_following(errors, turns(True, task="text_change")), 0.6)


def test_a_yes_bias_lifts_wrong_results_alone():
    errors = rates(false_alarm=0.2) | {"yes_bias": 0.5}
    assert close(mean_following(errors, turns(False)), 1 - 0.8 * 0.5)
    assert mean_following(errors, turns(True)) == 1.0


def test_a_tint_buys_points_in_proportion():
    errors = rates() | {"tint": {"full": 0.2, "false_alarm": 0.8}}
    assert mean_following(errors, turns(False)) == 0.0
    half = round(255 * 0.1)
    assert close(mean_following(errors, turns(False, shift=half)), 0.8 * half / 255 / 0.2)
    assert close(mean_following(errors, turns(False, shift=100)), 0.8)


def test_correlated_votes_err_together():
    outcomes, errors = turns(False), rates(false_alarm=0.3) | {"votes": 2}
    for correlation in (0.0, 0.6, 1.0):
        scores = judge(errors | {"correlation": correlation}).score(outcomes)
        both = np.mean([score.instruction_following == 1.0 for score in scores])
        assert close(np.mean([score.instruction_following for score in scores]), 0.3)
        expected = {0.0: 0.09, 0.6: both_err(0.3, 0.6), 1.0: 0.3}[correlation]
        assert close(both, expected), correlation


def test_votes_give_multiples_of_their_number():
    scores = judge(rates(miss=0.3) | {"votes": 4}).score(turns(True, 200))
    assert {score.instruction_following for score in scores} == {0.0, 0.25, 0.5, 0.75, 1.0}


def test_shares_get_noise_of_the_stated_size():
    errors = {"scores": {"content_consistency": {"noise": 0.05}}}
    values = [score.content_consistency for score in judge(errors).score(turns(True))]
    assert abs(np.mean(values) - 0.5) < 4 * 0.05 / sqrt(COUNT) and abs(np.std(values) - 0.05) < 0.003
    tinted = {"scores": {"content_consistency": {}}, "tint": {"full": 0.1, "false_alarm": 0.5}}
    assert judge(tinted).score(turns(True, 1, shift=100))[0].content_consistency == 0.75


def test_failures_come_as_often_as_stated_and_more_with_flat_pictures():
    errors = rates() | {"failures": {"rate": 0.05, "flat": 0.5}}
    scores = judge(errors).score(turns(True))
    failed = [score for score in scores if score.error is not None]
    assert close(len(failed) / COUNT, 0.05)
    assert all(score.instruction_following is None and score.reward == 0.0 for score in failed)
    assert all(score.detail["truth"]["instruction_following"] == 1.0 for score in failed)
    flat = [
        TurnResult(None, 0, UserMessage(str(n), Meaning()), *[np.full((2, 2, 3), 200, np.uint8)] * 3)
        for n in range(COUNT)
    ]
    assert close(np.mean([score.error is not None for score in judge(errors).score(flat)]), 1 - 0.95 * 0.5)


def test_results_depend_on_seed_and_content_never_on_batch_or_order():
    outcomes = turns(True, 60)
    errors = "typical"
    together = judge(errors).score(outcomes)
    assert judge(errors).score(outcomes[::-1])[::-1] == together
    assert [judge(errors).score([outcome])[0] for outcome in outcomes] == together
    assert judge(errors, seed=1).score(outcomes) != together


def test_other_seeds_err_elsewhere():
    outcomes, errors = turns(True), rates(miss=0.5)
    one, other = (
        np.array([score.instruction_following for score in judge(errors, seed=seed).score(outcomes)])
        for seed in (0, 1)
    )
    assert close(np.mean(one == other), 0.5)


def test_scores_without_rates_are_passed_on_and_the_truth_is_kept():
    (score,) = judge(rates(miss=1.0)).score(turns(True, 1))
    assert (score.instruction_following, score.content_consistency, score.rule_kept) == (0.0, 0.5, 1.0)
    truth = score.detail["truth"]
    assert truth["instruction_following"] == 1.0 and truth["detail"] == {"seen": 1.0}


@pytest.mark.parametrize("suite", ["mixed", "mice-cm"])
def test_over_a_session_the_truth_is_what_the_exact_scorer_says(suite):
    exact = make_env(suite=suite)
    errors = {"scores": {"instruction_following": {"miss": 1.0, "false_alarm": 1.0}, "global_awareness": {}}}
    other = make_env(suite=suite, scorer="imperfect", scorer_settings={"errors": errors})
    for env in (exact, other):
        env.reset(seed=3)
    for _ in range(3):
        action = {"image": exact.session.pictures[-1].copy(), "intent": ""}
        true, said = exact.step(action)[4]["scores"], other.step(action)[4]["scores"]
        assert Scores(**said.detail["truth"]) == true
        assert said.instruction_following == 1 - true.instruction_following
        assert said.global_awareness == true.global_awareness
    assert "imperfect 1 own:" in other.engine.versions()["scorer"]


def test_tint_sees_a_cast_and_no_edit():
    picture = np.random.default_rng(0).integers(0, 200, (16, 16, 3)).astype(np.uint8)
    edited = picture.copy()
    edited[:6, :6] = (255, 0, 0)
    cast = picture.copy()
    cast[..., 0] += 51
    assert tint(picture, edited) == 0.0 and tint(picture, cast) == pytest.approx(0.2)
    assert not is_flat(picture) and is_flat(np.full((3, 3, 3), 9, np.uint8))


@pytest.mark.parametrize("name", ["typical", "tint", "yes"])
def test_every_shipped_model_opens_and_says_so_in_the_version(name):
    assert open_error_model(name)[0] == name
    assert judge(name).version.startswith(f"imperfect 1 {name}:")


def test_a_file_of_ones_own_is_read(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("votes: 1\nscores: {global_awareness: {miss: 0.5}}\n", encoding="utf-8")
    assert open_error_model(str(path))[1].scores["global_awareness"].miss == 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"errors": "perfect"}, "error model 'perfect' is not known, expected tint, typical, yes, a YAML"),
        ({"errors": {"vote": 1}}, "key 'vote' is not known, expected scores, votes"),
        ({"errors": {"votes": 0}}, "'votes' is 0, expected 1 or more"),
        (
            {"errors": {"scores": {"beauty": {}}}},
            "'scores.beauty' is not known, expected one of instruction_following, ",
        ),
        ({"errors": {"scores": {"rule_kept": {"miss": 2}}}}, "'scores.rule_kept.miss' is 2, expected 1.0 at most"),
        (
            {"errors": {"scores": {"rule_kept": {"tasks": {"fly": {}}}}}},
            "'scores.rule_kept.tasks.fly' is not known, expected one of subject_add, ",
        ),
        ({"errors": {"tint": 3}}, "'tint' is 3, expected an object"),
        ({"errors": {"tint": {"full": 0}}}, "'tint.full' is 0, expected more than 0"),
        ({"seed": "a"}, "seed is 'a'"),
        ({"base": "exacct"}, "scorer 'exacct' is not known, did you mean 'exact'"),
        ({"mistakes": 1}, "scorer 'imperfect' has no setting 'mistakes', expected base"),
        ({"base_settings": {"x": 1}}, "scorer 'exact' has no setting 'x', expected none"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(settings, message, monkeypatch):
    monkeypatch.undo()
    with pytest.raises(ValueError, match=message):
        make_env(scorer="imperfect", scorer_settings=settings)
