"""Guidance: the formula by hand, the contexts with parts dropped, and images that some rows lack."""

import pytest
import torch
from torch.testing import assert_close

from editenv.agents.unified.context import ImageBlock, TextBlock
from editenv.agents.unified.guidance import (
    Guidance,
    build_guidance_contexts,
    guided_velocity,
    predict_velocity,
    published_guided_velocity,
)

FULL = torch.tensor([[[3.0, 4.0], [0.0, 1.0]]])
TEXT = torch.tensor([[[3.0, 2.0], [0.0, 0.5]]])
IMAGE = torch.tensor([[[0.0, 0.0], [0.0, 2.0]]])


def test_text_channel_limits_each_token_before_the_images_turn():
    """g = text + 3 (full - text) = [3, 8], [0, 2]; norms sqrt(73) and 2 go back to 5 and 1."""
    limited = torch.tensor([[[3.0, 8.0], [0.0, 2.0]]]) * torch.tensor([5 / 73**0.5, 0.5])[None, :, None]
    assert_close(guided_velocity(FULL, TEXT, IMAGE, Guidance(3.0, 2.0)), 2 * limited - IMAGE)


def test_channel_and_global_limit_the_sum():
    """m = image + 2 (g - image) = [6, 16], [0, 2]."""
    m = torch.tensor([[[6.0, 16.0], [0.0, 2.0]]])
    per_token = torch.tensor([5 / 292**0.5, 0.5])[None, :, None]
    assert_close(guided_velocity(FULL, TEXT, IMAGE, Guidance(3.0, 2.0, "channel")), m * per_token)
    assert_close(guided_velocity(FULL, TEXT, IMAGE, Guidance(3.0, 2.0, "global")), m * (26 / 296) ** 0.5)


def test_global_takes_the_norm_of_each_row_alone():
    pair = [torch.cat([part, 3 * part]) for part in (FULL, TEXT, IMAGE)]
    alone = guided_velocity(FULL, TEXT, IMAGE, Guidance(3.0, 2.0, "global"))
    assert_close(guided_velocity(*pair, Guidance(3.0, 2.0, "global")), torch.cat([alone, 3 * alone]))


def test_the_factor_has_a_floor():
    unlimited = torch.tensor([[[3.0, 8.0], [0.0, 2.0]]])
    assert_close(guided_velocity(FULL, TEXT, IMAGE, Guidance(3.0, 1.0, "channel", 1.0)), unlimited)


def test_a_text_scale_of_1_keeps_image_guidance_except_under_the_published_rule():
    image_guided = guided_velocity(FULL, TEXT, IMAGE, Guidance(1.0, 2.0))
    assert_close(image_guided, 2 * FULL - IMAGE)
    assert torch.equal(published_guided_velocity(FULL, TEXT, IMAGE, Guidance(1.0, 2.0)), FULL)
    assert_close(
        published_guided_velocity(FULL, TEXT, IMAGE, Guidance(3.0, 0.5)),
        guided_velocity(FULL, TEXT, IMAGE, Guidance(3.0, 1.0)),
    )


def test_an_unknown_renorm_is_refused():
    with pytest.raises(ValueError, match="renorm is 'token', expected one of text_channel, global, channel"):
        guided_velocity(FULL, TEXT, IMAGE, Guidance(2.0, 2.0, "token"))


CLOSE = {"atol": 2e-5, "rtol": 2e-5}


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tokens(*shape, seed=0):
    return torch.randint(6, 40, shape, generator=torch.Generator().manual_seed(seed))


FIRST, THEN = ImageBlock(draw(2, 4, 6)), ImageBlock(draw(2, 4, 6, seed=1))
SAID, INTENT = TextBlock(tokens(2, 3)), TextBlock(tokens(2, 4, seed=1))
BLOCKS = [FIRST, SAID, THEN, INTENT]


@torch.no_grad()
def test_each_context_is_what_reading_its_blocks_alone_gives(full_model):
    """Text is dropped from the end alone, images everywhere."""
    contexts = build_guidance_contexts(full_model, BLOCKS, 2, Guidance(4.0, 2.0))
    kept = [BLOCKS, [FIRST, SAID, THEN], [SAID, INTENT]]
    x, t, source = draw(2, 4, 6, seed=2), torch.tensor([0.9, 0.3]), THEN.latents
    alone = [full_model.velocity(full_model.build_context(blocks, 2), x, t, source=source) for blocks in kept]
    for context, expected in zip(contexts, alone, strict=True):
        assert_close(full_model.velocity(context, x, t, source=source), expected)
    guided, plain = predict_velocity(full_model, contexts, x, t, None, source, Guidance(4.0, 2.0))
    assert_close(guided, guided_velocity(*alone, Guidance(4.0, 2.0)))
    assert_close(plain, alone[0])
    assert (guided - plain).abs().max() > 1e-3


@torch.no_grad()
def test_a_scale_of_one_needs_no_context_and_changes_nothing(full_model):
    contexts = build_guidance_contexts(full_model, BLOCKS, 2, Guidance())
    assert contexts.text_dropped is None and contexts.image_dropped is None
    x, t, source = draw(2, 4, 6, seed=2), torch.tensor([0.9, 0.3]), THEN.latents
    guided, plain = predict_velocity(full_model, contexts, x, t, None, source, Guidance())
    assert guided is plain
    assert torch.equal(plain, full_model.velocity(full_model.build_context(BLOCKS, 2), x, t, source=source))
    text_alone = build_guidance_contexts(full_model, BLOCKS, 2, Guidance(text=3.0))
    assert text_alone.text_dropped is not None and text_alone.image_dropped is None


@torch.no_grad()
def test_forward_guides_every_step_of_the_window_as_the_sampler_does(full_model):
    guidance, source = Guidance(3.0, 1.5), THEN.latents
    x, t = draw(2, 3, 4, 6, seed=2), torch.tensor([[0.9, 0.6, 0.3], [1.0, 0.5, 0.2]])
    out = full_model(image_context=BLOCKS, x=x, t=t, source=source, guidance=guidance)
    contexts = build_guidance_contexts(full_model, BLOCKS, 2, guidance)
    for step in range(3):
        guided, plain = predict_velocity(full_model, contexts, x[:, step], t[:, step], None, source, guidance)
        assert_close(out.velocity[:, step], guided, **CLOSE)
        assert_close(out.unguided[:, step], plain, **CLOSE)


def test_text_guidance_needs_a_text_to_drop(full_model):
    with pytest.raises(ValueError, match="ends with the text to be dropped"):
        build_guidance_contexts(full_model, [SAID, THEN], 2, Guidance(text=2.0))


@torch.no_grad()
def test_a_row_without_an_image_reads_as_if_it_had_never_been_there(full_model):
    """Rope, attention and what is written after it."""
    there = torch.tensor([True, False])
    mask = torch.tensor([[True] * 3, [False] * 3])
    mixed = [ImageBlock(FIRST.latents, present=there), TextBlock(SAID.ids, mask), THEN]
    x, t = draw(2, 4, 6, seed=2), torch.tensor([0.9, 0.3])
    both = full_model.build_context(mixed, 2)
    hidden = full_model.append_text(both, INTENT.ids)
    velocity = full_model.velocity(both, x, t, source=THEN.latents)
    for row, blocks in ((0, [FIRST, SAID, THEN]), (1, [THEN])):
        only = slice(row, row + 1)
        alone = full_model.build_context([_row(block, only) for block in blocks], 1)
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
