"""Many sessions at once, scored in one call; each is bit for bit what a single environment plays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any, ClassVar

import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.seeding import np_random
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from editenv.env import MICEEditEnv, check_render_mode, rendered, scoring_queue
from editenv.observations import batch_infos, observation, observations, session_info, turn_info
from editenv.protocols import Scorer, User, World
from editenv.session import Session, SessionEngine, check_options, check_seed, check_session, readonly
from editenv.spaces import MAX_LENGTH, action_space, batched, observation_space, read_actions
from editenv.state import dump_session, load_session
from editenv.types import Image

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Batch = tuple[dict[str, Any], dict[str, Any]]


class MICEEditVectorEnv(VectorEnv[dict[str, Any], dict[str, Any], NDArray[Any]]):
    """N sessions of `MICEEditEnv` side by side; row i plays sessions i, i + N, i + 2N, ... of the seed.

    Actions are a dict of `image`, uint8 [N, H, W, 3], and `intent`, a tuple or list of N texts; observations
    are batched as Gymnasium batches their spaces (texts and transcripts are tuples of N). Infos are arrays
    [N] with masks under `_key`; `scores`, `scored`, `end_reason` and `is_success` belong to the step just
    made, like the rewards, in every mode, the other keys to the session that is open now.

    What happens when a session ends depends on `autoreset_mode`. SAME_STEP opens the next one at once and
    gives the ended one's `final_obs` and `final_info`. NEXT_STEP opens it in the next step, whose action for
    that row is ignored. DISABLED leaves it over: its row rests (action ignored, reward 0.0, flags stay, no
    scores) until `reset(options={"reset_mask": bool [N]})`.

    `reset(options={"sessions": [N numbers]})` picks sessions, repeats allowed: G equal numbers are G rollouts
    of one session's script. Counting goes on N further from there. `reset(seed=[N seeds])` gives each row a
    seed of its own, whose sessions 0, 1, 2, ... it plays, as in Gymnasium's vector environments.

    A step that raises (a wrong action, a scorer, a user, `on_end`) was not made: all sessions stay as
    they were.

    Args:
        num_envs: N.
        world, user, scorer, split, history, max_length, on_end, render_mode, scoring: as in `MICEEditEnv`.
        autoreset_mode: see above.
        max_episode_steps: turns after which a session is truncated; None for the world's max_turns.
    """

    metadata: ClassVar[dict[str, Any]] = dict(MICEEditEnv.metadata)  # type: ignore[misc]

    def __init__(
        self,
        num_envs: int,
        world: World,
        user: User,
        scorer: Scorer | None = None,
        *,
        split: str = "train",
        history: bool = False,
        max_length: int = MAX_LENGTH,
        on_end: Callable[[Session], None] | None = None,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
        scoring: str = "immediate",
        max_episode_steps: int | None = None,
    ) -> None:
        for name, value in (("num_envs", num_envs), ("max_episode_steps", max_episode_steps)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{name} is {value!r}, expected a whole number of 1 or more")
        check_render_mode(render_mode)
        self.num_envs = num_envs
        queue = scoring_queue(scoring, scorer)
        self.engine = SessionEngine(world, user, scorer, split, max_length, on_end, queue, max_episode_steps)
        self.render_mode = render_mode
        self.autoreset_mode = autoreset_mode
        self.metadata = MICEEditEnv.metadata | {"autoreset_mode": autoreset_mode}  # type: ignore[misc]
        self.single_observation_space = observation_space(world.image_shape, world.max_turns, max_length, history)
        self.single_action_space = action_space(world.image_shape, max_length)
        self.observation_space = batched(self.single_observation_space, num_envs)
        self.action_space = batched(self.single_action_space, num_envs)
        self._images = world.max_turns + 1 if history else None
        self._sessions: list[Session] = []
        # How far each row's next session lies behind its last: N where all rows share a seed, 1 where not.
        self._strides = [num_envs] * num_envs

    @property
    def spec(self) -> EnvSpec | None:
        """What made this environment, of JSON values only."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        # Gymnasium keeps the arguments of make_vec as they came; an enumeration would not go into JSON.
        if spec is not None and isinstance(spec.kwargs.get("autoreset_mode"), AutoresetMode):
            spec = copy(spec)
            spec.kwargs = spec.kwargs | {"autoreset_mode": spec.kwargs["autoreset_mode"].value}
        self._spec = spec

    _spec: EnvSpec | None = None

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The session of each row.

        Raises:
            ResetNeeded: none was opened yet.
        """
        if not self._sessions:
            raise ResetNeeded("no session is open, call reset first")
        return tuple(self._sessions)

    def reset(self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None) -> Batch:
        """Opens the next session in every row, or in the rows of a mask.

        Args:
            seed: starts counting sessions of this seed, row i at session i; N seeds start a count in each
                row, at session 0; None goes on counting (for a row, or for all).
            options: "sessions", N session numbers; "reset_mask", bool [N], rows to reset, the others go on.

        Returns:
            Observations of all rows; infos of the rows that were reset.

        Raises:
            ValueError: an option is unknown or has another form, or there are not N seeds.
        """
        own_seeds = None if seed is None or isinstance(seed, int | str) else self._seeds(seed)
        shared = seed if own_seeds is None else None
        check_seed(shared)
        chosen = check_options(options, ("sessions", "reset_mask"))
        rows = self._rows(chosen.get("reset_mask"))
        numbers = self._numbers(chosen.get("sessions"))
        super().reset(seed=shared)  # type: ignore[arg-type]
        if shared is None and not self._sessions:
            shared = int(self.np_random.integers(2**31))
        seeds: list[Any] = [shared] * self.num_envs if own_seeds is None else own_seeds
        strides = list(self._strides)
        for row in rows:
            if seeds[row] is not None:
                strides[row] = self.num_envs if own_seeds is None else 1
        places = [self._next(row, seeds[row], numbers[row], strides) for row in rows]
        opened = dict(zip(rows, self.engine.open(places), strict=True))
        self._sessions = [opened.get(row) or self._sessions[row] for row in range(self.num_envs)]
        self._strides = strides
        return self._obs(), self._info(rows)

    def step(self, actions: dict[str, Any]) -> tuple[dict[str, Any], Floats, Bools, Bools, dict[str, Any]]:
        """Carries out one turn in every row whose session is not over; the scorer is asked once.

        Returns:
            Observations, rewards float64 [N], terminations and truncations bool [N], infos.

        Raises:
            ValueError: an action is not in the action space; all sessions stay as they were.
            ResetNeeded: no session is open, or all are over and `autoreset_mode` is DISABLED.
        """
        sessions = self.sessions
        world, max_length = self.engine.world, self.engine.max_length
        images, intents = read_actions(actions, self.num_envs, world.image_shape, max_length)
        return self._told(sessions, self._advance(list(readonly(images)), intents))

    def _advance(self, images: Sequence[Image], intents: Sequence[str]) -> list[int]:
        """Plays a turn in every row whose session is not over and opens what comes next; the rows that played."""
        sessions = self.sessions
        rows = [row for row, session in enumerate(sessions) if session.ending is None]
        if not rows and self.autoreset_mode == AutoresetMode.DISABLED:
            raise ResetNeeded("all sessions are over, call reset first")
        before = [sessions[row] for row in rows]
        played = self.engine.play(before, [images[row] for row in rows], [intents[row] for row in rows])
        # Everything that may raise comes before anything changes.
        now = list(sessions)
        for row, session in zip(rows, played, strict=True):
            now[row] = session
        reopened = self._reopened(sessions, now)
        self.engine.commit(before, played)
        self._sessions = [reopened.get(row, session) for row, session in enumerate(sessions)]
        return rows

    def _told(
        self, sessions: Sequence[Session], rows: Sequence[int]
    ) -> tuple[dict[str, Any], Floats, Bools, Bools, dict[str, Any]]:
        """What `step` returns once some rows of the sessions that it found have played."""
        rewards = np.zeros(self.num_envs)
        rewards[rows] = [sessions[row].reward for row in rows]
        infos = batch_infos(self.num_envs, {r: turn_info(sessions[r]) for r in rows}) if rows else {}
        over = [row for row, session in enumerate(sessions) if session.ending]
        if over and self.autoreset_mode == AutoresetMode.SAME_STEP:
            infos |= self._finals(sessions, over)
        # A row that NEXT_STEP has just reopened has neither flag.
        told = rows if self.autoreset_mode == AutoresetMode.NEXT_STEP else range(self.num_envs)
        terminated, truncated = np.zeros((2, self.num_envs), dtype=bool)
        for row in told:
            if end := sessions[row].ending:
                terminated[row], truncated[row] = end.terminated, end.truncated
        return self._obs(), rewards, terminated, truncated, infos | self._info(range(self.num_envs))

    def render(self) -> tuple[NDArray[np.uint8] | str | None, ...] | None:
        """Each row's filmstrip, uint8 [H, W, 3], or its text; None without a render mode."""
        if self.render_mode is None:
            return None
        return tuple(rendered(one, self.render_mode, self.engine.world.max_turns) for one in self.sessions)

    def get_state(self, row: int) -> bytes:
        """The session of one row, for `set_states` here or `MICEEditEnv.set_state`.

        Raises:
            ResetNeeded: no session is open.
        """
        return dump_session(self.sessions[row])

    def set_states(self, states: Mapping[int, bytes]) -> Batch:
        """Puts states into rows, one state into several where wished; the other rows go on.

        Returns:
            Observations of all rows, infos of the rows named.

        Raises:
            ValueError: a row is none, or bytes are no state, or one of another kind of environment; nothing has
                changed then.
            ResetNeeded: no session is open.
        """
        sessions = list(self.sessions)
        rows = [str(row) for row in range(self.num_envs)]
        for row in states if isinstance(states, Mapping) else [states]:
            if isinstance(row, str) or str(row) not in rows:
                raise ValueError(f"states are for {row!r}, expected bytes by row, 0 to {rows[-1]}")
        for row, state in states.items():
            sessions[row] = load_session(state, self.engine)
        known = {row: session_info(sessions[row]) for row in states}
        shown = observations(sessions, self._images), batch_infos(self.num_envs, known)
        self._sessions = sessions
        return shown

    def close_extras(self, **kwargs: Any) -> None:
        """Gives back the threads and connections of scorer and user."""
        self.engine.close()

    def _reopened(self, before: Sequence[Session], now: Sequence[Session]) -> dict[int, Session]:
        """The next session of each row whose session is over and reset in this step, by row."""
        if self.autoreset_mode == AutoresetMode.DISABLED:
            return {}
        # NEXT_STEP resets what was over before the step, SAME_STEP what is over after it.
        looked_at = before if self.autoreset_mode == AutoresetMode.NEXT_STEP else now
        over = [row for row, session in enumerate(looked_at) if session.ending]
        return dict(
            zip(over, self.engine.open([self._next(row, None, None, self._strides) for row in over]), strict=True)
        )

    def _finals(self, sessions: Sequence[Session], over: Sequence[int]) -> dict[str, Any]:
        """`final_obs` and `final_info` of the rows whose session has just ended."""
        seen = np.full(self.num_envs, None, dtype=object)
        for row in over:
            seen[row] = self._final_obs(sessions[row])
        known = {row: session_info(sessions[row]) | turn_info(sessions[row]) for row in over}
        final = batch_infos(self.num_envs, {row: {"final_info": info} for row, info in known.items()})
        return final | {"final_obs": seen, "_final_obs": final["_final_info"].copy()}

    def _next(self, row: int, seed: int | None, number: int | None, strides: Sequence[int]) -> tuple[int, int]:
        """Seed and number of the session a row plays next; where none are given, a stride behind the last."""
        last = self._sessions[row] if self._sessions else None
        if number is None:
            # A shared seed is dealt out to the rows; a row's own seed starts at its session 0.
            first = row if strides[row] == self.num_envs else 0
            number = first if last is None or seed is not None else last.index + strides[row]
        if seed is None:
            seed = int(self.np_random.integers(2**31)) if last is None else last.seed
        return seed, number

    def _seeds(self, seeds: Any) -> list[int | None]:
        """N seeds, one a row.

        Raises:
            ValueError: there are not N of them.
            gymnasium.error.Error: one is no whole number of 0 or more.
        """
        if not isinstance(seeds, Sequence | np.ndarray) or len(seeds) != self.num_envs:
            raise ValueError(f"seed is {seeds!r}, expected a whole number, {self.num_envs} of them, or None")
        plain = [int(seed) if isinstance(seed, np.integer) else seed for seed in seeds]
        for seed in plain:
            check_seed(seed)
            np_random(seed)  # Gymnasium's own check, in its words.
        return plain

    def _rows(self, mask: Any) -> list[int]:
        """The rows to reset.

        Raises:
            ValueError: the mask is no bool array [N] with a True in it, or the first reset leaves rows out.
        """
        if mask is None:
            return list(range(self.num_envs))
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (self.num_envs,):
            came = f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__
            expected = f"expected a bool array of shape ({self.num_envs},)"
            raise ValueError(f"options['reset_mask'] is {came}, {expected}")
        if not mask.any() or not (self._sessions or mask.all()):
            raise ValueError("options['reset_mask'] must name at least one row, and all of them in the first reset")
        return [int(row) for row in np.flatnonzero(mask)]

    def _numbers(self, numbers: Any) -> list[int | None]:
        """The session number of each row, None for the next one; ValueError where they are not N numbers."""
        if numbers is None:
            return [None] * self.num_envs
        if not isinstance(numbers, Sequence | np.ndarray) or len(numbers) != self.num_envs:
            raise ValueError(f"options['sessions'] is {numbers!r}, expected {self.num_envs} session numbers")
        return [check_session(number, f"options['sessions'][{row}]") for row, number in enumerate(numbers)]

    def _obs(self) -> dict[str, Any]:
        return observations(self._sessions, self._images)

    def _final_obs(self, session: Session) -> dict[str, Any]:
        return observation(session, self._images)

    def _info(self, rows: Sequence[int]) -> dict[str, Any]:
        return batch_infos(self.num_envs, {row: session_info(self._sessions[row]) for row in rows})
