"""A chat model of transformers, loaded into this process, that answers where a server would."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from PIL.Image import fromarray

from editenv.endpoint import Answer
from editenv.pictures import picture_from_url


class ChatModel:
    """Answers chats in its likeliest words.

    Args:
        pictures: whether it reads pictures; else the chats hold words alone.
        model: a folder or a name of the hub. Weights are safetensors, and no code that lies there is run.
        dtype: of the weights, as torch names it; None for bfloat16 on a GPU, float32 elsewhere.
        device: None for the GPU where there is one.
        batch: chats that are answered at a time.
        max_new_tokens: of an answer; a longer one is cut off.

    Raises:
        ValueError: there is no such model, or it has no chat template.
    """

    def __init__(
        self,
        pictures: bool,
        model: str,
        dtype: str | None = None,
        device: str | None = None,
        batch: int = 8,
        max_new_tokens: int = 256,
    ) -> None:
        from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        kind = getattr(torch, dtype or ("bfloat16" if device.startswith("cuda") else "float32"), None)
        if not isinstance(kind, torch.dtype):
            raise ValueError(f"dtype is {dtype!r}, expected a type of numbers as torch names it")
        classes: Any = (
            (AutoProcessor, AutoModelForImageTextToText) if pictures else (AutoTokenizer, AutoModelForCausalLM)
        )
        try:
            self.reader = classes[0].from_pretrained(model, padding_side="left")
            self.model = classes[1].from_pretrained(model, dtype=kind, use_safetensors=True).to(device).eval()
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"model is {model!r}, which cannot be loaded: {error}") from error
        self.tokenizer = self.reader.tokenizer if pictures else self.reader
        if not getattr(self.reader, "chat_template", None):
            raise ValueError(f"model is {model!r}, which has no chat template, expected one that chats")
        self.tokenizer.pad_token = self.tokenizer.pad_token or self.tokenizer.eos_token
        self.batch, self.max_new_tokens = batch, max_new_tokens

    def ask(
        self,
        conversations: Sequence[list[dict[str, Any]]],
        version: str,
        seeds: Sequence[int],
        checks: Sequence[Callable[[str], Any]],
    ) -> list[Answer]:
        """The answers in order, as `ChatEndpoint.ask`; nothing is drawn at random or kept, so only chats are read."""
        found: list[Answer] = []
        for start in range(0, len(conversations), self.batch):
            chats = [[_shown(message) for message in one] for one in conversations[start : start + self.batch]]
            inputs = self.reader.apply_chat_template(
                chats, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt", padding=True
            ).to(self.model.device)
            with torch.inference_mode():
                made = self.model.generate(
                    **inputs, max_new_tokens=self.max_new_tokens, do_sample=False,
                    pad_token_id=self.tokenizer.pad_token_id,
                )  # fmt: skip
            texts = self.tokenizer.batch_decode(made[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            found += [Answer(text, None) for text in texts]
        return found


def _shown(message: Mapping[str, Any]) -> dict[str, Any]:
    """The message with pictures as transformers takes them."""
    if isinstance(message["content"], str):
        return dict(message)
    parts = [
        {"type": "image", "image": fromarray(picture_from_url(part["image_url"]["url"]))}
        if "image_url" in part
        else part
        for part in message["content"]
    ]
    return {**message, "content": parts}
