"""The seams of the environment: world, user, scorer and policy, as protocols that others implement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from editenv.types import Image, Scores, Stop, TurnResult, UserMessage

Memory = TypeVar("Memory")
Observations = Mapping[str, Any]
"""Observations of B sessions, batched as the vector environment gives them."""


class SessionSpec(Protocol):
    """What a world prepares for one session."""

    @property
    def id(self) -> str:
        """Names the session in records: the same content has the same id."""
        ...

    @property
    def turn_count(self) -> int:
        """Number of turns the script holds."""
        ...

    def to_json(self) -> dict[str, Any]:
        """The whole session as JSON values."""
        ...


class World(Protocol):
    """Where sessions come from and what their pictures look like."""

    name: str
    version: str
    max_turns: int

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and 3 of every picture."""
        ...

    def session(self, split: str, seed: int, index: int) -> Any:
        """Session `index` of `seed` in a split: the same value wherever and whenever it is asked for."""
        ...

    def picture(self, spec: Any) -> Image:
        """The session's source picture, uint8 [H, W, 3], a fresh array."""
        ...

    def spec_from_json(self, data: Mapping[str, Any]) -> Any:
        """The session that `spec.to_json()` described; raises ValueError naming the wrong key."""
        ...


class User(Protocol):
    """Who gives the instructions. Stateless: what it needs to know is in spec and outcome.

    A user that never reads an outcome's `history` may say so in an attribute, `reads_scores = False`; with it
    turns can be scored while the session goes on. One who waits for something, such as a server, may also
    have `beginnings(specs)` and `replies(outcomes)`, which answer for many sessions at once, in order.
    """

    version: str

    def begin(self, spec: Any) -> UserMessage:
        """The first instruction of a session."""
        ...

    def reply(self, outcome: TurnResult) -> UserMessage | Stop:
        """The next instruction, judged from what the pictures show, or the end of the session."""
        ...


class Scorer(Protocol):
    """Judges turns. A bad picture scores 0; only a judge that fails leaves None and an error.

    A scorer whose scores follow from a turn alone, at little cost, may say so in an attribute, `pure = True`;
    with it `set_state` refuses states whose scores it would not give. One that holds threads or connections
    may have `close()`.
    """

    version: str

    def score(self, turns: Sequence[TurnResult]) -> list[Scores]:
        """Scores of turns from any number of sessions, in the order given; never raises for a bad picture."""
        ...


class Policy(Protocol[Memory]):
    """An agent, batched over sessions; what it remembers of a session lives outside of it, in memories."""

    def start(self, observations: Observations, seeds: Sequence[int]) -> list[Memory]:
        """One fresh memory a session.

        Args:
            observations: of B sessions at their first turn.
            seeds: one number a session, from which all that the agent draws at random in it must follow, so
                that its actions do not depend on the sessions beside it.
        """
        ...

    def act(self, observations: Observations, memories: list[Memory]) -> tuple[dict[str, Any], list[Memory]]:
        """Actions as the vector environment takes them, and one new memory a session.

        Memories given are not changed: a session can be branched together with its agent.
        """
        ...
