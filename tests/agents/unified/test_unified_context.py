"""A context can be copied, picked apart and repeated, and its copies do not disturb it."""

import torch
from torch.testing import assert_close

from editenv.agents.unified import ImageBlock, TextBlock


def filled(model, batch=3):
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(6, 40, (batch, 4), generator=generator)
    mask = torch.arange(4) >= torch.arange(batch)[:, None]
    latents = torch.randn(batch, 4, 6, generator=generator)
    return model.read([ImageBlock(latents), TextBlock(ids, mask)], batch)


@torch.no_grad()
def test_growing_a_copy_leaves_the_original(model):
    context = filled(model)
    keys, position = context.cache.layers[1].keys.clone(), context.position.clone()
    twin = context.copy()
    model.append_text(twin, torch.full((3, 2), 7))
    assert (context.length, twin.length) == (10, 12)
    assert torch.equal(context.cache.layers[1].keys, keys) and torch.equal(context.position, position)
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


def test_detaching_cuts_the_gradient_and_keeps_the_values(model):
    context = filled(model)
    detached = context.detach()
    assert context.cache.layers[0].keys.requires_grad
    assert not detached.cache.layers[0].keys.requires_grad
    assert torch.equal(detached.cache.layers[0].keys, context.cache.layers[0].keys)


def test_an_unpadded_context_knows_it(model):
    context = model.read([TextBlock(torch.full((2, 3), 7))], 2)
    assert not context.padded and context.valid.all()
    assert filled(model).padded
