"""What a suite asks and how well it can be answered, counted over played sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from editenv.agents.baselines.reader import Unclear
from editenv.agents.report.statistics import known_mean
from editenv.session import Session
from editenv.worlds.studio.rules import Except, Replace
from editenv.worlds.studio.session import StudioTurn
from editenv.worlds.studio.suites import Suite

PARTS = ("instruction_following", "content_consistency", "global_awareness")
"""The scores that are paid for: IF, CC and GA."""


@dataclass(frozen=True, slots=True)
class SuiteFigures:
    """Figures of some sessions of a suite.

    Attributes:
        suite: what they were drawn by.
        sessions: how many each agent played.
        turns: fewest and most turns of a session that the oracle played.
        instructions: how many it was given in all.
        tasks, rules, references: shares of its instructions by task, of its sessions by what is said about
            rules in them, and of its instructions after the first of a session by how they point.
        left_alone: share of its turns whose right answer is to leave the picture alone.
        oracle: the oracle's mean by score and turn; None where a score applies to no session.
        reader: the mean over all turns by score of the agent that knows the language and sees the picture.
        unclear: what that agent could not read, or in more than one way.
        read: instructions that it was given.
        noop: mean IF of an agent that does nothing, over the turns that ask for something; None for none.
    """

    suite: Suite
    sessions: int
    turns: tuple[int, int]
    instructions: int
    tasks: dict[str, float]
    rules: dict[str, float]
    references: dict[str, float]
    left_alone: float
    oracle: dict[str, list[float | None]]
    reader: dict[str, float | None]
    unclear: tuple[Unclear, ...]
    read: int
    noop: float | None

    @property
    def unclear_share(self) -> float:
        """Share of instructions that are unclear."""
        return len(self.unclear) / self.read


def suite_figures(
    suite: Suite,
    meant: Sequence[Sequence[StudioTurn]],
    oracle: Sequence[Session],
    reader: Sequence[Session],
    noop: Sequence[Session],
    unclear: Sequence[Unclear],
    read: int,
) -> SuiteFigures:
    """The figures of sessions that oracle, reader and no-op agent have finished.

    Args:
        suite: of all of them.
        meant: what was said to the oracle in each of its sessions.
        oracle: its sessions.
        reader: its sessions.
        noop: its sessions.
        unclear: what the reader found unclear.
        read: instructions that the reader was given.
    """
    turns = [turn for session in meant for turn in session]
    later = [turn.reference for session in meant for turn in session[1:]]
    asked = [s.instruction_following for one in noop for s in one.scores if not s.detail.get("leave_alone")]
    left = [bool(score.detail.get("leave_alone")) for one in oracle for score in one.scores]
    return SuiteFigures(
        suite=suite,
        sessions=len(oracle),
        turns=(min(one.turn for one in oracle), max(one.turn for one in oracle)),
        instructions=len(turns),
        tasks=_shares((turn.edit.task for turn in turns), len(turns)),
        rules=_shares((family for session in meant for family in families_said(session)), len(meant)),
        references=_shares((kind for kind in later if kind is not None), len(later)),
        left_alone=float(np.mean(left)),
        oracle={name: _by_turn(oracle, name) for name in PARTS},
        reader={name: known_mean([getattr(s, name) for one in reader for s in one.scores]) for name in PARTS},
        unclear=tuple(unclear),
        read=read,
        noop=known_mean(asked),
    )


def families_said(session: Sequence[StudioTurn]) -> set[str]:
    """What is said about rules in a session: families of new rules, "exception", "revoke", "replace"."""
    families = set()
    known = set()
    for turn in session:
        families |= {change.family for change in turn.changes}
        known |= {change.rule for change in turn.changes if isinstance(change, Except)}
        known |= {change.by for change in turn.changes if isinstance(change, Replace)}
        families |= {rule.family for rule in turn.rules if rule not in known}
        known |= set(turn.rules)
    return families


def _by_turn(sessions: Sequence[Session], name: str) -> list[float | None]:
    last = max(session.turn for session in sessions)
    return [
        known_mean([getattr(s.scores[turn], name) for s in sessions if turn < s.turn]) for turn in range(last)
    ]


def _shares(names: Iterable[str], total: int) -> dict[str, float]:
    """Count of each name over a total, the largest first."""
    counts: Mapping[str, int] = Counter(names)
    return {name: counts[name] / total for name in sorted(counts, key=lambda name: (-counts[name], name))}
