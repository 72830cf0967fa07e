"""One session's state, and the engine that opens sessions and carries out their turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from editenv.protocols import Scorer, User, World
from editenv.spaces import MAX_LENGTH, text_problem
from editenv.types import SPLITS, Image, Scores, Stop, TurnResult, UserMessage

_NUMBER_LIMIT = 2**63
"""Seeds and session numbers stand in int64 arrays."""


@dataclass(frozen=True, slots=True)
class Termination:
    """How a session ended."""

    reason: str  # "done" or "gave_up" (the user's word), "max_turns", or "unscored" where a judge failed
    truncated: bool  # whether the session was cut off, not ended by the user

    @property
    def terminated(self) -> bool:
        """The opposite of truncated."""
        return not self.truncated


@dataclass(slots=True)
class Session:
    """What has happened in one session so far."""

    spec: Any  # the session as the world prepared it
    split: str  # split, seed, index: where it came from
    seed: int
    index: int
    versions: Mapping[str, str | None]  # of world, user and scorer
    message: UserMessage  # this turn's instruction; the last one where the session is over
    pictures: list[Image]  # the source, then the picture after each turn; read-only uint8 [H, W, 3]
    transcript: tuple[str, ...]  # what the user said so far, in order
    details: tuple[Mapping[str, Any], ...] = ()  # what the user wanted kept about each of these
    intents: list[str] = field(default_factory=list)  # intents, scores: one entry a finished turn
    scores: list[Scores] = field(default_factory=list)
    reward: float = 0.0  # of the last step
    # with deferred scoring the futures for which the last of `scores` are placeholders, empty once the session is
    # over; None where turns are scored at once
    pending: list[Future[Scores]] | None = None
    ending: Termination | None = None  # how the session ended, None while it goes on

    @property
    def turn(self) -> int:
        """Number of finished turns."""
        return len(self.scores)

    @property
    def instruction(self) -> str:
        """This turn's instruction, empty once the session is over."""
        return "" if self.ending else self.message.text

    @property
    def is_success(self) -> bool:
        """Whether the session is over and every turn was right: the last global_awareness is 1."""
        return self.ending is not None and bool(self.scores) and self.scores[-1].global_awareness == 1.0

    @property
    def title(self) -> str:
        """The session's name for a reader."""
        return f"{self.split} {self.seed}:{self.index}  {self.spec.id}"

    def turn_result(self, after: Image) -> TurnResult:
        """This turn as users and scorers see it, once it has led to the picture `after`."""
        return TurnResult(
            spec=self.spec,
            turn=self.turn,
            message=self.message,
            source=self.pictures[0],
            before=self.pictures[-1],
            after=after,
            history=tuple(self.scores),
            earlier=tuple(self.pictures[1:]),
            transcript=self.transcript,
        )

    def resolve(self) -> None:
        """Waits for all scores that are still to come."""
        if self.pending:
            self.scores[:] = resolve(self.scores, self.pending)
            self.pending = []

    def become(self, other: Session) -> None:
        """Takes over another session's values."""
        for name in Session.__slots__:
            setattr(self, name, getattr(other, name))


class ScoringQueue:
    """Hands turns to a scorer in the order they were played, one batch at a time, in a thread of its own.

    In that order the scores of a session's earlier turns are known when a turn is scored, so that a scorer
    sees the same history as without a queue. Scorers that ask servers ask side by side within a batch.
    """

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="editenv-scoring")

    def put(self, turns: Sequence[TurnResult], earlier: Sequence[Sequence[Future[Scores]]]) -> list[Future[Scores]]:
        """Queues a batch; gives a future a turn, which raises what the scorer raised.

        Args:
            turns: one a session; the last of their history are placeholders.
            earlier: the futures that these placeholders stand for, in order, for each turn.
        """
        futures: list[Future[Scores]] = [Future() for _ in turns]
        self._thread.submit(self._score, list(turns), [list(pending) for pending in earlier], futures)
        return futures

    def close(self) -> None:
        """Ends the thread once the turns that wait are scored: sessions may still ask for these scores."""
        self._thread.shutdown(wait=False)

    def _score(
        self, turns: list[TurnResult], earlier: list[list[Future[Scores]]], futures: list[Future[Scores]]
    ) -> None:
        try:
            pairs = zip(turns, earlier, strict=True)
            known = [replace(turn, history=resolve(turn.history, pending)) for turn, pending in pairs]
            for future, scores in zip(futures, score_all(self.scorer, known), strict=True):
                future.set_result(scores)
        except BaseException as error:
            for future in futures:
                future.set_exception(error)


