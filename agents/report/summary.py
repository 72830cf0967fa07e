"""From scores of sessions to a summary in JSON values, and the paired difference of two evaluations."""

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any

from editenv.agents.report.statistics import Interval, MaybeScore, bootstrap_interval, paired_difference

TurnScores = dict[str, list[list[MaybeScore]]]
"""scores[name][session][turn]; None where a turn was not scored, sessions may end early."""

Summary = dict[str, Any]
"""{name: [mean a turn], "intervals": {name: [[low, high] a turn]}, "scored": {name: [n]}, "sessions": n}."""

SUMMARY_KEYS = ("intervals", "scored", "sessions")
"""Keys of a summary that are no score's name."""


def summarise(scores: TurnScores) -> Summary:
    """Summarise an evaluation turn by turn.

    Args:
        scores: scores[name][session][turn], such as "instruction_following"; every name with equally many
            sessions.

    Returns:
        JSON values: each name's means as a list over turns; "intervals" and "scored" (number of scored
        sessions) by name in the same form; "sessions", their number. A mean or an end of an interval is None
        where no session (for an interval: fewer than two) was scored.

    Raises:
        ValueError: names with different numbers of sessions.
    """
    columns = {name: _columns(sessions) for name, sessions in scores.items()}
    return _collect(
        {name: [bootstrap_interval(column) for column in turns] for name, turns in columns.items()},
        _session_count(scores),
    )


def summarise_difference(base: TurnScores, trained: TurnScores) -> Summary:
    """Summarise trained minus base, session by session, in the form of `summarise`.

    Args:
        base: scores before training.
        trained: scores of the same sessions after it, in the same order.

    Returns:
        As `summarise`, of the differences, for the names and turns that both have.

    Raises:
        ValueError: different numbers of sessions.
    """
    sessions = _session_count(base)
    if sessions != _session_count(trained):
        raise ValueError(
            f"sessions: got {sessions} of base and {_session_count(trained)} of trained, expected as many"
        )
    pairs = {
        name: zip(_columns(base[name]), _columns(trained[name]), strict=False)
        for name in base
        if name in trained
    }
    return _collect(
        {
            name: [paired_difference(before, after) for before, after in turns]
            for name, turns in pairs.items()
        },
        sessions,
    )


def _columns(sessions: Sequence[Sequence[MaybeScore]]) -> list[list[MaybeScore]]:
    return [list(turn) for turn in zip_longest(*sessions, fillvalue=None)]


def _session_count(scores: TurnScores) -> int:
    counts = {name: len(sessions) for name, sessions in scores.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"scores: got sessions {counts}, expected equally many for every name")
    return next(iter(counts.values()), 0)


def _collect(intervals: dict[str, list[Interval]], sessions: int) -> Summary:
    def each(value: Callable[[Interval], Any]) -> dict[str, list[Any]]:
        return {name: [value(interval) for interval in turns] for name, turns in intervals.items()}

    return {
        **each(lambda interval: interval.mean),
        "intervals": each(lambda interval: [interval.low, interval.high]),
        "scored": each(lambda interval: interval.count),
        "sessions": sessions,
    }
