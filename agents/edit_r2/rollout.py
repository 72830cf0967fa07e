"""Rollouts: G sessions a spec, all turns, with everything the update needs of them as tensors.

One row is one session; the second dimension is the turn. Rows of a spec share a `group_id`, and nothing is
ever grouped by text. All randomness is a function of (seed, iteration, session, rollout, turn).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editenv.agents.edit_r2.course import course_of
from editenv.agents.edit_r2.padding import stack_turns, with_past
from editenv.agents.edit_r2.places import Places, past_index
from editenv.agents.edit_r2.played import Played, judged_turns
from editenv.agents.edit_r2.sampling import RolloutSettings, sampled_turn
from editenv.agents.edit_r2.teacher import taught_turn
from editenv.agents.editor.checkpoint import Checkpoint
from editenv.agents.editor.growing import Reader, growing
from editenv.agents.metrics import Timer
from editenv.protocols import Observations
from editenv.session import Session
from editenv.vector import MICEEditVectorEnv


@dataclass(frozen=True)
class Rollout:
    """Finished sessions and their tensors, S sessions of at most K turns.

    Attributes:
        sessions: the S sessions, rows of a spec side by side.
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
    watch: Timer,
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
    everyone = range(len(numbers))
    played = _play(checkpoint, envs, settings, numbers, names, everyone, watch, reader)
    stacked, places = played.tensors, played.places if settings.spending.branches else None
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
    watch: Timer,
    reader: Reader,
) -> Played:
    """All turns of the rows that have these numbers and names; there are as many environments."""
    observations: Observations
    observations, _ = envs.reset(seed=names[0][0], options={"sessions": numbers})
    columns = envs.engine.world.max_turns
    first = envs.sessions
    course = course_of(envs, settings.spending, numbers, rows)
    reading, device = reader(checkpoint.model, settings.turn, len(rows)), checkpoint.model.device
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
            where = (checkpoint, envs, observations, settings, names)
            tensors, actions, fallen = sampled_turn(*where, course, turns, reading, watch)
        playing = [p.turn if lives else None for p, lives in zip(course.next, alive, strict=True)]
        lived.append((envs.sessions, playing))
        with watch.phase("scoring"):
            observations, *_ = envs.step(actions)
            turned = course.played(alive, column, columns)
        observations = observations if turned is None else dict(turned)
        # Prompts are made on the CPU and what is sampled is not; turns of either kind have to be stacked.
        turns.append({name: value.to(device) for name, value in tensors.items()})
        fallbacks += [fell for fell, lives in zip(fallen, alive, strict=True) if lives and fell is not None]
    # Only now: deferred scores come with the last turn.
    judged = [judged_turns(*turn) for turn in lived]
    stacked = stack_turns([tensors | scores for tensors, scores in zip(turns, judged, strict=True)])
    return Played(first, stacked, fallbacks, course.places)
