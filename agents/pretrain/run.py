"""`editenv pretrain`: makes a checkpoint from a recipe, seeded, with a card that says what it was taught."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from editenv.agents.distributed import use_threads
from editenv.agents.pretrain.card import mixed_scores, round_trip, suite_scores, write_card
from editenv.agents.pretrain.data import LatentTable
from editenv.agents.pretrain.training import train_autoencoder, train_phase
from editenv.agents.unified.config import UnifiedConfig
from editenv.agents.unified.model import UnifiedModel
from editenv.agents.unified.policy import SHIPPED, UnifiedPolicy, load_autoencoder
from editenv.agents.unified.tokenizer import SPECIAL_TOKENS, build_tokenizer
from editenv.configs.schema import AutoencoderRecipe, ModelRecipe, PretrainConfig
from editenv.worlds.studio.phrases import vocabulary


def pretrain(config: PretrainConfig) -> dict[str, Any]:
    """Make what the recipe says, write it into `config.out` and return its card.

    Weights are written in half precision; the card's scores are those of the written weights.
    """
    use_threads(config.threads)
    torch.manual_seed(config.seed)
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out) as probe:  # before minutes of training that could not be kept
        probe.write(bytes(4096))
    if isinstance(config.recipe, AutoencoderRecipe):
        card = _autoencoder(config.recipe, config.seed, out)
    else:
        card = _model(config.recipe, config.seed, out)
    write_card(card, out)
    return card


def _autoencoder(recipe: AutoencoderRecipe, seed: int, out: Path) -> dict[str, Any]:
    """The autoencoder; its card holds the share of scenes that survive it, by the latents' noise."""
    started = time.perf_counter()
    autoencoder = train_autoencoder(recipe.cell, seed, recipe.steps, recipe.rate)
    seconds, weights = time.perf_counter() - started, autoencoder.state_dict()
    halved = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    autoencoder.save_pretrained(out, state_dict=halved)
    return {
        "name": recipe.name,
        "seed": seed,
        "steps": recipe.steps,
        "seconds": round(seconds),
        "exact_scenes": round_trip(load_autoencoder(out), recipe.cell * 4, grid=4),
    }


def _model(recipe: ModelRecipe, seed: int, out: Path) -> dict[str, Any]:
    """A unified model, phase by phase; its card holds the scores of the checkpoint as it is written."""
    started, grid, form = time.perf_counter(), recipe.grid, recipe.intent_form
    checkpoint = UnifiedPolicy.load(Path(recipe.start)) if recipe.start else _new_checkpoint(recipe)
    table = LatentTable(checkpoint.autoencoder, checkpoint.autoencoder.config.token_side)
    model = checkpoint.model
    for number, phase in enumerate(recipe.phases):
        model.train().requires_grad_(True)
        model = train_phase(model, checkpoint.tokenizer, table, phase, seed + number, grid, recipe.ema, form)
        # Weights are shipped in half precision: a phase that starts from such is the same on its own.
        model.half().float()
    seconds = time.perf_counter() - started
    checkpoint.model = model.eval()
    checkpoint.save(out, torch.float16)
    written = UnifiedPolicy.load(out)
    return {
        "name": recipe.name,
        "taught": recipe.taught,
        "not_taught": recipe.not_taught,
        "seed": seed,
        "start": recipe.start,
        "intent_form": form,
        "seconds": round(seconds),
        "parameters": sum(parameter.numel() for parameter in written.model.parameters()),
        "scores": mixed_scores(written, grid, recipe.card_sessions, seed, form),
        "everywhere": suite_scores(written, grid, recipe.suite_sessions, seed, form),
    }


def _new_checkpoint(recipe: ModelRecipe) -> UnifiedPolicy:
    """A model with random weights beside an autoencoder and a tokenizer of the studio's words."""
    autoencoder = load_autoencoder(Path(recipe.autoencoder) if recipe.autoencoder else SHIPPED / "autoencoder")
    tokenizer = build_tokenizer(vocabulary())
    pad, bos, eos, soi, eoi = (SPECIAL_TOKENS.index(f"<{name}>") for name in ("pad", "bos", "eos", "soi", "eoi"))
    config = UnifiedConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=1024,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
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
    return UnifiedPolicy(UnifiedModel(config), autoencoder, tokenizer, recipe.name)
