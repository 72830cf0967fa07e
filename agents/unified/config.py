"""The configuration of the unified model: Qwen2's fields and those that BAGEL adds."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from transformers import Qwen2Config

_SIZES = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "latent_patch_size", "latent_channels", "max_latent_size",
)  # fmt: skip
_SPECIAL = ("pad_token_id", "bos_token_id", "eos_token_id", "start_of_image_id", "end_of_image_id")


class UnifiedConfig(Qwen2Config):
    """Sizes, special tokens and options of a `UnifiedModel`; the defaults are BAGEL-7B-MoT's.

    Beside Qwen2's fields (`vocab_size`, `hidden_size`, `rope_theta` and so on) it has:

    Attributes:
        latent_patch_size: side p of the square of autoencoder latents that makes one token.
        latent_channels: channels z of the autoencoder's latent; a token has p * p * z dimensions.
        max_latent_size: side of the table of positions, the largest grid of tokens.
        start_of_image_id, end_of_image_id: tokens that open and close an image block.
        text_key_scale: factor on the keys of text tokens while denoising (1 is off).
        source_channel: the clean latent of the current picture is added to the noisy token's input
            through a projection of its own, which equals concatenating it.
        residual_prediction: the network predicts r with image = source + r, so that
            velocity = (x - source - r) / t. Needs `source_channel`.
        adaptive_norm: the generation norms are scaled and shifted by functions of the time.
        vision: sizes of the vision encoder, as `vision.SIZES` names them; None for a model without.

    Raises:
        ValueError: for sizes that do not fit together, a special token outside of the vocabulary or
            `residual_prediction` without `source_channel`.
    """

    model_type = "editenv_unified"
    base_model_tp_plan = None
    base_model_pp_plan = None

    vocab_size: int = 152064
    hidden_size: int = 3584
    intermediate_size: int = 18944
    num_hidden_layers: int = 28
    num_attention_heads: int = 28
    num_key_value_heads: int | None = 4
    default_theta = 1_000_000.0
    latent_patch_size: int = 2
    latent_channels: int = 16
    max_latent_size: int = 64
    pad_token_id: int | None = 151643
    bos_token_id: int | None = 151644
    eos_token_id: int | list[int] | None = 151645
    start_of_image_id: int = 151652
    end_of_image_id: int = 151653
    text_key_scale: float = 1.0
    source_channel: bool = False
    residual_prediction: bool = False
    adaptive_norm: bool = False
    vision: dict[str, Any] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)

        def need(fits: bool, name: str, expected: str) -> None:
            if not fits:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected {expected}")

        for name in _SIZES:
            need(type(getattr(self, name)) is int and getattr(self, name) >= 1, name, "a positive integer")
        need(self.hidden_size % 4 == 0, "hidden_size", "a multiple of 4 (sine positions)")
        for name, divisor in pairwise(("hidden_size", "num_attention_heads", "num_key_value_heads")):
            size = getattr(self, divisor)
            need(getattr(self, name) % size == 0, name, f"a multiple of {divisor} = {size}")
        need(self.head_width % 2 == 0, "head_width", "an even number (hidden_size / num_attention_heads)")
        special = {name: getattr(self, name) for name in _SPECIAL}
        for name, value in special.items():
            inside = isinstance(value, int) and 0 <= value < self.vocab_size
            need(inside, name, f"an id below vocab_size {self.vocab_size}")
        if len(set(special.values())) < len(special):
            raise ValueError(f"special tokens must differ, got {special}")
        need(
            self.source_channel or not self.residual_prediction, "residual_prediction", "False without source_channel"
        )
        for name in ("use_sliding_window", "tie_word_embeddings"):
            need(not getattr(self, name), name, "False: BAGEL has neither")
        need(self.text_key_scale > 0, "text_key_scale", "a positive number")

    @property
    def latent_dim(self) -> int:
        """Dimensions of one latent token, p * p * z."""
        return self.latent_patch_size**2 * self.latent_channels

    @property
    def head_width(self) -> int:
        """Dimensions of one attention head."""
        return self.hidden_size // self.num_attention_heads
