"""A vision-language model as judge, behind a server that speaks OpenAI's protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from editenv.endpoint import ChatEndpoint, endpoint_settings
from editenv.rewards.asked import asked
from editenv.rewards.questions import AWARENESS, Question, questions, read_prompts
from editenv.rewards.weighting import RewardWeights, with_reward
from editenv.types import Scores, TurnResult


def mean(votes: Sequence[float]) -> float:
    """The votes' mean, a multiple of 1 / votes where each is yes or no."""
    return sum(votes) / len(votes)


def majority(votes: Sequence[float]) -> float:
    """1 when more than half of the votes are above one half, else 0; a tie is no success."""
    return float(sum(vote > 0.5 for vote in votes) * 2 > len(votes))


VOTES = {"mean": mean, "majority": majority}
"""From votes to a score, by name."""

_REASK = 1_000_003
"""Added to the seed of an answer that could not be read, so that the next one is another."""


class JudgeScorer:
    """IF by task, CC and GA, as Edit-R2's MICE-Bench asks for them, in our own words.

    Every question is put `votes` times with different seeds. A vote that cannot be read is asked for again up
    to `reasks` times; where a vote is missing in the end, that score is None and `error` says why: the turn
    is not scored, and nothing else is touched. `detail` keeps the votes.

    Pictures and words go to the server that `base_url` names. Every reported number should name `version`,
    which holds the model, the prompts with their hash, and the votes.

    Args:
        world: whose sessions are judged; records and the studio can be put into words.
        weights: of the reward.
        endpoint: `base_url`, `model` and the other settings of `editenv.endpoint.EndpointSettings`; the
            temperature is 0.6 where none is given, since votes would else be alike.
        votes: answers to each question.
        combine: a name in VOTES.
        prompts: a folder of prompt files that comes with the package, or the path of one.
        awareness: "cm" asks about rules, "cu" about referents, "auto" chooses by the session.
        reasks: further questions for a vote that cannot be read.
        side: pictures smaller than this, in pixels, are enlarged by a whole factor.
        check: ask the server one short question now, so that a wrong address is noticed at once.

    Raises:
        ValueError: a setting is not known or not in its range.
        ConnectionError: `check` got no answer; says what to look at.
    """

    def __init__(
        self,
        world: Any,
        weights: RewardWeights | None = None,
        *,
        endpoint: Mapping[str, Any],
        votes: int = 4,
        combine: str = "mean",
        prompts: str = "mice-1",
        awareness: str = "auto",
        reasks: int = 2,
        side: int = 256,
        check: bool = True,
    ) -> None:
        for name, value, least in (("votes", votes, 1), ("reasks", reasks, 0), ("side", side, 1)):
            if type(value) is not int or value < least:
                raise ValueError(f"{name} is {value!r}, expected a whole number of {least} or more")
        for name, word, known in (("combine", combine, tuple(VOTES)), ("awareness", awareness, AWARENESS)):
            if word not in known:
                raise ValueError(f"{name} is {word!r}, expected one of {', '.join(known)}")
        self.weights = weights or RewardWeights()
        self.endpoint = ChatEndpoint(endpoint_settings(_warm(endpoint)))
        self.prompts = read_prompts(prompts)
        model, temperature = self.endpoint.settings.model, self.endpoint.settings.temperature
        self.version = (
            f"judge 1 {model} {self.prompts.version} {votes} votes {combine} temperature {temperature} "
            f"awareness {awareness} side {side}"
        )
        self._votes, self._reasks, self._side, self._awareness = votes, reasks, side, awareness
        self._combine: Callable[[Sequence[float]], float] = VOTES[combine]
        if check:
            self.endpoint.health()

    def score(self, turns: Sequence[TurnResult]) -> list[Scores]:
        """Scores of turns, all questions of all turns at once."""
        asked_of = [questions(turn, asked(turn), self.prompts, self._awareness, self._side) for turn in turns]
        ballots = [
            _Ballot(question, seed) for group in asked_of for question in group for seed in range(self._votes)
        ]
        for attempt in range(1 + self._reasks):
            self._ask([ballot for ballot in ballots if ballot.unread], attempt)
        counted = iter(ballots)
        return [
            self._scores([[next(counted) for _ in range(self._votes)] for _ in group]) for group in asked_of
        ]

    def _ask(self, ballots: Sequence[_Ballot], attempt: int) -> None:
        """Puts the questions of ballots, and reads the answers into them."""
        talks = [ballot.question.messages for ballot in ballots]
        seeds = [ballot.seed + attempt * _REASK for ballot in ballots]
        for ballot, answer in zip(
            ballots, self.endpoint.ask(talks, self.prompts.version, seeds), strict=True
        ):
            if answer.text is None:
                ballot.unread, ballot.error = False, str(answer.error)
                continue
            try:
                ballot.vote, ballot.unread, ballot.error = ballot.question.read(answer.text), False, None
            except ValueError as error:
                ballot.error = f"the answer cannot be read: {error}"

    def _scores(self, polls: Sequence[Sequence[_Ballot]]) -> Scores:
        """One turn's scores from the ballots of each of its questions."""
        values: dict[str, float | None] = {}
        votes: dict[str, list[float | None]] = {}
        errors = []
        for poll in polls:
            name = poll[0].question.score
            cast = [ballot.vote for ballot in poll]
            votes[name] = cast
            given = [vote for vote in cast if vote is not None]
            values[name] = self._combine(given) if len(given) == len(cast) else None
            errors += [f"{name}: {ballot.error}" for ballot in poll if ballot.error is not None][:1]
        detail: Mapping[str, Any] = {"votes": votes}
        error = f"judge: {'; '.join(errors)}" if errors else None
        scores = Scores(
            instruction_following=values.get("instruction_following"),
            content_consistency=values.get("content_consistency"),
            global_awareness=values.get("global_awareness"),
            detail=detail,
            error=error,
        )
        return with_reward(scores, self.weights)


def _warm(endpoint: Any) -> Any:
    """The endpoint's settings with the judge's temperature, unless they have one."""
    return {"temperature": 0.6, **endpoint} if isinstance(endpoint, Mapping) else endpoint


@dataclass
class _Ballot:
    """One vote on one question."""

    question: Question
    seed: int
    vote: float | None = None
    error: str | None = None
    unread: bool = field(default=True)
