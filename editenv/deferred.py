"""Scores that come later: turns are judged in a thread of their own while their sessions go on."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from editenv.protocols import Scorer
from editenv.types import Scores, TurnResult


@dataclass(frozen=True, slots=True)
class Ticket:
    """A turn's claim on its scores.

    Attributes:
        batch: the scores of all turns that were handed in together.
        place: this turn's place among them.
    """

    batch: Future[list[Scores]]
    place: int

    def scores(self) -> Scores:
        """The turn's scores; waits for them, and raises what the scorer raised."""
        return self.batch.result()[self.place]


@dataclass(frozen=True, slots=True)
class ScoringQueue:
    """Hands turns to a scorer in the order they were played, one batch at a time.

    In that order the scores of a session's earlier turns are known when a turn is judged, so that a scorer
    sees the same history as without a queue. Scorers that ask servers ask side by side within a batch.

    Attributes:
        scorer: who judges.
    """

    scorer: Scorer
    _thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="editenv-scoring")
    )

    def put(self, turns: Sequence[TurnResult], earlier: Sequence[Sequence[Ticket]]) -> list[Ticket]:
        """Queues a batch.

        Args:
            turns: one a session; the last of their history are placeholders.
            earlier: the tickets that these placeholders stand for, in order, for each turn.

        Returns:
            A ticket a turn.
        """
        batch = self._thread.submit(self._score, list(turns), [list(tickets) for tickets in earlier])
        return [Ticket(batch, place) for place in range(len(turns))]

    def _score(self, turns: list[TurnResult], earlier: list[list[Ticket]]) -> list[Scores]:
        known = [
            replace(turn, history=settled(turn.history, tickets))
            for turn, tickets in zip(turns, earlier, strict=True)
        ]
        return score_all(self.scorer, known)


def settled(scores: Sequence[Scores], tickets: Sequence[Ticket]) -> tuple[Scores, ...]:
    """The scores with those that tickets stand for, the last ones, in their places; waits for them."""
    known = len(scores) - len(tickets)
    return (*scores[:known], *[ticket.scores() for ticket in tickets])


def score_all(scorer: Scorer, turns: Sequence[TurnResult]) -> list[Scores]:
    """The scorer's scores.

    Raises:
        RuntimeError: it returned another number of scores than it was asked for.
    """
    scores = scorer.score(turns)
    if len(scores) != len(turns):
        raise RuntimeError(f"scorer returned {len(scores)} scores for {len(turns)} turns, expected as many")
    return scores
