"""A language model that calls tools as a policy that `editenv evaluate` plays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer
from transformers.utils.chat_template_utils import get_json_schema
from trl.chat_template_utils import add_response_schema, parse_response, qwen2_5_chat_template, supports_tool_calling

from editenv.agents.tool_agent.session import PROMPT, STAYS, WRONG, said, shown
from editenv.agents.tool_agent.tools import Toolbox
from editenv.protocols import Observations
from editenv.types import Image
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.studio.parse import parse

CARD, MODEL = "tool_agent.json", "model"
"""In a run's folder: how its model is spoken to, and the model's own folder."""


def load_model(path: str, pictures: bool, dtype: str = "float32") -> tuple[Any, Any]:
    """A model and its tokenizer, or its processor where it reads pictures, whose template calls tools.

    A chat template without tools gives way to that of Qwen 2.5, whose marks the tokenizer must know.

    Args:
        path: a folder or a name of the hub, or a GGUF file, whose weights are copied into a model that can be trained.
        pictures: whether it reads pictures.
        dtype: of the weights, as torch names it.

    Raises:
        ValueError: there is no such model, or it can be taught no tools.
    """
    name, _, file = path.rpartition("/") if path.endswith(".gguf") else (path, "", None)
    more = {} if file is None else {"gguf_file": file}
    try:
        processor = (AutoProcessor if pictures else AutoTokenizer).from_pretrained(name, padding_side="left", **more)
        kind: Any = AutoModelForImageTextToText if pictures else AutoModelForCausalLM
        model = kind.from_pretrained(name, dtype=getattr(torch, dtype), **more)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"model is {path!r}, which cannot be loaded: {error}") from error
    if file is not None:
        # transformers takes what was read from such a file for quantised and refuses to train it.
        weights, config = model.state_dict(), model.config
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        model = kind.from_config(config, dtype=getattr(torch, dtype))
        model.load_state_dict(weights)
    tokenizer = processor.tokenizer if pictures else processor
    if not supports_tool_calling(processor):
        if pictures or not {"<|im_start|>", "<|im_end|>"} <= tokenizer.get_vocab().keys():
            raise ValueError(
                f"model is {path!r}, whose chat template has no tools, and whose tokenizer has no <|im_start|> and "
                "<|im_end|> for that of Qwen 2.5: expected a model that calls tools"
            )
        processor.chat_template, tokenizer.eos_token = qwen2_5_chat_template, "<|im_end|>"
    if getattr(tokenizer, "response_template", None) is None:
        add_response_schema(processor)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model, processor


def tool_schemas(toolbox: Toolbox) -> list[dict[str, Any]]:
    """JSON schemas of the tools, as TRL reads them from the methods of `ToolSession`."""
    return [get_json_schema(tool.function(lambda *_: None)) for tool in toolbox.tools.values()]


@dataclass(frozen=True)
class _Chat:
    """A session: its messages and pictures, and the call that the next message answers, first by what was wrong."""

    messages: tuple[dict[str, Any], ...] = ({"role": "system", "content": PROMPT},)
    pictures: tuple[Image, ...] = ()
    called: str | None = None
    note: str = ""


class ToolPolicy:
    """Plays `MICEEdit-v0` by the first tool call of each turn, in the model's likeliest words.

    Without a call, and after `tries` wrong ones, the picture stays as it is.

    Args:
        envs: whose sessions are played, of studio scenes.
        run: folder of `editenv train agent=trl`, its `cloned`, or a checkpoint.
        max_new_tokens: of an answer.

    Raises:
        ValueError: the folder holds no such run, or the sessions have no such tools.
    """

    def __init__(self, envs: MICEEditVectorEnv, run: str, max_new_tokens: int = 96) -> None:
        try:
            card = json.loads(Path(run, CARD).read_text(encoding="utf-8"))
            named = ("pictures", "tries", "tools", "grid", "dtype")
            self.pictures, self.tries, tools, grid, dtype = (card[key] for key in named)
            if not isinstance(getattr(torch, str(dtype), None), torch.dtype):
                raise ValueError(f"dtype is {dtype!r}, expected a type of numbers as torch names it")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{Path(run, CARD)} cannot be read ({error}), expected what `editenv train agent=trl` wrote"
            ) from error
        if grid != getattr(envs.engine.world, "grid", None):
            raise ValueError(
                f"the model in {run!r} was trained on scenes of {grid} cells a side, expected such sessions"
            )
        self.toolbox = Toolbox(envs.engine.world, tools)
        self.schemas = tool_schemas(self.toolbox)
        # Only a run's own folder holds its model in a folder of its own.
        where = Path(run, MODEL) if Path(run, MODEL).is_dir() else Path(run)
        self.model, self.processor = load_model(str(where), self.pictures, dtype)
        self.model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        self.tokenizer = self.processor.tokenizer if self.pictures else self.processor
        self.max_new_tokens = max_new_tokens
        self.calls = self.wrong = 0

    def start(self, observations: Observations, seeds: Sequence[int]) -> list[_Chat]:
        """Chats in which nothing was said."""
        return [_Chat()] * len(seeds)

    def act(self, observations: Observations, memories: list[_Chat]) -> tuple[dict[str, Any], list[_Chat]]:
        """Pictures after the calls, whose words are the intents."""
        chats, images = [], list(observations["image"])
        words, left = [""] * len(images), list(range(len(images)))
        for chat, image, text in zip(memories, images, observations["instruction"], strict=True):
            content = shown(image, chat.note + said(text), self.toolbox.grid, self.pictures)
            asked = {"role": "user"} if chat.called is None else {"role": "tool", "name": chat.called}
            chats.append(_Chat((*chat.messages, asked | {"content": content}), (*chat.pictures, image)))
        for attempt in range(1, self.tries + 1):
            going, left = left, []
            for row, reply in zip(going, self._replies([chats[row].messages for row in going]), strict=True):
                chat, calls = chats[row], (reply.get("tool_calls") or [])[:1]
                said_now = (*chat.messages, reply | {"tool_calls": calls} if calls else reply)
                self.calls += len(calls)
                called, note = None, ""
                if calls:
                    called, given = calls[0]["function"]["name"], calls[0]["function"]["arguments"]
                    scenes = parse(chat.pictures, self.toolbox.grid)
                    try:
                        _, images[row], words[row] = self.toolbox.carry_out(called, given, chat.pictures, scenes)
                    except ValueError as error:
                        self.wrong += 1
                        note = WRONG.format(error)
                        if attempt < self.tries:
                            left.append(row)
                            said_now = (*said_now, {"role": "tool", "name": called, "content": note})
                        else:
                            note += STAYS
                chats[row] = _Chat(said_now, chat.pictures, called, note)
        return {"image": np.stack(images), "intent": tuple(words)}, chats

    def _replies(self, chats: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """The model's messages after each chat, by its likeliest words."""
        if not chats:
            return []
        inputs = self.processor.apply_chat_template(
            chats, tools=self.schemas, add_generation_prompt=True, tokenize=True, return_dict=True,
            return_tensors="pt", padding=True,
        ).to(self.model.device)  # fmt: skip
        with torch.inference_mode():
            made = self.model.generate(
                **inputs,
                max_new_tokens=self.max_new_tokens,
                do_sample=False,
                eos_token_id=self.tokenizer.eos_token_id,
                pad_token_id=self.tokenizer.pad_token_id,
            )
        before, end = inputs["input_ids"], self.tokenizer.eos_token_id
        replies = []
        for prompt, ids in zip(before.tolist(), made[:, before.shape[1] :].tolist(), strict=True):
            ids = ids[: ids.index(end) + 1] if end in ids else ids
            replies.append(parse_response(self.tokenizer, ids, prefix=prompt, tools=list(self.schemas)))
        return replies

    def counts(self) -> dict[str, Any]:
        """Calls, and the share of them that were wrong."""
        return {"calls": self.calls, "wrong_calls": (self.wrong, self.calls)}
