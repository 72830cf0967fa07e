"""What the model reads: transcripts before it writes an intent, intents before it draws."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedTokenizerFast

from editenv.agents.unified import TextBlock

ROUND = "round"
"""Opens each instruction of a transcript."""


def transcript_block(tokenizer: PreTrainedTokenizerFast, transcripts: Sequence[Sequence[str]]) -> TextBlock:
    """Everything the user said so far, then the start of the answer: <bos> round ... round ... <eos> <bos>.

    Padded on the left, so that the answer starts at the same place in every row.
    """
    texts = [" ".join(f"{ROUND} {text}" for text in said) for said in transcripts]
    rows = [
        [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id, tokenizer.bos_token_id]
        for ids in _token_ids(tokenizer, texts)
    ]
    return _padded(rows, tokenizer.pad_token_id, left=True)


def intent_block(tokenizer: PreTrainedTokenizerFast, intents: Sequence[str]) -> TextBlock:
    """One intent a row, <bos> ... <eos>, padded on the right."""
    rows = [[tokenizer.bos_token_id, *ids, tokenizer.eos_token_id] for ids in _token_ids(tokenizer, intents)]
    return _padded(rows, tokenizer.pad_token_id, left=False)


def answer_block(tokenizer: PreTrainedTokenizerFast, intents: Sequence[str]) -> TextBlock:
    """Intents as answers to be judged or learnt, ... <eos>, the stop token included, padded on the right."""
    rows = [[*ids, tokenizer.eos_token_id] for ids in _token_ids(tokenizer, intents)]
    return _padded(rows, tokenizer.pad_token_id, left=False)


def _token_ids(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[list[int]]:
    ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return ids


def _padded(rows: Sequence[Sequence[int]], pad: int | None, left: bool) -> TextBlock:
    length = max(len(row) for row in rows)
    ids = torch.full((len(rows), length), pad or 0, dtype=torch.long)
    mask = torch.zeros(len(rows), length, dtype=torch.bool)
    for number, row in enumerate(rows):
        place = slice(length - len(row), length) if left else slice(0, len(row))
        ids[number, place] = torch.tensor(row)
        mask[number, place] = True
    return TextBlock(ids, None if mask.all() else mask)
