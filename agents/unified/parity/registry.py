"""Which function recomputes which outputs of a fixture."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from editenv.agents.unified.parity.fixture import Fixture
from editenv.agents.unified.parity.flow import (
    context_outputs,
    flow_outputs,
    guidance_outputs,
    position_outputs,
    time_outputs,
)
from editenv.agents.unified.parity.masks import mask_outputs
from editenv.agents.unified.parity.text import text_outputs, written_outputs

Check = Callable[[Fixture], dict[str, Tensor]]

CHECKS: dict[str, Check] = {
    "out.text.": text_outputs,
    "out.gen_text.": written_outputs,
    "out.time.": time_outputs,
    "out.pos.": position_outputs,
    "out.mask.": mask_outputs,
    "out.ctx.": context_outputs,
    "out.flow.": flow_outputs,
    "out.cfg.": guidance_outputs,
}
"""Prefix of the outputs' names -> function that recomputes them all, by name."""
