"""The unified model: BAGEL's architecture at every size, with its tokenizer, autoencoder and parity check.

One network holds two sets of weights that share one attention: one for text and understanding, one for
image generation. It reads a `Context` block by block, writes the intent as text and predicts the velocity of
latents.
"""

from editenv.agents.unified.autoencoder import CellAutoencoder, CellAutoencoderConfig
from editenv.agents.unified.blocks import Block, ImageBlock, TextBlock, VitBlock
from editenv.agents.unified.config import UnifiedConfig
from editenv.agents.unified.context import Context
from editenv.agents.unified.generate import Written, prompt_logits, write_text
from editenv.agents.unified.guidance import Guidance, guided_velocity, published_guided_velocity
from editenv.agents.unified.model import UnifiedModel, UnifiedOutput
from editenv.agents.unified.tokenizer import build_tokenizer
from editenv.agents.unified.views import Views, read_views, views_velocity

__all__ = [
    "Block",
    "CellAutoencoder",
    "CellAutoencoderConfig",
    "Context",
    "Guidance",
    "ImageBlock",
    "TextBlock",
    "UnifiedConfig",
    "UnifiedModel",
    "UnifiedOutput",
    "Views",
    "VitBlock",
    "Written",
    "build_tokenizer",
    "guided_velocity",
    "prompt_logits",
    "published_guided_velocity",
    "read_views",
    "views_velocity",
    "write_text",
]
