"""`editenv pretrain`: makes a checkpoint from a recipe, seeded, with a card that says what it was taught.

From top to bottom: the command; supervised training of the unified model (cross entropy and flow matching) and
of the small autoencoder.
"""

from __future__ import annotations

import copy
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from editenv.agents.distributed import use_threads
from editenv.agents.pretrain.card import mixed_scores, round_trip, suite_scores, write_card
from editenv.agents.pretrain.data import EditSample, LatentTable, TextSample, edit_samples, text_samples
from editenv.agents.unified.autoencoder import CellAutoencoder, CellAutoencoderConfig, reconstruction_loss
from editenv.agents.unified.config import UnifiedConfig
from editenv.agents.unified.context import ImageBlock
from editenv.agents.unified.model import UnifiedModel
from editenv.agents.unified.policy import (
    SHIPPED,
    UnifiedPolicy,
    answer_block,
    intent_block,
    load_autoencoder,
    transcript_block,
)
from editenv.agents.unified.tokenizer import SPECIAL_TOKENS, build_tokenizer
from editenv.configs.schema import AutoencoderRecipe, ModelRecipe, PretrainConfig, TrainingPhase
from editenv.worlds.studio.phrases import vocabulary
from editenv.worlds.studio.render import cell_pictures

_SMALLEST_TIME = 0.25
"""Times below count as this in the flow loss' weight 1 / t^2."""
_EMPTY_COPIES = 9
_LATENT_NOISE = 0.25


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


# Training


def train_phase(
    model: UnifiedModel,
    tokenizer: PreTrainedTokenizerFast,
    table: LatentTable,
    phase: TrainingPhase,
    seed: int,
    grid: int,
    ema: float = 0.998,
    form: str = "free",
) -> UnifiedModel:
    """Train the model in place and return the moving average of its weights, with decay `ema`.

    AdamW with a one-cycle schedule, gradients clipped to a norm of 1. Data, times and noise follow from the
    seed; `form` of the intents is a name in `intents.FORMS`.
    """
    generator = torch.Generator().manual_seed(seed)
    texts = text_samples(phase.data, seed, grid, form)
    edits = edit_samples(phase.data, seed, grid, form)
    optimizer = torch.optim.AdamW(model.parameters(), lr=phase.rate, weight_decay=1e-4, betas=(0.9, 0.99))
    total = phase.text_steps + phase.image_steps
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, phase.rate, total_steps=total, pct_start=0.05)
    average = copy.deepcopy(model).requires_grad_(False)
    for step in track(range(total), "unified model", transient=True):
        loss = text_loss(model, tokenizer, list(islice(texts, phase.text_batch)))
        if step >= phase.text_steps:
            batch = list(islice(edits, phase.image_batch))
            loss = loss + flow_loss(model, tokenizer, table, batch, generator, phase.changed_weight)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            decay = min(ema, (1 + step) / (10 + step))
            for kept, now in zip(average.parameters(), model.parameters(), strict=True):
                kept.lerp_(now, 1 - decay)
    return average


def text_loss(model: UnifiedModel, tokenizer: PreTrainedTokenizerFast, samples: list[TextSample]) -> Tensor:
    """Mean cross entropy of the intents' tokens, the stop token included."""
    answers = answer_block(tokenizer, [sample.intent for sample in samples])
    context = [transcript_block(tokenizer, [sample.transcript for sample in samples])]
    logits = model(text_context=context, intent_ids=answers.ids, intent_mask=answers.mask).logits
    return torch.nn.functional.cross_entropy(logits[answers.full_mask].float(), answers.ids[answers.full_mask])


def flow_loss(
    model: UnifiedModel,
    tokenizer: PreTrainedTokenizerFast,
    table: LatentTable,
    samples: list[EditSample],
    generator: torch.Generator,
    changed_weight: float,
) -> Tensor:
    """Flow matching: squared error of the image predicted from the velocity, over max(t, 0.25)^2.

    x_t = (1 - t) image + t noise;  predicted image = x_t - t velocity;  t is logit-normal, shifted by 2.
    Latent tokens that the edit changes weigh `changed_weight`, the others 1.
    """
    before = table([sample.before for sample in samples])
    after = table([sample.after for sample in samples])
    t = shifted_logit_normal(len(samples), generator)
    noise = torch.randn(after.shape, generator=generator)
    x = (1 - t)[:, None, None] * after + t[:, None, None] * noise
    context = [ImageBlock(before), intent_block(tokenizer, [sample.intent for sample in samples])]
    source = before if model.config.source_channel else None
    velocity = model(image_context=context, x=x[:, None], t=t[:, None], source=source).velocity[:, 0]
    error = (x - t[:, None, None] * velocity - after).square().mean(-1)
    weight = 1 + (changed_weight - 1) * (before != after).any(-1)
    return (error * weight / t.clamp_min(_SMALLEST_TIME).square()[:, None]).mean()


def shifted_logit_normal(count: int, generator: torch.Generator, shift: float = 2.0) -> Tensor:
    """Times [count] in (0, 1): the logistic function of a normal number, then t <- s t / (1 + (s - 1) t)."""
    t = torch.sigmoid(torch.randn(count, generator=generator))
    return shift * t / (1 + (shift - 1) * t)


def train_autoencoder(cell: int, seed: int, steps: int, rate: float = 2e-3) -> CellAutoencoder:
    """An autoencoder of cells of `cell` pixels, trained on all images that a cell can show at once.

    AdamW with a one-cycle schedule; the decoder gets latents with noise of standard deviation up to 0.25.
    Empty cells, the commonest of all in scenes, are several times in the batch.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = CellAutoencoder(CellAutoencoderConfig(stride=cell, width=384)).train()
    images = torch.from_numpy(np.array(cell_pictures(cell)))
    empty = images[:, 0].repeat(_EMPTY_COPIES, 1, 1, 1)
    batch = torch.cat([images.flatten(0, 1), empty])
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.05)
    for _ in track(range(steps), "autoencoder", transient=True):
        loss = reconstruction_loss(model, batch, generator, _LATENT_NOISE)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()
