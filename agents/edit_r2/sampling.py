"""One turn of all rows of a rollout: what the model writes and draws, and what the update needs of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from editenv.agents.edit_r2.course import Course
from editenv.agents.edit_r2.padding import past_blocks, past_of, real, stack_turns
from editenv.agents.edit_r2.spending import SpendSettings
from editenv.agents.edit_r2.teacher import exact_pictures, right_intents
from editenv.agents.editor.checkpoint import Checkpoint
from editenv.agents.editor.growing import Reading
from editenv.agents.editor.noise import normals, uniforms
from editenv.agents.editor.prompts import intent_block, transcript_block
from editenv.agents.editor.turns import (
    TurnSettings,
    decode,
    encode,
    spoken,
    velocity_under,
    write_intents,
)
from editenv.agents.flow.sample import check_steps, sample_ode, sample_window
from editenv.agents.flow.schedule import PLACEMENTS
from editenv.agents.flow.sde import SAMPLERS
from editenv.agents.metrics import Timer
from editenv.agents.unified import Block
from editenv.protocols import Observations
from editenv.registry import lookup
from editenv.vector import MICEEditVectorEnv

_TEXT, _START, _STEP, _WINDOW = range(4)


BEHAVIOURS = {
    "policy": "the model that is trained",
    "right_intents": "the model draws, from right intents: no wrong one hides what pictures earn",
    "exact_pictures": "the model writes, rules draw: no failed picture hides what intents earn",
    "oracle": "right intents and right pictures, for objectives that imitate",
}


@dataclass(frozen=True)
class RolloutSettings:
    """How sessions are sampled for training.

    Attributes:
        turn: intents and time grid; its temperature is that of training.
        behaviour: who plays, a name in BEHAVIOURS.
        rollouts: sessions a spec, G.
        sampler: a name in SAMPLERS.
        noise_level: a of the stochastic steps.
        sigma_t_max: largest time inside sigma; None for no bound.
        window: stochastic steps a turn, W; 0 draws pictures by the ODE alone.
        window_low, window_high: first and last step at which the window may start.
        window_placement: a name in PLACEMENTS.
        window_every: iterations that a sliding window rests at a step.
        shared_noise: whether a spec's sessions start each turn's picture from the same noise.
        fallbacks_train: whether tokens train of intents that fell back to the user's words; published: True.
        spending: where turns go that failed sessions would waste.

    Raises:
        ValueError: a name is not known, the window leaves the time grid, or the sampler cannot make such
            steps.
    """

    turn: TurnSettings = field(default_factory=lambda: TurnSettings(temperature=0.9))
    behaviour: str = "policy"
    rollouts: int = 6
    sampler: str = "flow_sde"
    noise_level: float = 0.9
    sigma_t_max: float | None = 0.96
    window: int = 2
    window_low: int = 0
    window_high: int = 2
    window_placement: str = "random"
    window_every: int = 25
    shared_noise: bool = False
    fallbacks_train: bool = True
    spending: SpendSettings = SpendSettings()  # noqa: RUF009 - frozen

    def __post_init__(self) -> None:
        lookup("behaviour", self.behaviour, BEHAVIOURS)
        lookup("sampler", self.sampler, SAMPLERS)
        lookup("window_placement", self.window_placement, PLACEMENTS)
        if self.window_every < 1:
            raise ValueError(f"window_every is {self.window_every}, expected 1 or more")
        if self.window < 0 or not 0 <= self.window_low <= self.window_high <= self.turn.steps - self.window:
            raise ValueError(
                f"window is {self.window} with starts {self.window_low} to {self.window_high}, expected 0 or "
                f"more steps, all inside the grid's {self.turn.steps} steps"
            )
        if self.window:
            ends = (self.window_low, self.window_high + self.window - 1)
            sampler = SAMPLERS[self.sampler]
            check_steps(self.turn.times(), ends, sampler, self.noise_level, self.sigma_t_max)


def sampled_turn(
    checkpoint: Checkpoint,
    envs: MICEEditVectorEnv,
    observations: Observations,
    settings: RolloutSettings,
    names: Sequence[tuple[int, ...]],
    course: Course,
    earlier: Sequence[dict[str, Tensor]],
    reading: Reading,
    watch: Timer,
) -> tuple[dict[str, Tensor], dict[str, Any], list[bool | None]]:
    """One turn of all rows: its tensors, the actions and which intents fell back, None where none is."""
    column = len(earlier)
    with watch.phase("image"):
        source = encode(checkpoint, observations["image"])
        rows = course.past_rows(column)
        reading.see(source, rows, lambda: _past(earlier, rows))
    with watch.phase("intent"):
        writes = [place.turn + 1 >= settings.turn.intent_from_turn for place in course.next]
        if settings.behaviour == "right_intents":
            intents = right_intents(envs, observations, settings.turn)
            text, fallen = _unwritten(_prompt(checkpoint, observations))
        else:
            text, intents, fallen = _intents(
                checkpoint, observations, settings, names, column, writes, reading
            )
    starts = [(*name, column, _START) for name in names]
    if settings.shared_noise:
        starts = [(*name[:2], p.group, p.turn, _START) for name, p in zip(names, course.next, strict=True)]
    with watch.phase("image"):
        if settings.behaviour == "exact_pictures":
            drawn, pictures = exact_pictures(checkpoint, envs, observations, source, intents, settings.turn)
            if settings.turn.interleaved:
                # Nothing is drawn from it, but later turns follow the intent.
                reading.views(intent_block(checkpoint.tokenizer, intents).to(source.device))
            return text | drawn, {"image": pictures, "intent": tuple(intents)}, fallen
        drawn, pictures = _picture(checkpoint, source, intents, settings, names, starts, column, reading)
    return text | drawn, {"image": pictures, "intent": tuple(intents)}, fallen


def _picture(
    checkpoint: Checkpoint,
    source: Tensor,
    intents: Sequence[str],
    settings: RolloutSettings,
    names: Sequence[tuple[int, ...]],
    starts: Sequence[tuple[int, ...]],
    column: int,
    reading: Reading,
) -> tuple[dict[str, Tensor], NDArray[np.uint8]]:
    condition = intent_block(checkpoint.tokenizer, intents)
    views = reading.views(condition.to(source.device))
    velocity = velocity_under(checkpoint, views, source, settings.turn)
    shape = tuple(source.shape[1:])
    noise = normals(starts, shape).to(source.device)
    tensors = {"condition_ids": condition.ids, "condition_mask": real(condition), "source": source}
    if settings.window == 0:
        image = sample_ode(velocity, noise, settings.turn.times())
        return tensors | {"image": image}, np.stack(decode(checkpoint, image))
    steps = normals([(*name, column, _STEP) for name in names], (settings.window, *shape))
    places = uniforms([(*name, column, _WINDOW) for name in names], 1)[:, 0]
    sample = sample_window(
        velocity,
        noise,
        settings.turn.times(),
        PLACEMENTS[settings.window_placement](
            places, settings.window_low, settings.window_high, names[0][1], settings.window_every
        ).to(source.device),
        settings.window,
        settings.noise_level,
        steps.to(source.device),
        SAMPLERS[settings.sampler],
        settings.sigma_t_max,
    )
    tensors |= {
        "image": sample.final,
        "latents": sample.latents,
        "times": sample.times,
        "flow_log_prob_mean": sample.log_prob_mean,
        "flow_mean": sample.mean,
    }
    return tensors, np.stack(decode(checkpoint, sample.final))


def _intents(
    checkpoint: Checkpoint,
    observations: Observations,
    settings: RolloutSettings,
    names: Sequence[tuple[int, ...]],
    column: int,
    writes: Sequence[bool],
    reading: Reading,
) -> tuple[dict[str, Tensor], list[str], list[bool | None]]:
    transcripts, text = observations["transcript"], _prompt(checkpoint, observations)
    if not any(writes):
        text, none = _unwritten(text)
        return text, list(observations["instruction"]), none
    numbers = uniforms([(*name, column, _TEXT) for name in names], settings.turn.intent_tokens)
    written = write_intents(checkpoint, transcripts, settings.turn, numbers, reading.before_intent())
    intents, fallen = spoken(checkpoint, written, observations["instruction"])
    text |= {"intent_ids": written.ids, "intent_mask": written.mask, "text_log_prob": written.log_prob}
    trains = [
        own and (settings.fallbacks_train or not fell) for own, fell in zip(writes, fallen, strict=True)
    ]
    if all(trains):
        return text, intents, list(fallen)
    there = torch.tensor(trains, device=written.mask.device)[:, None]
    text |= {"intent_mask": written.mask & there, "text_log_prob": written.log_prob * there}
    said = observations["instruction"]
    intents = [intent if own else word for intent, own, word in zip(intents, writes, said, strict=True)]
    return text, intents, [fell if own else None for fell, own in zip(fallen, writes, strict=True)]


def _prompt(checkpoint: Checkpoint, observations: Observations) -> dict[str, Tensor]:
    prompt = transcript_block(checkpoint.tokenizer, observations["transcript"])
    return {"transcript_ids": prompt.ids, "transcript_mask": real(prompt)}


def _unwritten(prompt: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[bool | None]]:
    """A turn's text where the model writes no intent, and that none fell back."""
    nothing = torch.zeros(len(prompt["transcript_ids"]), 1)
    text = {"intent_ids": nothing.long(), "intent_mask": nothing.bool(), "text_log_prob": nothing}
    return prompt | text, [None] * len(nothing)


def _past(turns: Sequence[dict[str, Tensor]], rows: Tensor) -> list[Block]:
    """Pictures and intents of earlier columns that rows follow, as `Course.past_rows` names them, [B, c]."""
    if not turns:
        return []
    kept = ("source", "condition_ids", "condition_mask")
    device = turns[0]["source"].device
    stacked = stack_turns([{name: turn[name].to(device) for name in kept} for turn in turns])
    index = (rows * len(turns) + torch.arange(len(turns))).masked_fill(rows < 0, -1)
    past = past_of(stacked, index[:, None])
    return past_blocks({name: value[:, 0] for name, value in past.items()})
