"""What a rollout tells the log: scores a turn, and the shares of what was filtered, unscored or fell back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from editenv.agents.edit_r2.rollout import Rollout
from editenv.session import Session
from editenv.types import SCORE_NAMES

_SCORES = ("reward", *SCORE_NAMES)
_TRAINERS_OWN = ("epoch", "step")


def rollout_metrics(rollout: Rollout, keep: Tensor, valid: Tensor) -> dict[str, float]:
    """Flat numbers for a log.

    Args:
        rollout: what was played.
        keep: which turns the filter lets train, bool [S, K].
        valid: which turns were scored, bool [S, K].

    Returns:
        "NAME/K" the mean of a score at turn K from 1 over the sessions where it applies; `filtered_share`,
        `unscored_share`, `fallback_share` and `intent_tokens`, the mean length of an intent.
    """
    mask = rollout.tensors["intent_mask"]
    return {
        **turn_means(rollout.sessions),
        "filtered_share": float((~keep & valid).double().mean()),
        "unscored_share": float((~valid).double().mean()),
        "fallback_share": rollout.fallbacks,
        "intent_tokens": float(mask.sum(-1).double().mean()),
    }


def turn_means(sessions: Sequence[Session], prefix: str = "") -> dict[str, float]:
    """Means of each score at each turn under "{prefix}NAME/K"; NaN where it applied to no session."""
    turns = max(len(session.scores) for session in sessions)
    means = {}
    for name in _SCORES:
        for turn in range(turns):
            played = [session.scores[turn] for session in sessions if len(session.scores) > turn]
            values = [getattr(scores, name) for scores in played if scores.scored]
            known = [value for value in values if value is not None]
            means[f"{prefix}{name}/{turn + 1}"] = sum(known) / len(known) if known else math.nan
    return means


def nested(logs: Sequence[dict[str, Any]], updates: int) -> list[dict[str, Any]]:
    """TRL's flat logs as one dict an iteration, scores as a list a turn, held-out scores under "held_out"."""
    found = []
    for log in logs:
        if "reward/1" not in log:
            continue
        entry: dict[str, Any] = {"iteration": int(log["step"]) // updates - 1, "held_out": {}}
        for name, value in log.items():
            if name in _TRAINERS_OWN:
                continue
            head, _, turn = name.rpartition("/")
            if not turn.isdigit():
                entry[name] = value
                continue
            place = entry["held_out"] if head.startswith("held_out/") else entry
            place.setdefault(head.removeprefix("held_out/"), []).append(value)
        if not entry["held_out"]:
            del entry["held_out"]
        found.append(entry)
    return found
