"""The figures of `editenv bench rollout` for a reader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def rollout_table(figures: Mapping[str, Any]) -> str:
    """Lines of a number and what it is."""
    lines = []
    for context, side in figures["sides"].items():
        told = side["agreement"]
        lines += [
            f"context {context}: {figures['sessions']} sessions of {side['turns']} turns in one batch, "
            f"{figures['plain_sessions']} of them one by one",
            f"{side['turns_per_second']:8.1f} turns a second in one batch",
            f"{side['plain_turns_per_second']:8.1f} turns a second one by one",
            f"{side['ratio']:8.1f} times as many ({side['ratio_cpu']:.1f} by processor time)",
            f"{side['utilisation']:8.0f} percent of this machine's matrix products",
            f"{100 * told['same_intents']:8.0f} percent of turns with the same intents; elsewhere apart by "
            f"{told['log_prob']:.0e} in log-probs, {told['latents']:.0e} in latents",
        ]
    if figures["phases"] is not None:
        lines.append(f"a training iteration: {figures['iteration_seconds']:.2f} seconds")
        for part, seconds in figures["phases"].items():
            lines.append(f"{seconds:8.2f} seconds {part}")
        lines.append(f"{figures['environment_share']:8.1f} percent of it is the environment")
        lines.append(f"{figures['utilisation']:8.0f} percent of this machine's matrix products")
    rate = figures["peak_operations_per_second"] / 1e9
    lines.append(f"{rate:8.0f} thousand million operations a second in a product of matrices, measured now")
    lines.append(f"{figures['peak_memory_mib']:8.0f} MiB of memory at most")
    return "\n".join(lines)
