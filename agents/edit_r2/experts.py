"""Which weights write and which draw: two groups with learning rates and gradient bounds of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import torch
from torch import nn

from editenv.agents.distributed import full_tensor
from editenv.registry import lookup

_GENERATION = ("_moe_gen", "vae2llm", "llm2vae", "time_embedder", "latent_pos_embed", "source2llm")
_LAYER = re.compile(r"\blayers\.(\d+)\.")
_BEHIND_KEYS = (
    "self_attn.q_proj.",
    "self_attn.q_norm.",
    "self_attn.o_proj.",
    "mlp.",
    "post_attention_layernorm.",
)


def is_generation(name: str) -> bool:
    """True for parameters of the generation expert and of what leads into and out of it."""
    return any(part in name for part in _GENERATION)


def unread_names(model: nn.Module) -> frozenset[str]:
    """Names of the understanding expert's weights that shape the words and no picture.

    Pictures read the understanding expert through its keys and values. In the last layer these follow from
    what enters the layer, so its queries, its output projection and its MLP, the final norm and the output
    words change what is written and nothing that a picture reads.
    """
    names = [name for name, _ in model.named_parameters() if not is_generation(name)]
    last = max(int(found[1]) for name in names if (found := _LAYER.search(name)))
    parts = (*(f"layers.{last}.{part}" for part in _BEHIND_KEYS), "model.norm.", "lm_head.")
    return frozenset(name for name in names if any(part in name for part in parts))


def freeze_experts(model: nn.Module, text: bool, flow: bool, text_scope: str = "expert") -> None:
    """Freezes an expert that is not trained; a weight of 0 alone leaves it gradients through attention.

    Args:
        model: the policy; parameters that are frozen already stay so.
        text: whether the understanding expert trains.
        flow: whether the generation expert trains.
        text_scope: one of TEXT_SCOPES.

    Raises:
        ValueError: the scope is unknown.
    """
    writing = lookup("text_scope", text_scope, TEXT_SCOPES)(model) if text else frozenset()
    for name, parameter in model.named_parameters():
        if not (flow if is_generation(name) else name in writing):
            parameter.requires_grad_(False)


def _whole_expert(model: nn.Module) -> frozenset[str]:
    return frozenset(name for name, _ in model.named_parameters() if not is_generation(name))


TEXT_SCOPES: dict[str, Callable[[nn.Module], frozenset[str]]] = {
    "expert": _whole_expert,
    "unread": unread_names,
}
"""Which weights text updates reach: the whole understanding expert, or only those that no picture reads."""


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
        str(group["name"]): float(full_tensor(torch.nn.utils.clip_grad_norm_(group["params"], max_norm)))  # type: ignore[arg-type]
        for group in groups
    }
