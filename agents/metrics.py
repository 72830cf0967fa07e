"""What a training logs: scores a turn, shares of turns, seconds and peak memory of an iteration's phases."""

from __future__ import annotations

import math
import resource
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from editenv.session import Session
from editenv.types import SCORE_NAMES

if TYPE_CHECKING:
    from editenv.agents.rollout import RolloutBatch

_TRAINERS_OWN = ("epoch", "step")
_APART = ("held_out", "last_held_out")


def rollout_metrics(
    rollout: RolloutBatch, advantages: dict[str, Tensor], used: Tensor, group_size: int
) -> dict[str, float]:
    """Flat numbers for a log, of a rollout whose turns the loss uses as `used`, bool [S, K], says.

    "NAME/K" is the mean of a score at turn K from 1 over the sessions where it applies; `filtered_share`,
    `unscored_share`, `fallback_share`; `intent_tokens`, the mean length of an intent; `constant_groups`, the share of
    groups whose rewards are all equal; `wasted_share`, the share of the turns played that the loss does not use.
    """
    keep, scored = advantages["loss_mask"], advantages["scored_mask"]
    own = (scored & ~rollout.is_branch).unflatten(0, (-1, group_size))
    played = used[rollout.turn_index >= 0]
    return {
        **turn_means(rollout.sessions),
        "filtered_share": float((~keep & scored).double().mean()),
        "unscored_share": float((~scored).double().mean()),
        "fallback_share": rollout.fallback_share,
        "intent_tokens": float(rollout.turns["intent_mask"].sum(-1).double().mean()),
        "constant_groups": constant_groups(rollout.reward.unflatten(0, (-1, group_size)), own),
        "wasted_share": float((~played).double().mean()) if len(played) else 0.0,
    }


def constant_groups(rewards: Tensor, scored: Tensor, tolerance: float = 1e-6) -> float:
    """Share of groups [group, rollout, turn] that teach nothing, because all their rewards are equal.

    Equality is a spread (largest minus smallest) within the tolerance: the float32 std of 18 equal rewards of
    0.85 is 6e-8 and not 0. A group without any scored turn teaches nothing either and counts.
    """
    counted = scored & ~rewards.isnan()
    largest = rewards.masked_fill(~counted, -torch.inf).amax(dim=(1, 2))
    smallest = rewards.masked_fill(~counted, torch.inf).amin(dim=(1, 2))
    return float((largest - smallest <= tolerance).double().mean())


def turn_means(sessions: Sequence[Session], prefix: str = "") -> dict[str, float]:
    """Means of each score at each turn under "{prefix}NAME/K", without scores that are no numbers.

    NaN where a score applied to no session.
    """
    turns, means = max(len(session.scores) for session in sessions), {}
    for name in ("reward", *SCORE_NAMES):
        for turn in range(turns):
            played = [session.scores[turn] for session in sessions if len(session.scores) > turn]
            values = [getattr(scores, name) for scores in played if scores.scored]
            known = [value for value in values if value is not None and math.isfinite(value)]
            means[f"{prefix}{name}/{turn + 1}"] = sum(known) / len(known) if known else math.nan
    return means


def group_by_turn(logs: Sequence[dict[str, Any]], updates: int) -> list[dict[str, Any]]:
    """TRL's flat logs as one dict an iteration, scores as a list a turn.

    Held-out scores stand in a dict of their own under "held_out", those after the last update under
    "last_held_out"; both are left out where there are none.
    """
    found = []
    for log in logs:
        if "reward/1" not in log:
            continue
        entry: dict[str, Any] = {"iteration": int(log["step"]) // updates - 1}
        for name, value in log.items():
            head, _, turn = name.rpartition("/")
            group, _, score = head.rpartition("/")
            if turn.isdigit() and group in _APART:
                entry.setdefault(group, {}).setdefault(score, []).append(value)
            elif turn.isdigit():
                entry.setdefault(head, []).append(value)
            elif name not in _TRAINERS_OWN:
                entry[name] = value
        found.append(entry)
    return found


class Timer:
    """Adds up the seconds of named phases until they are flushed."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Counts the time spent inside for a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - start

    def peek(self) -> dict[str, float]:
        """Seconds of each phase so far, by name."""
        return dict(self._seconds)

    def flush(self) -> dict[str, float]:
        """Seconds of each phase since the last call, under "seconds/NAME", and the peak memory in MiB."""
        taken = {f"seconds/{name}": seconds for name, seconds in self._seconds.items()}
        self._seconds.clear()
        return taken | {"peak_memory_mib": peak_memory_mib()}


def peak_memory_mib() -> float:
    """The most memory used so far: of the GPU where there is one, else of the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
