"""An update in pieces is the update in one."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch

from editenv.agents import trainer as training
from editenv.agents.edit_r2 import Policies, collect_rollout, policy_gradient
from editenv.agents.trainer import EditR2Trainer, accumulate_gradients, merge_metrics, micro_batches
from editenv.settings import check_settings
from tests.tiny_editor import TINY, brightness_envs, played, tensors_of, tiny_policy, tiny_settings

LATE = replace(TINY, intent_from_turn=2, text_kl=0.3, flow_kl=0.2, text_weight=0.7)


@pytest.fixture(scope="module")
def checkpoint():
    return tiny_policy()


@pytest.fixture(scope="module")
def sessions(checkpoint):
    """Six sessions of three turns: some filtered, one unscored, one whole session that teaches nothing."""
    batch = tensors_of(played(checkpoint, LATE))
    keep = torch.ones(6, 3).bool()
    keep[0, 2] = keep[2, 1] = keep[2, 2] = False
    keep[4] = False
    batch["scored_mask"][5, 0] = False
    advantage = torch.linspace(-2, 2, 18).reshape(6, 3)
    return batch | {"loss_mask": keep, "advantage": advantage}


def gradients(checkpoint, sessions, most):
    """Gradients of one update in chunks, and its loss."""
    model, other = checkpoint.requires_grad_(True), tiny_policy(1).requires_grad_(False)
    model.zero_grad()
    policies = Policies(model, model, lambda: nullcontext(other))
    loss, numbers = accumulate_gradients(
        micro_batches(sessions, most),
        lambda piece, leading: policy_gradient(policies, piece, LATE, False),
        torch.Tensor.backward,
    )
    loss.backward()
    found = {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
    return found, float(loss.detach()), numbers


@pytest.mark.parametrize("most", [1, 2, 4])
def test_gradients_of_both_spaces_add_up_to_those_of_the_whole(checkpoint, sessions, most):
    """Fails where a chunk weighs by its own turns, tokens or sessions instead of by the minibatch's.

    In turns of the first kind no intent is written, and rows are filtered unevenly over the chunks.
    """
    whole, loss, _ = gradients(checkpoint, sessions, None)
    parts, same, _ = gradients(checkpoint, sessions, most)
    assert same == pytest.approx(loss, abs=1e-6) and abs(loss) > 1e-2
    assert parts.keys() == whole.keys()
    largest = max(float(value.abs().max()) for value in whole.values())
    assert largest > 1e-2
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, atol=1e-6 * max(1.0, largest), rtol=0, msg=name)


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


def first_gradients(folder, **changes):
    settings = tiny_settings(folder, updates_per_iteration=1, **changes)
    trainer = Halted(tiny_policy(), brightness_envs(6), settings)
    trainer.train()
    return trainer.gradients


@pytest.mark.parametrize(
    "changes", [{"text_kl": 0.1}, {"recompute": True, "text_clip": 1e-5, "flow_clip": 1e-5}, {"objective": "nft"}]
)
def test_a_trainer_with_little_memory_makes_the_same_first_step(tmp_path, changes):
    """With tight clips too: the old log-probs are worked out in the chunks that the update has."""
    whole = first_gradients(tmp_path / "whole", **changes)
    small = first_gradients(tmp_path / "small", chunk_sessions=4, gradient_checkpointing=True, **changes)
    assert whole.keys() == small.keys()
    for name, value in whole.items():
        torch.testing.assert_close(small[name], value, atol=1e-5, rtol=1e-4, msg=name)


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
