"""One session's state, and the engine who opens sessions and carries out their turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from editenv.deferred import ScoringQueue, Ticket, score_all, settled
from editenv.protocols import Scorer, User, World
from editenv.spaces import MAX_LENGTH, text_problem
from editenv.termination import UNSCORED, Termination, ending
from editenv.types import SPLITS, Image, Scores, Stop, TurnResult, UserMessage

NO_SCORES = Scores()


@dataclass(slots=True)
class Session:
    """What has happened in one session so far.

    Attributes:
        spec: the session as the world prepared it.
        split, seed, index: where it came from.
        versions: of world, user and scorer.
        message: this turn's instruction; the last one where the session is over.
        pictures: the source, then the picture after each turn; read-only uint8 [H, W, 3].
        transcript: what the user said so far, in order.
        details: what the user wanted kept about each of these.
        intents, scores: one entry a finished turn.
        reward: what the last step pays.
        tickets: with deferred scoring the claims for which the last of `scores` are placeholders, empty once
            the session is over; None where turns are scored at once.
        ending: how the session ended, None while it goes on.
    """

    spec: Any
    split: str
    seed: int
    index: int
    versions: Mapping[str, str | None]
    message: UserMessage
    pictures: list[Image]
    transcript: tuple[str, ...]
    details: tuple[Mapping[str, Any], ...] = ()
    intents: list[str] = field(default_factory=list)
    scores: list[Scores] = field(default_factory=list)
    reward: float = 0.0
    tickets: list[Ticket] | None = None
    ending: Termination | None = None

    @property
    def turn(self) -> int:
        """Number of finished turns."""
        return len(self.scores)

    @property
    def instruction(self) -> str:
        """This turn's instruction, empty once the session is over."""
        return "" if self.ending else self.message.text

    @property
    def title(self) -> str:
        """The session's name for a reader."""
        return f"{self.split} {self.seed}:{self.index}  {self.spec.id}"

    def outcome(self, after: Image) -> TurnResult:
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

    def settle(self) -> None:
        """Waits for all scores that are still to come."""
        if self.tickets:
            self.scores[:] = settled(self.scores, self.tickets)
            self.tickets = []


class _Verdict(NamedTuple):
    """What a finished turn means for its session; scores and tickets are those of all its turns."""

    scores: Sequence[Scores]
    tickets: list[Ticket] | None
    reward: float
    reply: UserMessage | Stop | None
    end: Termination | None


