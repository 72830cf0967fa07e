"""Small models with weights large enough that every part of them shows in the results."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from editenv.agents.unified.config import UnifiedConfig
from editenv.agents.unified.model import UnifiedModel

SIZES = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rope_theta": 10000.0,
    "latent_patch_size": 1,
    "latent_channels": 6,
    "max_latent_size": 8,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "start_of_image_id": 4,
    "end_of_image_id": 5,
}
OPTIONS = {"source_channel": True, "residual_prediction": True, "adaptive_norm": True}


@pytest.fixture
def sizes() -> dict:
    return dict(SIZES)


@pytest.fixture
def build() -> Callable[..., UnifiedModel]:
    """Builds a model in which no weight is zero; keywords go to the config."""

    def make(**options: bool) -> UnifiedModel:
        torch.set_num_threads(1)
        generator = torch.Generator().manual_seed(0)
        model = UnifiedModel(UnifiedConfig(**SIZES, **options)).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "pos_embed" not in name and "norm.weight" not in name:
                    parameter.normal_(0, 0.2, generator=generator)
        return model

    return make


@pytest.fixture
def model(build) -> UnifiedModel:
    return build()


@pytest.fixture
def full_model(build) -> UnifiedModel:
    """With all three options."""
    return build(**OPTIONS)


@pytest.fixture
def fixture_path() -> Path:
    return Path(__file__).parents[2] / "data" / "bagel_tiny.safetensors"
