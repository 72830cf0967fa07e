"""Who judges held-out sessions, what is refused before a training starts, and what trackers are given."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import pytest

from editenv.agents import callbacks as module
from editenv.agents.callbacks import check_trackers, held_out_envs, held_out_scorer, tracker_writers
from editenv.configs.compose import compose

JUDGE = ["scorer=judge", "scorer.settings.endpoint.model=x"]


def train_config(*words: str, **values: object):
    return compose("train", [*words], out="x", eval_sessions=2, **values)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ([], "residual"),
        (["scorer=residual"], "exact"),
        (["scorer=imperfect"], "residual"),
        (["scorer@eval_scorer=imperfect"], "imperfect"),
        (["scorer=imperfect", "scorer@eval_scorer=imperfect", "eval_scorer.settings.seed=1"], "imperfect"),
        ([*JUDGE, "scorer@eval_scorer=exact"], "exact"),
    ],
)
def test_another_scorer_judges_what_is_held_out_and_nothing_is_said(words, kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert held_out_scorer(train_config(*words)).kind == kind


@pytest.mark.parametrize(
    "words", [["scorer@eval_scorer=exact"], JUDGE, ["scorer=imperfect", "scorer@eval_scorer=imperfect"]]
)
def test_trainings_own_scorer_is_warned_of(words):
    with pytest.warns(UserWarning, match="judged by training's own scorer .*scorer@eval_scorer=NAME"):
        held_out_scorer(train_config(*words))


def test_held_out_sessions_are_of_the_validation_split_and_have_that_judge():
    envs = held_out_envs(train_config("scorer=residual"))
    assert envs is not None and envs.engine.split == "validation" and envs.num_envs == 2
    assert envs.engine.versions()["scorer"].startswith("exact")
    assert held_out_envs(train_config(eval_every=0)) is None


def test_a_scorer_that_judges_nothing_is_refused():
    with pytest.warns(UserWarning, match="no scorer"), pytest.raises(ValueError, match="eval_scorer is None"):
        held_out_envs(train_config("scorer@eval_scorer=none"))


class Callback:
    def __init__(self, writer):
        self.tb_writer = writer


def test_only_trackers_with_a_writer_get_what_numbers_do_not_say():
    writer = object()
    handler = SimpleNamespace(callbacks=[object(), Callback(None), Callback(writer)])
    algorithm = SimpleNamespace(updates_per_iteration=4)
    trainer = SimpleNamespace(callback_handler=handler, algorithm=algorithm)
    assert tracker_writers(trainer, 5) == [(writer, 20)] and tracker_writers(None, 5) == []


def test_a_tracker_has_to_be_known_and_installed(monkeypatch):
    check_trackers([])
    with pytest.raises(ValueError, match="report_to 'tensorbord' is not known, did you mean 'tensorboard'"):
        check_trackers(["tensorbord"])
    monkeypatch.setattr(module, "get_available_reporting_integrations", lambda: ["wandb"])
    check_trackers(["wandb"])
    with pytest.raises(ValueError, match="report_to names 'mlflow', whose package is missing; installed: wandb"):
        check_trackers(["wandb", "mlflow"])