@dataclass(frozen=True, slots=True)
class SessionEngine:
    """Opens sessions of a world and carries out their turns, for one session or many at once.

    Attributes:
        world, user: where sessions come from and who gives the instructions.
        scorer: who judges turns; None leaves every score None.
        split: "train", "validation" or "test".
        max_length: characters an instruction may have.
        on_end: called with each session when it ends.
        queue: where turns wait for `scorer` while their sessions go on; None scores them at once.

    Raises:
        ValueError: the split is none of SPLITS, or turns shall wait and the user wants to know their scores.
    """

    world: World
    user: User
    scorer: Scorer | None
    split: str = "train"
    max_length: int = MAX_LENGTH
    on_end: Callable[[Session], None] | None = None
    queue: ScoringQueue | None = None

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"split is {self.split!r}, expected one of {', '.join(SPLITS)}")
        if self.queue is not None and getattr(self.user, "reads_scores", True):
            raise ValueError(
                f"scoring is deferred, but the user ({self.user.version}) may read scores that are not there "
                "yet; expected one whose reads_scores is False, such as the replay user"
            )

    def versions(self) -> dict[str, str | None]:
        """Versions of world, user and scorer, as records keep them."""
        return {
            "world": f"{self.world.name} {self.world.version}",
            "user": self.user.version,
            "scorer": self.scorer.version if self.scorer else None,
        }

    def open(self, seed: int, index: int) -> Session:
        """Session `index` of `seed` at its first instruction."""
        return self.open_all([(seed, index)])[0]

    def open_all(self, places: Sequence[tuple[int, int]]) -> list[Session]:
        """The sessions of seeds and numbers; a user who can is asked once for all of them."""
        specs = [self.world.session(self.split, seed, index) for seed, index in places]
        together = getattr(self.user, "beginnings", None)
        messages = [self.user.begin(spec) for spec in specs] if together is None else together(specs)
        return [
            self._opened(spec, *place, message)
            for spec, place, message in zip(specs, places, messages, strict=True)
        ]

    def _opened(self, spec: Any, seed: int, index: int, message: UserMessage) -> Session:
        source = frozen(self.world.picture(spec))
        message = self._heard(message)
        return Session(
            spec,
            self.split,
            seed,
            index,
            self.versions(),
            message,
            [source],
            (message.text,),
            details=(message.detail,),
            tickets=None if self.queue is None else [],
        )

    def advance(self, sessions: Sequence[Session], after: Sequence[Image], intents: Sequence[str]) -> None:
        """Carries out one turn in each session; the scorer is asked once for all of them.

        Every session is left as it was when the scorer or a user raises.

        Args:
            sessions: sessions that are not over.
            after: the picture each agent answered, read-only uint8 [H, W, 3].
            intents: the intent each agent wrote.

        Raises:
            RuntimeError: the scorer returned another number of scores than it was asked for.
        """
        outcomes = [session.outcome(picture) for session, picture in zip(sessions, after, strict=True)]
        if self.queue is None:
            verdicts = self._score_now(sessions, outcomes)
        else:
            verdicts = self._score_later(self.queue, sessions, outcomes)
        for session, outcome, intent, verdict in zip(sessions, outcomes, intents, verdicts, strict=True):
            self._commit(session, outcome, intent, verdict)

    def _score_now(self, sessions: Sequence[Session], outcomes: Sequence[TurnResult]) -> list[_Verdict]:
        """Asks the scorer, then the users; after a judge that failed nobody is asked."""
        scores = score_all(self.scorer, outcomes) if self.scorer else [NO_SCORES] * len(outcomes)
        asked = [outcome for outcome, score in zip(outcomes, scores, strict=True) if score.scored]
        replies = iter(self.replies(asked))
        verdicts = []
        for session, outcome, score in zip(sessions, outcomes, scores, strict=True):
            reply = next(replies) if score.scored else None
            end = ending(reply, outcome.turn + 1, self.world.max_turns)
            verdicts.append(_Verdict([*session.scores, score], None, score.reward, reply, end))
        return verdicts

    def _score_later(
        self, queue: ScoringQueue, sessions: Sequence[Session], outcomes: Sequence[TurnResult]
    ) -> list[_Verdict]:
        """Asks the users and hands the turns in; a session that ends now waits for all of its scores."""
        replies = self.replies(outcomes)
        earlier = [session.tickets or [] for session in sessions]
        verdicts = []
        for session, outcome, reply, old, new in zip(
            sessions, outcomes, replies, earlier, queue.put(outcomes, earlier), strict=True
        ):
            scores, tickets, reward = (*session.scores, NO_SCORES), [*old, new], 0.0
            end = ending(reply, outcome.turn + 1, self.world.max_turns)
            if end is not None:
                scores, tickets = settled(scores, tickets), []
                reward = sum(score.reward for score in scores)
                end = end if all(score.scored for score in scores) else UNSCORED
            verdicts.append(_Verdict(scores, tickets, reward, reply, end))
        return verdicts

    def replies(self, outcomes: Sequence[TurnResult]) -> list[UserMessage | Stop]:
        """What the user says after each of some turns; a user who can is asked once for all of them."""
        together = getattr(self.user, "replies", None)
        said = [self.user.reply(one) for one in outcomes] if together is None else together(outcomes)
        return [reply if isinstance(reply, Stop) else self._heard(reply) for reply in said]

    def _commit(self, session: Session, outcome: TurnResult, intent: str, verdict: _Verdict) -> None:
        """Writes a finished turn into its session."""
        session.pictures.append(outcome.after)
        session.intents.append(intent)
        session.scores[:] = verdict.scores
        session.tickets, session.reward, session.ending = verdict.tickets, verdict.reward, verdict.end
        if verdict.end is not None:
            if self.on_end:
                self.on_end(session)
        elif isinstance(verdict.reply, UserMessage):
            session.message = verdict.reply
            session.transcript = (*session.transcript, verdict.reply.text)
            session.details = (*session.details, verdict.reply.detail)

    def _heard(self, message: UserMessage) -> UserMessage:
        """The message, once its text is known to fit the observation space."""
        problem = text_problem(message.text, self.max_length)
        if problem:
            raise ValueError(f"the user's instruction is {problem}")
        return message


def frozen(picture: Image) -> Image:
    """The picture, read-only from now on: users and scorers share it and must not write into it."""
    picture.flags.writeable = False
    return picture
