"""What breaks outside of a run neither spoils nor loses what it learnt, and is said."""

from __future__ import annotations

import errno
import math
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from editenv.agents import failures
from editenv.agents import trainer as trainer_module
from editenv.agents.failures import NonFiniteGradientGuard, TrainingAborted, mark_or_drop
from editenv.agents.resume import COMPLETE, mark_complete, newest_checkpoint, whole_checkpoints
from editenv.sims.replay import ReplayUser
from editenv.types import Scores
from tests.tiny_editor import BrightnessScorer, tiny_policy, tiny_trainer, weights

ITERATIONS = 3


class FailsAt(BrightnessScorer):
    """Raises or answers something else in calls from `first` to `last`; a call scores a turn of all."""

    def __init__(self, first: int, last: int, answer: Scores | Exception) -> None:
        super().__init__()
        self.first, self.last, self.answer, self.calls = first, last, answer, 0

    def score(self, turns):
        self.calls += 1
        if not self.first <= self.calls <= self.last:
            return super().score(turns)
        if isinstance(self.answer, Exception):
            raise self.answer
        return [self.answer for _ in turns]


def finite(model) -> bool:
    return all(bool(value.isfinite().all()) for value in model.state_dict().values())


def trained(out: Path, scorer=None, **changes):
    """The weights after a run, which goes on from what its folder holds."""
    checkpoint = tiny_policy()
    trainer = tiny_trainer(out, checkpoint, scorer, iterations=ITERATIONS, **changes)
    newest = newest_checkpoint(out)
    trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    return weights(checkpoint.model)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The weights after a run in which nothing failed."""
    return trained(tmp_path_factory.mktemp("unbroken"))


def test_a_user_or_scorer_that_raises_stops_the_run_and_loses_nothing(tmp_path, unbroken):
    """Checkpoints are far apart here; the one before the failure is written when it happens."""
    with pytest.raises(TrainingAborted, match=r"iteration 2 stopped .*: KeyError: 'no such persona'; .*checkpoint-4"):
        trained(tmp_path / "broken", FailsAt(7, 99, KeyError("no such persona")))
    assert newest_checkpoint(tmp_path / "broken").name == "checkpoint-4"
    resumed = trained(tmp_path / "broken")
    assert all(torch.equal(value, unbroken[name]) for name, value in resumed.items())


def test_one_that_raises_at_once_leaves_no_checkpoint_and_says_so(tmp_path):
    with pytest.raises(TrainingAborted, match=r"iteration 0 .* nothing was learnt before it"):
        trained(tmp_path, FailsAt(1, 1, ConnectionError("refused")))
    assert whole_checkpoints(tmp_path) == []


def test_a_judge_that_fails_for_a_while_is_said_and_the_run_goes_on(tmp_path):
    """In the second iteration it answers nothing: its sessions end in their first turn."""
    before = weights(tiny_policy().model)
    with pytest.warns(UserWarning, match=r"iteration 1: 6 of 6 sessions ended unscored.*judge: timed out"):
        after = trained(tmp_path, FailsAt(4, 4, Scores(error="judge: timed out")))
    assert any(not torch.equal(value, after[name]) for name, value in before.items())
    assert all(bool(value.isfinite().all()) for value in after.values())


def test_a_reward_that_is_no_number_counts_nowhere(tmp_path):
    after = trained(tmp_path, FailsAt(5, 5, Scores(1.0, None, 1.0, reward=math.nan)))
    assert all(bool(value.isfinite().all()) for value in after.values())


@pytest.mark.parametrize("reward", [math.nan, math.inf])
def test_a_reward_that_is_no_number_is_said_and_changes_no_mean(tmp_path, reward):
    """The second iteration's middle turn; all its other turns train, and no update is left out."""
    trainer = tiny_trainer(tmp_path, tiny_policy(), FailsAt(5, 5, Scores(1.0, None, 1.0, reward=reward)), iterations=2)
    with pytest.warns(UserWarning, match=rf"iteration 1: 6 of 18 turns were paid {reward}, and count in no"):
        trainer.train()
    (log,) = [log for log in trainer.state.log_history if log.get("step") == 4 and "reward/1" in log]
    assert math.isfinite(log["reward/1"]) and math.isfinite(log["reward/3"]) and log["reward/2"] is None
    assert log["unscored_share"] == pytest.approx(6 / 18) and log["skipped_updates"] == 0


class Vanishing(ReplayUser):
    """Raises when asked to begin a session, or to reply, for the `at`-th time."""

    def __init__(self, method: str, at: int) -> None:
        super().__init__()
        self.method, self.left = method, at

    def _counted(self, method: str) -> None:
        self.left -= method == self.method
        if self.left == 0:
            raise LookupError("no such persona")

    def begin(self, spec):
        self._counted("begin")
        return super().begin(spec)

    def reply(self, turn):
        self._counted("reply")
        return super().reply(turn)


