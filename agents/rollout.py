"""What a rollout is, which turn each of its rows plays next, and what rules may do in the policy's place."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from editenv.agents.policy import Turn
from editenv.agents.settings import FILTERS, EditR2Settings
from editenv.protocols import Observations
from editenv.registry import load_class
from editenv.session import Session
from editenv.types import Image
from editenv.vector import MICEEditVectorEnv

Timer = Callable[[str], AbstractContextManager[Any]]
"""Opened around a phase, by name."""


def no_timer(phase: str) -> AbstractContextManager[None]:
    """Times nothing."""
    return nullcontext()


@dataclass(frozen=True)
class RolloutBatch:
    """S finished sessions, rows of a group side by side, and their turns as tensors with K columns.

    Column k of a row is turn k of its session, unless rows branch off siblings after a failure.

    Attributes:
        sessions: the S sessions.
        turns: tensors [S, K, ...] that training reads again: the policy's own (see `policy.Turn`) and
            `intent_ids`, `intent_mask`, `text_log_prob` [S, K, L]: what was sampled, the stop token included;
            the mask is all False where no intent was written or trains;
            `image` [S, K, N, C]: latents at t = 0; and of the stochastic window, where there is one,
            `latents` [S, K, W + 1, N, C], `times` [S, K, W + 1], `flow_log_prob_mean` [S, K, W] (a mean over
            latent dimensions) and `flow_mean` [S, K, W, N, C].
        reward, instruction_following: [S, K] float64; NaN where a judge gave no score, reward 0 after a
            session's end.
        scored_mask: [S, K], True where a turn was played and scored.
        group_id: [S], number of the session script.
        rng_keys: [S, 4], (seed, iteration, script, rollout), of which all random numbers are a function.
        turn_index: [S, K], which of its session's turns a column holds; -1 where none was played.
        is_branch: [S, K], True at further tries of a sibling's turn, which lead nowhere.
        start_state: [S, K, 2], name of the state a turn starts from: row and column of the first turn that
            started there.
        history: [S, K, K - 1], places s * K + k of the turns that lead to each turn, ending with the one
            before; -1 for none.
        fallback_share: of the intents written, those that could not be used and gave way to the user's words.
    """

    sessions: tuple[Session, ...]
    turns: Turn
    reward: Tensor
    instruction_following: Tensor
    scored_mask: Tensor
    group_id: Tensor
    rng_keys: Tensor
    turn_index: Tensor
    is_branch: Tensor
    start_state: Tensor
    history: Tensor
    fallback_share: float


class Teacher(NamedTuple):
    """What rules do in the policy's place; None for what the policy does itself.

    Attributes:
        intents: right intents, given observations.
        images: images of intents, given observations too.
        imitated: whether the intents are stored as if the policy had written them.
    """

    intents: Callable[[Observations], list[str]] | None = None
    images: Callable[[Observations, Sequence[str]], Sequence[Image]] | None = None
    imitated: bool = False


class WholeSessions:
    """Which turn each row plays next: the next one of its own session.

    Args:
        envs: their rows, reset to the first turn.
        settings: of the algorithm.
        groups: script of each row; rows of a group lie side by side.
    """

    def __init__(self, envs: MICEEditVectorEnv, settings: EditR2Settings, groups: Sequence[int]) -> None:
        self.envs, self.settings, self.groups = envs, settings, list(groups)
        first: dict[int, int] = {}
        self.starts = [(first.setdefault(group, row), 0) for row, group in enumerate(groups)]
        # Places (row, column) of the turns that lead to each row's next one, oldest first.
        self.paths: list[tuple[tuple[int, int], ...]] = [() for _ in groups]
        self.is_branch = [False for _ in groups]
        self.log: list[dict[int, tuple[Any, ...]]] = []

    @property
    def turn_index(self) -> list[int]:
        """Which turn of its session each row plays next, from 0."""
        return [len(path) for path in self.paths]

    def active(self) -> list[bool]:
        """Which rows have a turn to play."""
        return [session.ending is None for session in self.envs.sessions]

    def followed_rows(self) -> Tensor:
        """From which row each row goes on in each earlier column, [S, columns]; -1 for none."""
        found = torch.full((len(self.paths), len(self.log)), -1)
        for row, (path, active) in enumerate(zip(self.paths, self.active(), strict=True)):
            if not active:  # whatever is read of it, it stays as it was
                found[row] = row
            for other, column in path if active else ():
                found[row, column] = other
        return found

    def end_turn(self, active: Sequence[bool], more: bool) -> Observations | None:
        """Notes a turn that the environments have just made.

        Args:
            active: which rows played it.
            more: whether another one follows.

        Returns:
            What is seen where rows do not simply go on, else None.
        """
        column = len(self.log)
        played = [row for row, plays in enumerate(active) if plays]
        self.log.append({row: (self.paths[row], self.is_branch[row], self.starts[row]) for row in played})
        for row in played:
            self.paths[row] = (*self.paths[row], (row, column))
            self.starts[row], self.is_branch[row] = (row, column + 1), False
        return None

    def tensors(self) -> dict[str, Tensor]:
        """`turn_index`, `is_branch`, `start_state` and `history` of RolloutBatch."""
        rows, columns = len(self.paths), len(self.log)
        index, start = torch.full((rows, columns), -1), torch.full((rows, columns, 2), -1)
        branch = torch.zeros(rows, columns, dtype=torch.bool)
        history = torch.full((rows, columns, max(columns - 1, 0)), -1)
        for column, played in enumerate(self.log):
            for row, (path, is_branch, state) in played.items():
                index[row, column], branch[row, column] = len(path), is_branch
                start[row, column] = torch.tensor(state)
                if path:
                    history[row, column, -len(path) :] = torch.tensor([r * columns + c for r, c in path])
        return {"turn_index": index, "is_branch": branch, "start_state": start, "history": history}


class BranchFromSibling(WholeSessions):
    """After a failure a row samples further turns from states that its group has reached cleanly.

    These are the next turns of sessions that have not failed; where there is none left, the turns at which
    the last of them failed. Such a try leads nowhere: its row tries again in the next column.
    """

    def __init__(self, envs: MICEEditVectorEnv, settings: EditR2Settings, groups: Sequence[int]) -> None:
        super().__init__(envs, settings, groups)
        self.failed = [False for _ in groups]
        # By group: states as bytes, with their path and name.
        self.states: dict[int, list[tuple[bytes, Any, Any]]] = {}
        for row, group in enumerate(groups):
            if group not in self.states:
                self.states[group] = [(envs.get_state(row), self.paths[row], self.starts[row])]

    def end_turn(self, active: Sequence[bool], more: bool) -> Observations | None:
        """See WholeSessions."""
        super().end_turn(active, more)
        failed = self._failed(active)
        self.failed = [before or now for before, now in zip(self.failed, failed, strict=True)]
        if not more:
            return None
        over = [not on for on in self.active()]
        for group in self.states:
            clean = [
                row for row, own in enumerate(self.groups) if own == group and not (self.failed[row] or over[row])
            ]
            if clean:
                self.states[group] = [(self.envs.get_state(row), self.paths[row], self.starts[row]) for row in clean]
        counts: dict[int, int] = {}
        states = {}
        for row, group in enumerate(self.groups):
            if self.failed[row]:
                count = counts.get(group, 0)
                state, path, start = self.states[group][count % len(self.states[group])]
                states[row], self.paths[row], self.starts[row] = state, path, start
                self.is_branch[row], counts[group] = True, count + 1
        return self.envs.set_states(states)[0] if states else None

    def _failed(self, active: Sequence[bool]) -> list[bool]:
        """Whether each row's last turn failed, as the filter means it: what came after would not train."""
        following = [
            session.scores[-1].instruction_following if plays else None
            for session, plays in zip(self.envs.sessions, active, strict=True)
        ]
        known = [math.nan if value is None else value for value in following]
        scores = torch.tensor(known, dtype=torch.float64)[None, :, None].expand(-1, -1, 2)
        filtered = load_class("filter", self.settings.filter, FILTERS)(
            scores, ~scores.isnan(), threshold=self.settings.filter_threshold
        )
        return (~filtered.loss_mask[0, :, 1]).tolist()


