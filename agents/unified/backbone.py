"""The stack of layers with its embedding table, final norms and text head (BAGEL's `language_model`)."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm, Qwen2RotaryEmbedding

from editenv.agents.unified.checkpointing import checkpointed
from editenv.agents.unified.config import UnifiedConfig
from editenv.agents.unified.context import Context
from editenv.agents.unified.embeddings import ZeroLinear
from editenv.agents.unified.experts import ExpertLayer, Frame, Hidden, modulate


class ExpertStack(nn.Module):
    """All layers, the token embeddings and the final norm of each expert.

    With `gradient_checkpointing`, which transformers' `activation_checkpointing_enable` sets, activations are
    worked out again on the way back instead of being kept.
    """

    gradient_checkpointing = False

    def __init__(self, config: UnifiedConfig) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.rms_norm_eps
        self.text_key_scale = config.text_key_scale
        self.embed_tokens = nn.Embedding(config.vocab_size, width)
        self.layers = nn.ModuleList(ExpertLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = Qwen2RMSNorm(width, eps=eps)
        self.norm_moe_gen = Qwen2RMSNorm(width, eps=eps)
        if config.adaptive_norm:
            self.modulation_moe_gen = ZeroLinear(width, 2 * width)
        self.rotary_emb = Qwen2RotaryEmbedding(config)

    def read(self, context: Context, hidden: Hidden, frame: Frame, need_hidden: bool) -> Hidden | None:
        """Run a block and write its keys and values to the context's cache.

        Returns:
            Final-normed states; None without `need_hidden`, which spares most of the last layer.
        """
        last = len(self.layers) - 1
        for index, layer in enumerate(self.layers):
            needed = need_hidden or index < last
            if self._recomputes:
                after, key, value = checkpointed(layer, hidden, frame, context.follower(index), needed)
                context.cache.update(key, value, layer_idx=index)
            else:
                after = layer(hidden, frame, partial(context.cache.update, layer_idx=index), needed)
            hidden = hidden if after is None else after
        return self._finish(hidden, frame) if need_hidden else None

    def denoise(self, context: Context, hidden: Hidden, frame: Frame) -> Hidden:
        """Run a noisy block, which sees the context and leaves no trace in it; final-normed states."""
        for index, layer in enumerate(self.layers):
            if self._recomputes:
                after, *_ = checkpointed(layer, hidden, frame, context.follower(index), True)
            else:
                after = layer(hidden, frame, context.follower(index), True)
            hidden = hidden if after is None else after
        return self._finish(hidden, frame)

    @property
    def _recomputes(self) -> bool:
        return self.gradient_checkpointing and torch.is_grad_enabled()

    def _finish(self, hidden: Hidden, frame: Frame) -> Hidden:
        understanding, generation = hidden
        if generation is not None:
            shift_scale = None if frame.time is None else self.modulation_moe_gen(frame.time)
            generation = modulate(self.norm_moe_gen(generation), shift_scale)
        return Hidden(self.norm(understanding), generation)


class ExpertLanguageModel(nn.Module):
    """The stack under the name `model`, and the text head."""

    def __init__(self, config: UnifiedConfig) -> None:
        super().__init__()
        self.model = ExpertStack(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)


def text_visibility(context: Context, mask: Tensor | None, length: int) -> Tensor | None:
    """Where the tokens of a text block may look: at valid tokens of the past, and causally at each other.

    A padding token sees itself, so that its softmax is defined; nobody else sees it.

    Args:
        context: the past, S tokens.
        mask: True at the block's real tokens, [B, L]; None when all are.
        length: L.

    Returns:
        True where attention is allowed, [B or 1, 1, L, S + L]; None for everywhere.
    """
    if mask is None and not context.padded and length == 1:
        return None
    device, past = context.valid.device, context.length
    causal = torch.ones(length, past + length, dtype=torch.bool, device=device).tril(past)
    if mask is None and not context.padded:
        return causal[None, None]
    own = context.valid.new_ones(context.batch_size, length) if mask is None else mask
    visible = torch.cat([context.valid, own], dim=1)[:, None] & causal
    itself = torch.eye(length, dtype=torch.bool, device=device)
    visible[:, :, past:] |= itself
    return visible[:, None]


def image_visibility(context: Context, length: int) -> Tensor | None:
    """Where the tokens of an image block may look: at valid tokens of the past and at all of the block.

    Returns:
        True where attention is allowed, [B, 1, 1, S + L]; None for everywhere.
    """
    if not context.padded:
        return None
    own = context.valid.new_ones(context.batch_size, length)
    return torch.cat([context.valid, own], dim=1)[:, None, None]
