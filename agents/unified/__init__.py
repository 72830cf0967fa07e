"""The unified model: BAGEL's architecture at every size, with its tokenizer, autoencoder and parity check.

One network holds two sets of weights that share one attention: one for text and understanding, one for
image generation. It builds a `Context` block by block, generates the intent as text and predicts the velocity
of latents.
"""

from editenv.agents.unified.autoencoder import CellAutoencoder, CellAutoencoderConfig
from editenv.agents.unified.config import UnifiedConfig
from editenv.agents.unified.context import Block, Context, ImageBlock, TextBlock, VitBlock
from editenv.agents.unified.generate import GeneratedText, generate_text, prompt_logits
from editenv.agents.unified.guidance import (
    Guidance,
    GuidanceContexts,
    build_guidance_contexts,
    guided_velocity,
    predict_velocity,
    published_guided_velocity,
)
from editenv.agents.unified.model import UnifiedModel, UnifiedOutput
from editenv.agents.unified.tokenizer import build_tokenizer

__all__ = [
    "Block",
    "CellAutoencoder",
    "CellAutoencoderConfig",
    "Context",
    "GeneratedText",
    "Guidance",
    "GuidanceContexts",
    "ImageBlock",
    "TextBlock",
    "UnifiedConfig",
    "UnifiedModel",
    "UnifiedOutput",
    "VitBlock",
    "build_guidance_contexts",
    "build_tokenizer",
    "generate_text",
    "guided_velocity",
    "predict_velocity",
    "prompt_logits",
    "published_guided_velocity",
]
