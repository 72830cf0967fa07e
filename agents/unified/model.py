"""The unified model: one network that is conditioned on text and images and generates both.

BAGEL's architecture (arXiv 2505.14683) under BAGEL's parameter names, batched: all rows of a batch share one
layout of blocks and differ by padding only. Time runs from 1 (noise) to 0 (image).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.utils.generic import ModelOutput

from editenv.agents.unified.config import UnifiedConfig
from editenv.agents.unified.context import Block, Context, ImageBlock, TextBlock, VitBlock
from editenv.agents.unified.guidance import UNGUIDED, Guidance, build_guidance_contexts, predict_window_velocity
from editenv.agents.unified.layers import (
    ExpertLanguageModel,
    Hidden,
    LayerInputs,
    PositionTable,
    TimeEmbedder,
    ZeroLinear,
    image_attention_mask,
    position_table,
    text_attention_mask,
)

Grid = tuple[int, int]
SKIPPED_WEIGHTS = [r"^vit_model\.", r"^connector\.", r"^vit_pos_embed\."]
"""Patterns of BAGEL's weights that the model has no use for."""
SMALLEST_TIME = 1e-3
"""Times below this are treated as this where a residual is divided by the time."""


@dataclass
class UnifiedOutput(ModelOutput):
    """What `UnifiedModel.forward` returns; a half that was not asked for is None.

    Attributes:
        logits: of each intent token given all before it, [B, L, V].
        velocity: d x / d t at each step of the window, guided, [B, W, N, C] float32.
        unguided: the same without guidance.
    """

    logits: Tensor | None = None
    velocity: Tensor | None = None
    unguided: Tensor | None = None


