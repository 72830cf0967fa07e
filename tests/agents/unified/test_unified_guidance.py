"""Guidance by hand: two scales that do not disturb each other, and the published rule where they do."""

import pytest
import torch
from torch.testing import assert_close

from editenv.agents.unified.guidance import guided_velocity, published_guided_velocity

FULL = torch.tensor([[[3.0, 4.0], [0.0, 1.0]]])
TEXT = torch.tensor([[[3.0, 2.0], [0.0, 0.5]]])
IMAGE = torch.tensor([[[0.0, 0.0], [0.0, 2.0]]])


def test_text_channel_limits_each_token_before_the_images_turn():
    """g = text + 3 (full - text) = [3, 8], [0, 2]; norms sqrt(73) and 2 go back to 5 and 1."""
    limited = torch.tensor([[[3.0, 8.0], [0.0, 2.0]]]) * torch.tensor([5 / 73**0.5, 0.5])[None, :, None]
    assert_close(guided_velocity(FULL, TEXT, IMAGE, 3.0, 2.0), 2 * limited - IMAGE)


def test_channel_and_global_limit_the_sum():
    """m = image + 2 (g - image) = [6, 16], [0, 2]."""
    m = torch.tensor([[[6.0, 16.0], [0.0, 2.0]]])
    per_token = torch.tensor([5 / 292**0.5, 0.5])[None, :, None]
    assert_close(guided_velocity(FULL, TEXT, IMAGE, 3.0, 2.0, "channel"), m * per_token)
    assert_close(guided_velocity(FULL, TEXT, IMAGE, 3.0, 2.0, "global"), m * (26 / 296) ** 0.5)


def test_global_takes_the_norm_of_each_row_alone():
    pair = [torch.cat([part, 3 * part]) for part in (FULL, TEXT, IMAGE)]
    alone = guided_velocity(FULL, TEXT, IMAGE, 3.0, 2.0, "global")
    assert_close(guided_velocity(*pair, 3.0, 2.0, "global"), torch.cat([alone, 3 * alone]))


def test_the_factor_has_a_floor():
    unlimited = torch.tensor([[[3.0, 8.0], [0.0, 2.0]]])
    assert_close(guided_velocity(FULL, TEXT, IMAGE, 3.0, 1.0, "channel", 1.0), unlimited)


def test_a_text_scale_of_1_keeps_image_guidance_except_under_the_published_rule():
    image_guided = guided_velocity(FULL, TEXT, IMAGE, 1.0, 2.0)
    assert_close(image_guided, 2 * FULL - IMAGE)
    assert torch.equal(published_guided_velocity(FULL, TEXT, IMAGE, 1.0, 2.0), FULL)
    assert_close(
        published_guided_velocity(FULL, TEXT, IMAGE, 3.0, 0.5), guided_velocity(FULL, TEXT, IMAGE, 3.0, 1.0)
    )


def test_an_unknown_renorm_is_refused():
    with pytest.raises(ValueError, match="renorm is 'token', expected one of text_channel, global, channel"):
        guided_velocity(FULL, TEXT, IMAGE, 2.0, 2.0, "token")
