"""A context can be copied, selected and repeated; its copies do not disturb it; its buffers change no bit."""

import pytest
import torch
from torch.testing import assert_close

from editenv.agents.unified.context import ImageBlock, TextBlock
from tests.tiny_editor import tiny_policy

ROWS, TOKENS = 3, 16


def filled(model, batch=3):
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(6, 40, (batch, 4), generator=generator)
    mask = torch.arange(4) >= torch.arange(batch)[:, None]
    latents = torch.randn(batch, 4, 6, generator=generator)
    return model.build_context([ImageBlock(latents), TextBlock(ids, mask)], batch)


@torch.no_grad()
def test_growing_a_copy_leaves_the_original(model):
    context = filled(model)
    keys, position = context.layers[1][0].clone(), context.position.clone()
    twin = context.copy()
    model.append_text(twin, torch.full((3, 2), 7))
    assert (context.length, twin.length) == (10, 12)
    assert torch.equal(context.layers[1][0], keys) and torch.equal(context.position, position)
    assert twin.position.tolist() == [7, 6, 5]


@torch.no_grad()
def test_selected_and_repeated_rows_behave_as_the_rows_they_came_from(model):
    context, x = filled(model), torch.randn(3, 4, 6)
    t = torch.tensor([0.2, 0.5, 0.8])
    whole = model.velocity(context, x, t)
    rows = torch.tensor([2, 0, 2])
    assert_close(model.velocity(context.select(rows), x[rows], t[rows]), whole[rows])
    repeated = model.velocity(context.repeat(2), x.repeat_interleave(2, 0), t.repeat_interleave(2))
    assert_close(repeated, whole.repeat_interleave(2, 0))


def test_an_unpadded_context_knows_it(model):
    context = model.build_context([TextBlock(torch.full((2, 3), 7))], 2)
    assert not context.padded and context.valid.all()
    assert filled(model).padded


@pytest.fixture(scope="module")
def tiny():
    return tiny_policy().model.requires_grad_(True)


def latents(tiny, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(ROWS, TOKENS, tiny.config.latent_dim, generator=generator)


def text(length, padded):
    mask = torch.ones(ROWS, length, dtype=torch.bool)
    mask[1, -2:] = not padded
    return TextBlock(torch.arange(ROWS * length).reshape(ROWS, length) % 40 + 5, mask if padded else None)


@pytest.mark.parametrize("padded", [False, True])
def test_steps_are_the_same_with_and_without_buffers(tiny, padded):
    """Fails where one context's buffer serves another, or a step reads what one before it left."""
    source, t = latents(tiny, 0), torch.full((ROWS,), 0.5)
    context = tiny.build_context([ImageBlock(source), text(6, padded)], ROWS)
    copies = [context, context.copy(), context.select(torch.tensor([2, 0, 1])), context.repeat(1)]
    for number, grown in enumerate((False, False, True, False)):
        for place, one in enumerate(copies):
            if grown:
                with torch.no_grad():
                    tiny.append(one, text(4, padded))
            x = latents(tiny, 10 * number + place)
            # With gradient the context is copied at each step, as it was before there were buffers.
            true = tiny.velocity(one, x, t, source=source).detach()
            for _ in range(2):
                with torch.no_grad():
                    assert torch.equal(tiny.velocity(one, x, t, source=source), true)
    assert all(one.buffers for one in copies)


def test_a_copy_and_a_grown_context_start_without_buffers(tiny):
    source, t = latents(tiny, 0), torch.full((ROWS,), 0.5)
    with torch.no_grad():
        context = tiny.build_context([ImageBlock(source)], ROWS)
        tiny.velocity(context, latents(tiny, 1), t, source=source)
        assert len(context.buffers) == tiny.config.num_hidden_layers
        assert not context.copy().buffers
        tiny.append(context, text(3, False))
        assert not context.buffers
