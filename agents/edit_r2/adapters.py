"""LoRA adapters on what trains, and the model without them as the reference."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model

from editenv.agents.unified import UnifiedModel


def adapters(rank: int, alpha: float, text: bool, flow: bool) -> LoraConfig:
    """Adapters on attention and MLP of the experts that train.

    Args:
        rank: of the adapters, above 0.
        alpha: they are scaled by alpha / rank.
        text: whether the understanding expert trains.
        flow: whether the generation expert trains.
    """
    names = r"(q|k|v|o)_proj", r"(gate|up|down)_proj"
    of_text = [rf"self_attn\.{names[0]}", rf"mlp\.{names[1]}"] if text else []
    of_flow = [rf"self_attn\.{names[0]}_moe_gen", rf"mlp_moe_gen\.{names[1]}"] if flow else []
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        init_lora_weights="gaussian",
        target_modules=rf".*\.({'|'.join(of_text + of_flow)})",
    )


def blank_like(model: UnifiedModel | PeftModel) -> UnifiedModel | PeftModel:
    """A model of the same make, with adapters where it has some, to load its weights into."""
    if isinstance(model, PeftModel):
        return get_peft_model(UnifiedModel(model.config), model.active_peft_config)
    return UnifiedModel(model.config)


class WithoutAdapters(AbstractContextManager[Any]):
    """Switches a model's adapters off inside, and hands the model over.

    Args:
        model: with adapters.
    """

    def __init__(self, model: PeftModel) -> None:
        self.model, self.off = model, model.disable_adapter()

    def __enter__(self) -> PeftModel:
        self.off.__enter__()
        return self.model

    def __exit__(self, *error: Any) -> None:
        self.off.__exit__(*error)
