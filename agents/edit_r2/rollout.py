"""Rollouts: G sessions a spec, all turns, with everything the update needs of them as tensors.

One row is one session; the second dimension is the turn. Rows of a spec share a `group_id`, and nothing is
ever grouped by text. All randomness is a function of (seed, iteration, session, rollout, turn).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from editenv.agents.edit_r2.choice import chosen
from editenv.agents.edit_r2.padding import real, stack_turns, trimmed, with_past
from editenv.agents.edit_r2.stopwatch import Stopwatch
from editenv.agents.edit_r2.teacher import taught_turn
from editenv.agents.editor.checkpoint import Checkpoint
from editenv.agents.editor.noise import normals, uniforms
from editenv.agents.editor.prompts import intent_block, transcript_block
from editenv.agents.editor.turns import (
    TurnSettings,
    conditioned,
    decode,
    encode,
    spoken,
    write_intents,
)
from editenv.agents.flow.sample import sample_ode, sample_window
from editenv.agents.flow.schedule import PLACEMENTS
from editenv.agents.flow.sde import SAMPLERS
from editenv.agents.unified import Block, ImageBlock
from editenv.protocols import Observations
from editenv.session import Session
from editenv.vector import MICEEditVectorEnv

_TEXT, _START, _STEP, _WINDOW = range(4)


BEHAVIOURS = {
    "policy": "the model that is trained",
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

    Raises:
        ValueError: a name is not known, or the window leaves the time grid.
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

    def __post_init__(self) -> None:
        chosen("behaviour", self.behaviour, BEHAVIOURS)
        chosen("sampler", self.sampler, SAMPLERS)
        chosen("window_placement", self.window_placement, PLACEMENTS)
        if self.window_every < 1:
            raise ValueError(f"window_every is {self.window_every}, expected 1 or more")
        if self.window < 0 or not 0 <= self.window_low <= self.window_high <= self.turn.steps - self.window:
            raise ValueError(
                f"window is {self.window} with starts {self.window_low} to {self.window_high}, expected 0 or "
                f"more steps, all inside the grid's {self.turn.steps} steps"
            )


@dataclass(frozen=True)
class Rollout:
    """Finished sessions and their tensors, S sessions of at most K turns.

    Attributes:
        sessions: the S sessions, rows of a spec side by side.
        tensors: by name, each [S, K, ...] except group_id [S]; see `collect`.
        fallbacks: share of written intents that fell back to the user's words.
    """

    sessions: tuple[Session, ...]
    tensors: dict[str, Tensor]
    fallbacks: float


def collect(
    checkpoint: Checkpoint,
    envs: MICEEditVectorEnv,
    settings: RolloutSettings,
    seed: int,
    iteration: int,
    specs: int,
    watch: Stopwatch,
    rows: slice = slice(None),
) -> Rollout:
    """Plays sessions iteration * specs ... of the seed, `settings.rollouts` times each; `watch` takes times.

    Where several processes share the work, each plays its `rows` of them, the same numbers as if it were all.

    Returns:
        A rollout whose tensors are: `transcript_ids`, `transcript_mask` [S, K, L1]; `intent_ids`,
        `intent_mask`, `text_log_prob` [S, K, L2] (what was sampled, the stop token included; mask all False
        where none was written); `condition_ids`, `condition_mask` [S, K, L3] (what the picture was
        conditioned on); `source` and `image` [S, K, N, C], of the picture before and after; `latents` [S, K,
        W + 1, N, C]; `times` [S, K, W + 1]; `flow_log_prob_mean` [S, K, W]; `flow_mean` [S, K, W, N, C];
        `reward`, `instruction_following` [S, K]; `valid` [S, K], False where a turn was not scored;
        `group_id` [S]; `names` [S, 4], what the row's random numbers are a function of. An interleaved
        context adds what `with_past` returns. The oracle's turns have no log-probs, and neither they nor
        pictures by the ODE have anything of a window.
    """
    numbers = [iteration * specs + spec for spec in range(specs) for _ in range(settings.rollouts)]
    names = [(seed, iteration, number, row % settings.rollouts) for row, number in enumerate(numbers)]
    numbers, names = numbers[rows], names[rows]
    observations, _ = envs.reset(seed=seed, options={"sessions": numbers})
    turns: list[dict[str, Tensor]] = []
    lived, fallbacks = [], []
    for turn in range(envs.director.world.max_turns):
        alive = [session.ending is None for session in envs.sessions]
        if not any(alive):
            break
        if settings.behaviour == "oracle":
            tensors, actions = taught_turn(checkpoint, envs, observations, settings.turn, turn)
            fallen: list[bool] = []
        else:
            tensors, actions, fallen = _turn(checkpoint, observations, settings, names, turns, watch)
        with watch.phase("scoring"):
            observations, *_ = envs.step(actions)
        turns.append(tensors)
        lived.append(alive)
        # Before `intent_from_turn` nothing is written that could fall back.
        fallbacks += [fell for fell, lives in zip(fallen, alive, strict=bool(fallen)) if lives]
    # Only now: deferred scores come with the last turn.
    judged = [_judged(envs.sessions, alive, turn) for turn, alive in enumerate(lived)]
    stacked = stack_turns([tensors | scores for tensors, scores in zip(turns, judged, strict=True)])
    if settings.turn.interleaved:
        stacked |= with_past(stacked)
    stacked["group_id"], stacked["names"] = torch.tensor(numbers), torch.tensor(names)
    return Rollout(envs.sessions, stacked, sum(fallbacks) / max(len(fallbacks), 1))


def _turn(
    checkpoint: Checkpoint,
    observations: Observations,
    settings: RolloutSettings,
    names: Sequence[tuple[int, ...]],
    earlier: Sequence[dict[str, Tensor]],
    watch: Stopwatch,
) -> tuple[dict[str, Tensor], dict[str, Any], list[bool]]:
    """One turn of all rows: its tensors, the actions and which intents fell back."""
    turn = len(earlier)
    with watch.phase("image"):
        source = encode(checkpoint, observations["image"])
    past = _past(earlier) if settings.turn.interleaved else []
    with watch.phase("intent"):
        before = [*past, ImageBlock(source)] if settings.turn.interleaved else []
        text, intents, fallen = _intents(checkpoint, observations, settings.turn, names, turn, before)
    with watch.phase("image"):
        drawn, pictures = _picture(checkpoint, source, intents, settings, names, turn, past)
    return text | drawn, {"image": pictures, "intent": tuple(intents)}, fallen


def _picture(
    checkpoint: Checkpoint,
    source: Tensor,
    intents: Sequence[str],
    settings: RolloutSettings,
    names: Sequence[tuple[int, ...]],
    turn: int,
    past: Sequence[Block],
) -> tuple[dict[str, Tensor], NDArray[np.uint8]]:
    velocity = conditioned(checkpoint, source, intents, settings.turn, past)
    starts = [(*(name[:3] if settings.shared_noise else name), turn, _START) for name in names]
    shape = tuple(source.shape[1:])
    noise = normals(starts, shape).to(source.device)
    condition = intent_block(checkpoint.tokenizer, intents)
    tensors = {"condition_ids": condition.ids, "condition_mask": real(condition), "source": source}
    if settings.window == 0:
        image = sample_ode(velocity, noise, settings.turn.times())
        return tensors | {"image": image}, np.stack(decode(checkpoint, image))
    steps = normals([(*name, turn, _STEP) for name in names], (settings.window, *shape))
    places = uniforms([(*name, turn, _WINDOW) for name in names], 1)[:, 0]
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
    settings: TurnSettings,
    names: Sequence[tuple[int, ...]],
    turn: int,
    before: Sequence[Block],
) -> tuple[dict[str, Tensor], list[str], list[bool]]:
    transcripts = observations["transcript"]
    prompt = transcript_block(checkpoint.tokenizer, transcripts)
    text = {"transcript_ids": prompt.ids, "transcript_mask": real(prompt)}
    if turn + 1 < settings.intent_from_turn:
        nothing = torch.zeros(len(names), 1)
        text |= {"intent_ids": nothing.long(), "intent_mask": nothing.bool(), "text_log_prob": nothing}
        return text, list(observations["instruction"]), []
    numbers = uniforms([(*name, turn, _TEXT) for name in names], settings.intent_tokens)
    written = write_intents(checkpoint, transcripts, settings, numbers, before)
    intents, fallen = spoken(checkpoint, written, observations["instruction"])
    text |= {"intent_ids": written.ids, "intent_mask": written.mask, "text_log_prob": written.log_prob}
    return text, intents, fallen


def _past(turns: Sequence[dict[str, Tensor]]) -> list[Block]:
    """Earlier pictures and intents of rows that are all at the same turn."""
    blocks: list[Block] = []
    for turn in turns:
        intent = trimmed(turn["condition_ids"], turn["condition_mask"])
        blocks += [ImageBlock(turn["source"]), intent.to(turn["source"].device)]
    return blocks


def _judged(sessions: Sequence[Session], alive: Sequence[bool], turn: int) -> dict[str, Tensor]:
    """Rewards and what the filter reads, of one turn; NaN and not valid where unscored.

    A session that is over has no reward left to earn: 0, not NaN, so that returns are known.
    """
    scored = [
        session.scores[turn] if lives and session.scores[turn].scored else None
        for session, lives in zip(sessions, alive, strict=True)
    ]
    following = [None if scores is None else scores.instruction_following for scores in scored]
    return {
        "reward": torch.tensor(
            [
                s.reward if s is not None else float("nan") if lives else 0.0
                for s, lives in zip(scored, alive, strict=True)
            ],
            dtype=torch.float64,
        ),
        "instruction_following": torch.tensor(
            [float("nan") if value is None else value for value in following], dtype=torch.float64
        ),
        "valid": torch.tensor([s is not None for s in scored]),
    }
