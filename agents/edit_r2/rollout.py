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
from editenv.agents.edit_r2.course import Course, course_of
from editenv.agents.edit_r2.curriculum import Stages, check_stages, turns_at
from editenv.agents.edit_r2.padding import past_blocks, past_of, real, stack_turns, with_past
from editenv.agents.edit_r2.places import Places, past_index
from editenv.agents.edit_r2.played import Played, both, judged_turns
from editenv.agents.edit_r2.spending import SpendSettings
from editenv.agents.edit_r2.stages import mixed_first, others_like
from editenv.agents.edit_r2.stopwatch import Stopwatch
from editenv.agents.edit_r2.teacher import taught_turn
from editenv.agents.editor.checkpoint import Checkpoint
from editenv.agents.editor.growing import Reader, Reading, growing, rereading
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
from editenv.agents.flow.sample import sample_ode, sample_window
from editenv.agents.flow.schedule import PLACEMENTS
from editenv.agents.flow.sde import SAMPLERS
from editenv.agents.unified import Block
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
        curriculum: to how many turns sessions are played, by iteration; see `check_stages`.
        temperature_end: of the last iteration, on a straight line from the turn's; None keeps that one.
        spending: where turns go that failed sessions would waste.

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
    curriculum: Stages = ()
    temperature_end: float | None = None
    spending: SpendSettings = SpendSettings()  # noqa: RUF009 - frozen

    def __post_init__(self) -> None:
        chosen("behaviour", self.behaviour, BEHAVIOURS)
        chosen("sampler", self.sampler, SAMPLERS)
        chosen("window_placement", self.window_placement, PLACEMENTS)
        check_stages(self.curriculum)
        if self.window_every < 1:
            raise ValueError(f"window_every is {self.window_every}, expected 1 or more")
        if self.temperature_end is not None and not self.temperature_end > 0:
            raise ValueError(f"temperature_end is {self.temperature_end}, expected above 0 or null")
        if self.window < 0 or not 0 <= self.window_low <= self.window_high <= self.turn.steps - self.window:
            raise ValueError(
                f"window is {self.window} with starts {self.window_low} to {self.window_high}, expected 0 or "
                f"more steps, all inside the grid's {self.turn.steps} steps"
            )


@dataclass(frozen=True)
class Rollout:
    """Finished sessions and their tensors, S sessions of at most K turns.

    Attributes:
        sessions: the S sessions, rows of a spec side by side; further attempts of their rows are not here.
        tensors: by name, each [S, K, ...] except group_id [S]; see `collect`.
        fallbacks: share of written intents that fell back to the user's words.
        places: which turn of which attempt each place of the tensors holds; None where column k of each row
            is turn k of its session, and `rollouts` rows are a spec's.
    """

    sessions: tuple[Session, ...]
    tensors: dict[str, Tensor]
    fallbacks: float
    places: Places | None = None


