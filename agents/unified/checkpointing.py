"""Gradient checkpointing: activations are worked out again on the way back instead of being kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from editenv.agents.unified.experts import Extend, Frame, Hidden

Layer = Callable[..., "Hidden | None"]


def checkpointed(
    layer: Layer, hidden: Hidden, frame: Frame, extend: Extend, need_hidden: bool
) -> tuple[Hidden | None, Tensor, Tensor]:
    """Run a layer and keep nothing of it but what goes in and comes out.

    Args:
        layer: of the stack.
        hidden: the block's states.
        frame: of the pass.
        extend: context's keys and values followed by the block's; it is called twice and may store nothing.
        need_hidden: as the layer's.

    Returns:
        What the layer returns, and the block's own keys and values, for a cache.
    """

    def run(hidden: Hidden) -> tuple[Hidden | None, Tensor, Tensor]:
        own: list[Tensor] = []

        def noting(key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
            own.extend((key, value))
            return extend(key, value)

        found = layer(hidden, frame, noting, need_hidden)
        return found, own[0], own[1]

    # The layers draw no random numbers, whose state would have to be put back.
    return checkpoint(run, hidden, use_reentrant=False, preserve_rng_state=False)
