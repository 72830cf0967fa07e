"""A config that does not fit together is refused with the name of what is wrong."""

import pytest

from editenv.agents.unified.config import UnifiedConfig


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": 30}, "hidden_size is 30, expected a multiple of 4"),
        ({"num_attention_heads": 5}, "hidden_size is 32, expected a multiple of num_attention_heads = 5"),
        ({"num_key_value_heads": 3}, "num_attention_heads is 4, expected a multiple of num_key_value_heads = 3"),
        ({"num_attention_heads": 32, "num_key_value_heads": 32}, "head_width is 1, expected an even number"),
        ({"latent_channels": 0}, "latent_channels is 0, expected a positive integer"),
        ({"eos_token_id": 40}, "eos_token_id is 40, expected an id below vocab_size 40"),
        ({"eos_token_id": 2}, "special tokens must differ"),
        ({"residual_prediction": True}, "residual_prediction is True, expected False without source_channel"),
        ({"text_key_scale": 0.0}, "text_key_scale is 0.0, expected a positive number"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings is True, expected False: BAGEL has neither"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(sizes, change, message):
    with pytest.raises(ValueError, match=message):
        UnifiedConfig(**{**sizes, **change})


def test_the_options_are_off_unless_asked_for(sizes):
    config = UnifiedConfig(**sizes)
    assert not (config.source_channel or config.residual_prediction or config.adaptive_norm)
    assert UnifiedConfig(**{**sizes, "latent_patch_size": 2}).latent_dim == 4 * 6


def test_the_defaults_are_the_published_large_model():
    config = UnifiedConfig()
    assert (config.latent_dim, config.head_width, config.rope_parameters["rope_theta"]) == (64, 128, 1e6)