def script_numbers(seed: int, iteration: int, groups: int, sessions: int | None) -> list[int]:
    """Which scripts an iteration plays: the next ones, or with `sessions` those in the seed's next order."""
    places = range(iteration * groups, (iteration + 1) * groups)
    if sessions is None:
        return list(places)
    orders = {p // sessions: np.random.default_rng((seed, p // sessions)).permutation(sessions) for p in places}
    return [int(orders[p // sessions][p % sessions]) for p in places]


def turn_rewards(sessions: Sequence[Session], turns: Sequence[int | None]) -> dict[str, Tensor]:
    """`reward`, `instruction_following` and `scored_mask` [S] of one turn of each session; None: it is over.

    A reward that is no number, or infinite, is none: NaN and not scored. A session that is over has no reward
    left to earn: 0, not NaN, so that returns are known.
    """
    rewards, following, scored = [], [], []
    for session, turn in zip(sessions, turns, strict=True):
        scores = None if turn is None else session.scores[turn]
        if scores is None or not (scores.scored and math.isfinite(scores.reward)):
            rewards.append(0.0 if turn is None else math.nan)
            following.append(math.nan)
            scored.append(False)
            continue
        value = scores.instruction_following
        rewards.append(scores.reward)
        following.append(math.nan if value is None else value)
        scored.append(True)
    return {
        "reward": torch.tensor(rewards, dtype=torch.float64),
        "instruction_following": torch.tensor(following, dtype=torch.float64),
        "scored_mask": torch.tensor(scored),
    }
