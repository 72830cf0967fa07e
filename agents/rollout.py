"""What a rollout is, which turn each of its rows plays next, and what rules may do in the policy's place."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from editenv.agents.policy import Turn, gather_history, stack_turns
from editenv.agents.settings import FILTERS, EditR2Settings
from editenv.protocols import Observations
from editenv.registry import load_class
from editenv.session import Session
from editenv.types import Image
from editenv.vector import MICEEditVectorEnv


@dataclass(frozen=True)
class RolloutBatch:
    """S finished sessions, rows of a group side by side, and their turns as tensors with K columns.

    Column k of a row is turn k of its session, unless rows branch off siblings after a failure.
    """

    sessions: tuple[Session, ...]
    # Tensors [S, K, ...] that training reads again: the policy's own (see policy.Turn) and
    # - `intent_ids`, `intent_mask`, `text_log_prob` [S, K, L]: what was sampled, the stop token included; the
    #   mask is all False where no intent was written or trains;
    # - `image` [S, K, N, C]: latents at t = 0;
    # - of the stochastic window, where there is one, `latents` [S, K, W + 1, N, C], `times` [S, K, W + 1],
    #   `flow_log_prob_mean` [S, K, W] (a mean over latent dimensions) and `flow_mean` [S, K, W, N, C].
    turns: Turn
    # [S, K] float64, both NaN where a judge gave no score; the reward is 0 after a session's end.
    reward: Tensor
    instruction_following: Tensor
    scored_mask: Tensor  # [S, K], True where a turn was played and scored
    group_id: Tensor  # [S], number of the session script
    rng_keys: Tensor  # [S, 4], (seed, iteration, script, rollout), of which all random numbers are a function
    turn_index: Tensor  # [S, K], which of its session's turns a column holds; -1 where none was played
    is_branch: Tensor  # [S, K], True at further tries of a sibling's turn, which lead nowhere
    start_state: Tensor  # [S, K, 2], row and column of the first turn that started from a turn's state
    # [S, K, K - 1], places s * K + k of the turns that lead to each turn, ending with the one before; -1: none.
    history: Tensor
    fallback_share: float  # of the intents written, those that gave way to the user's words


class Teacher(NamedTuple):
    """What rules do in the policy's place; None for what the policy does itself."""

    intents: Callable[[Observations], list[str]] | None = None
    images: Callable[[Observations, Sequence[str]], Sequence[Image]] | None = None
    imitated: bool = False  # whether the intents are stored as if the policy had written them


class WholeSessions:
    """Which turn each row plays next: the next one of its own session.

    `envs` are reset to the first turn; `groups` are the rows' scripts, those of a group side by side.
    """

    def __init__(self, envs: MICEEditVectorEnv, settings: EditR2Settings, groups: Sequence[int]) -> None:
        self.envs, self.settings, self.groups = envs, settings, list(groups)
        first: dict[int, int] = {}
        self.starts = [(first.setdefault(group, row), 0) for row, group in enumerate(groups)]
        # Places (row, column) of the turns that lead to each row's next one, oldest first.
        self.paths: list[tuple[tuple[int, int], ...]] = [() for _ in groups]
        self.is_branch = [False for _ in groups]
        # By column: the sessions, and by row that played: path, is_branch and start of the turn.
        self.log: list[tuple[tuple[Session, ...], dict[int, tuple[Any, ...]]]] = []

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

    def past(self, turns: Sequence[Turn], names: Sequence[str]) -> Turn:
        """What each row's next turn reads of the turns so far, as `gather_history` has it, [S, columns, ...]."""
        rows, columns = self.followed_rows(), len(turns)
        places = (rows * columns + torch.arange(columns)).masked_fill(rows < 0, -1)
        stacked = stack_turns([{name: turn[name] for name in names} for turn in turns])
        return {name: value[:, 0] for name, value in gather_history(stacked, places[:, None], names).items()}

    def end_turn(self, active: Sequence[bool], more: bool) -> Observations | None:
        """Notes a turn that the environments have just made, by the `active` rows, and whether `more` follow.

        Returns what is seen where rows do not simply go on, else None.
        """
        column, played = len(self.log), [row for row, plays in enumerate(active) if plays]
        turns = {row: (self.paths[row], self.is_branch[row], self.starts[row]) for row in played}
        self.log.append((self.envs.sessions, turns))
        for row in played:
            self.paths[row] = (*self.paths[row], (row, column))
            self.starts[row], self.is_branch[row] = (row, column + 1), False
        return None

    def tensors(self) -> dict[str, Tensor]:
        """All of RolloutBatch that is [S, K] or [S, K, ...] but for the turns' tensors."""
        columns = len(self.log)
        shape = len(self.paths), columns
        # A session that is over has no reward left to earn: 0, not NaN, so that returns are known.
        reward, following = torch.zeros(shape, dtype=torch.float64), torch.full(shape, math.nan, dtype=torch.float64)
        scored, branch = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.bool)
        index, start = torch.full(shape, -1), torch.full((*shape, 2), -1)
        history = torch.full((*shape, max(columns - 1, 0)), -1)
        for column, (sessions, played) in enumerate(self.log):
            for row, (path, is_branch, state) in played.items():
                index[row, column], branch[row, column] = len(path), is_branch
                start[row, column] = torch.tensor(state)
                if path:
                    history[row, column, -len(path) :] = torch.tensor([r * columns + c for r, c in path])
                scores = sessions[row].scores[len(path)]
                # A reward that is no number, or infinite, is none: NaN and not scored.
                known = scores.scored and math.isfinite(scores.reward)
                scored[row, column], reward[row, column] = known, scores.reward if known else math.nan
                if known and scores.instruction_following is not None:
                    following[row, column] = scores.instruction_following
        judged = {"reward": reward, "instruction_following": following, "scored_mask": scored}
        return judged | {"turn_index": index, "is_branch": branch, "start_state": start, "history": history}


