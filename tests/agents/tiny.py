"""An editing model with random weights, small enough to play sessions in milliseconds."""

from __future__ import annotations

import torch

from editenv.agents.editor.checkpoint import Checkpoint
from editenv.agents.unified import UnifiedConfig, UnifiedModel
from editenv.agents.unified.autoencoder import CellAutoencoder, CellAutoencoderConfig
from editenv.agents.unified.tokenizer import SPECIAL_TOKENS, build_tokenizer
from editenv.worlds.studio.language import vocabulary


def tiny_checkpoint() -> Checkpoint:
    """The same weights at every call; knows the studio's words and pictures of 16 pixels a cell."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = build_tokenizer(vocabulary())
    names = {"pad_token_id": "<pad>", "bos_token_id": "<bos>", "eos_token_id": "<eos>"}
    names |= {"start_of_image_id": "<soi>", "end_of_image_id": "<eoi>"}
    config = UnifiedConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        rope_theta=10_000.0,
        latent_patch_size=1,
        latent_channels=6,
        max_latent_size=4,
        source_channel=True,
        residual_prediction=True,
        adaptive_norm=True,
        **{key: SPECIAL_TOKENS.index(token) for key, token in names.items()},
    )
    model = UnifiedModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "pos_embed" not in name and "norm.weight" not in name:
                parameter.normal_(0, 0.2)
    coder = CellAutoencoder(CellAutoencoderConfig(stride=16, code_channels=6, width=16))
    return Checkpoint(model, coder.eval().requires_grad_(False), tokenizer, "tiny")
