"""The environment: one episode is one image-editing session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from editenv.observations import observation, session_info, turn_info
from editenv.protocols import Scorer, User, World
from editenv.session import ScoringQueue, Session, SessionEngine, check_options, check_seed, check_session, readonly
from editenv.spaces import MAX_LENGTH, action_space, observation_space, read_action
from editenv.state import dump_session, load_session


class MICEEditEnv(gymnasium.Env[dict[str, Any], dict[str, Any]]):
    """A user asks for edits, the agent answers each with a picture; what was asked earlier stays in force.

    **Observation** (`editenv.spaces.observation_space`): `Dict` of `image`, the current picture, and
    `source`, the session's first, uint8 [H, W, 3]; `instruction`, this turn's text, empty once the
    session is over; `transcript`, all the user said, this turn's instruction last; `turn`, 0 to
    max_turns. With `history` also `images`, uint8 [max_turns + 1, H, W, 3]: source, then the picture
    after each turn, zero where not reached.

    **Action**: `Dict` of `image`, the edited picture, uint8 [H, W, 3], and `intent`, what the agent took the
    session to ask of it, in words; it may be empty, is recorded and never scored. An action outside of the
    space raises ValueError, naming the field, what came and what is expected; the session stays as it was.

    **Reward**: the turn's `Scores.reward`, 0.3 IF + 0.3 CC + 0.4 GA unless weighted otherwise.

    **Episode**: one session. Terminated when the user ends it ("done", "gave_up"), truncated after
    max_turns or when the scorer gave no answer ("unscored").

    **Info**: `session` (id), `split`, `seed`, `index`, `versions` (of world, user, scorer), `speech`
    where the user keeps something about what they said; after a step also `scores` (a `Scores`), `scored`
    (False when a judge failed), `end_reason` (None while the session goes on) and `is_success` (over, and
    every turn right).

    **Seeds**: after `reset(seed=K)` session 0 of seed K is played, each further `reset()` plays the next one,
    and `reset(options={"session": i})` plays i; counting goes on from there. The same session is the same bit
    for bit alone, in a vector environment of any size, and after `get_state` / `set_state`.

    Texts have no fixed size, so Gymnasium's `AsyncVectorEnv` needs `shared_memory=False`.

    Args:
        world: where sessions and their pictures come from.
        user: who gives the instructions.
        scorer: who judges turns; with None all scores are None, rewards 0.0, and sessions go on.
        split: "train", "validation" or "test".
        history: whether observations hold all earlier pictures as `images`.
        max_length: characters an instruction or an intent may have.
        on_end: called with each `Session` when it ends; an `editenv.records.Recorder` fits. When it
            raises, the turn counts as not played. One with `all_ended` gets a list of all that end in one step.
        render_mode: what `render` gives: "rgb_array" the session's filmstrip, "ansi" the session as text;
            None nothing. `gym.make` adds "human" (a window, by pygame) and "rgb_array_list".
        scoring: "immediate" scores each turn in its step. "deferred", for users who read no scores, lets
            sessions go on while the scorer works: until the last step scores are None and rewards 0.0; that
            step waits, pays the sum of all turns' rewards, and its `info["session_scores"]` holds the scores
            of every turn.
    """

    # Gymnasium reads it from the class as well as from its objects.
    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["rgb_array", "ansi"],
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
        (self._session,) = self.engine.open([(int(seed), index)])
        return observation(self.session, self._images), session_info(self.session)

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
        self.engine.commit([session], self.engine.play([session], [readonly(answer.image)], [answer.intent]))
        end, info = session.ending, session_info(session) | turn_info(session)
        terminated, truncated = bool(end and end.terminated), bool(end and end.truncated)
        return observation(session, self._images), float(session.reward), terminated, truncated, info

    def render(self) -> NDArray[np.uint8] | str | None:
        """The session's filmstrip, uint8 [H, W, 3], always of one size, its text, or None (`render_mode`)."""
        return rendered(self.session, self.render_mode, self.engine.world.max_turns)

    def get_state(self) -> bytes:
        """The session and its place in the count, to be continued by `set_state` as often as wished."""
        return dump_session(self.session)

    def set_state(self, state: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
        """Goes on from a state, of this environment or another one with the same world, user and scorer.

        Returns:
            Observation and info, as `reset` gives them.

        Raises:
            ValueError: these bytes are no state of such an environment; nothing has changed then.
        """
        session = load_session(state, self.engine)
        shown = observation(session, self._images), session_info(session)
        self._session = session
        return shown

    def close(self) -> None:
        """Gives back the threads and connections of scorer and user."""
        self.engine.close()


def scoring_queue(scoring: str, scorer: Scorer | None) -> ScoringQueue | None:
    """Where turns wait for their scores; None where they are scored at once, or not at all."""
    if scoring not in ("immediate", "deferred"):
        raise ValueError(f"scoring is {scoring!r}, expected 'immediate' or 'deferred'")
    return ScoringQueue(scorer) if scoring == "deferred" and scorer is not None else None


def check_render_mode(render_mode: str | None) -> None:
    """ValueError for render modes other than None and those of `MICEEditEnv.metadata`."""
    modes = MICEEditEnv.metadata["render_modes"]
    if render_mode is not None and render_mode not in modes:
        wrapped = render_mode in ("human", "rgb_array_list")
        more = ", or by gym.make 'human' and 'rgb_array_list'" if wrapped else ""
        raise ValueError(f"render_mode is {render_mode!r}, expected None, {' or '.join(map(repr, modes))}{more}")


def rendered(session: Session, render_mode: str | None, max_turns: int) -> NDArray[np.uint8] | str | None:
    """A session in a render mode."""
    from editenv.viewer import as_text, filmstrip

    if render_mode == "ansi":
        return as_text(session)
    return None if render_mode is None else filmstrip([session], max_turns=max_turns)
