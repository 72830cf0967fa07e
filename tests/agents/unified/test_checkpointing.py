"""Gradient checkpointing: the same gradients from fewer activations."""

from __future__ import annotations

import pytest
import torch

from editenv.agents.unified import layers
from editenv.agents.unified.context import ImageBlock, TextBlock
from editenv.agents.unified.guidance import Guidance
from tests.tiny_editor import tiny_policy

ROWS, TOKENS = 3, 16


@pytest.fixture(scope="module")
def model():
    return tiny_policy().model.requires_grad_(True)


@pytest.fixture(scope="module")
def asked(model):
    """Both halves, with padding, a past, guidance and two times a row."""
    generator = torch.Generator().manual_seed(0)
    channels = model.config.latent_dim

    def latents(*shape):
        return torch.randn(*shape, generator=generator)

    def text(length):
        mask = torch.ones(ROWS, length, dtype=torch.bool)
        mask[1, -2:] = False
        return TextBlock(torch.randint(5, 50, (ROWS, length), generator=generator), mask)

    past = [ImageBlock(latents(ROWS, TOKENS, channels)), text(5)]
    source = latents(ROWS, TOKENS, channels)
    return {
        "text_context": [*past, text(6)],
        "intent_ids": torch.randint(5, 50, (ROWS, 7), generator=generator),
        "image_context": [*past, ImageBlock(source), text(4)],
        "x": latents(ROWS, 2, TOKENS, channels),
        "t": torch.rand(ROWS, 2, generator=generator),
        "source": source,
    }


def run(model, asked, checkpointing, **changes):
    """Gradients by name, and the bytes that were kept on the way to them."""
    model.language_model.model.gradient_checkpointing = checkpointing
    model.zero_grad()
    kept: dict[int, int] = {}

    def note(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    true = layers.run_checkpointed

    def noting(layer, hidden, *rest):
        for tensor in hidden:
            if tensor is not None:
                note(tensor)
        return true(layer, hidden, *rest)

    layers.run_checkpointed = noting
    try:
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            output = model(**asked, **changes)
            loss = output.logits.square().mean() + (output.velocity * asked["x"]).sum()
        size = sum(kept.values())
        loss.backward()
    finally:
        layers.run_checkpointed = true
        model.language_model.model.gradient_checkpointing = False
    named = model.named_parameters()
    return {name: value.grad.clone() for name, value in named if value.grad is not None}, size


@pytest.mark.parametrize("context_gradient", [False, True])
@pytest.mark.parametrize("guidance", [Guidance(), Guidance(4.0, 2.0)])
def test_gradients_are_the_same(model, asked, context_gradient, guidance):
    """Fails where a layer that runs again finds another context than the first time, or stores it twice."""
    settings = {"context_gradient": context_gradient, "guidance": guidance}
    plain, _ = run(model, asked, False, **settings)
    again, _ = run(model, asked, True, **settings)
    assert plain.keys() == again.keys()
    largest = max(float(value.abs().max()) for value in plain.values())
    for name, value in plain.items():
        torch.testing.assert_close(again[name] / largest, value / largest, atol=1e-6, rtol=0, msg=name)


@pytest.mark.parametrize("context_gradient", [False, True])
def test_less_is_kept_for_the_way_back(model, asked, context_gradient):
    """What goes into each layer is counted as kept; weights are kept in any case and count on both sides."""
    _, plain = run(model, asked, False, context_gradient=context_gradient)
    _, again = run(model, asked, True, context_gradient=context_gradient)
    assert again < 0.6 * plain


def test_transformers_switch_reaches_the_stack(model):
    model.activation_checkpointing_enable()
    assert model.language_model.model.gradient_checkpointing
    model.language_model.model.gradient_checkpointing = False


def test_nothing_is_checkpointed_without_gradient(model, asked, monkeypatch):
    monkeypatch.setattr(layers, "run_checkpointed", lambda *_: pytest.fail("a layer was checkpointed"))
    model.language_model.model.gradient_checkpointing = True
    with torch.no_grad():
        model(**asked)
    model.language_model.model.gradient_checkpointing = False
