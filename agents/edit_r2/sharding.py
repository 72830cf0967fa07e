"""A policy whose weights are split over processes by FSDP2, layer by layer.

FSDP2 gathers a module's weights when `forward` is called, and all processes have to call it equally often and
in one order. Contexts are built by other methods, and how often depends on what a process's own sessions are
like: while it plays and learns, every process holds all weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

Plain = TypeVar("Plain", bound=nn.Module)


def is_sharded(model: nn.Module) -> bool:
    """Whether a model's weights are split."""
    return isinstance(model, FSDPModule)


def check_sharding(grows_with_gradient: bool, slow_average: bool = False) -> None:
    """Refuses what has no place in a training whose weights are split.

    Args:
        grows_with_gradient: whether gradients reach through as many blocks as a session happens to have, so
            that processes would go back through the layers a different number of times.
        slow_average: whether other weights than those that learn play.

    Raises:
        ValueError: the run is sharded, and it is asked for.
    """
    if grows_with_gradient:
        raise ValueError(
            "context_gradient is true with context 'interleaved' and weights split by FSDP2, expected false"
        )
    if slow_average:
        raise ValueError("nft_decay is above 0 with weights split by FSDP2, expected 0")


@contextmanager
def whole_weights(model: nn.Module) -> Iterator[None]:
    """Every process has all weights inside, at its own pace; all enter together. Changes nothing for others.

    The start gathers; inside, only gradients are shared, which each layer does when it has gone backward. The
    weights that were gathered are stale after an optimiser's step, which therefore belongs outside.
    """
    gather(model)
    try:
        yield
    finally:
        for part in _parts(model):
            part.reshard()


def gather(model: nn.Module) -> None:
    """Gives every process all weights, until they are split again; does nothing where they are whole."""
    if not isinstance(model, FSDPModule):
        return
    model.set_reshard_after_forward(False)
    model.set_reshard_after_backward(False)
    with torch.no_grad():
        # Asked for nothing, the model computes nothing; but FSDP2 then knows which module is the outermost
        # one, and layers may be called by other methods of the model.
        model()
    for part in _parts(model):
        part.unshard()


def _parts(model: nn.Module) -> list[FSDPModule]:
    return [part for part in model.modules() if isinstance(part, FSDPModule)]


def whole(value: Tensor) -> Tensor:
    """A tensor of which each process may hold a piece; all of them have to ask."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def whole_copy(model: nn.Module, empty: Plain) -> Plain:
    """The weights of a sharded model in a plain one, `empty`, which it returns; all processes have to ask.

    The model is split afterwards.
    """
    found: dict[str, Any] = {name: whole(value).detach() for name, value in model.state_dict().items()}
    with torch.no_grad():
        empty.load_state_dict(found)
    return empty
