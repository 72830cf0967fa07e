"""One session's state, and the director who opens sessions and carries out their turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from editenv.done import UNSCORED, Ending, ending
from editenv.protocols import Scorer, User, World
from editenv.spaces import MAX_LENGTH, text_problem
from editenv.types import SPLITS, Goodbye, Picture, Scores, Speech, TurnOutcome

NO_SCORES = Scores()


@dataclass(slots=True)
class Session:
    """What has happened in one session so far.

    Attributes:
        spec: the session as the world prepared it.
        split, seed, index: where it came from.
        versions: of world, user and scorer.
        speech: this turn's instruction; the last one where the session is over.
        pictures: the source, then the picture after each turn; read-only uint8 [H, W, 3].
        transcript: what the user said so far, in order.
        intents, scores: one entry a finished turn.
        ending: how the session ended, None while it goes on.
    """

    spec: Any
    split: str
    seed: int
    index: int
    versions: Mapping[str, str | None]
    speech: Speech
    pictures: list[Picture]
    transcript: tuple[str, ...]
    intents: list[str] = field(default_factory=list)
    scores: list[Scores] = field(default_factory=list)
    ending: Ending | None = None

    @property
    def turn(self) -> int:
        """Number of finished turns."""
        return len(self.scores)

    @property
    def instruction(self) -> str:
        """This turn's instruction, empty once the session is over."""
        return "" if self.ending else self.speech.text

    @property
    def title(self) -> str:
        """The session's name for a reader."""
        return f"{self.split} {self.seed}:{self.index}  {self.spec.id}"

    def outcome(self, after: Picture) -> TurnOutcome:
        """This turn as users and scorers see it, once it has led to the picture `after`."""
        return TurnOutcome(
            spec=self.spec,
            turn=self.turn,
            speech=self.speech,
            source=self.pictures[0],
            before=self.pictures[-1],
            after=after,
            history=tuple(self.scores),
            earlier=tuple(self.pictures[1:]),
        )


@dataclass(frozen=True, slots=True)
class Director:
    """Opens sessions of a world and carries out their turns, for one session or many at once.

    Attributes:
        world, user: where sessions come from and who gives the instructions.
        scorer: who judges turns; None leaves every score None.
        split: "train", "validation" or "test".
        max_length: characters an instruction may have.
        on_end: called with each session when it ends.

    Raises:
        ValueError: the split is none of SPLITS.
    """

    world: World
    user: User
    scorer: Scorer | None
    split: str = "train"
    max_length: int = MAX_LENGTH
    on_end: Callable[[Session], None] | None = None

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"split is {self.split!r}, expected one of {', '.join(SPLITS)}")

    def versions(self) -> dict[str, str | None]:
        """Versions of world, user and scorer, as records keep them."""
        return {
            "world": f"{self.world.name} {self.world.version}",
            "user": self.user.version,
            "scorer": self.scorer.version if self.scorer else None,
        }

    def open(self, seed: int, index: int) -> Session:
        """Session `index` of `seed` at its first instruction."""
        spec = self.world.session(self.split, seed, index)
        source = frozen(self.world.picture(spec))
        speech = self._heard(self.user.begin(spec))
        return Session(spec, self.split, seed, index, self.versions(), speech, [source], (speech.text,))

    def advance(self, sessions: Sequence[Session], after: Sequence[Picture], intents: Sequence[str]) -> None:
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
        scores = self.scorer.score(outcomes) if self.scorer else [NO_SCORES] * len(outcomes)
        if len(scores) != len(outcomes):
            raise RuntimeError(
                f"scorer returned {len(scores)} scores for {len(outcomes)} turns, expected as many"
            )
        judged = zip(outcomes, scores, strict=True)
        replies = [self.reply(outcome) if score.scored else None for outcome, score in judged]
        for turn in zip(sessions, after, intents, scores, replies, strict=True):
            self._commit(*turn)

    def reply(self, outcome: TurnOutcome) -> Speech | Goodbye:
        """What the user says after a turn."""
        reply = self.user.reply(outcome)
        return reply if isinstance(reply, Goodbye) else self._heard(reply)

    def _commit(
        self, session: Session, after: Picture, intent: str, scores: Scores, reply: Speech | Goodbye | None
    ) -> None:
        """Writes a finished turn into its session; a reply of None says that the judge failed."""
        session.pictures.append(after)
        session.intents.append(intent)
        session.scores.append(scores)
        end = UNSCORED if reply is None else ending(reply, session.turn, self.world.max_turns)
        session.ending = end
        if end is None and isinstance(reply, Speech):
            session.speech = reply
            session.transcript = (*session.transcript, reply.text)
        if end is not None and self.on_end:
            self.on_end(session)

    def _heard(self, speech: Speech) -> Speech:
        """The speech, once its text is known to fit the observation space."""
        problem = text_problem(speech.text, self.max_length)
        if problem:
            raise ValueError(f"the user's instruction is {problem}")
        return speech


def frozen(picture: Picture) -> Picture:
    """The picture, read-only from now on: users and scorers share it and must not write into it."""
    picture.flags.writeable = False
    return picture
