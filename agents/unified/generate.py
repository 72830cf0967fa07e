"""Batched sampling of text with the key-value cache, and the log-probs of the sampled tokens."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from editenv.agents.unified.context import Context, TextBlock
from editenv.agents.unified.model import UnifiedModel, last_valid


class GeneratedText(NamedTuple):
    """Sampled text with its stop token; L is the length of the longest row.

    Attributes:
        ids: token ids, [B, L] int64; the stop token ends a row, `pad_token_id` fills it.
        mask: True at sampled tokens, the stop token included, [B, L].
        log_prob: log-prob of each token under logits / temperature (greedy: under the logits), 0 at padding,
            [B, L] float32.
    """

    ids: Tensor
    mask: Tensor
    log_prob: Tensor


def prompt_logits(model: UnifiedModel, context: Context, block: TextBlock) -> Tensor:
    """Append text to the context and return the logits [B, V] of what follows its last real token."""
    hidden = model.append_text(context, block.ids, block.mask)
    final = hidden[:, -1] if block.mask is None else last_valid(hidden, block.mask)
    return model.text_logits(final)


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

    Raises:
        ValueError: for a negative temperature, or missing or wrongly shaped uniforms.
    """
    if temperature < 0:
        raise ValueError(f"temperature is {temperature}, expected 0 or more")
    if max_tokens < 1:
        raise ValueError(f"max_tokens is {max_tokens}, expected 1 or more")
    if temperature and uniforms is None:
        raise ValueError(f"uniforms are missing: sampling at temperature {temperature} draws from them")
    if temperature and uniforms is not None and not (len(uniforms) == len(logits) and uniforms.shape[1] >= max_tokens):
        expected = f"[{len(logits)}, {max_tokens}]"
        raise ValueError(f"uniforms have shape {tuple(uniforms.shape)}, expected {expected}")
    stop = model.config.eos_token_id if stop_id is None else stop_id
    pad = model.config.pad_token_id
    assert pad is not None and isinstance(stop, int)
    context = context.copy()
    shape = len(logits), max_tokens
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
    """One token for each row and its log-prob, both [B].

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
