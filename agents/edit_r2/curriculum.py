"""Sessions that begin short: to how many turns an iteration's sessions are played."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from editenv.vector import MICEEditVectorEnv

Stages = Sequence[Sequence[int]]
"""Pairs of an iteration and a number of turns, which holds from that iteration on."""


def check_stages(stages: Stages) -> None:
    """Refuses stages that do not start at once, go back in time, or shorten sessions.

    Raises:
        ValueError: names the stages and what is expected.
    """
    pairs = all(len(stage) == 2 for stage in stages)
    begins = not stages or (pairs and stages[0][0] == 0 and stages[0][1] >= 1)
    steps = list(pairwise(stages))
    if not (begins and pairs and all(a[0] < b[0] and a[1] < b[1] for a, b in steps)):
        raise ValueError(
            f"curriculum is {[list(stage) for stage in stages]}, expected pairs [iteration, turns] that "
            "start at iteration 0 with 1 turn or more and grow in both, such as [[0, 2], [20, 4]]"
        )


def turns_at(stages: Stages, iteration: int, most: int) -> int:
    """Turns to which sessions are played in an iteration; `most`, all there are, without stages.

    A function of the iteration alone, so that a resumed run and every process agree.
    """
    reached = [turns for start, turns in stages if start <= iteration]
    return min(reached[-1], most) if reached else most


def check_curriculum(stages: Stages, envs: MICEEditVectorEnv) -> None:
    """Refuses stages that do not fit the sessions.

    Raises:
        ValueError: sessions are shorter, or scores come only when a session is over.
    """
    most = envs.engine.world.max_turns
    if stages and stages[-1][1] > most:
        raise ValueError(f"curriculum ends with {stages[-1][1]} turns, but sessions have no more than {most}")
    if stages and envs.engine.queue is not None:
        raise ValueError(
            "curriculum is set and scoring is 'deferred', expected 'immediate': sessions that are not played "
            "to their end would get no scores"
        )
