"""Contexts with parts dropped, images that some rows lack, and the guided velocity that comes of them."""

import pytest
import torch
from torch.testing import assert_close

from editenv.agents.unified import (
    Guidance,
    ImageBlock,
    TextBlock,
    guided_velocity,
    read_views,
    views_velocity,
)

CLOSE = {"atol": 2e-5, "rtol": 2e-5}


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tokens(*shape, seed=0):
    return torch.randint(6, 40, shape, generator=torch.Generator().manual_seed(seed))


FIRST, THEN = ImageBlock(draw(2, 4, 6)), ImageBlock(draw(2, 4, 6, seed=1))
SAID, INTENT = TextBlock(tokens(2, 3)), TextBlock(tokens(2, 4, seed=1))
BLOCKS = [FIRST, SAID, THEN, INTENT]


@torch.no_grad()
def test_each_view_is_what_reading_its_blocks_alone_gives(full_model):
    """Text is dropped from the end alone, images everywhere."""
    views = read_views(full_model, BLOCKS, 2, Guidance(4.0, 2.0))
    kept = [BLOCKS, [FIRST, SAID, THEN], [SAID, INTENT]]
    x, t, source = draw(2, 4, 6, seed=2), torch.tensor([0.9, 0.3]), THEN.latents
    alone = [full_model.velocity(full_model.read(blocks, 2), x, t, source=source) for blocks in kept]
    for view, expected in zip(views, alone, strict=True):
        assert_close(full_model.velocity(view, x, t, source=source), expected)
    guided, plain = views_velocity(full_model, views, x, t, None, source, Guidance(4.0, 2.0))
    assert_close(guided, guided_velocity(*alone, 4.0, 2.0))
    assert_close(plain, alone[0])
    assert (guided - plain).abs().max() > 1e-3


@torch.no_grad()
def test_a_scale_of_one_needs_no_view_and_changes_nothing(full_model):
    views = read_views(full_model, BLOCKS, 2, Guidance())
    assert views.text_dropped is None and views.image_dropped is None
    x, t, source = draw(2, 4, 6, seed=2), torch.tensor([0.9, 0.3]), THEN.latents
    guided, plain = views_velocity(full_model, views, x, t, None, source, Guidance())
    assert guided is plain
    assert torch.equal(plain, full_model.velocity(full_model.read(BLOCKS, 2), x, t, source=source))
    text_alone = read_views(full_model, BLOCKS, 2, Guidance(text=3.0))
    assert text_alone.text_dropped is not None and text_alone.image_dropped is None


@torch.no_grad()
def test_forward_guides_every_step_of_the_window_as_the_sampler_does(full_model):
    guidance, source = Guidance(3.0, 1.5), THEN.latents
    x, t = draw(2, 3, 4, 6, seed=2), torch.tensor([[0.9, 0.6, 0.3], [1.0, 0.5, 0.2]])
    out = full_model(image_context=BLOCKS, x=x, t=t, source=source, guidance=guidance)
    views = read_views(full_model, BLOCKS, 2, guidance)
    for step in range(3):
        guided, plain = views_velocity(full_model, views, x[:, step], t[:, step], None, source, guidance)
        assert_close(out.velocity[:, step], guided, **CLOSE)
        assert_close(out.unguided[:, step], plain, **CLOSE)


def test_text_guidance_needs_a_text_to_drop(full_model):
    with pytest.raises(ValueError, match="ends with the text to be dropped"):
        read_views(full_model, [SAID, THEN], 2, Guidance(text=2.0))


@torch.no_grad()
def test_a_row_without_an_image_reads_as_if_it_had_never_been_there(full_model):
    """Rope, attention and what is written after it."""
    there = torch.tensor([True, False])
    mask = torch.tensor([[True] * 3, [False] * 3])
    mixed = [ImageBlock(FIRST.latents, present=there), TextBlock(SAID.ids, mask), THEN]
    x, t = draw(2, 4, 6, seed=2), torch.tensor([0.9, 0.3])
    both = full_model.read(mixed, 2)
    hidden = full_model.append_text(both, INTENT.ids)
    velocity = full_model.velocity(both, x, t, source=THEN.latents)
    for row, blocks in ((0, [FIRST, SAID, THEN]), (1, [THEN])):
        only = slice(row, row + 1)
        alone = full_model.read([_row(block, only) for block in blocks], 1)
        assert_close(hidden[only], full_model.append_text(alone, INTENT.ids[only]), **CLOSE)
        assert both.position[row] == alone.position[0]
        own = full_model.velocity(alone, x[only], t[only], source=THEN.latents[only])
        assert_close(velocity[only], own, **CLOSE)


def test_the_context_of_an_intent_carries_gradient_only_when_asked(full_model):
    """What comes before the last text; that text itself always does."""
    for wanted in (True, False):
        latents = FIRST.latents.clone().requires_grad_()
        blocks = [ImageBlock(latents), SAID]
        out = full_model(blocks, INTENT.ids, context_gradient=wanted)
        out.logits.square().sum().backward()
        assert (latents.grad is not None) == wanted


def _row(block, only):
    return TextBlock(block.ids[only]) if isinstance(block, TextBlock) else ImageBlock(block.latents[only])
