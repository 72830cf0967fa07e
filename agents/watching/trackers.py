"""Trackers by name, and pictures and words for those that take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers.integrations.integration_utils import (
    INTEGRATION_TO_CALLBACK,
    get_available_reporting_integrations,
)

from editenv.registry import unknown
from editenv.types import Image


def check_trackers(names: Sequence[str]) -> None:
    """Refuses trackers that cannot be used, before anything heavy starts.

    Raises:
        ValueError: transformers knows none of that name, or its package is not installed.
    """
    for name in names:
        if name not in INTEGRATION_TO_CALLBACK:
            raise ValueError(unknown("report_to", name, INTEGRATION_TO_CALLBACK))
        if name not in get_available_reporting_integrations():
            installed = ", ".join(get_available_reporting_integrations()) or "none"
            raise ValueError(f"report_to names {name!r}, whose package is missing; installed: {installed}")


class Trackers:
    """Hands over what numbers do not say; numbers reach every tracker through the trainer's own log.

    A tracker can take pictures and words where its callback has a `tb_writer`, as TensorBoard's has; the
    others get neither.

    Args:
        callbacks: the trainer's.
        updates: optimiser steps an iteration; trackers count those.
    """

    def __init__(self, callbacks: Sequence[Any] = (), updates: int = 1) -> None:
        self.callbacks = callbacks
        self.updates = updates

    def show(self, name: str, picture: Image, iteration: int) -> None:
        """Shows a picture, uint8 [H, W, 3]."""
        for writer in self._writers():
            writer.add_image(name, picture, iteration * self.updates, dataformats="HWC")

    def say(self, name: str, text: str, iteration: int) -> None:
        """Says something in words."""
        for writer in self._writers():
            writer.add_text(name, text, iteration * self.updates)

    def _writers(self) -> list[Any]:
        writers = [getattr(callback, "tb_writer", None) for callback in self.callbacks]
        return [writer for writer in writers if writer is not None]
