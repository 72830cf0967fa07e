"""Which weights write and which draw."""

import pytest
import torch
from torch import nn

from editenv.agents.edit_r2.experts import (
    clip_gradients,
    freeze_experts,
    is_generation,
    parameter_groups,
    unread_names,
)
from editenv.agents.unified import ImageBlock, TextBlock
from tests.tiny_editor import tiny_checkpoint


@pytest.fixture
def model() -> nn.Module:
    return tiny_checkpoint().model


def test_text_alone_never_uses_the_generation_expert(model):
    """Found by asking autograd, not by names."""
    ids = torch.arange(5, 10)[None]
    context = [TextBlock(ids)]
    model(text_context=context, intent_ids=ids).logits.sum().backward()
    reached = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert reached == {name for name, _ in model.named_parameters() if not is_generation(name)}


def test_unread_weights_are_those_of_the_text_that_no_picture_reaches(model):
    """Found by asking autograd, with the gradient let through the context."""
    config = model.config
    latents = torch.randn(1, 4, config.latent_channels)
    output = model(
        image_context=[ImageBlock(latents), TextBlock(torch.arange(5, 10)[None])],
        x=latents[:, None] + 1,
        t=torch.full((1, 1), 0.5),
        source=latents if config.source_channel else None,
        context_gradient=True,
    )
    output.velocity.square().sum().backward()
    text = {name: parameter.grad for name, parameter in model.named_parameters() if not is_generation(name)}
    assert unread_names(model) == {name for name, grad in text.items() if grad is None or not grad.any()}
    assert len(unread_names(model)) == 10


def test_text_updates_can_be_kept_to_what_no_picture_reads(model):
    free = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    freeze_experts(model, text=True, flow=True, text_scope="unread")
    still = free - {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert still == {n for n, _ in model.named_parameters() if not is_generation(n)} - unread_names(model)
    with pytest.raises(ValueError, match="text_scope 'unred' is not known, did you mean 'unread'"):
        freeze_experts(model, text=True, flow=True, text_scope="unred")


def test_freezing_stops_one_expert_and_leaves_what_was_frozen(model):
    model.language_model.lm_head.requires_grad_(False)
    freeze_experts(model, text=True, flow=False)
    trains = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trains == {n for n, _ in model.named_parameters() if not is_generation(n)} - {
        "language_model.lm_head.weight"
    }


def test_groups_share_the_trainable_weights_out_by_expert(model):
    freeze_experts(model, text=True, flow=True)
    text, flow = parameter_groups(model, 1e-3, 1e-5, weight_decay=0.1)
    assert (text["name"], text["lr"], flow["name"], flow["lr"]) == ("text", 1e-3, "flow", 1e-5)
    sizes = {True: 0, False: 0}
    for name, parameter in model.named_parameters():
        sizes[is_generation(name)] += parameter.requires_grad
    assert (len(flow["params"]), len(text["params"])) == (sizes[True], sizes[False])


def test_a_frozen_expert_has_no_group(model):
    freeze_experts(model, text=False, flow=True)
    assert [group["name"] for group in parameter_groups(model, 1e-3, 1e-5, 0.0)] == ["flow"]


def test_each_group_is_bounded_by_itself():
    small, large = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    small.grad, large.grad = torch.tensor([0.3, 0.4]), torch.tensor([30.0, 40.0])
    groups = [{"name": "text", "params": [small]}, {"name": "flow", "params": [large]}]
    assert clip_gradients(groups, 1.0) == pytest.approx({"text": 0.5, "flow": 50.0})
    assert small.grad.tolist() == pytest.approx([0.3, 0.4])
    assert large.grad.tolist() == pytest.approx([0.6, 0.8], rel=1e-4)
