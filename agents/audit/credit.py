"""Advantages and filters by their definitions, written out turn by turn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from editenv.agents.audit.closed_form import Bools, Floats
from editenv.agents.audit.protocol import Facts


def expected_advantage(facts: Facts, reward: Floats, following: Floats) -> Floats:
    """(value - mean of its group) / (std + 1e-4) within the bound; 0 where nothing is known.

    Args:
        facts: which value and group.
        reward: [S, G, K], NaN where a turn was not scored.
        following: what the filter reads, in the same shape.
    """
    counted = ~np.isnan(reward)
    if facts.filter in ("exclude", "resample"):
        counts = FILTERS["exclude"](facts, following)
        # What does not count need not be known.
        counted, reward = counted & counts, np.where(counts, reward, 0.0)
    value, group = ADVANTAGES[facts.advantage](reward, counted)
    advantage = np.zeros(reward.shape)
    for spec, rollout, turn in np.ndindex(value.shape):
        if np.isnan(value[spec, rollout, turn]):
            continue
        others = group(spec, turn)
        spread = np.nanstd(others if facts.advantage_std == "group" else value) + 1e-4
        standard = (value[spec, rollout, turn] - np.nanmean(others)) / spread
        place = (spec, rollout, turn if value.shape[-1] > 1 else slice(None))
        advantage[place] = np.clip(standard, -facts.advantage_clip, facts.advantage_clip)
    return np.where(counted, advantage, 0.0)


Values = tuple[Floats, Callable[[int, int], Floats]]
"""Values [S, G, K] or [S, G, 1], NaN for unknown, and the group of a spec and turn."""


def pooled(reward: Floats, counted: Bools) -> Values:
    """A turn's own reward, against all turns of the group (arXiv 2606.05950)."""
    value = np.where(counted, reward, np.nan)
    return value, lambda spec, turn: value[spec]


def per_turn(reward: Floats, counted: Bools) -> Values:
    """A turn's own reward, against the group at the same turn."""
    value = np.where(counted, reward, np.nan)
    return value, lambda spec, turn: value[spec, :, turn]


def return_to_go(reward: Floats, counted: Bools) -> Values:
    """The sum of a turn's reward and all later ones, against the group at the same turn."""
    value = np.full(reward.shape, np.nan)
    for spec, rollout, turn in np.ndindex(reward.shape):
        rest = reward[spec, rollout, turn:]
        if counted[spec, rollout, turn] and not np.isnan(rest).any():
            value[spec, rollout, turn] = rest[counted[spec, rollout, turn:]].sum()
    return value, lambda spec, turn: value[spec, :, turn]


def broadcast(reward: Floats, counted: Bools) -> Values:
    """A session's mean reward, against the group's sessions (arXiv 2606.01985)."""
    value = np.full((*reward.shape[:2], 1), np.nan)
    for spec, rollout in np.ndindex(reward.shape[:2]):
        session, counts = reward[spec, rollout], counted[spec, rollout]
        if counts.any() and not np.isnan(session).any():
            value[spec, rollout] = session[counts].mean()
    return value, lambda spec, turn: value[spec]


def first_failure(facts: Facts, following: Floats) -> Bools:
    """Everything up to and including a session's first turn with a score of exactly 0."""
    return _until_first(following == 0)


def threshold(facts: Facts, following: Floats) -> Bools:
    """Everything up to and including a session's first turn with a score below the threshold."""
    return _until_first(following < facts.filter_threshold)


def everything(facts: Facts, following: Floats) -> Bools:
    """No filter."""
    return np.ones(following.shape, dtype=bool)


def _until_first(failed: Bools) -> Bools:
    keep = np.ones(failed.shape, dtype=bool)
    for session in np.ndindex(failed.shape[:-1]):
        places = np.flatnonzero(failed[session])
        keep[session][places[0] + 1 if len(places) else failed.shape[-1] :] = False
    return keep


ADVANTAGES: dict[str, Callable[[Floats, Bools], Values]] = {
    "pooled": pooled,
    "turn": per_turn,
    "return_to_go": return_to_go,
    "broadcast": broadcast,
}
FILTERS: dict[str, Callable[[Facts, Floats], Bools]] = {
    "first_failure": first_failure,
    "exclude": first_failure,
    "resample": first_failure,
    "threshold": threshold,
    "none": everything,
}
