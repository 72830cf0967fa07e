"""BAGEL's decoder (arXiv 2505.14683): experts for understanding and for generation that share attention.

Text, image markers and vision tokens go through the understanding weights, latents through the generation
weights (names with `_moe_gen`). The layout is the same in every row of a batch, so the two kinds of tokens
are two tensors that meet only in the attention. Module names are those of BAGEL's checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint
from transformers.models.qwen2.modeling_qwen2 import Qwen2MLP, Qwen2RMSNorm, Qwen2RotaryEmbedding, apply_rotary_pos_emb

from editenv.agents.unified.config import UnifiedConfig
from editenv.agents.unified.context import Context

Extend = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Takes a block's keys and values, returns those of the context followed by the block's."""

TIME_FEATURES = 256


class Hidden(NamedTuple):
    """States of one block: of its understanding tokens [B, U, H] and its generation tokens [B, G, H] or None.

    With generation tokens the understanding tokens are the two markers around them.
    """

    understanding: Tensor
    generation: Tensor | None

    def in_order(self) -> Tensor:
        """One tensor in the block's order: first marker, generation tokens, second marker; [B, L, ...]."""
        if self.generation is None:
            return self.understanding
        start, end = self.understanding.chunk(2, dim=1)
        return torch.cat([start, self.generation, end], dim=1)

    def through(self, module: nn.Module, name: str) -> Hidden:
        """Each kind of token through its own submodule: `name` and `name`_moe_gen."""
        understanding = getattr(module, name)(self.understanding)
        if self.generation is None:
            return Hidden(understanding, None)
        return Hidden(understanding, getattr(module, f"{name}_moe_gen")(self.generation))

    def modulated(self, shift_scale: Tensor | None) -> Hidden:
        """Generation states * (1 + scale) + shift, the halves of `shift_scale` [B or 1, 2H]; None changes nothing."""
        if shift_scale is None or self.generation is None:
            return self
        shift, scale = shift_scale[:, None].chunk(2, dim=-1)
        return Hidden(self.understanding, torch.addcmul(shift, self.generation, 1 + scale))

    def plus(self, other: Hidden) -> Hidden:
        """The sums of both kinds."""
        understanding = self.understanding + other.understanding
        if self.generation is None or other.generation is None:
            return Hidden(understanding, None)
        return Hidden(understanding, self.generation + other.generation)


class LayerInputs(NamedTuple):
    """What all layers of one pass share."""

    rotary: tuple[Tensor, Tensor]  # cosines and sines of the block's rope ids, [B, L or 1, head width] each
    mask: Tensor | None  # True where a query may look, broadcast to [B, 1, L, S + L]; None for everywhere
    key_scale: Tensor | None = None  # factor on every key, [S + L, 1]; None for 1
    time: Tensor | None = None  # activated time embedding for the adaptive norms, [B or 1, H]; None where they are off


# Embeddings of time and place


class ZeroLinear(nn.Linear):
    """A linear layer that starts at zero."""


