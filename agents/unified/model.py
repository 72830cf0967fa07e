"""The unified model: one network that is conditioned on text and images and generates both.

BAGEL's architecture (arXiv 2505.14683) under BAGEL's parameter names, batched: all rows of a batch share one
layout of blocks and differ by padding only. Time runs from 1 (noise) to 0 (image).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.utils.generic import ModelOutput

from editenv.agents.unified.config import UnifiedConfig
from editenv.agents.unified.context import Block, Context, ImageBlock, TextBlock, VitBlock, right_aligned
from editenv.agents.unified.guidance import Guidance, build_guidance_contexts, predict_velocity
from editenv.agents.unified.layers import (
    ExpertLanguageModel,
    Hidden,
    LayerInputs,
    PositionTable,
    TimeEmbedder,
    ZeroLinear,
    position_table,
)
from editenv.agents.unified.vision import vision_modules

Grid = tuple[int, int]
SKIPPED_WEIGHTS = [r"^vit_model\.", r"^connector\.", r"^vit_pos_embed\."]
"""Patterns of BAGEL's weights that a model without vision has no use for."""
SMALLEST_TIME = 1e-3
"""Times below this are treated as this where a residual is divided by the time."""


@dataclass
class UnifiedOutput(ModelOutput):
    """What `UnifiedModel.forward` returns; a half that was not asked for is None."""

    logits: Tensor | None = None  # of each intent token given all before it, [B, L, V]
    velocity: Tensor | None = None  # d x / d t at each step of the window, guided, [B, W, N, C] float32
    unguided: Tensor | None = None  # the same without guidance


