"""The contexts that a guided velocity is predicted under: whole, without the last text, without images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from editenv.agents.unified.blocks import Block, TextBlock
from editenv.agents.unified.context import Context
from editenv.agents.unified.guidance import Guidance, guided_velocity

if TYPE_CHECKING:
    from editenv.agents.unified.model import UnifiedModel


class Views(NamedTuple):
    """One context as it is and with parts dropped; a view that no guidance asks for is None.

    Attributes:
        full: all blocks.
        text_dropped: without the last block, the text that generation follows.
        image_dropped: the text blocks alone.
    """

    full: Context
    text_dropped: Context | None
    image_dropped: Context | None

    def repeat(self, times: int) -> Views:
        """Every row of every view `times` times in a row."""
        return Views(*(None if view is None else view.repeat(times) for view in self))  # type: ignore[arg-type]


def read_views(model: UnifiedModel, blocks: Sequence[Block], batch_size: int, guidance: Guidance) -> Views:
    """The views of blocks that a guidance needs, each read by the model.

    Raises:
        ValueError: text guidance over blocks that do not end with text.
    """
    if guidance.text != 1 and not (blocks and isinstance(blocks[-1], TextBlock)):
        raise ValueError("text guidance needs a context that ends with the text to be dropped")
    full = model.read(blocks[:-1], batch_size)
    text_dropped = None if guidance.text == 1 else full.copy()
    for block in blocks[-1:]:
        model.append(full, block)
    texts = [block for block in blocks if isinstance(block, TextBlock)]
    return Views(full, text_dropped, None if guidance.image == 1 else model.read(texts, batch_size))


def views_velocity(
    model: UnifiedModel,
    views: Views,
    x: Tensor,
    t: Tensor,
    grid: tuple[int, int] | None,
    source: Tensor | None,
    guidance: Guidance,
) -> tuple[Tensor, Tensor]:
    """The guided and the plain velocity, [B, N, C] each; rollout and training both come here.

    With `source_channel` the current picture also enters through its channel, which no view drops. Arguments
    as `UnifiedModel.velocity`.
    """
    full = model.velocity(views.full, x, t, grid, source)
    text, image = (
        full if view is None else model.velocity(view, x, t, grid, source)
        for view in (views.text_dropped, views.image_dropped)
    )
    if not guidance.active:
        return full, full
    return guided_velocity(full, text, image, guidance.text, guidance.image), full


def window_velocity(
    model: UnifiedModel,
    views: Views,
    x: Tensor,
    t: Tensor,
    source: Tensor | None,
    grid: tuple[int, int] | None,
    guidance: Guidance,
) -> tuple[Tensor, Tensor]:
    """`views_velocity` at W times of every row: x [B, W, N, C] and t [B, W] share context and source."""
    steps = x.shape[1]
    if source is not None and steps > 1:
        source = source.repeat_interleave(steps, dim=0)
    velocities = views_velocity(
        model, views.repeat(steps), x.flatten(0, 1), t.flatten(), grid, source, guidance
    )
    guided, plain = (velocity.unflatten(0, x.shape[:2]) for velocity in velocities)
    return guided, plain