def resolve(scores: Sequence[Scores], pending: Sequence[Future[Scores]]) -> tuple[Scores, ...]:
    """The scores with those of the futures, the last ones, in their places; waits for them."""
    known = len(scores) - len(pending)
    return (*scores[:known], *[future.result() for future in pending])


def score_all(scorer: Scorer, turns: Sequence[TurnResult]) -> list[Scores]:
    """The scorer's scores; RuntimeError where it returned another number than it was asked for."""
    scores = scorer.score(turns)
    if len(scores) != len(turns):
        raise RuntimeError(f"scorer returned {len(scores)} scores for {len(turns)} turns, expected as many")
    return scores


@dataclass(frozen=True, slots=True)
class SessionEngine:
    """Opens sessions of a world and carries out their turns, for one session or many at once.

    ValueError where the split is none of SPLITS, or turns shall wait and the user wants to know their scores.
    """

    world: World  # world, user: where sessions come from and who gives the instructions
    user: User
    scorer: Scorer | None  # who judges turns; None leaves every score None
    split: str = "train"  # a word of SPLITS
    max_length: int = MAX_LENGTH  # characters an instruction may have
    on_end: Callable[[Session], None] | None = None  # called with each session when it ends, see `commit`
    queue: ScoringQueue | None = None  # where turns wait for `scorer` while their sessions go on; None scores at once
    max_turns: int | None = None  # turns after which a session is cut off; None for the world's

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"split is {self.split!r}, expected one of {', '.join(SPLITS)}")
        if self.queue is not None and getattr(self.user, "reads_scores", True):
            raise ValueError(
                f"scoring is deferred, but the user ({self.user.version}) may read scores that are not there "
                "yet; expected one whose reads_scores is False, such as the replay user"
            )
        if hasattr(self.user, "max_length"):  # one who finds words of their own has to know
            setattr(self.user, "max_length", self.max_length)  # noqa: B010

    def versions(self) -> dict[str, str | None]:
        """Versions of world, user and scorer, as records keep them."""
        return {
            "world": f"{self.world.name} {self.world.version}",
            "user": self.user.version,
            "scorer": self.scorer.version if self.scorer else None,
        }

    def open(self, places: Sequence[tuple[int, int]]) -> list[Session]:
        """The sessions of (seed, number) pairs; a user with `beginnings` is asked once for all of them."""
        for _, index in places:
            check_session(index, "the session's number")
        specs = [self.world.session(self.split, seed, index) for seed, index in places]
        beginnings = getattr(self.user, "beginnings", None)
        messages = [self.user.begin(spec) for spec in specs] if beginnings is None else beginnings(specs)
        self._check_messages(messages)
        versions, pending = self.versions(), None if self.queue is None else []
        return [
            Session(
                spec,
                self.split,
                seed,
                index,
                versions,
                message,
                pictures=[readonly(self.world.picture(spec))],
                transcript=(message.text,),
                details=(message.detail,),
                pending=pending,
            )
            for spec, (seed, index), message in zip(specs, places, messages, strict=True)
        ]

    def play(self, sessions: Sequence[Session], after: Sequence[Image], intents: Sequence[str]) -> list[Session]:
        """The sessions with one more turn, as new objects; the scorer is asked once for all of them.

        Args:
            sessions: sessions that are not over; they stay as they are.
            after: the picture each agent answered, read-only uint8 [H, W, 3].
            intents: the intent each agent wrote.
        """
        results = [session.turn_result(picture) for session, picture in zip(sessions, after, strict=True)]
        scores = [Scores()] * len(results)
        if self.scorer is not None and self.queue is None:
            scores = score_all(self.scorer, results)
        # After a judge that failed no user is asked.
        asked = [result for result, score in zip(results, scores, strict=True) if score.scored]
        answers = iter(self.replies(asked))
        replies = [next(answers) if score.scored else None for score in scores]
        futures: Sequence[Future[Scores] | None] = [None] * len(results)
        if self.queue is not None:
            futures = self.queue.put(results, [session.pending or [] for session in sessions])
        turns = zip(sessions, results, intents, scores, futures, replies, strict=True)
        return [self._with_turn(*turn) for turn in turns]

    def commit(self, sessions: Sequence[Session], played: Sequence[Session]) -> None:
        """Hands sessions that have just ended to `on_end`, then makes what was played theirs.

        Every session stays as it was where `on_end` raises. One with `all_ended(sessions)` gets them all at once.
        """
        ended = [one for one in played if one.ending is not None]
        if self.on_end is not None and ended:
            together = getattr(self.on_end, "all_ended", None)
            if together is not None:
                together(ended)
            else:
                for one in ended:
                    self.on_end(one)
        for session, one in zip(sessions, played, strict=True):
            session.become(one)

    def replies(self, results: Sequence[TurnResult]) -> list[UserMessage | Stop]:
        """What the user says after each of some turns; one with `replies` is asked once for all."""
        together = getattr(self.user, "replies", None)
        said = [self.user.reply(one) for one in results] if together is None else together(results)
        self._check_messages([reply for reply in said if not isinstance(reply, Stop)])
        return said

    def close(self) -> None:
        """Gives back the threads and connections of queue, scorer and user, where they have any."""
        for part in (self.queue, self.scorer, self.user):
            close = getattr(part, "close", None)
            if close is not None:
                close()

    def _with_turn(
        self,
        session: Session,
        result: TurnResult,
        intent: str,
        score: Scores,
        future: Future[Scores] | None,
        reply: UserMessage | Stop | None,
    ) -> Session:
        """The session with a finished turn; one that ends waits for all of its scores."""
        scores, reward = (*session.scores, score), score.reward
        pending = None if future is None else [*(session.pending or []), future]
        message, transcript, details = session.message, session.transcript, session.details
        most = self.world.max_turns if self.max_turns is None else min(self.max_turns, self.world.max_turns)
        end = None
        if reply is None:
            end = Termination("unscored", truncated=True)
        elif isinstance(reply, Stop):
            end = Termination(reply.reason, truncated=reply.reason == "max_turns")
        elif result.turn + 1 >= most:
            end = Termination("max_turns", truncated=True)
        else:
            message, transcript, details = reply, (*transcript, reply.text), (*details, reply.detail)
        if pending is not None and end is not None:
            scores, pending = resolve(scores, pending), []
            reward = sum(score.reward for score in scores)
            if not all(score.scored for score in scores):
                end = Termination("unscored", truncated=True)
        # Not `replace`, which takes several times as long as the rest of this function.
        return Session(
            session.spec,
            session.split,
            session.seed,
            session.index,
            session.versions,
            message,
            [*session.pictures, result.after],
            transcript,
            details,
            [*session.intents, intent],
            list(scores),
            reward,
            pending,
            end,
        )

    def _check_messages(self, messages: Sequence[UserMessage]) -> None:
        """Refuses messages whose text does not fit the observation space."""
        for message in messages:
            if not isinstance(message, UserMessage):
                kind = type(message).__name__
                raise ValueError(f"user {self.user.version!r} answered a {kind}, expected a UserMessage or Stop")
            if problem := text_problem(message.text, self.max_length):
                raise ValueError(f"the user's instruction is {problem}")


def readonly(picture: Image) -> Image:
    """The picture, read-only from now on: users and scorers share it and must not write into it."""
    picture.flags.writeable = False
    return picture


def check_seed(seed: Any) -> None:
    """ValueError for seeds that no int64 array holds; what is no whole number Gymnasium refuses in its own words."""
    if isinstance(seed, int) and seed >= _NUMBER_LIMIT:
        raise ValueError(f"seed is {seed}, expected less than 2**63")


def check_options(options: Mapping[str, Any] | None, known: tuple[str, ...]) -> Mapping[str, Any]:
    """The options of a reset, empty for None; ValueError where a key is not known."""
    for name in options or {}:
        if name not in known:
            raise ValueError(f"reset option {name!r} is not known, expected {' or '.join(known)}")
    return options or {}


def check_session(number: Any, name: str) -> int:
    """The number of a session, as a plain int; ValueError for what is no whole number from 0 to 2**63 - 1."""
    whole = not isinstance(number, bool) and isinstance(number, int | np.integer)
    if not whole or not 0 <= number < _NUMBER_LIMIT:
        raise ValueError(f"{name} is {number!r}, expected a whole number of 0 or more, less than 2**63")
    return int(number)