class UnifiedModel(PreTrainedModel, GenerationMixin):
    """Text and image model: `append` grows a `Context` block by block, `velocity` reads it and leaves it alone.

    Without `config.vision` weights of BAGEL's vision encoder in a checkpoint are skipped.
    """

    config_class = UnifiedConfig
    config: UnifiedConfig
    base_model_prefix = ""
    main_input_name = "x"
    _supports_sdpa = True
    supports_gradient_checkpointing = True
    _no_split_modules = ["ExpertLayer"]  # noqa: RUF012  (transformers declares a list)
    _keys_to_ignore_on_load_unexpected = SKIPPED_WEIGHTS
    vit_model: Any
    connector: Any
    vit_pos_embed: Any

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
        for name, module in vision_modules(config.vision, width).items() if config.vision else ():
            self.add_module(name, module)
        self.post_init()

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

    def get_input_embeddings(self) -> nn.Module:
        """The token embeddings."""
        return self.language_model.model.embed_tokens

    def get_output_embeddings(self) -> nn.Module:
        """The text head, whose weights are not tied to the embeddings."""
        return self.language_model.lm_head

    # Contexts

    def vision_block(self, pixels: Tensor, present: Tensor | None = None) -> VitBlock:
        """Images [B, 3, H, W] in [-1, 1], with sides that are multiples of the patch, as the tokens that are read.

        `present` as in `VitBlock`. The model has to have vision.
        """
        features, grid = self.vit_model(pixels)
        return VitBlock(self.connector(features) + self.vit_pos_embed(grid), present)

    def new_context(self, batch_size: int) -> Context:
        """An empty context of `batch_size` rows on the model's device."""
        return Context.empty(batch_size, self.device)

    def build_context(self, blocks: Sequence[Block], batch_size: int) -> Context:
        """A new context of `batch_size` rows that has read these blocks."""
        context = self.new_context(batch_size)
        for block in blocks:
            self.append(context, block)
        return context

    def append(self, context: Context, block: Block) -> None:
        """Let every row read one block; grows the context in place.

        An image is its start marker, latents at time 0 or vision tokens, and its end marker: one rope id.
        """
        if isinstance(block, TextBlock):
            self._append_text(context, block.ids, block.mask, need_hidden=False)
            return
        time: Tensor | None = None
        present: Tensor | None = None
        if isinstance(block, ImageBlock):
            embedding, present = self.time_embedder(block.latents.new_zeros(1)), block.present
            time = self._norm_time(embedding)
            latents = self._embed_latents(block.latents, embedding, block.grid)
            hidden, inner = Hidden(self._markers(context), latents), latents.shape[1]
        elif isinstance(block, VitBlock):
            start, end = self._markers(context).chunk(2, dim=1)
            hidden, inner = Hidden(torch.cat([start, block.tokens, end], dim=1), None), block.tokens.shape[1]
            present = block.present
        else:
            raise TypeError(f"block is a {type(block).__name__}, expected TextBlock, ImageBlock or VitBlock")
        stack = self.language_model.model
        rotary = stack.rotary_emb(hidden.understanding, context.position[:, None])
        inputs = LayerInputs(rotary, context.image_mask(inner + 2), time=time)
        stack(context, hidden, inputs, store=True, need_hidden=False)
        valid = None if present is None else present[:, None].expand(-1, inner + 2)
        context.record(valid, 1 if present is None else present.long(), self._marker_flags(inner))

    def append_text(self, context: Context, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Let every row read a block of text, L tokens; grows the context in place.

        Args:
            context: what was read before.
            ids: [B, L] int64.
            mask: True at real tokens, [B, L]; None for all. Padding, on either side, is never attended to and
                does not advance rope; its states mean nothing.

        Returns:
            Final-normed states of the understanding expert, [B, L, H].
        """
        hidden = self._append_text(context, ids, mask, need_hidden=True)
        assert hidden is not None
        return hidden

    def _append_text(self, context: Context, ids: Tensor, mask: Tensor | None, need_hidden: bool) -> Tensor | None:
        stack, length = self.language_model.model, ids.shape[1]
        order: Tensor = torch.arange(length, device=ids.device)[None]
        advance: Tensor | int = length
        if mask is not None:
            mask = mask.bool()
            order, advance = (mask.long().cumsum(dim=1) - 1).clamp_min(0), mask.sum(dim=1)
        tokens = stack.embed_tokens(ids)
        rotary = stack.rotary_emb(tokens, context.position[:, None] + order)
        inputs = LayerInputs(rotary, context.text_mask(mask, length))
        states = stack(context, Hidden(tokens, None), inputs, store=True, need_hidden=need_hidden)
        context.record(mask, advance, torch.ones(length, dtype=torch.bool, device=ids.device))
        return None if states is None else states.understanding

    def _marker_flags(self, inner: int) -> Tensor:
        flags = torch.zeros(inner + 2, dtype=torch.bool, device=self.device)
        flags[0] = flags[-1] = True
        return flags

    def _markers(self, context: Context) -> Tensor:
        ids = torch.tensor([self.config.start_of_image_id, self.config.end_of_image_id], device=self.device)
        return self.language_model.model.embed_tokens(ids).expand(len(context.valid), -1, -1)

    def _embed_latents(self, latents: Tensor, time: Tensor, grid: Grid | None) -> Tensor:
        count = latents.shape[1]
        grid = grid or (math.isqrt(count), math.isqrt(count))
        if grid[0] * grid[1] != count:
            raise ValueError(f"grid is {grid}, expected rows * columns = {count}, the number of latent tokens")
        tokens = self.vae2llm(latents.to(self.vae2llm.weight.dtype))
        return tokens + (time[:, None] + self.latent_pos_embed(grid))

    def _norm_time(self, embedding: Tensor) -> Tensor | None:
        return nn.functional.silu(embedding) if self.config.adaptive_norm else None

    # Generation

    def text_logits(self, hidden: Tensor) -> Tensor:
        """Next-token logits [B, L, V] of final-normed states [B, L, H]."""
        return self.language_model.lm_head(hidden)

    def velocity(
        self, context: Context, x: Tensor, t: Tensor, grid: Grid | None = None, source: Tensor | None = None
    ) -> Tensor:
        """Velocity d x / d t = noise - image that the model predicts for noisy latents, [B, N, C] float32.

        With `residual_prediction`: (x - source - r) / t, where r is what the network predicts.

        Args:
            context: what the image is conditioned on; unchanged.
            x: latents at time t, [B, N, C].
            t: times in [0, 1], [B].
            grid: rows and columns, None for a square.
            source: clean latents of the current picture, [B, N, C]; given exactly if config.source_channel.
        """
        self._check_noisy(context, x, t, source)
        embedding = self.time_embedder(t)
        tokens = self._embed_latents(x, embedding, grid)
        if source is not None:
            tokens = tokens + self.source2llm(source.to(tokens.dtype))
        key_scale, stack = None, self.language_model.model
        if self.config.text_key_scale != 1.0:
            is_text = torch.cat([context.is_text, self._marker_flags(x.shape[1])])
            ones = torch.ones(len(is_text), dtype=self.vae2llm.weight.dtype, device=self.device)
            key_scale = ones.masked_fill(is_text, self.config.text_key_scale)[:, None]
        inputs = LayerInputs(
            rotary=stack.rotary_emb(tokens, context.position[:, None]),
            mask=context.image_mask(x.shape[1] + 2),
            key_scale=key_scale,
            time=self._norm_time(embedding),
        )
        states = stack(context, Hidden(self._markers(context), tokens), inputs, store=False)
        predicted = self.llm2vae(states.generation).float()
        if not self.config.residual_prediction:
            return predicted
        assert source is not None
        return (x.float() - source.float() - predicted) / t.float().clamp_min(SMALLEST_TIME)[:, None, None]

    def _check_noisy(self, context: Context, x: Tensor, t: Tensor, source: Tensor | None) -> None:
        if x.ndim != 3 or x.shape[0] != len(context.valid) or x.shape[2] != self.config.latent_dim:
            expected = (len(context.valid), "N", self.config.latent_dim)
            raise ValueError(f"x has shape {tuple(x.shape)}, expected {expected}")
        if t.shape != x.shape[:1]:
            raise ValueError(f"t has shape {tuple(t.shape)}, expected one time a row, {tuple(x.shape[:1])}")
        if (source is not None) != self.config.source_channel:
            given = "given" if source is not None else "missing"
            raise ValueError(f"source is {given}, but config.source_channel is {self.config.source_channel}")
        if source is not None and source.shape != x.shape:
            raise ValueError(f"source has shape {tuple(source.shape)}, expected x's, {tuple(x.shape)}")

    # Training

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
        guidance: Guidance = Guidance(),  # noqa: B008 - immutable
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
            rows, steps = x.shape[:2]
            if source is not None and steps > 1:
                source = source.repeat_interleave(steps, dim=0)
            flat = x.flatten(0, 1), t.flatten(), grid, source, guidance
            velocity, unguided = (
                found.unflatten(0, (rows, steps)) for found in predict_velocity(self, contexts.repeat(steps), *flat)
            )
        return UnifiedOutput(logits=logits, velocity=velocity, unguided=unguided)

    def _intent_logits(
        self, blocks: Sequence[Block], ids: Tensor, mask: Tensor | None, context_gradient: bool
    ) -> Tensor:
        last = blocks[-1]
        if not isinstance(last, TextBlock):
            raise ValueError(f"text_context ends with a {type(last).__name__}, expected a TextBlock")
        prompt, real = last.ids, last.mask
        if real is not None:
            prompt, real = right_aligned(prompt, real.bool())
        with nullcontext() if context_gradient else torch.no_grad():
            context = self.build_context(blocks[:-1], ids.shape[0])
            if prompt.shape[1] > 1:
                self.append(context, TextBlock(prompt[:, :-1], None if real is None else real[:, :-1]))
        # The prompt's last token predicts the intent's first one, so it belongs to the part with a gradient.
        joint = torch.cat([prompt[:, -1:], ids[:, :-1]], dim=1)
        if mask is not None:
            mask = torch.cat([torch.ones_like(mask[:, :1], dtype=torch.bool), mask.bool()[:, :-1]], dim=1)
        return self.text_logits(self.append_text(context, joint, mask))


# Sampling of text


class GeneratedText(NamedTuple):
    """Sampled text with its stop token; L is the length of the longest row."""

    ids: Tensor  # token ids, [B, L] int64; the stop token ends a row, `pad_token_id` fills it
    mask: Tensor  # True at sampled tokens, the stop token included, [B, L]
    # Log-prob of each token under logits / temperature (greedy: under the logits), 0 at padding, [B, L] float32.
    log_prob: Tensor


def prompt_logits(model: UnifiedModel, context: Context, block: TextBlock) -> Tensor:
    """Append text to the context and return the logits [B, V] of what follows its last real token."""
    hidden = model.append_text(context, block.ids, block.mask)
    if block.mask is None:
        return model.text_logits(hidden[:, -1])
    last = (torch.arange(hidden.shape[1], device=hidden.device) * block.mask).argmax(dim=1)
    return model.text_logits(hidden[torch.arange(len(hidden), device=hidden.device), last])


@torch.no_grad()
def generate_text(
    model: UnifiedModel,
    context: Context,
    logits: Tensor,
    max_tokens: int,
    temperature: float = 0.0,
    uniforms: Tensor | None = None,
    stop_id: int | None = None,
) -> GeneratedText:
    """Sample tokens up to the stop token or `max_tokens`, all rows together.

    Randomness comes from `uniforms` alone, by the inverse of each row's cumulative distribution: a row's text
    is a function of its own context and its own numbers, whatever other rows are in the batch (up to float
    rounding of the logits, which can move a sample only where a number lies within rounding of a boundary).

    Args:
        model: the model.
        context: what the text follows; unchanged.
        logits: of the first token, [B, V], as `prompt_logits` returns them.
        max_tokens: most tokens sampled a row, the stop token included.
        temperature: 0 takes the likeliest token.
        uniforms: numbers in [0, 1), [B, max_tokens]; needed when temperature > 0.
        stop_id: token that ends a row; None for the config's `eos_token_id`.
    """
    shape = len(logits), max_tokens
    if temperature < 0:
        raise ValueError(f"temperature is {temperature}, expected 0 or more")
    if max_tokens < 1:
        raise ValueError(f"max_tokens is {max_tokens}, expected 1 or more")
    if temperature and uniforms is None:
        raise ValueError(f"uniforms are missing: sampling at temperature {temperature} draws from them")
    if temperature and uniforms is not None and not (len(uniforms) == len(logits) and uniforms.shape[1] >= max_tokens):
        raise ValueError(f"uniforms have shape {tuple(uniforms.shape)}, expected {list(shape)}")
    stop = model.config.eos_token_id if stop_id is None else stop_id
    pad = model.config.pad_token_id
    assert pad is not None and isinstance(stop, int)
    context = context.copy()
    ids = torch.full(shape, pad, device=logits.device)
    mask = torch.zeros(shape, dtype=torch.bool, device=logits.device)
    log_probs = torch.zeros(shape, device=logits.device)
    # Rows that have not ended yet: the others leave the batch.
    rows, step = torch.arange(len(logits), device=logits.device), 0
    while True:
        column = None if uniforms is None else uniforms[rows, step]
        token, log_prob = sample_token(logits, temperature, column)
        ids[rows, step], mask[rows, step], log_probs[rows, step] = token, True, log_prob
        step += 1
        unfinished = token.ne(stop).nonzero()[:, 0]
        if step == max_tokens or not len(unfinished):
            return GeneratedText(ids[:, :step], mask[:, :step], log_probs[:, :step])
        if len(unfinished) < len(rows):
            rows, token, context = rows[unfinished], token[unfinished], context.select(unfinished)
        logits = model.text_logits(model.append_text(context, token[:, None])[:, 0])


def sample_token(logits: Tensor, temperature: float, uniform: Tensor | None) -> tuple[Tensor, Tensor]:
    """One token for each row of logits [B, V] and its log-prob, both [B].

    Args:
        logits: [B, V].
        temperature: 0 takes the likeliest; the log-prob then is that of the logits themselves.
        uniform: numbers in [0, 1), [B]; the token is the first whose cumulative probability exceeds it. The
            probabilities are summed in float64 and tokens of probability 0 are never chosen.
    """
    log_probs = torch.log_softmax(logits.float() / (temperature or 1.0), dim=-1)
    if temperature == 0:
        token = log_probs.argmax(dim=-1)
    else:
        assert uniform is not None
        cumulative = log_probs.double().exp().cumsum(dim=-1)
        wanted = uniform.double()[:, None] * cumulative[:, -1:]
        token = torch.searchsorted(cumulative, wanted, right=True)[:, 0].clamp_max(logits.shape[-1] - 1)
    return token, log_probs.gather(1, token[:, None])[:, 0]
