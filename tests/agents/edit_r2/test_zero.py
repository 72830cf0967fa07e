"""Under ZeRO-2: when a gradient is complete, and how a group's norm is bounded that no process has whole."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from editenv.agents.edit_r2 import zero
from editenv.agents.edit_r2.zero import BackwardAlone, clip_pieces, step_apart


class Engine:
    """Notes what it is asked, as DeepSpeed's engine is asked it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, object]] = []
        self.optimizer = SimpleNamespace(clip_grad=1.0)

    def set_gradient_accumulation_boundary(self, is_boundary: bool) -> None:
        self.asked.append(("complete", is_boundary))

    def backward(self, loss: torch.Tensor, **kwargs: object) -> None:
        self.asked.append(("backward", float(loss)))


def test_only_the_last_of_several_losses_completes_a_gradient_and_none_makes_a_step():
    """An engine without `step` would fail where one is made."""
    wrapped = BackwardAlone(Engine())
    with wrapped.more_follows():
        wrapped.backward(torch.tensor(1.0))
    wrapped.backward(torch.tensor(2.0), scale_wrt_gas=False)
    assert wrapped.engine.asked == [
        ("complete", False),
        ("backward", 1.0),
        ("complete", True),
        ("backward", 2.0),
    ]


def test_what_accelerate_made_is_replaced_once_and_its_own_bound_taken_off():
    engine = Engine()
    accelerator = SimpleNamespace(deepspeed_engine_wrapped=SimpleNamespace(engine=engine))
    first = step_apart(accelerator)
    assert step_apart(accelerator) is first is accelerator.deepspeed_engine_wrapped
    assert first.engine is engine and engine.optimizer.clip_grad == 0.0


def optimizer(**pieces: list[torch.Tensor | None]) -> SimpleNamespace:
    groups = [{"name": name, "params": [torch.zeros(2)]} for name in pieces]
    return SimpleNamespace(param_groups=groups, averaged_gradients=dict(enumerate(pieces.values())))


@pytest.fixture
def other_process(monkeypatch):
    """Another process holds the rest of each group: squares that add up to 16."""
    monkeypatch.setattr(zero, "all_reduce", lambda square: square.add_(16.0))


def test_a_group_is_bounded_by_the_norm_of_all_its_pieces(other_process):
    """3 here and 4 there are 5; the other group, with nothing here, has 4, which is below the bound."""
    text = [torch.tensor([1.0, 2.0]), None, torch.tensor([2.0])]
    norms = clip_pieces(optimizer(text=text, flow=[]), 4.5)
    assert norms == {"text": 5.0, "flow": 4.0}
    torch.testing.assert_close(text[0], torch.tensor([0.9, 1.8]))
    torch.testing.assert_close(text[2], torch.tensor([1.8]))


def test_a_gradient_that_is_no_number_is_told_and_left(other_process):
    text = [torch.tensor([float("nan"), 1.0])]
    norms = clip_pieces(optimizer(text=text), 1.0)
    assert norms["text"] != norms["text"] and float(text[0][1]) == 1.0
