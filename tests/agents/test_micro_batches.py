"""An update in pieces is the update in one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from editenv.agents import trainer as training
from editenv.agents.edit_r2 import collect_rollout
from editenv.agents.trainer import EditR2Trainer, merge_metrics, micro_batches
from editenv.settings import check_settings
from tests.tiny_editor import TINY, BrightnessScorer, brightness_envs, tiny_policy, tiny_settings


def test_chunks_are_even_views_of_at_most_so_many_rows():
    sessions = {"a": torch.arange(7), "b": torch.zeros(7, 2)}
    pieces = micro_batches(sessions, 3)
    assert [len(piece["a"]) for piece in pieces] == [3, 2, 2]
    pieces[1]["a"][0] = 100
    assert sessions["a"].tolist() == [0, 1, 2, 100, 4, 5, 6]
    assert len(micro_batches(sessions, None)) == len(micro_batches(sessions, 7)) == 1


def test_numbers_of_pieces_are_means_by_share_and_errors_are_maxima():
    told = [(0.75, {"loss": 1.0, "ratio_error": 0.1}), (0.25, {"loss": 3.0, "ratio_error": 0.4, "kl": 5.0})]
    assert merge_metrics(told) == pytest.approx({"loss": 1.5, "ratio_error": 0.4, "kl": 5.0})


class Halted(EditR2Trainer):
    """Keeps the gradients of its first update."""

    def _clip_grad_norm(self, model: Any) -> torch.Tensor:
        if not hasattr(self, "gradients"):
            named = self.model.named_parameters()
            self.gradients = {name: p.grad.clone() for name, p in named if p.grad is not None}
        return super()._clip_grad_norm(model)


def first_gradients(folder, scorer=None, **changes):
    settings = tiny_settings(folder, updates_per_iteration=1, **changes)
    trainer = Halted(tiny_policy(), brightness_envs(6, scorer), settings)
    trainer.train()
    (log,) = [log for log in trainer.state.log_history if "text_loss" in log]
    return trainer.gradients, log


@pytest.mark.parametrize(
    "changes", [{"recompute": True, "text_clip": 1e-5, "flow_clip": 1e-5}, {"objective": "nft"}], ids=["tight", "nft"]
)
def test_a_trainer_with_little_memory_makes_the_same_first_step(tmp_path, changes):
    """With tight clips too: the old log-probs are worked out in the chunks that the update has."""
    whole, _ = first_gradients(tmp_path / "whole", **changes)
    small, _ = first_gradients(tmp_path / "small", chunk_sessions=4, gradient_checkpointing=True, **changes)
    assert whole.keys() == small.keys()
    for name, value in whole.items():
        torch.testing.assert_close(small[name], value, atol=1e-5, rtol=1e-4, msg=name)


def test_gradients_of_both_spaces_add_up_to_those_of_the_whole(tmp_path):
    """Fails where a chunk weighs by its own turns, tokens or sessions instead of by the minibatch's.

    In first turns no intent is written, some turns are filtered, and one session is unscored in its last turn:
    chunks of one, two and four sessions hold them unevenly.
    """

    def gradients(most):
        scorer = BrightnessScorer(fails=[(1, 2)])
        late = {"intent_from_turn": 2, "text_kl": 0.3, "flow_kl": 0.2, "text_weight": 0.7}
        return first_gradients(tmp_path / str(most), scorer, chunk_sessions=most, **late)

    whole, log = gradients(None)
    largest = max(float(value.abs().max()) for value in whole.values())
    assert largest > 1e-3 and log["unscored_share"] > 0 and log["filtered_share"] > 0
    for most in (1, 2, 4):
        parts, other = gradients(most)
        assert parts.keys() == whole.keys()
        assert other["loss"] == pytest.approx(log["loss"], abs=1e-4)
        for name, value in whole.items():
            torch.testing.assert_close(parts[name], value, atol=1e-6 * max(1.0, largest), rtol=1e-4, msg=name)


@pytest.mark.parametrize("row", [0, 5])
@pytest.mark.parametrize("objective", ["policy", "nft"])
def test_a_wrong_ratio_in_any_chunk_stops_the_run(tmp_path, monkeypatch, objective, row):
    """Fails where the first of six chunks alone is looked at."""

    def stale(*args, **kwargs):
        found = collect_rollout(*args, **kwargs)
        found.turns["text_log_prob"][row] += 0.03 * found.turns["intent_mask"][row]
        return found

    monkeypatch.setattr(training, "collect_rollout", stale)
    settings = tiny_settings(tmp_path, updates_per_iteration=1, chunk_sessions=1, filter="none", objective=objective)
    with pytest.raises(RuntimeError, match=r"the text ratio [a-z ]*differs from 1"):
        EditR2Trainer(tiny_policy(), brightness_envs(6), settings).train()


def test_a_chunk_has_to_hold_something():
    with pytest.raises(ValueError, match="chunk_sessions is 0, expected 1 or more"):
        check_settings(replace(TINY, chunk_sessions=0))
