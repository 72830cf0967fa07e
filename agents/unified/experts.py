"""BAGEL's decoder layer: two experts, for understanding and for generation, that share one attention.

Text, image markers and vision tokens go through the understanding weights, latents through the generation
weights (names with `_moe_gen`). As the layout is the same in every row of a batch, the two kinds travel as
two tensors and meet only in the attention. In an image block the generation tokens stand between the two
markers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers.models.qwen2.modeling_qwen2 import Qwen2MLP, Qwen2RMSNorm, apply_rotary_pos_emb

from editenv.agents.unified.config import UnifiedConfig
from editenv.agents.unified.embeddings import ZeroLinear

Extend = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Takes a block's keys and values, returns those of the context followed by the block's."""


class Hidden(NamedTuple):
    """States of one block: of its understanding tokens [B, U, H] and its generation tokens [B, G, H] or None.

    With generation tokens the understanding tokens are the two markers around them.
    """

    understanding: Tensor
    generation: Tensor | None


class Frame(NamedTuple):
    """What all layers of one pass share.

    Attributes:
        rotary: cosines and sines of the block's rope ids, [B, L or 1, head width] each.
        mask: True where a query may look, broadcast to [B, 1, L, S + L]; None for everywhere.
        key_scale: factor on every key, [S + L, 1]; None for 1.
        time: activated time embedding for the adaptive norms, [B or 1, H]; None where they are off.
    """

    rotary: tuple[Tensor, Tensor]
    mask: Tensor | None
    key_scale: Tensor | None = None
    time: Tensor | None = None


def in_order(hidden: Hidden) -> Tensor:
    """One tensor in the block's order: first marker, generation tokens, second marker; [B, L, ...]."""
    understanding, generation = hidden
    if generation is None:
        return understanding
    start, end = understanding.chunk(2, dim=1)
    return torch.cat([start, generation, end], dim=1)


def modulate(states: Tensor, shift_scale: Tensor | None) -> Tensor:
    """Give states * (1 + scale) + shift, the halves of `shift_scale` [B or 1, 2H]; None changes nothing."""
    if shift_scale is None:
        return states
    shift, scale = shift_scale[:, None].chunk(2, dim=-1)
    return torch.addcmul(shift, states, 1 + scale)


class ExpertAttention(nn.Module):
    """Grouped-query attention over all tokens, with projections and query-key norms for each expert."""

    def __init__(self, config: UnifiedConfig) -> None:
        super().__init__()
        width, head = config.hidden_size, config.head_width
        self.head_width = head
        self.grouped = config.num_key_value_heads != config.num_attention_heads
        keys = (config.num_key_value_heads or 1) * head
        self.q_proj, self.q_proj_moe_gen = nn.Linear(width, width), nn.Linear(width, width)
        self.k_proj, self.k_proj_moe_gen = nn.Linear(width, keys), nn.Linear(width, keys)
        self.v_proj, self.v_proj_moe_gen = nn.Linear(width, keys), nn.Linear(width, keys)
        self.o_proj = nn.Linear(width, width, bias=False)
        self.o_proj_moe_gen = nn.Linear(width, width, bias=False)
        eps = config.rms_norm_eps
        self.q_norm, self.q_norm_moe_gen = Qwen2RMSNorm(head, eps=eps), Qwen2RMSNorm(head, eps=eps)
        self.k_norm, self.k_norm_moe_gen = Qwen2RMSNorm(head, eps=eps), Qwen2RMSNorm(head, eps=eps)

    def project(self, hidden: Hidden, rotary: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [B, heads, L, head width] in the block's order, with rope."""
        heads = (-1, self.head_width)
        understanding, generation = hidden
        query = self.q_norm(self.q_proj(understanding).unflatten(-1, heads))
        key = self.k_norm(self.k_proj(understanding).unflatten(-1, heads))
        value = self.v_proj(understanding).unflatten(-1, heads)
        if generation is not None:
            query_moe_gen = self.q_norm_moe_gen(self.q_proj_moe_gen(generation).unflatten(-1, heads))
            key_moe_gen = self.k_norm_moe_gen(self.k_proj_moe_gen(generation).unflatten(-1, heads))
            value_moe_gen = self.v_proj_moe_gen(generation).unflatten(-1, heads)
            query = in_order(Hidden(query, query_moe_gen))
            key = in_order(Hidden(key, key_moe_gen))
            value = in_order(Hidden(value, value_moe_gen))
        query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        query, key = apply_rotary_pos_emb(query, key, *rotary)
        return query, key, value

    def forward(self, query: Tensor, key: Tensor, value: Tensor, frame: Frame, split: bool) -> Hidden:
        """Attend; `split` says that the block has generation tokens between two markers."""
        if frame.key_scale is not None:
            key = key * frame.key_scale
        mixed = scaled_dot_product_attention(query, key, value, frame.mask, enable_gqa=self.grouped)
        mixed = mixed.transpose(1, 2).flatten(2)
        if not split:
            return Hidden(self.o_proj(mixed), None)
        start, generation, end = mixed.split([1, mixed.shape[1] - 2, 1], dim=1)
        return Hidden(self.o_proj(torch.cat([start, end], dim=1)), self.o_proj_moe_gen(generation))


class ExpertLayer(nn.Module):
    """Pre-norm decoder layer with a SwiGLU network for each expert."""

    def __init__(self, config: UnifiedConfig) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.rms_norm_eps
        self.self_attn = ExpertAttention(config)
        self.mlp = Qwen2MLP(config)
        self.mlp_moe_gen = Qwen2MLP(config)
        self.input_layernorm = Qwen2RMSNorm(width, eps=eps)
        self.input_layernorm_moe_gen = Qwen2RMSNorm(width, eps=eps)
        self.post_attention_layernorm = Qwen2RMSNorm(width, eps=eps)
        self.post_attention_layernorm_moe_gen = Qwen2RMSNorm(width, eps=eps)
        if config.adaptive_norm:
            self.modulation_moe_gen = ZeroLinear(width, 4 * width)

    def forward(self, hidden: Hidden, frame: Frame, extend: Extend, need_hidden: bool) -> Hidden | None:
        """Run one layer: the new states, or None without `need_hidden`, which only hands keys to `extend`."""
        before, after = self._modulation(frame)
        understanding, generation = hidden
        normed = Hidden(
            self.input_layernorm(understanding),
            None if generation is None else modulate(self.input_layernorm_moe_gen(generation), before),
        )
        query, key, value = self.self_attn.project(normed, frame.rotary)
        key, value = extend(key, value)
        if not need_hidden:
            return None
        mixed = self.self_attn(query, key, value, frame, generation is not None)
        understanding = understanding + mixed.understanding
        understanding = understanding + self.mlp(self.post_attention_layernorm(understanding))
        if generation is not None:
            generation = generation + mixed.generation
            normed_generation = modulate(self.post_attention_layernorm_moe_gen(generation), after)
            generation = generation + self.mlp_moe_gen(normed_generation)
        return Hidden(understanding, generation)

    def _modulation(self, frame: Frame) -> tuple[Tensor | None, Tensor | None]:
        if frame.time is None:
            return None, None
        before, after = self.modulation_moe_gen(frame.time).chunk(2, dim=-1)
        return before, after