def time_features(t: Tensor, count: int = TIME_FEATURES) -> Tensor:
    """Cosines, then sines of times t [B] in [0, 1] at frequencies 10000^(-i / (count / 2)); [B, count] float32."""
    half = count // 2
    exponent = torch.arange(half, dtype=torch.float32, device=t.device) / half
    angles = t.float()[:, None] * torch.exp(-torch.log(torch.tensor(10000.0)) * exponent)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class TimeEmbedder(nn.Module):
    """Two linear layers over `time_features`: [B] -> [B, hidden_size]."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(TIME_FEATURES, hidden_size), nn.SiLU(), nn.Linear(hidden_size, hidden_size))

    def forward(self, t: Tensor) -> Tensor:
        """Embed times t, [B], as [B, hidden_size]."""
        return self.mlp(time_features(t).to(next(self.mlp.parameters()).dtype))


def position_table(width: int, side: int) -> Tensor:
    """Fixed sine table [side * side, width] float32 of a grid; row r * side + c belongs to row r and column c.

    The first half of the channels tells the column, the second the row, each as sines then cosines at the
    frequencies 10000^(-i / (width / 4)).
    """
    quarter = width // 4
    frequency = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    angles = torch.arange(side, dtype=torch.float64)[:, None] * frequency
    line = torch.cat([angles.sin(), angles.cos()], dim=-1)
    return torch.cat([line.repeat(side, 1), line.repeat_interleave(side, dim=0)], dim=-1).float()


def latent_position_ids(grid: tuple[int, int], side: int, device: torch.device | str = "cpu") -> Tensor:
    """Rows of `position_table` for a grid of (rows, columns) tokens in row-major order, [N] int64."""
    rows, columns = grid
    if not (0 < rows <= side and 0 < columns <= side):
        raise ValueError(f"grid is {grid}, expected rows and columns between 1 and max_latent_size = {side}")
    row = torch.arange(rows, device=device)[:, None] * side
    return (row + torch.arange(columns, device=device)).flatten()


class PositionTable(nn.Module):
    """`position_table` as a frozen parameter, so that it is part of the state dict as in BAGEL's files."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.width, self.side = width, side
        self.pos_embed = nn.Parameter(torch.empty(side * side, width), requires_grad=False)

    def forward(self, grid: tuple[int, int]) -> Tensor:
        """Position embeddings of a grid of (rows, columns) tokens, [N, width]."""
        return self.pos_embed[latent_position_ids(grid, self.side, self.pos_embed.device)]


# Layers


class ExpertAttention(nn.Module):
    """Grouped-query attention over all tokens, with projections and query-key norms for each expert."""

    def __init__(self, config: UnifiedConfig) -> None:
        super().__init__()
        width, head, eps = config.hidden_size, config.head_width, config.rms_norm_eps
        self.head_width = head
        self.grouped = config.num_key_value_heads != config.num_attention_heads
        keys = (config.num_key_value_heads or 1) * head
        self.q_proj, self.q_proj_moe_gen = nn.Linear(width, width), nn.Linear(width, width)
        self.k_proj, self.k_proj_moe_gen = nn.Linear(width, keys), nn.Linear(width, keys)
        self.v_proj, self.v_proj_moe_gen = nn.Linear(width, keys), nn.Linear(width, keys)
        self.o_proj = nn.Linear(width, width, bias=False)
        self.o_proj_moe_gen = nn.Linear(width, width, bias=False)
        self.q_norm, self.q_norm_moe_gen = Qwen2RMSNorm(head, eps=eps), Qwen2RMSNorm(head, eps=eps)
        self.k_norm, self.k_norm_moe_gen = Qwen2RMSNorm(head, eps=eps), Qwen2RMSNorm(head, eps=eps)

    def forward(self, hidden: Hidden, inputs: LayerInputs, extend: Extend, need_hidden: bool) -> Hidden | None:
        """Attend behind what `extend` puts before the block; None without `need_hidden`, which only hands it keys."""

        def heads(name: str, norm: str = "") -> Tensor:
            """Projected, [B, heads, L, head width] in the block's order."""
            understanding, generation = hidden.through(self, name)
            shape = (-1, self.head_width)
            split = Hidden(
                understanding.unflatten(-1, shape), None if generation is None else generation.unflatten(-1, shape)
            )
            return (split.through(self, norm) if norm else split).in_order().transpose(1, 2)

        query, key, value = heads("q_proj", "q_norm"), heads("k_proj", "k_norm"), heads("v_proj")
        query, key = apply_rotary_pos_emb(query, key, *inputs.rotary)
        key, value = extend(key, value)
        if not need_hidden:
            return None
        if inputs.key_scale is not None:
            key = key * inputs.key_scale
        mixed = scaled_dot_product_attention(query, key, value, inputs.mask, enable_gqa=self.grouped)
        mixed = mixed.transpose(1, 2).flatten(2)
        if hidden.generation is None:
            return Hidden(self.o_proj(mixed), None)
        start, generation, end = mixed.split([1, mixed.shape[1] - 2, 1], dim=1)
        return Hidden(torch.cat([start, end], dim=1), generation).through(self, "o_proj")


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

    def forward(self, hidden: Hidden, inputs: LayerInputs, extend: Extend, need_hidden: bool) -> Hidden | None:
        """Run one layer: the new states, or None without `need_hidden`, which only hands keys to `extend`."""
        before = after = None
        if inputs.time is not None:
            before, after = self.modulation_moe_gen(inputs.time).chunk(2, dim=-1)
        normed = hidden.through(self, "input_layernorm").modulated(before)
        mixed = self.self_attn(normed, inputs, extend, need_hidden)
        if mixed is None:
            return None
        hidden = hidden.plus(mixed)
        normed = hidden.through(self, "post_attention_layernorm").modulated(after)
        return hidden.plus(normed.through(self, "mlp"))


