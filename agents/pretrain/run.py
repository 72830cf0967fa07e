"""`editenv pretrain`: makes a checkpoint from a recipe, seeded, with a card that says what it was taught."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from editenv.agents.distributed import use_threads
from editenv.agents.editor.checkpoint import (
    SHIPPED,
    Checkpoint,
    load_autoencoder,
    load_checkpoint,
    save_checkpoint,
)
from editenv.agents.pretrain.autoencoder import train_autoencoder
from editenv.agents.pretrain.card import card_scores, round_trip, write_card
from editenv.agents.pretrain.data import LatentTable, Lessons
from editenv.agents.pretrain.suitescores import scores_everywhere
from editenv.agents.pretrain.unified import Phase, train_phase
from editenv.agents.unified import UnifiedConfig, UnifiedModel
from editenv.agents.unified.tokenizer import SPECIAL_TOKENS, build_tokenizer
from editenv.configs.schema import AutoencoderRecipe, ModelRecipe, PhaseConfig, PretrainConfig
from editenv.worlds.studio.language import vocabulary


def pretrain(config: PretrainConfig) -> dict[str, Any]:
    """Makes what the recipe says, writes it into `config.out` and returns its card.

    Weights are written in half precision; the card's scores are those of the written weights.
    """
    use_threads(config.threads)
    torch.manual_seed(config.seed)
    make = make_autoencoder if isinstance(config.recipe, AutoencoderRecipe) else make_model
    return make(config.recipe, config.seed, Path(config.out))


def make_autoencoder(recipe: AutoencoderRecipe, seed: int, out: Path) -> dict[str, Any]:
    """The autoencoder; its card holds the share of scenes that survive it, by the latents' noise."""
    started = time.perf_counter()
    autoencoder = train_autoencoder(recipe.cell, seed, recipe.steps, recipe.rate)
    seconds = time.perf_counter() - started
    weights = {
        name: value.half() if value.is_floating_point() else value
        for name, value in autoencoder.state_dict().items()
    }
    autoencoder.save_pretrained(out, state_dict=weights)
    shares = round_trip(load_autoencoder(out), recipe.cell * 4, grid=4)
    card = {
        "name": recipe.name,
        "seed": seed,
        "steps": recipe.steps,
        "seconds": round(seconds),
        "exact_scenes": shares,
    }
    (out / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return card


def make_model(recipe: ModelRecipe, seed: int, out: Path) -> dict[str, Any]:
    """A unified model, phase by phase."""
    started = time.perf_counter()
    checkpoint = load_checkpoint(recipe.start) if recipe.start else new_checkpoint(recipe)
    cell = checkpoint.autoencoder.config.token_side
    table = LatentTable(checkpoint.autoencoder, cell)
    model = checkpoint.model
    for number, config in enumerate(recipe.phases):
        model.train().requires_grad_(True)
        phase = as_phase(config, recipe.intent_form)
        model = train_phase(model, checkpoint.tokenizer, table, phase, seed + number, recipe.grid, recipe.ema)
        # Weights are shipped in half precision: a phase that starts from such is the same on its own.
        model.half().float()
    seconds = time.perf_counter() - started
    checkpoint.model = model.eval()
    save_checkpoint(checkpoint, out, torch.float16)
    return measured_card(recipe, seed, out, seconds)


def measured_card(recipe: ModelRecipe, seed: int, out: Path, seconds: float) -> dict[str, Any]:
    """Measures the checkpoint in `out` as it is written, and writes its card beside it."""
    checkpoint, form = load_checkpoint(out), recipe.intent_form
    size = checkpoint.autoencoder.config.token_side * recipe.grid
    card = {
        "name": recipe.name,
        "taught": recipe.taught,
        "not_taught": recipe.not_taught,
        "seed": seed,
        "start": recipe.start,
        "intent_form": form,
        "seconds": round(seconds),
        "parameters": sum(parameter.numel() for parameter in checkpoint.model.parameters()),
        "scores": card_scores(checkpoint, size, recipe.grid, recipe.card_sessions, seed, form),
        "everywhere": scores_everywhere(checkpoint, size, recipe.grid, recipe.suite_sessions, seed, form),
    }
    write_card(card, out)
    return card


def as_phase(config: PhaseConfig, intent_form: str = "free") -> Phase:
    """A phase as the settings describe it, its intents in a form."""
    values = asdict(config)
    lessons = values.pop("lessons")
    lessons |= {"suites": tuple(lessons["suites"]), "intent_form": intent_form}
    return Phase(Lessons(**lessons), **values)


def new_checkpoint(recipe: ModelRecipe) -> Checkpoint:
    """A model with random weights beside an autoencoder and a tokenizer of the studio's words."""
    autoencoder = load_autoencoder(
        Path(recipe.autoencoder) if recipe.autoencoder else SHIPPED / "autoencoder"
    )
    tokenizer = build_tokenizer(vocabulary())
    pad, bos, eos, soi, eoi = (
        SPECIAL_TOKENS.index(f"<{name}>") for name in ("pad", "bos", "eos", "soi", "eoi")
    )
    config = UnifiedConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=1024,
        rope_theta=10_000.0,
        latent_patch_size=1,
        latent_channels=autoencoder.config.latent_dim,
        max_latent_size=recipe.grid,
        pad_token_id=pad,
        bos_token_id=bos,
        eos_token_id=eos,
        start_of_image_id=soi,
        end_of_image_id=eoi,
        source_channel=True,
        residual_prediction=True,
        adaptive_norm=True,
    )
    return Checkpoint(UnifiedModel(config), autoencoder, tokenizer, recipe.name)