def collect(
    checkpoint: Checkpoint,
    envs: MICEEditVectorEnv,
    settings: RolloutSettings,
    seed: int,
    iteration: int,
    specs: int,
    watch: Stopwatch,
    rows: slice = slice(None),
    reader: Reader = growing,
) -> Rollout:
    """Plays sessions iteration * specs ... of the seed, `settings.rollouts` times each; `watch` takes times.

    Where several processes share the work, each plays its `rows` of them, the same numbers as if it were all.
    `reader` makes what keeps a context from turn to turn.

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
    everyone, first = range(len(numbers)), settings.spending.first_rollouts
    if not first:
        played = _play(checkpoint, envs, settings, numbers, names, everyone, watch, reader)
    else:
        early = [row for row in everyone if names[row][3] < first]
        late = [row for row in everyone if names[row][3] >= first]
        begun = _play(checkpoint, others_like(envs, len(early)), settings, numbers, names, early, watch)
        given = mixed_first(begun.tensors["reward"], begun.tensors["valid"], begun.places, early, len(late))
        for row, number in zip(late, given, strict=True):
            numbers[row] = number
        ended = _play(checkpoint, others_like(envs, len(late)), settings, numbers, names, late, watch)
        played = both(begun, ended, [*early, *late])
    stacked, places = played.tensors, played.places if settings.spending.unusual else None
    if settings.turn.interleaved:
        stacked |= with_past(
            stacked, None if places is None else past_index(places, *stacked["reward"].shape)
        )
    stacked["group_id"], stacked["names"] = torch.tensor(numbers), torch.tensor(names)
    return Rollout(played.sessions, stacked, sum(played.fallen) / max(len(played.fallen), 1), places)


def _play(
    checkpoint: Checkpoint,
    envs: MICEEditVectorEnv,
    settings: RolloutSettings,
    numbers: Sequence[int],
    names: Sequence[tuple[int, ...]],
    rows: Sequence[int],
    watch: Stopwatch,
    reader: Reader = rereading,
) -> Played:
    """All turns of some rows of the numbers and names; there are as many environments.

    Rows that may go on elsewhere than they were read anew in each turn.
    """
    numbers, names = [numbers[row] for row in rows], [names[row] for row in rows]
    observations, _ = envs.reset(seed=names[0][0], options={"sessions": numbers})
    columns = turns_at(settings.curriculum, names[0][1], envs.director.world.max_turns)
    first = envs.sessions
    course = course_of(envs, settings.spending, numbers, rows)
    kept = rereading if settings.spending.unusual else reader
    reading = kept(checkpoint.model, settings.turn, len(rows))
    turns: list[dict[str, Tensor]] = []
    lived, fallbacks = [], []
    for column in range(columns):
        alive = course.alive
        if not any(alive):
            break
        if settings.behaviour == "oracle":
            tensors, actions = taught_turn(checkpoint, envs, observations, settings.turn, column)
            fallen: list[bool | None] = [None] * len(rows)
        else:
            where = (checkpoint, observations, settings, names)
            tensors, actions, fallen = _turn(*where, course, turns, reading, watch)
        playing = [p.turn if lives else None for p, lives in zip(course.next, alive, strict=True)]
        lived.append((envs.sessions, playing))
        with watch.phase("scoring"):
            observations, *_ = envs.step(actions)
            turned = course.played(alive, column, columns)
        observations = observations if turned is None else turned
        turns.append(tensors)
        fallbacks += [fell for fell, lives in zip(fallen, alive, strict=True) if lives and fell is not None]
    # Only now: deferred scores come with the last turn.
    judged = [judged_turns(*turn) for turn in lived]
    stacked = stack_turns([tensors | scores for tensors, scores in zip(turns, judged, strict=True)])
    return Played(first, stacked, fallbacks, course.places)


def _turn(
    checkpoint: Checkpoint,
    observations: Observations,
    settings: RolloutSettings,
    names: Sequence[tuple[int, ...]],
    course: Course,
    earlier: Sequence[dict[str, Tensor]],
    reading: Reading,
    watch: Stopwatch,
) -> tuple[dict[str, Tensor], dict[str, Any], list[bool | None]]:
    """One turn of all rows: its tensors, the actions and which intents fell back, None where none is."""
    column = len(earlier)
    with watch.phase("image"):
        source = encode(checkpoint, observations["image"])
        reading.see(source, lambda: _past(earlier, course))
    with watch.phase("intent"):
        writes = [place.turn + 1 >= settings.turn.intent_from_turn for place in course.next]
        text, intents, fallen = _intents(
            checkpoint, observations, settings.turn, names, column, writes, reading
        )
    starts = [(*name, column, _START) for name in names]
    if settings.shared_noise:
        starts = [(*name[:2], p.group, p.turn, _START) for name, p in zip(names, course.next, strict=True)]
    with watch.phase("image"):
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
    settings: TurnSettings,
    names: Sequence[tuple[int, ...]],
    column: int,
    writes: Sequence[bool],
    reading: Reading,
) -> tuple[dict[str, Tensor], list[str], list[bool | None]]:
    transcripts = observations["transcript"]
    prompt = transcript_block(checkpoint.tokenizer, transcripts)
    text = {"transcript_ids": prompt.ids, "transcript_mask": real(prompt)}
    if not any(writes):
        nothing = torch.zeros(len(names), 1)
        text |= {"intent_ids": nothing.long(), "intent_mask": nothing.bool(), "text_log_prob": nothing}
        return text, list(observations["instruction"]), [None] * len(names)
    numbers = uniforms([(*name, column, _TEXT) for name in names], settings.intent_tokens)
    written = write_intents(checkpoint, transcripts, settings, numbers, reading.before_intent())
    intents, fallen = spoken(checkpoint, written, observations["instruction"])
    text |= {"intent_ids": written.ids, "intent_mask": written.mask, "text_log_prob": written.log_prob}
    if all(writes):
        return text, intents, list(fallen)
    there = torch.tensor(writes, device=written.mask.device)[:, None]
    text |= {"intent_mask": written.mask & there, "text_log_prob": written.log_prob * there}
    said = observations["instruction"]
    intents = [intent if own else word for intent, own, word in zip(intents, writes, said, strict=True)]
    return text, intents, [fell if own else None for fell, own in zip(fallen, writes, strict=True)]


def _past(turns: Sequence[dict[str, Tensor]], course: Course) -> list[Block]:
    """Pictures and intents before the turn that each row plays next."""
    if not turns:
        return []
    kept = ("source", "condition_ids", "condition_mask")
    device = turns[0]["source"].device
    stacked = stack_turns([{name: turn[name].to(device) for name in kept} for turn in turns])
    local = {row: here for here, row in enumerate(course.rows)}
    index = torch.full((len(local), 1, len(turns)), -1)
    for here, place in enumerate(course.next):
        for back, (row, column) in enumerate(reversed(place.past)):
            index[here, 0, -1 - back] = local[row] * len(turns) + column
    return past_blocks({name: value[:, 0] for name, value in past_of(stacked, index).items()})
