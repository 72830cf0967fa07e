"""Recomputes what the understanding expert does with text."""

from __future__ import annotations

import torch
from torch import Tensor

from editenv.agents.unified.blocks import TextBlock
from editenv.agents.unified.context import Context
from editenv.agents.unified.generate import prompt_logits, write_text
from editenv.agents.unified.parity.fixture import Fixture

_TEACHER_TEMPERATURE = 0.7


def cache_rows(context: Context, layer: int) -> tuple[Tensor, Tensor]:
    """Keys and values of the first row of one layer, [S, key-value heads, head width] each."""
    stored = context.cache.layers[layer]
    assert stored.keys is not None and stored.values is not None
    return stored.keys[0].transpose(0, 1), stored.values[0].transpose(0, 1)


def text_outputs(fixture: Fixture) -> dict[str, Tensor]:
    """`out.text.*`: the whole text in one call, and its second part on the cache of its first."""
    model, ids = fixture.model, fixture.tensors["in.text.ids"][None]
    split = int(fixture.tensors["in.text.split"])
    context = model.new_context(1)
    hidden = model.append_text(context, ids)
    found = {"out.text.hidden": hidden[0], "out.text.logits": model.text_logits(hidden)[0]}
    for layer in range(model.config.num_hidden_layers):
        keys, values = cache_rows(context, layer)
        found |= {f"out.text.cache_k.{layer}": keys, f"out.text.cache_v.{layer}": values}
    chunked = model.new_context(1)
    model.append_text(chunked, ids[:, :split])
    found["out.text.logits_chunk2"] = model.text_logits(model.append_text(chunked, ids[:, split:]))[0]
    return found


def written_outputs(fixture: Fixture) -> dict[str, Tensor]:
    """`out.gen_text.*`: tokens written greedily after the first prompt, and log-probs of given ones."""
    teacher = fixture.tensors["in.gen_text.teacher_ids"][None]
    start = TextBlock(teacher[:, :1])
    logits = (
        fixture.model(text_context=[fixture.prompt(0), start], intent_ids=teacher[:, 1:]).logits
        / _TEACHER_TEMPERATURE
    )
    log_probs = logits.log_softmax(-1).gather(-1, teacher[:, 1:, None])[0, :, 0]
    return {"out.gen_text.greedy": _greedy(fixture), "out.gen_text.teacher_logprobs": log_probs}


def _greedy(fixture: Fixture) -> Tensor:
    """The first token and what follows it, without the stop token, as the reference returns them."""
    model = fixture.model
    start = torch.tensor([[model.config.bos_token_id]])
    longest = fixture.outputs["out.gen_text.greedy"]["shape"][0] - 1
    context = fixture.read("prompt0")
    written = write_text(model, context, prompt_logits(model, context, TextBlock(start)), longest)
    ids = written.ids[0]
    return torch.cat([start[0], ids[ids != model.config.eos_token_id]])
