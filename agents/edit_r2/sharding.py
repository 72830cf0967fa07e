"""A policy whose weights are split over processes by FSDP2, layer by layer.

FSDP2 gathers a module's weights when `forward` is called, and all processes have to call it equally often. In
rollouts contexts are built by other methods, and how often depends on what a process's own sessions are like:
there, every process holds all weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

READING = ("append_text", "append_image", "append_vit", "append", "velocity", "text_logits", "read")
"""Methods of the unified model that compute with weights."""


def is_sharded(model: nn.Module) -> bool:
    """Whether a model's weights are split."""
    return isinstance(model, FSDPModule)


def check_sharding(lora_rank: int, grows_with_gradient: bool) -> None:
    """Refuses what has no place in a sharded training.

    Args:
        lora_rank: of adapters, whose model FSDP2 would gather and rollouts would not find.
        grows_with_gradient: whether gradients reach through as many blocks as a session happens to have, so
            that processes would go back through the layers a different number of times.

    Raises:
        ValueError: the run is sharded, and one of them is asked for.
    """
    if lora_rank:
        raise ValueError(f"lora_rank is {lora_rank} with weights split by FSDP2, expected 0")
    if grows_with_gradient:
        raise ValueError(
            "context_gradient is true with context 'interleaved' and weights split by FSDP2, expected false"
        )


@contextmanager
def whole_weights(model: nn.Module) -> Iterator[None]:
    """Every process has all weights inside, at its own pace; all enter together. Changes nothing for others.

    Only the start communicates. What is differentiated through may be left without having gone backward.
    """
    if not isinstance(model, FSDPModule):
        yield
        return
    _open_methods(model)
    parts = [part for part in model.modules() if isinstance(part, FSDPModule)]
    model.set_reshard_after_forward(False)
    for part in parts:
        part.unshard()
    try:
        yield
    finally:
        model.set_reshard_after_forward(True)
        # What is read last on the way there is read first on the way back.
        model.set_reshard_after_forward(False, recurse=False)
        for part in parts:
            part.reshard()


def _open_methods(model: nn.Module) -> None:
    """Makes FSDP2 see to weights in these methods as in `forward`; a second call does nothing."""
    if "read" not in vars(model):
        for name in READING:
            register_fsdp_forward_method(model, name)


def whole(value: Tensor) -> Tensor:
    """A tensor of which each process may hold a piece; all of them have to ask."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def whole_copy(model: nn.Module, empty: nn.Module) -> nn.Module:
    """The weights of a sharded model in a plain one, `empty`, which it returns; all processes have to ask."""
    found: dict[str, Any] = {name: whole(value).detach() for name, value in model.state_dict().items()}
    with torch.no_grad():
        empty.load_state_dict(found)
    return empty
