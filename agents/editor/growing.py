"""What a model has read of a batch of sessions: kept from turn to turn, or read anew in each.

In each turn `see` shows the current pictures, `before_intent` is what the intents follow, and `views` what
the pictures are drawn from. With context "interleaved" all earlier pictures and intents are part of both: of
the row itself, or of others where a session has branched off another or is begun anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from editenv.agents.editor.columns import Columns
from editenv.agents.editor.turns import TurnSettings
from editenv.agents.unified import (
    Block,
    Context,
    GuidanceContexts,
    ImageBlock,
    TextBlock,
    UnifiedModel,
    build_guidance_contexts,
)

Earlier = Callable[[], Sequence[Block]]


class Reading(Protocol):
    """What B rows have read, all at the same turn."""

    def see(self, latents: Tensor, rows: Tensor, earlier: Earlier) -> None:
        """A turn begins.

        Args:
            latents: of the pictures, [B, N, C].
            rows: int64 [B, turns so far], whose picture and intent of each turn a row follows; -1 for none.
            earlier: returns all these pictures and intents.
        """

    def before_intent(self) -> Context:
        """What precedes the transcript that intents are written from; the caller may grow it."""

    def views(self, intent: TextBlock) -> GuidanceContexts:
        """The contexts of the turn's pictures, which follow the intents; valid until the next `see`."""


class CurrentTurn:
    """Context "current": intents follow the transcript alone, pictures the current picture and the intent.

    Args:
        model: that reads.
        settings: of a turn.
        rows: B.
    """

    def __init__(self, model: UnifiedModel, settings: TurnSettings, rows: int) -> None:
        self.model, self.settings, self.rows = model, settings, rows
        self._picture: list[Block] = []

    def see(self, latents: Tensor, rows: Tensor, earlier: Earlier) -> None:
        """Forgets the picture before."""
        self._picture = [ImageBlock(latents)]

    def before_intent(self) -> Context:
        """Nothing."""
        return self.model.new_context(self.rows)

    @torch.no_grad()
    def views(self, intent: TextBlock) -> GuidanceContexts:
        """Read anew."""
        return build_guidance_contexts(
            self.model, [*self._picture, intent], self.rows, self.settings.guidance
        )


class Growing:
    """Context "interleaved" with a cache that grows turn by turn: no picture and no intent is read twice.

    The same blocks are appended in the same order as by a model that reads everything anew, so that what it
    holds equals what that one reads to the last bit. A row that goes on elsewhere than it was goes on from
    what was read there.

    Args:
        model: that reads.
        settings: of a turn.
        rows: B.
    """

    def __init__(self, model: UnifiedModel, settings: TurnSettings, rows: int) -> None:
        self.model, self.guidance = model, settings.guidance
        self._all = Columns(model.new_context(rows))
        self._texts = Columns(model.new_context(rows)) if self.guidance.image != 1 else None

    @torch.no_grad()
    def see(self, latents: Tensor, rows: Tensor, earlier: Earlier) -> None:
        """Reads the pictures."""
        self._all.begin(rows)
        if self._texts is not None:
            self._texts.begin(rows)
        self.model.append(self._all.now, ImageBlock(latents))

    def before_intent(self) -> Context:
        """A copy, which shares its tensors."""
        return self._all.now.copy()

    @torch.no_grad()
    def views(self, intent: TextBlock) -> GuidanceContexts:
        """Reads the intents; what was read before is the view without them."""
        text_dropped = None if self.guidance.text == 1 else self._all.now.copy()
        self.model.append(self._all.now, intent)
        if self._texts is None:
            return GuidanceContexts(self._all.now, text_dropped, None)
        self.model.append(self._texts.now, intent)
        return GuidanceContexts(self._all.now, text_dropped, self._texts.now)


class Rereading:
    """Context "interleaved" without memory: everything is read anew for each intent and for each picture.

    What `Growing` is measured against. Arguments as there.
    """

    def __init__(self, model: UnifiedModel, settings: TurnSettings, rows: int) -> None:
        self.model, self.settings, self.rows = model, settings, rows
        self._blocks: list[Block] = []

    def see(self, latents: Tensor, rows: Tensor, earlier: Earlier) -> None:
        """Notes the pictures and what was before."""
        self._blocks = [*earlier(), ImageBlock(latents)]

    @torch.no_grad()
    def before_intent(self) -> Context:
        """Reads all there was."""
        return self.model.build_context(self._blocks, self.rows)

    @torch.no_grad()
    def views(self, intent: TextBlock) -> GuidanceContexts:
        """Reads all there was, once more for each view that shares no beginning."""
        return build_guidance_contexts(self.model, [*self._blocks, intent], self.rows, self.settings.guidance)


Reader = Callable[[UnifiedModel, TurnSettings, int], Reading]
"""(model, settings, rows) -> what those rows have read: nothing yet."""


def growing(model: UnifiedModel, settings: TurnSettings, rows: int) -> Reading:
    """Reads with a cache where earlier turns matter."""
    return Growing(model, settings, rows) if settings.interleaved else CurrentTurn(model, settings, rows)


def rereading(model: UnifiedModel, settings: TurnSettings, rows: int) -> Reading:
    """Reads the same, and keeps nothing from turn to turn."""
    return Rereading(model, settings, rows) if settings.interleaved else CurrentTurn(model, settings, rows)
