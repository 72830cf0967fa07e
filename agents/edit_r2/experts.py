"""Which weights write and which draw: two groups with learning rates and gradient bounds of their own."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

_GENERATION = ("_moe_gen", "vae2llm", "llm2vae", "time_embedder", "latent_pos_embed", "source2llm")


def is_generation(name: str) -> bool:
    """True for parameters of the generation expert and of what leads into and out of it."""
    return any(part in name for part in _GENERATION)


def freeze_experts(model: nn.Module, text: bool, flow: bool) -> None:
    """Freezes an expert that is not trained; a weight of 0 alone leaves it gradients through attention.

    Args:
        model: the policy; parameters that are frozen already stay so.
        text: whether the understanding expert trains.
        flow: whether the generation expert trains.
    """
    for name, parameter in model.named_parameters():
        if not (flow if is_generation(name) else text):
            parameter.requires_grad_(False)


def parameter_groups(
    model: nn.Module, text_rate: float, flow_rate: float, weight_decay: float
) -> list[dict[str, object]]:
    """AdamW groups of what trains, "text" and "flow", each with its rate; an empty one is left out."""
    groups: list[dict[str, object]] = []
    for name, rate, wanted in (("text", text_rate, False), ("flow", flow_rate, True)):
        chosen = [p for n, p in model.named_parameters() if p.requires_grad and is_generation(n) is wanted]
        if chosen:
            groups.append({"params": chosen, "lr": rate, "weight_decay": weight_decay, "name": name})
    return groups


def clip_gradients(groups: Iterable[dict[str, object]], max_norm: float) -> dict[str, float]:
    """Bounds each group's gradient norm and returns the norms before."""
    return {
        str(group["name"]): float(torch.nn.utils.clip_grad_norm_(group["params"], max_norm))  # type: ignore[arg-type]
        for group in groups
    }
