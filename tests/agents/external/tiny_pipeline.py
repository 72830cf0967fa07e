"""Editing pipelines of diffusers' own classes with random weights, as folders that are loaded like published ones."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    FluxKontextPipeline,
    FluxTransformer2DModel,
)  # fmt: skip
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)  # fmt: skip

TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
KLEIN = {"num_inference_steps": 2, "max_sequence_length": 32, "text_encoder_out_layers": [1]}
KONTEXT = {
    "num_inference_steps": 2,
    "max_sequence_length": 32,
    "height": 32,
    "width": 32,
    "max_area": 1024,
    "_auto_resize": False,
}
"""Arguments that such small pipelines need; Kontext would by itself enlarge all pictures to a million pixels."""


def tokenizer() -> Qwen2Tokenizer:
    """A token a byte."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {token: number for number, token in enumerate([*special, *sorted(ByteLevel.alphabet())])}
    made = Qwen2Tokenizer(vocab=vocabulary, merges=[])
    made.chat_template = TEMPLATE
    return made


def flux2_klein(folder: Path) -> Path:
    """A Flux2KleinPipeline; pictures' sides are multiples of 2."""
    torch.manual_seed(0)
    words = Qwen3Config(
        intermediate_size=16, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        vocab_size=300, max_position_embeddings=64,
    )  # fmt: skip
    transformer = Flux2Transformer2DModel(
        patch_size=1, in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=16, axes_dims_rope=[4, 4, 4, 4], guidance_embeds=False,
    )  # fmt: skip
    vae = AutoencoderKLFlux2(
        sample_size=32, down_block_types=("DownEncoderBlock2D",), up_block_types=("UpDecoderBlock2D",),
        block_out_channels=(4,), layers_per_block=1, latent_channels=1, norm_num_groups=1, use_quant_conv=False,
        use_post_quant_conv=False,
    )  # fmt: skip
    Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(), vae=vae, text_encoder=Qwen3ForCausalLM(words),
        tokenizer=tokenizer(), transformer=transformer,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def flux_kontext(folder: Path) -> Path:
    """A FluxKontextPipeline, whose edits take one picture."""
    torch.manual_seed(0)
    letters = sorted(ByteLevel.alphabet())
    clip = {token: number for number, token in enumerate(["<|startoftext|>", "<|endoftext|>", *letters])}
    clip |= {f"{letter}</w>": len(clip) + number for number, letter in enumerate(letters)}
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -1.0), *[(letter, -2.0) for letter in letters]]
    words = CLIPTextConfig(
        bos_token_id=0, eos_token_id=1, pad_token_id=1, hidden_size=32, intermediate_size=37, num_attention_heads=4,
        num_hidden_layers=1, vocab_size=len(clip), projection_dim=32,
    )  # fmt: skip
    more = T5Config(vocab_size=len(pieces), d_model=32, d_ff=37, d_kv=8, num_layers=1, num_heads=4)
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=[4, 4, 8],
    )  # fmt: skip
    vae = AutoencoderKL(
        sample_size=32, block_out_channels=(4,), layers_per_block=1, latent_channels=1, norm_num_groups=1,
        use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.0609, scaling_factor=1.5035,
    )  # fmt: skip
    FluxKontextPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(), vae=vae, text_encoder=CLIPTextModel(words),
        text_encoder_2=T5EncoderModel(more), tokenizer=CLIPTokenizer(vocab=clip, merges=[], model_max_length=77),
        tokenizer_2=T5Tokenizer(vocab=pieces, extra_ids=0), transformer=transformer,
    ).save_pretrained(folder)  # fmt: skip
    return folder