class BranchFromSibling(WholeSessions):
    """After a failure a row samples further turns from states that its group has reached cleanly.

    Those are the next turns of siblings that have not failed, or, where none is left, the turn at which the last
    of them failed. Such a try leads nowhere: its row tries again in the next column.
    """

    def __init__(self, envs: MICEEditVectorEnv, settings: EditR2Settings, groups: Sequence[int]) -> None:
        super().__init__(envs, settings, groups)
        self.failed = [False for _ in groups]
        # By group: states as bytes, with their path and name.
        self.states = {group: [self._state(self.groups.index(group))] for group in dict.fromkeys(groups)}

    def _state(self, row: int) -> tuple[bytes, Any, Any]:
        return self.envs.get_state(row), self.paths[row], self.starts[row]

    def end_turn(self, active: Sequence[bool], more: bool) -> Observations | None:
        """See WholeSessions."""
        super().end_turn(active, more)
        self.failed = [before or now for before, now in zip(self.failed, self._failed(active), strict=True)]
        if not more:
            return None
        clean = [on and not failed for on, failed in zip(self.active(), self.failed, strict=True)]
        for group in self.states:
            rows = [row for row, own in enumerate(self.groups) if own == group and clean[row]]
            if rows:
                self.states[group] = [self._state(row) for row in rows]
        states, tries = {}, Counter[int]()
        for row, group in enumerate(self.groups):
            if self.failed[row]:
                known = self.states[group]
                states[row], self.paths[row], self.starts[row] = known[tries[group] % len(known)]
                self.is_branch[row] = True
                tries[group] += 1
        return self.envs.set_states(states)[0] if states else None

    def _failed(self, active: Sequence[bool]) -> list[bool]:
        """Whether each row's last turn failed, as the filter means it: what came after would not train."""
        following = [
            session.scores[-1].instruction_following if plays else None
            for session, plays in zip(self.envs.sessions, active, strict=True)
        ]
        known = [math.nan if value is None else value for value in following]
        scores = torch.tensor(known, dtype=torch.float64)[None, :, None].expand(-1, -1, 2)
        keeps = load_class("filter", self.settings.filter, FILTERS)
        filtered = keeps(scores, ~scores.isnan(), threshold=self.settings.filter_threshold)
        return (~filtered.loss_mask[0, :, 1]).tolist()


def script_numbers(seed: int, iteration: int, groups: int, sessions: int | None) -> list[int]:
    """Which scripts an iteration plays: the next ones, or with `sessions` those in the seed's next order."""
    places = range(iteration * groups, (iteration + 1) * groups)
    if sessions is None:
        return list(places)
    orders = {p // sessions: np.random.default_rng((seed, p // sessions)).permutation(sessions) for p in places}
    return [int(orders[p // sessions][p % sessions]) for p in places]
