"""Supervised training of the unified model: intents by cross entropy, edits by flow matching."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from editenv.agents.editor.prompts import answer_block, intent_block, transcript_block
from editenv.agents.pretrain.data import (
    ImageLesson,
    LatentTable,
    Lessons,
    TextLesson,
    image_lessons,
    text_lessons,
)
from editenv.agents.pretrain.progress import track
from editenv.agents.unified import ImageBlock, UnifiedModel

_LEAST_TIME = 0.25


@dataclass(frozen=True)
class Phase:
    """A stretch of training.

    Attributes:
        lessons: what is taught.
        image_steps: optimiser steps that see both kinds of lessons.
        text_steps: further steps, before those, that see text lessons alone.
        rate: peak learning rate; falls to zero along a cosine.
        image_batch, text_batch: lessons a step.
        changed_weight: weight of latent tokens that the edit changes, against 1 for the others.
    """

    lessons: Lessons
    image_steps: int
    text_steps: int = 0
    rate: float = 1.5e-3
    image_batch: int = 128
    text_batch: int = 24
    changed_weight: float = 4.0


def train_phase(
    model: UnifiedModel,
    tokenizer: PreTrainedTokenizerFast,
    table: LatentTable,
    phase: Phase,
    seed: int,
    grid: int,
    ema: float = 0.998,
) -> UnifiedModel:
    """Trains the model in place and returns the moving average of its weights.

    Args:
        model: to be trained.
        tokenizer: of its words.
        table: latents of scenes.
        phase: what is taught and how long.
        seed: of lessons, times and noise.
        grid: cells a side.
        ema: decay of the moving average.
    """
    generator = torch.Generator().manual_seed(seed)
    texts, images = text_lessons(phase.lessons, seed, grid), image_lessons(phase.lessons, seed, grid)
    optimizer = torch.optim.AdamW(model.parameters(), lr=phase.rate, weight_decay=1e-4, betas=(0.9, 0.99))
    total = phase.text_steps + phase.image_steps
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, phase.rate, total_steps=total, pct_start=0.05)
    average = copy.deepcopy(model).requires_grad_(False)
    for step in track(range(total), "unified model"):
        loss = text_loss(model, tokenizer, list(islice(texts, phase.text_batch)))
        if step >= phase.text_steps:
            lessons = list(islice(images, phase.image_batch))
            loss = loss + flow_loss(model, tokenizer, table, lessons, generator, phase.changed_weight)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        _average(average, model, min(ema, (1 + step) / (10 + step)))
    return average


def text_loss(model: UnifiedModel, tokenizer: PreTrainedTokenizerFast, lessons: list[TextLesson]) -> Tensor:
    """Mean cross entropy of the answers' tokens, the stop token included."""
    answers = answer_block(tokenizer, [lesson.intent for lesson in lessons])
    context = [transcript_block(tokenizer, [lesson.transcript for lesson in lessons])]
    logits = model(text_context=context, intent_ids=answers.ids, intent_mask=answers.mask).logits
    mask = torch.ones_like(answers.ids, dtype=torch.bool) if answers.mask is None else answers.mask
    return torch.nn.functional.cross_entropy(logits[mask].float(), answers.ids[mask])


def flow_loss(
    model: UnifiedModel,
    tokenizer: PreTrainedTokenizerFast,
    table: LatentTable,
    lessons: list[ImageLesson],
    generator: torch.Generator,
    changed_weight: float,
) -> Tensor:
    """Flow matching: squared error of the image read off the velocity, over max(t, 0.25)^2.

    x_t = (1 - t) image + t noise;  image predicted = x_t - t velocity;  t is logit-normal, shifted by 2.
    """
    before = table([lesson.before for lesson in lessons])
    after = table([lesson.after for lesson in lessons])
    t = shifted_logit_normal(len(lessons), generator)
    noise = torch.randn(after.shape, generator=generator)
    x = (1 - t)[:, None, None] * after + t[:, None, None] * noise
    context = [ImageBlock(before), intent_block(tokenizer, [lesson.intent for lesson in lessons])]
    source = before if model.config.source_channel else None
    velocity = model(image_context=context, x=x[:, None], t=t[:, None], source=source).velocity[:, 0]
    error = (x - t[:, None, None] * velocity - after).square().mean(-1)
    weight = 1 + (changed_weight - 1) * (before != after).any(-1)
    return (error * weight / t.clamp_min(_LEAST_TIME).square()[:, None]).mean()


def shifted_logit_normal(count: int, generator: torch.Generator, shift: float = 2.0) -> Tensor:
    """Times [count] in (0, 1): the logistic function of a normal number, then t <- s t / (1 + (s - 1) t)."""
    t = torch.sigmoid(torch.randn(count, generator=generator))
    return shift * t / (1 + (shift - 1) * t)


@torch.no_grad()
def _average(average: UnifiedModel, model: UnifiedModel, decay: float) -> None:
    for kept, now in zip(average.parameters(), model.parameters(), strict=True):
        kept.lerp_(now, 1 - decay)
