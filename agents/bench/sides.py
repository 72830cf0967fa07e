"""The two sides compared: sessions in one batch with a growing cache, and one session after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter, process_time

import torch
from torch import Tensor

from editenv.agents.edit_r2.rollout import Rollout, RolloutSettings, collect
from editenv.agents.editor.checkpoint import Checkpoint
from editenv.agents.editor.growing import growing, rereading
from editenv.agents.metrics import Timer
from editenv.vector import MICEEditVectorEnv


@dataclass(frozen=True)
class Side:
    """What one side played.

    Attributes:
        rollouts: all rows in one, or one row each.
        turns: played.
        seconds, processor: by the clock, and by this process's processor time.
    """

    rollouts: tuple[Rollout, ...]
    turns: int
    seconds: float
    processor: float

    @property
    def turns_per_second(self) -> float:
        """By the clock."""
        return self.turns / self.seconds


@dataclass(frozen=True)
class Work:
    """An iteration's sessions.

    Attributes:
        checkpoint: whose model plays.
        settings: of the rollout.
        specs: session scripts; each is played `settings.rollouts` times.
        seed: of all that is drawn.
    """

    checkpoint: Checkpoint
    settings: RolloutSettings
    specs: int
    seed: int


def batched(work: Work, envs: MICEEditVectorEnv) -> Side:
    """All sessions in one batch, as training plays them: what was read of a session is kept."""
    return _timed(work, envs, [slice(0, work.specs * work.settings.rollouts)])


def plain(work: Work, env: MICEEditVectorEnv, rows: Sequence[int]) -> Side:
    """Some of the same sessions one after the other, all that a turn follows read anew in each turn."""
    return _timed(work, env, [slice(row, row + 1) for row in rows])


def _timed(work: Work, envs: MICEEditVectorEnv, parts: Sequence[slice]) -> Side:
    reader = growing if envs.num_envs > 1 else rereading
    started, begun = perf_counter(), process_time()
    rollouts = tuple(
        collect(work.checkpoint, envs, work.settings, work.seed, 0, work.specs, Timer(), part, reader=reader)
        for part in parts
    )
    seconds, processor = perf_counter() - started, process_time() - begun
    turns = sum(len(session.scores) for rollout in rollouts for session in rollout.sessions)
    return Side(rollouts, turns, seconds, processor)


@dataclass(frozen=True)
class Agreement:
    """How far the sides' outputs are apart, over the sessions that both played.

    A picture is rounded to 256 levels before the next turn reads it, so that rounding of floats may move a
    level, and a later turn then reads a picture that is another by that.

    Attributes:
        sessions: compared.
        turns: compared, up to each session's first one with another intent or another picture to edit.
        same_intents: share of those turns whose intents are the same token by token, in the same sessions.
        log_prob: largest difference of log-probs, tokens' and steps', in turns that begin alike.
        latents: largest difference of pictures' latents, in the same turns.
    """

    sessions: int
    turns: int
    same_intents: float
    log_prob: float
    latents: float


def agreement(one: Side, other: Side, rows: Sequence[int]) -> Agreement:
    """Compares the batched side's rows with the plain side's rollouts."""
    whole = one.rollouts[0].tensors
    same: list[bool] = []
    log_probs, latents = [0.0], [0.0]
    for row, rollout in zip(rows, other.rollouts, strict=True):
        mine = {name: value[row] for name, value in whole.items()}
        theirs = {name: value[0] for name, value in rollout.tensors.items()}
        for turn in range(theirs["reward"].shape[0]):
            pair = [_turn_of(side, turn) for side in (mine, theirs)]
            begun = torch.allclose(pair[0]["source"], pair[1]["source"], atol=1e-6)
            alike = _tokens(pair[0]) == _tokens(pair[1])
            # Only later pictures are the sides' own; the first are those of the sessions.
            same.append(alike and (begun or turn > 0))
            if not (alike and begun):
                break
            words = [side["text_log_prob"][side["intent_mask"]] for side in pair]
            steps = [side["flow_log_prob_mean"] for side in pair]
            log_probs += [_apart(*words), _apart(*steps)]
            latents.append(_apart(pair[0]["image"], pair[1]["image"]))
    return Agreement(len(rows), len(same), sum(same) / len(same), max(log_probs), max(latents))


def _turn_of(session: dict[str, Tensor], turn: int) -> dict[str, Tensor]:
    return {name: value[turn] for name, value in session.items() if name not in ("group_id", "names")}


def _tokens(turn: dict[str, Tensor]) -> list[int]:
    found: list[int] = turn["intent_ids"][turn["intent_mask"]].tolist()
    return found


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max()) if one.numel() else 0.0