def run_checkpointed(
    layer: nn.Module, hidden: Hidden, inputs: LayerInputs, extend: Extend, need_hidden: bool
) -> tuple[Hidden | None, Tensor, Tensor]:
    """Run an `ExpertLayer` so that its activations are recomputed in the backward pass.

    `extend` is called twice and may store nothing. Returns what the layer returns, and the block's own keys
    and values, for a cache.
    """

    def run(hidden: Hidden) -> tuple[Hidden | None, Tensor, Tensor]:
        own: list[Tensor] = []

        def noting(key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
            own.extend((key, value))
            return extend(key, value)

        found = layer(hidden, inputs, noting, need_hidden)
        return found, own[0], own[1]

    # The layers draw no random numbers, so there is no generator state to be restored.
    return checkpoint(run, hidden, use_reentrant=False, preserve_rng_state=False)


class ExpertStack(nn.Module):
    """All layers, the token embeddings and the final norm of each expert.

    With `gradient_checkpointing`, which transformers' `activation_checkpointing_enable` sets, activations are
    recomputed in the backward pass instead of being kept.
    """

    gradient_checkpointing = False

    def __init__(self, config: UnifiedConfig) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.rms_norm_eps
        self.embed_tokens = nn.Embedding(config.vocab_size, width)
        self.layers = nn.ModuleList(ExpertLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = Qwen2RMSNorm(width, eps=eps)
        self.norm_moe_gen = Qwen2RMSNorm(width, eps=eps)
        if config.adaptive_norm:
            self.modulation_moe_gen = ZeroLinear(width, 2 * width)
        self.rotary_emb = Qwen2RotaryEmbedding(config)

    def forward(
        self, context: Context, hidden: Hidden, inputs: LayerInputs, *, store: bool, need_hidden: bool = True
    ) -> Hidden | None:
        """Run a block behind a context; final-normed states.

        Args:
            context: the past.
            hidden: embeddings of the block.
            inputs: what the layers share.
            store: whether the block's keys and values go to the context's cache; a noisy block's do not.
            need_hidden: False returns None and spares most of the last layer where only the cache is wanted.
        """
        recompute = self.gradient_checkpointing and torch.is_grad_enabled()
        for index, layer in enumerate(self.layers):
            needed = need_hidden or index < len(self.layers) - 1
            if recompute:
                after, key, value = run_checkpointed(layer, hidden, inputs, context.extender(index), needed)
                if store:
                    context.store(index, key, value)
            else:
                extend = partial(context.store, index) if store else context.extender(index)
                after = layer(hidden, inputs, extend, needed)
            hidden = hidden if after is None else after
        if not need_hidden:
            return None
        normed = hidden.through(self, "norm")
        return normed if inputs.time is None else normed.modulated(self.modulation_moe_gen(inputs.time))


class ExpertLanguageModel(nn.Module):
    """The stack under the name `model`, and the text head."""

    def __init__(self, config: UnifiedConfig) -> None:
        super().__init__()
        self.model = ExpertStack(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