@pytest.mark.parametrize(("method", "at"), [("begin", 8), ("reply", 20)])
def test_a_user_who_raises_stops_the_run_with_a_checkpoint(tmp_path, unbroken, method, at):
    """Six sessions of three turns an iteration: both happen in the second one, before and within a turn."""
    checkpoint = tiny_policy()
    trainer = tiny_trainer(tmp_path / "broken", checkpoint, iterations=ITERATIONS)
    vanishing = replace(trainer.envs.engine, user=Vanishing(method, at))
    object.__setattr__(trainer.envs, "engine", vanishing)
    with pytest.raises(TrainingAborted, match=r"iteration 1 stopped .*no such persona.*checkpoint-2 holds"):
        trainer.train()
    resumed = trained(tmp_path / "broken")
    assert all(torch.equal(value, unbroken[name]) for name, value in resumed.items())


def test_an_update_with_a_gradient_that_is_no_number_is_left_out(tmp_path, monkeypatch):
    checkpoint = tiny_policy()
    trainer = tiny_trainer(tmp_path, checkpoint, iterations=2, updates_per_iteration=1)
    true, seen = trainer._compute_loss, []

    def poisoned(model, inputs):
        seen.append(weights(checkpoint.model))
        loss = true(model, inputs)
        return loss * math.nan if len(seen) == 1 else loss

    monkeypatch.setattr(trainer, "_compute_loss", poisoned)
    with pytest.warns(UserWarning, match="an update was left out: its gradient norms are text nan, flow nan"):
        trainer.train()
    assert all(torch.equal(value, seen[1][name]) for name, value in seen[0].items()), "no weight moved"
    assert finite(checkpoint.model)
    assert any(not torch.equal(value, seen[1][name]) for name, value in weights(checkpoint.model).items())


def test_ten_updates_in_a_row_without_a_gradient_end_the_run():
    guard, parameter = NonFiniteGradientGuard(), torch.nn.Parameter(torch.ones(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(9):
            assert not guard.check({"flow": math.inf}, [parameter])
        assert guard.check({"flow": 1.0}, [parameter]) and guard.skipped == 0
        for _ in range(9):
            guard.check({"flow": math.nan}, [parameter])
        with pytest.raises(TrainingAborted, match="10 updates in a row had no finite gradient"):
            guard.check({"flow": math.nan}, [parameter])


@pytest.mark.parametrize("place", ["weights", "mark"])
def test_a_full_disk_costs_a_checkpoint_and_not_the_run(tmp_path, monkeypatch, place):
    """The second of three saves fails; the first is kept until the third is whole."""
    full, saves = OSError(errno.ENOSPC, "No space left on device"), []
    places = {"weights": (trainer_module.GRPOTrainer, "_save_checkpoint"), "mark": (failures, "mark_complete")}
    module, name = places[place]
    true = getattr(module, name)

    def sometimes(*arguments):
        saves.append([path.name for path in whole_checkpoints(tmp_path)])
        if len(saves) == 2:
            raise full
        return true(*arguments)

    monkeypatch.setattr(module, name, sometimes)
    with pytest.warns(UserWarning, match=r"checkpoint-4 could not be saved \(OSError: .*No space left"):
        trained(tmp_path, save_every=1)
    assert saves == [[], ["checkpoint-2"], ["checkpoint-2"]]
    assert [path.name for path in whole_checkpoints(tmp_path)] == ["checkpoint-2", "checkpoint-6"]
    assert not (tmp_path / "checkpoint-4").exists()


def test_a_checkpoint_whose_file_is_missing_or_cut_is_passed_over(tmp_path):
    for number in (1, 2, 3):
        folder = tmp_path / f"checkpoint-{number}"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"x" * 100)
        mark_complete(folder, {"iteration": number})
    (tmp_path / "checkpoint-3" / "model.safetensors").write_bytes(b"x" * 40)
    (tmp_path / "checkpoint-2" / "model.safetensors").unlink()
    assert newest_checkpoint(tmp_path).name == "checkpoint-1"


def test_what_failed_to_be_written_is_removed(tmp_path):
    folder = tmp_path / "checkpoint-1"
    folder.mkdir()
    with pytest.warns(UserWarning, match="could not be saved"):
        mark_or_drop(folder, {}, RuntimeError("writer failed"))
    assert not folder.exists()
    folder.mkdir()
    mark_or_drop(folder, {"iteration": 0}, None)
    assert (folder / COMPLETE).is_file()
    shutil.rmtree(folder)
