"""Steps of a picture copy the context they share once, and differ in no bit from those that copy it anew."""

from __future__ import annotations

import pytest
import torch

from editenv.agents.unified import ImageBlock, TextBlock
from tests.tiny_editor import tiny_checkpoint

ROWS, TOKENS = 3, 16


@pytest.fixture(scope="module")
def model():
    return tiny_checkpoint().model.requires_grad_(True)


def latents(model, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(ROWS, TOKENS, model.config.latent_dim, generator=generator)


def text(length, padded):
    mask = torch.ones(ROWS, length, dtype=torch.bool)
    mask[1, -2:] = not padded
    return TextBlock(torch.arange(ROWS * length).reshape(ROWS, length) % 40 + 5, mask if padded else None)


@pytest.mark.parametrize("padded", [False, True])
def test_steps_are_the_same_with_and_without_room(model, padded):
    """Fails where one context's room serves another, or a step reads what one before it left."""
    source, t = latents(model, 0), torch.full((ROWS,), 0.5)
    context = model.read([ImageBlock(source), text(6, padded)], ROWS)
    copies = [context, context.copy(), context.select(torch.tensor([2, 0, 1])), context.repeat(1)]
    for number, grown in enumerate((False, False, True, False)):
        for place, one in enumerate(copies):
            if grown:
                with torch.no_grad():
                    model.append(one, text(4, padded))
            x = latents(model, 10 * number + place)
            # With gradient the context is copied at each step, as it was before there was room.
            true = model.velocity(one, x, t, source=source).detach()
            for _ in range(2):
                with torch.no_grad():
                    assert torch.equal(model.velocity(one, x, t, source=source), true)
    assert all(one.room for one in copies)


def test_a_copy_and_a_grown_context_start_without_room(model):
    source, t = latents(model, 0), torch.full((ROWS,), 0.5)
    with torch.no_grad():
        context = model.read([ImageBlock(source)], ROWS)
        model.velocity(context, latents(model, 1), t, source=source)
        assert len(context.room) == model.config.num_hidden_layers
        assert not context.copy().room
        model.append(context, text(3, False))
        assert not context.room
