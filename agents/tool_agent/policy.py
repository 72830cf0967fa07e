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
from transformers.utils import get_json_schema
from trl.chat_template_utils import add_response_schema, parse_response, qwen2_5_chat_template, supports_tool_calling

from editenv.agents.tool_agent.session import PROMPT, STAYS, WRONG, said, shown
from editenv.agents.tool_agent.tools import Toolbox
from editenv.protocols import Observations
from editenv.types import Image
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.scene import Scene

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
        weights = model.state_dict()
        model = kind.from_config(model.config, dtype=getattr(torch, dtype))
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
class _Memory:
    """A chat so far, its pictures, and the call that the next message answers, beginning with what was wrong."""

    messages: tuple[dict[str, Any], ...] = ({"role": "system", "content": PROMPT},)
    pictures: tuple[Image, ...] = ()
    called: str | None = None
    note: str = ""


@dataclass
class _Turn:
    """A turn on its way: the chat, all pictures and what they show; then what came out."""

    messages: list[dict[str, Any]]
    pictures: tuple[Image, ...]
    scenes: Sequence[Scene]
    image: Image
    words: str = ""
    called: str | None = None
    note: str = ""
    over: bool = False


class ToolPolicy:
    """Plays `MICEEdit-v0` by the first tool call of each turn, in the model's likeliest words.

    Without a call, and after `tries` wrong ones, the picture stays as it is.

    Args:
        envs: whose sessions are played, of studio scenes.
        run: folder of `editenv train agent=trl`.
        max_new_tokens: of an answer.

    Raises:
        ValueError: the folder holds no such run, or the sessions have no such tools.
    """

    def __init__(self, envs: MICEEditVectorEnv, run: str, max_new_tokens: int = 96) -> None:
        try:
            card = json.loads(Path(run, CARD).read_text(encoding="utf-8"))
            self.pictures, self.tries, tools, grid = (card[key] for key in ("pictures", "tries", "tools", "grid"))
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
        self.model, self.processor = load_model(str(Path(run, MODEL)), self.pictures, card["dtype"])
        self.model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        self.tokenizer = self.processor.tokenizer if self.pictures else self.processor
        self.max_new_tokens = max_new_tokens
        self.turns = self.calls = self.wrong = 0

    def start(self, observations: Observations, seeds: Sequence[int]) -> list[_Memory]:
        """Chats in which nothing was said."""
        return [_Memory()] * len(seeds)

    def act(self, observations: Observations, memories: list[_Memory]) -> tuple[dict[str, Any], list[_Memory]]:
        """Pictures after the calls, whose words are the intents."""
        turns = []
        for memory, image, text in zip(memories, observations["image"], observations["instruction"], strict=True):
            content = shown(image, memory.note + said(text), self.toolbox.grid, self.pictures)
            role = {"role": "user"} if memory.called is None else {"role": "tool", "name": memory.called}
            pictures = (*memory.pictures, image)
            scenes = parse(pictures, self.toolbox.grid)
            turns.append(_Turn([*memory.messages, role | {"content": content}], pictures, scenes, image))
        self.turns += len(turns)
        for attempt in range(1, self.tries + 1):
            going = [turn for turn in turns if not turn.over]
            for turn, reply in zip(going, self._replies([turn.messages for turn in going]), strict=True):
                self._answer(turn, reply, attempt == self.tries)
        action = {"image": np.stack([turn.image for turn in turns]), "intent": tuple(turn.words for turn in turns)}
        return action, [_Memory(tuple(turn.messages), turn.pictures, turn.called, turn.note) for turn in turns]

    def _answer(self, turn: _Turn, reply: dict[str, Any], last: bool) -> None:
        """Carries out a reply's first call; without one the turn is over, after a wrong one where it was the last."""
        calls = reply.get("tool_calls") or []
        turn.messages.append(reply | {"tool_calls": calls[:1]} if calls else reply)
        turn.called, turn.note, turn.over = None, "", last or not calls
        if not calls:
            return
        self.calls += 1
        function = calls[0]["function"]
        turn.called = function["name"]
        try:
            made = self.toolbox.carry_out(function["name"], function["arguments"], turn.pictures, turn.scenes)
            _, turn.image, turn.words = made
            turn.over = True
        except ValueError as error:
            self.wrong += 1
            turn.note = WRONG.format(error) + STAYS * last
            if not last:
                turn.messages.append({"role": "tool", "name": turn.called, "content": turn.note})

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
            replies.append(parse_response(self.tokenizer, ids, prefix=prompt, tools=self.schemas))
        return replies

    def counts(self) -> dict[str, Any]:
        """Turns, calls and the share of these that were wrong."""
        return {"turns": self.turns, "calls": self.calls, "wrong_calls": (self.wrong, self.calls)}
