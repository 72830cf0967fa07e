"""The environment: one episode is one image-editing session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from editenv.actions import read_action
from editenv.deferred import ScoringQueue
from editenv.observations import observation, session_info, turn_info
from editenv.protocols import Scorer, User, World
from editenv.seeding import check_options, check_seed, check_session
from editenv.session import Session, SessionEngine, frozen
from editenv.spaces import MAX_LENGTH, action_space, observation_space
from editenv.state import dump_session, load_session


class MICEEditEnv(gymnasium.Env[dict[str, Any], dict[str, Any]]):
    """A user asks for edits, the agent answers each with a picture; what was asked earlier stays in force.

    Observations and actions are described in `editenv.spaces`. The reward is the turn's `Scores.reward`.
    `info` holds `session` (id), `split`, `seed`, `index`, `versions`; after a step also `scores` (a
    `Scores`), `scored` (False when a judge failed: the session is truncated, the reward 0.0) and `end_reason`
    (None while the session goes on). After `reset(seed=K)` session 0 of seed K is played, and each further
    `reset()` plays the next one; `reset(options={"session": i})` plays i, and counting goes on from there.

    Texts have no fixed size, so Gymnasium's `AsyncVectorEnv` needs `shared_memory=False`.

    Args:
        world: where sessions and their pictures come from.
        user: who gives the instructions.
        scorer: who judges turns; with None all scores are None, rewards 0.0, and sessions go on.
        split: "train", "validation" or "test".
        history: whether observations hold all earlier pictures as `images`.
        max_length: characters an instruction or an intent may have.
        on_end: called with each `Session` when it ends; a `editenv.records.Recorder` fits.
        render_mode: "rgb_array" lets `render` draw the session's filmstrip, else None.
        scoring: "immediate" scores each turn in its step. "deferred", for users who read no scores, lets
            sessions go on while the scorer works: until the last step scores are None and rewards 0.0; that
            step waits, pays the sum of all turns' rewards, and its `info["session_scores"]` holds the scores
            of every turn.
    """

    # Gymnasium reads it from the class as well as from its objects.
    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["rgb_array"],
        "render_fps": 1,
    }

    def __init__(
        self,
        world: World,
        user: User,
        scorer: Scorer | None = None,
        *,
        split: str = "train",
        history: bool = False,
        max_length: int = MAX_LENGTH,
        on_end: Callable[[Session], None] | None = None,
        render_mode: str | None = None,
        scoring: str = "immediate",
    ) -> None:
        check_render_mode(render_mode)
        queue = scoring_queue(scoring, scorer)
        self.engine = SessionEngine(world, user, scorer, split, max_length, on_end, queue)
        self.render_mode = render_mode
        self.observation_space = observation_space(world.image_shape, world.max_turns, max_length, history)
        self.action_space = action_space(world.image_shape, max_length)
        self._images = world.max_turns + 1 if history else None
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        """The session being played, or the one that has just ended.

        Raises:
            ResetNeeded: none was opened yet.
        """
        if self._session is None:
            raise ResetNeeded("no session is open, call reset first")
        return self._session

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Opens the next session.

        Args:
            seed: starts counting sessions of this seed, from 0; None goes on counting.
            options: {"session": i} to play session i.

        Raises:
            ValueError: an option is unknown or no session number.
        """
        check_seed(seed)
        chosen = check_options(options, ("session",))
        last = self._session
        index = last.index + 1 if last and seed is None else 0
        if "session" in chosen:
            index = check_session(chosen["session"], "options['session']")
        super().reset(seed=seed)
        if seed is None:
            seed = last.seed if last else int(self.np_random.integers(2**31))
        self._session = self.engine.open(int(seed), index)
        return self._seen(), self._known()

    def step(self, action: dict[str, Any]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Carries out one turn.

        Raises:
            ValueError: the action is not in the action space; the session stays as it was.
            ResetNeeded: no session is open, or it is over.
        """
        session = self.session
        if session.ending:
            raise ResetNeeded(f"the session is over ({session.ending.reason}), call reset first")
        answer = read_action(action, self.engine.world.image_shape, self.engine.max_length)
        self.engine.advance([session], [frozen(answer.image)], [answer.intent])
        end = session.ending
        info = self._known() | turn_info(session)
        terminated, truncated = bool(end and end.terminated), bool(end and end.truncated)
        return self._seen(), float(session.reward), terminated, truncated, info

    def render(self) -> NDArray[np.uint8] | None:
        """The session's filmstrip, uint8 [H, W, 3], always of one size; None without a render mode."""
        if self.render_mode is None:
            return None
        from editenv.viewer import filmstrip

        return filmstrip([self.session], max_turns=self.engine.world.max_turns)

    def get_state(self) -> bytes:
        """The session and its place in the count, to be continued by `set_state` as often as wished.

        Raises:
            ResetNeeded: no session is open.
        """
        return dump_session(self.session)

    def set_state(self, state: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
        """Goes on from a state, of this environment or another one with the same world, user and scorer.

        Returns:
            Observation and info, as `reset` gives them.

        Raises:
            ValueError: these bytes are no state of such an environment; nothing has changed then.
        """
        self._session = load_session(state, self.engine)
        return self._seen(), self._known()

    def _seen(self) -> dict[str, Any]:
        return observation(self.session, self._images)

    def _known(self) -> dict[str, Any]:
        return session_info(self.session)


def scoring_queue(scoring: str, scorer: Scorer | None) -> ScoringQueue | None:
    """Where turns wait for their scores; None where they are scored at once, or not at all.

    Raises:
        ValueError: scoring is neither "immediate" nor "deferred".
    """
    if scoring not in ("immediate", "deferred"):
        raise ValueError(f"scoring is {scoring!r}, expected 'immediate' or 'deferred'")
    return ScoringQueue(scorer) if scoring == "deferred" and scorer is not None else None


def check_render_mode(render_mode: str | None) -> None:
    """Refuses render modes other than None and "rgb_array" with a ValueError."""
    if render_mode not in (None, "rgb_array"):
        raise ValueError(f"render_mode is {render_mode!r}, expected None or 'rgb_array'")