class UnifiedModel(PreTrainedModel, GenerationMixin):
    """Text and image model whose contexts are built block by block.

    `append_text`, `append_image` and `append_vit` grow a `Context` in place; `velocity` reads it and leaves
    it alone. Weights of BAGEL's vision encoder in a checkpoint are skipped.
    """

    config_class = UnifiedConfig
    config: UnifiedConfig
    base_model_prefix = ""
    main_input_name = "x"
    _supports_sdpa = True
    supports_gradient_checkpointing = True
    _no_split_modules = ["ExpertLayer"]  # noqa: RUF012  (transformers declares a list)
    _keys_to_ignore_on_load_unexpected = SKIPPED_WEIGHTS

    def __init__(self, config: UnifiedConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.language_model = ExpertLanguageModel(config)
        self.time_embedder = TimeEmbedder(width)
        self.vae2llm = nn.Linear(config.latent_dim, width)
        self.llm2vae = ZeroLinear(width, config.latent_dim)
        self.latent_pos_embed = PositionTable(width, config.max_latent_size)
        if config.source_channel:
            self.source2llm = nn.Linear(config.latent_dim, width, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The token embeddings."""
        return self.language_model.model.embed_tokens

    def get_output_embeddings(self) -> nn.Module:
        """The text head, whose weights are not tied to the embeddings."""
        return self.language_model.lm_head

    def new_context(self, batch_size: int) -> Context:
        """An empty context of `batch_size` rows on the model's device."""
        return Context.empty(batch_size, self.device)

    def append_text(self, context: Context, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Let every row read a block of text.

        Args:
            context: grown in place by L tokens.
            ids: [B, L] int64.
            mask: True at real tokens, [B, L]; None for all. Padding, on either side, is never attended to and
                does not advance rope; its states mean nothing.

        Returns:
            Final-normed states of the understanding expert, [B, L, H].
        """
        hidden = self._append_text(context, ids, mask, need_hidden=True)
        assert hidden is not None
        return hidden

    def text_logits(self, hidden: Tensor) -> Tensor:
        """Next-token logits [B, L, V] of final-normed states [B, L, H]."""
        return self.language_model.lm_head(hidden)

    def append_image(
        self, context: Context, latents: Tensor, grid: Grid | None = None, present: Tensor | None = None
    ) -> None:
        """Let every row see a clean image: start marker, latents at time 0, end marker.

        Args:
            context: grown in place by N + 2 tokens and one rope id.
            latents: row-major tokens, [B, N, C].
            grid: rows and columns, None for a square.
            present: False in rows that have no image here, [B]; None for all.
        """
        t = latents.new_zeros(1)
        embedding = self.time_embedder(t)
        tokens = self._embed_latents(latents, embedding, _grid_of(latents, grid))
        hidden = Hidden(self._markers(context), tokens)
        self._append_block(context, hidden, self._norm_time(embedding), present)

    def append_vit(self, context: Context, tokens: Tensor) -> None:
        """Let every row see an image as vision tokens [B, N, H] between markers; grows the context."""
        start, end = self._markers(context).chunk(2, dim=1)
        self._append_block(context, Hidden(torch.cat([start, tokens, end], dim=1), None), None)

    def append(self, context: Context, block: Block) -> None:
        """Let every row read one block of whatever kind; grows the context in place."""
        if isinstance(block, TextBlock):
            self._append_text(context, block.ids, block.mask, need_hidden=False)
        elif isinstance(block, ImageBlock):
            self.append_image(context, block.latents, block.grid, block.present)
        elif isinstance(block, VitBlock):
            self.append_vit(context, block.tokens)
        else:
            raise TypeError(f"block is a {type(block).__name__}, expected TextBlock, ImageBlock or VitBlock")

    def velocity(
        self, context: Context, x: Tensor, t: Tensor, grid: Grid | None = None, source: Tensor | None = None
    ) -> Tensor:
        """Velocity d x / d t = noise - image that the model predicts for noisy latents.

        With `residual_prediction`: (x - source - r) / t, where r is what the network predicts.

        Args:
            context: what the image is conditioned on; unchanged.
            x: latents at time t, [B, N, C].
            t: times in [0, 1], [B].
            grid: rows and columns, None for a square.
            source: clean latents of the current picture, [B, N, C]; given exactly if config.source_channel.

        Returns:
            [B, N, C] float32.

        Raises:
            ValueError: if `source` is missing or not wanted, or shapes do not fit.
        """
        self._check_noisy(context, x, t, source)
        embedding = self.time_embedder(t)
        tokens = self._embed_latents(x, embedding, _grid_of(x, grid))
        if source is not None:
            tokens = tokens + self.source2llm(source.to(tokens.dtype))
        length = x.shape[1] + 2
        stack = self.language_model.model
        inputs = LayerInputs(
            rotary=stack.rotary_emb(tokens, context.position[:, None]),
            mask=image_attention_mask(context, length),
            key_scale=self._key_scale(context, x.shape[1]),
            time=self._norm_time(embedding),
        )
        states = stack(context, Hidden(self._markers(context), tokens), inputs, store=False)
        predicted = self.llm2vae(states.generation).float()
        if not self.config.residual_prediction:
            return predicted
        assert source is not None
        return (x.float() - source.float() - predicted) / t.float().clamp_min(SMALLEST_TIME)[:, None, None]

    def forward(
        self,
        text_context: Sequence[Block] | None = None,
        intent_ids: Tensor | None = None,
        intent_mask: Tensor | None = None,
        image_context: Sequence[Block] | None = None,
        x: Tensor | None = None,
        t: Tensor | None = None,
        source: Tensor | None = None,
        grid: Grid | None = None,
        context_gradient: bool = True,
        guidance: Guidance = UNGUIDED,
    ) -> UnifiedOutput:
        """Both things that a joint update needs, in one call that data-parallel wrappers can hook.

        The halves are independent: text (`text_context`, `intent_ids`, `intent_mask`) and image
        (`image_context`, `x`, `t`, `source`, `grid`); without `intent_ids` or `x` its half is left out.

        Args:
            text_context: blocks that the intent follows; the last one is text.
            intent_ids: tokens to be judged, [B, L] int64.
            intent_mask: True at real tokens, [B, L], padding on the right; None for all.
            image_context: blocks that the image is conditioned on.
            x: latents at W times, [B, W, N, C].
            t: times, [B, W].
            source: clean latents of the current picture, [B, N, C], shared by all W.
            grid: rows and columns, None for a square.
            context_gradient: False builds what precedes intent and image without gradient, as Edit-R2 does.
            guidance: of the velocity.
        """
        logits = velocity = unguided = None
        if intent_ids is not None:
            if not text_context:
                raise ValueError("intent_ids without text_context: the first token needs something to follow")
            logits = self._intent_logits(text_context, intent_ids, intent_mask, context_gradient)
        if x is not None:
            if t is None or image_context is None:
                raise ValueError("x needs t and image_context (an empty list for no context)")
            with nullcontext() if context_gradient else torch.no_grad():
                contexts = build_guidance_contexts(self, image_context, x.shape[0], guidance)
            velocity, unguided = predict_window_velocity(self, contexts, x, t, grid, source, guidance)
        return UnifiedOutput(logits=logits, velocity=velocity, unguided=unguided)

    def build_context(self, blocks: Sequence[Block], batch_size: int) -> Context:
        """A new context of `batch_size` rows that has read these blocks."""
        context = self.new_context(batch_size)
        for block in blocks:
            self.append(context, block)
        return context

    def _intent_logits(
        self, blocks: Sequence[Block], ids: Tensor, mask: Tensor | None, context_gradient: bool
    ) -> Tensor:
        last = blocks[-1]
        if not isinstance(last, TextBlock):
            raise ValueError(f"text_context ends with a {type(last).__name__}, expected a TextBlock")
        prompt, real = _right_aligned(last.ids, last.mask)
        with nullcontext() if context_gradient else torch.no_grad():
            context = self.build_context(blocks[:-1], ids.shape[0])
            if prompt.shape[1] > 1:
                before = None if real is None else real[:, :-1]
                self._append_text(context, prompt[:, :-1], before, need_hidden=False)
        # The prompt's last token predicts the intent's first one, so it belongs to the part with a gradient.
        joint = torch.cat([prompt[:, -1:], ids[:, :-1]], dim=1)
        start = torch.ones_like(prompt[:, -1:], dtype=torch.bool)
        joint_mask = None if mask is None else torch.cat([start, mask.bool()[:, :-1]], dim=1)
        return self.text_logits(self.append_text(context, joint, joint_mask))

    def _append_text(self, context: Context, ids: Tensor, mask: Tensor | None, need_hidden: bool) -> Tensor | None:
        stack = self.language_model.model
        length = ids.shape[1]
        if mask is None:
            order: Tensor = torch.arange(length, device=ids.device)[None]
            advance: Tensor | int = length
        else:
            mask = mask.bool()
            order = (mask.long().cumsum(dim=1) - 1).clamp_min(0)
            advance = mask.sum(dim=1)
        tokens = stack.embed_tokens(ids)
        rotary = stack.rotary_emb(tokens, context.position[:, None] + order)
        inputs = LayerInputs(rotary, text_attention_mask(context, mask, length))
        states = stack(context, Hidden(tokens, None), inputs, store=True, need_hidden=need_hidden)
        context.record(mask, length, advance, torch.ones(length, dtype=torch.bool, device=ids.device))
        return None if states is None else states.understanding

    def _append_block(
        self, context: Context, hidden: Hidden, time: Tensor | None, present: Tensor | None = None
    ) -> None:
        stack = self.language_model.model
        understanding, generation = hidden
        length = understanding.shape[1] + (0 if generation is None else generation.shape[1])
        rotary = stack.rotary_emb(understanding, context.position[:, None])
        inputs = LayerInputs(rotary, image_attention_mask(context, length), time=time)
        stack(context, hidden, inputs, store=True, need_hidden=False)
        valid = None if present is None else present[:, None].expand(-1, length)
        context.record(valid, length, 1 if present is None else present.long(), self._marker_flags(length - 2))

    def _marker_flags(self, inner: int) -> Tensor:
        flags = torch.zeros(inner + 2, dtype=torch.bool, device=self.device)
        flags[0] = flags[-1] = True
        return flags

    def _key_scale(self, context: Context, inner: int) -> Tensor | None:
        if self.config.text_key_scale == 1.0:
            return None
        is_text = torch.cat([context.is_text, self._marker_flags(inner)])
        scale = torch.ones(len(is_text), dtype=self.vae2llm.weight.dtype, device=self.device)
        return scale.masked_fill(is_text, self.config.text_key_scale)[:, None]

    def _markers(self, context: Context) -> Tensor:
        ids = torch.tensor([self.config.start_of_image_id, self.config.end_of_image_id], device=self.device)
        return self.language_model.model.embed_tokens(ids).expand(context.batch_size, -1, -1)

    def _embed_latents(self, latents: Tensor, time: Tensor, grid: Grid) -> Tensor:
        tokens = self.vae2llm(latents.to(self.vae2llm.weight.dtype))
        return tokens + (time[:, None] + self.latent_pos_embed(grid))

    def _norm_time(self, embedding: Tensor) -> Tensor | None:
        return nn.functional.silu(embedding) if self.config.adaptive_norm else None

    def _check_noisy(self, context: Context, x: Tensor, t: Tensor, source: Tensor | None) -> None:
        if x.ndim != 3 or x.shape[0] != context.batch_size or x.shape[2] != self.config.latent_dim:
            expected = (context.batch_size, "N", self.config.latent_dim)
            raise ValueError(f"x has shape {tuple(x.shape)}, expected {expected}")
        if t.shape != x.shape[:1]:
            raise ValueError(f"t has shape {tuple(t.shape)}, expected one time a row, {tuple(x.shape[:1])}")
        if (source is not None) != self.config.source_channel:
            given = "given" if source is not None else "missing"
            raise ValueError(f"source is {given}, but config.source_channel is {self.config.source_channel}")
        if source is not None and source.shape != x.shape:
            raise ValueError(f"source has shape {tuple(source.shape)}, expected x's, {tuple(x.shape)}")

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Normal weights as in Qwen2; time modulation and velocity head start at zero, as in BAGEL."""
        if isinstance(module, ZeroLinear):
            init.zeros_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, PositionTable):
            init.copy_(module.pos_embed, position_table(module.width, module.side))
        else:
            super()._init_weights(module)


def last_valid(hidden: Tensor, mask: Tensor) -> Tensor:
    """States [B, H] of the last real token of each row of [B, L, H], given mask [B, L]."""
    place = torch.arange(mask.shape[1], device=mask.device)
    last = (place * mask).argmax(dim=1)
    return hidden[torch.arange(len(hidden), device=hidden.device), last]


def _right_aligned(ids: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Tokens and mask [B, L] with each row's padding, wherever it stood, on the left."""
    if mask is None:
        return ids, None
    order = mask.long().argsort(dim=1, stable=True)
    return ids.gather(1, order), mask.bool().gather(1, order)


def _grid_of(latents: Tensor, grid: Grid | None) -> Grid:
    count = latents.shape[1]
    if grid is None:
        side = math.isqrt(count)
        grid = (side, side)
    if grid[0] * grid[1] != count:
        raise ValueError(f"grid is {grid}, expected rows * columns = {count}, the number of latent tokens")
    return grid
