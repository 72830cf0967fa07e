"""One turn of the unified model: write the intent, then generate the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from editenv.agents.editor.checkpoint import Checkpoint
from editenv.agents.editor.prompts import intent_block, transcript_block
from editenv.agents.flow.sample import Velocity, sample_ode
from editenv.agents.flow.schedule import shifted_times
from editenv.agents.unified import (
    Block,
    Context,
    GeneratedText,
    Guidance,
    GuidanceContexts,
    ImageBlock,
    build_guidance_contexts,
    generate_text,
    predict_velocity,
    prompt_logits,
)
from editenv.registry import lookup
from editenv.types import Image
from editenv.worlds.studio.intents import intent_form

CONTEXTS = {
    "current": "the transcript alone, then the current picture and its intent",
    "interleaved": "all pictures and intents so far, then the transcript; the same, then the intent",
}
"""What the intent is written from; what the picture is drawn from. "interleaved" is the published one."""


@dataclass(frozen=True)
class TurnSettings:
    """How a turn is generated.

    Attributes:
        intent_from_turn: first turn, from 1, at which an intent is written; before it the user's words serve.
        max_intent_tokens: most tokens of an intent, the stop token included.
        temperature: of the intent's tokens; 0 takes the likeliest.
        steps: steps of the flow from noise to picture.
        shift: of the time grid; above 1 spends more steps near the noise.
        context: a name in CONTEXTS.
        text_guidance, image_guidance: scales of the pictures' guidance; 1 is off.
        intent_form: a name in `intents.FORMS`, in which intents are given and carried out exactly; what a
            model writes is what it was taught.

    Raises:
        ValueError: the context or the form is not known.
    """

    intent_from_turn: int = 1
    max_intent_tokens: int = 20
    temperature: float = 0.0
    steps: int = 8
    shift: float = 2.0
    context: str = "current"
    text_guidance: float = 1.0
    image_guidance: float = 1.0
    intent_form: str = "free"

    def __post_init__(self) -> None:
        lookup("context", self.context, CONTEXTS)
        intent_form(self.intent_form)

    @property
    def intent_tokens(self) -> int:
        """Most tokens of an intent: as set, or as many as the form needs where those are more."""
        return max(self.max_intent_tokens, intent_form(self.intent_form).tokens)

    @property
    def interleaved(self) -> bool:
        """Whether the model reads the session's earlier pictures and intents."""
        return self.context == "interleaved"

    @property
    def guidance(self) -> Guidance:
        """Both scales."""
        return Guidance(self.text_guidance, self.image_guidance)

    def times(self) -> Tensor:
        """The time grid, [steps + 1], from 1 to 0."""
        return shifted_times(self.steps + 1, self.shift)


@torch.no_grad()
def encode(checkpoint: Checkpoint, pictures: Sequence[Image]) -> Tensor:
    """Latents [B, N, C] of uint8 pictures [H, W, 3], float32 whatever the model computes in."""
    device = checkpoint.model.device
    with torch.autocast(device.type, enabled=False):
        return checkpoint.autoencoder.encode(torch.from_numpy(np.stack(list(pictures))).to(device))


@torch.no_grad()
def decode(checkpoint: Checkpoint, latents: Tensor) -> list[Image]:
    """Pictures of latents [B, N, C]; near white bfloat16's steps are as large as a byte's."""
    with torch.autocast(latents.device.type, enabled=False):
        return list(checkpoint.autoencoder.decode(latents).cpu().numpy())


def write_intents(
    checkpoint: Checkpoint,
    transcripts: Sequence[Sequence[str]],
    settings: TurnSettings,
    uniforms: Tensor | None = None,
    before: Sequence[Block] | Context = (),
) -> GeneratedText:
    """Intents as tokens with log-probs.

    Args:
        checkpoint: of the model.
        transcripts: what was said so far.
        settings: of a turn.
        uniforms: [B, intent_tokens], for temperatures above 0.
        before: what is read before the transcript, or a context that has read it and is grown by it.
    """
    model = checkpoint.model
    with torch.no_grad():
        context = before if isinstance(before, Context) else model.build_context(before, len(transcripts))
        if context.length:
            prompt = transcript_block(checkpoint.tokenizer, transcripts).to(model.device)
            logits = prompt_logits(model, context, prompt)
        else:
            context, logits = _read_once(checkpoint, transcripts)
        numbers = None if uniforms is None else uniforms.to(model.device)
        return generate_text(
            model, context, logits, settings.intent_tokens, settings.temperature, uniforms=numbers
        )


def _read_once(checkpoint: Checkpoint, transcripts: Sequence[Sequence[str]]) -> tuple[Context, Tensor]:
    """The transcripts and the logits [B, V] behind them, where nothing precedes them.

    A spec's rollouts mostly hear the same words: each transcript is read once, whoever hears it.
    """
    model = checkpoint.model
    place: dict[tuple[str, ...], int] = {}
    rows = [place.setdefault(tuple(said), len(place)) for said in transcripts]
    prompt = transcript_block(checkpoint.tokenizer, list(place)).to(model.device)
    context = model.new_context(len(place))
    logits = prompt_logits(model, context, prompt)
    index = torch.tensor(rows, device=model.device)
    return context.select(index), logits[index]


def spoken(
    checkpoint: Checkpoint, written: GeneratedText, instructions: Sequence[str]
) -> tuple[list[str], list[bool]]:
    """Intents in words, and whether each had to fall back to the user's: where it is empty or never ended."""
    texts, fallbacks = [], []
    stop = checkpoint.tokenizer.eos_token_id
    for ids, mask, instruction in zip(written.ids.tolist(), written.mask.tolist(), instructions, strict=True):
        said = [token for token, real in zip(ids, mask, strict=True) if real]
        text = checkpoint.tokenizer.decode(said, skip_special_tokens=True).strip()
        failed = not text or said[-1] != stop
        texts.append(instruction if failed else text)
        fallbacks.append(failed)
    return texts, fallbacks


@torch.no_grad()
def conditioned(
    checkpoint: Checkpoint,
    latents: Tensor,
    intents: Sequence[str],
    settings: TurnSettings,
    before: Sequence[Block] = (),
) -> Velocity:
    """The guided velocity as a function of noisy latents and times alone.

    Args:
        checkpoint: of the model.
        latents: of the current pictures, [B, N, C].
        intents: what to do to them.
        settings: of a turn.
        before: what is read before the current picture.
    """
    intent = intent_block(checkpoint.tokenizer, intents).to(latents.device)
    blocks = [*before, ImageBlock(latents), intent]
    views = build_guidance_contexts(checkpoint.model, blocks, len(latents), settings.guidance)
    return velocity_under(checkpoint, views, latents, settings)


def velocity_under(
    checkpoint: Checkpoint, views: GuidanceContexts, latents: Tensor, settings: TurnSettings
) -> Velocity:
    """`conditioned` on views that were read before; they must not grow as long as it is called."""
    model, guidance = checkpoint.model, settings.guidance
    source = latents if model.config.source_channel else None
    return lambda x, t: predict_velocity(model, views, x, t, None, source, guidance)[0]


@torch.no_grad()
def generate(
    checkpoint: Checkpoint,
    latents: Tensor,
    intents: Sequence[str],
    noise: Tensor,
    settings: TurnSettings,
    before: Sequence[Block] = (),
) -> Tensor:
    """Latents [B, N, C] of the edited pictures, by the flow's ODE from noise [B, N, C].

    Arguments as `conditioned`.
    """
    return sample_ode(conditioned(checkpoint, latents, intents, settings, before), noise, settings.times())
