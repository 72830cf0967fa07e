"""Many sessions at once, scored in one call; each is bit for bit what a single environment plays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from editenv.actions import read_actions
from editenv.env import MICEEditEnv, check_render_mode, scoring_queue
from editenv.observations import (
    batch_infos,
    observation,
    observations,
    session_info,
    session_infos,
    turn_info,
)
from editenv.protocols import Scorer, User, World
from editenv.seeding import check_options, check_seed, check_session
from editenv.session import Session, SessionEngine, frozen
from editenv.spaces import MAX_LENGTH, action_space, batched, observation_space
from editenv.state import dump_session, load_session

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Batch = tuple[dict[str, Any], dict[str, Any]]


class MICEEditVectorEnv(VectorEnv[dict[str, Any], dict[str, Any], NDArray[Any]]):
    """N sessions of `MICEEditEnv` side by side; row i plays sessions i, i + N, i + 2N, ... of the seed.

    Actions are a dict of `image`, uint8 [N, H, W, 3], and `intent`, a tuple or list of N texts; observations
    are batched as Gymnasium batches their spaces (texts and transcripts are tuples of N). Infos are arrays
    [N] with masks under `_key`; `scores`, `scored` and `end_reason` belong to the step just made, like the
    rewards, in every mode, the other keys to the session that is open now.

    What happens when a session ends depends on `autoreset_mode`. SAME_STEP opens the next one at once and
    gives the ended one's `final_obs` and `final_info`. NEXT_STEP opens it in the next step, whose action for
    that row is ignored. DISABLED leaves it over: its row rests (action ignored, reward 0.0, flags stay, no
    scores) until `reset(options={"reset_mask": bool [N]})`.

    `reset(options={"sessions": [N numbers]})` picks sessions, repeats allowed: G equal numbers are G rollouts
    of one spec. Counting goes on N further from there.

    Args:
        num_envs: N.
        world, user, scorer, split, history, max_length, on_end, render_mode, scoring: as in `MICEEditEnv`.
        autoreset_mode: see above.
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
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs is {num_envs}, expected 1 or more")
        check_render_mode(render_mode)
        self.num_envs = num_envs
        queue = scoring_queue(scoring, scorer)
        self.engine = SessionEngine(world, user, scorer, split, max_length, on_end, queue)
        self.render_mode = render_mode
        self.autoreset_mode = autoreset_mode
        self.metadata = MICEEditEnv.metadata | {"autoreset_mode": autoreset_mode}  # type: ignore[misc]
        self.single_observation_space = observation_space(
            world.image_shape, world.max_turns, max_length, history
        )
        self.single_action_space = action_space(world.image_shape, max_length)
        self.observation_space = batched(self.single_observation_space, num_envs)
        self.action_space = batched(self.single_action_space, num_envs)
        self._images = world.max_turns + 1 if history else None
        self._sessions: list[Session] = []

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The session of each row.

        Raises:
            ResetNeeded: none was opened yet.
        """
        if not self._sessions:
            raise ResetNeeded("no session is open, call reset first")
        return tuple(self._sessions)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Batch:
        """Opens the next session in every row, or in the rows of a mask.

        Args:
            seed: starts counting sessions of this seed, row i at session i; None goes on counting.
            options: "sessions", N session numbers; "reset_mask", bool [N], rows to reset, the others go on.

        Returns:
            Observations of all rows; infos of the rows that were reset.

        Raises:
            ValueError: an option is unknown or has another form.
        """
        check_seed(seed)
        chosen = check_options(options, ("sessions", "reset_mask"))
        rows = self._rows(chosen.get("reset_mask"))
        numbers = self._numbers(chosen.get("sessions"))
        super().reset(seed=seed)
        if seed is None and not self._sessions:
            seed = int(self.np_random.integers(2**31))
        places = [self._next(row, seed, numbers[row] if numbers else None) for row in rows]
        opened = self.engine.open_all(places)
        if self._sessions:
            for row, session in zip(rows, opened, strict=True):
                self._sessions[row] = session
        else:
            self._sessions = opened
        return self._seen(), self._known(rows)

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
        played = [row for row, session in enumerate(sessions) if session.ending is None]
        if not played and self.autoreset_mode == AutoresetMode.DISABLED:
            raise ResetNeeded("all sessions are over, call reset first")
        images = frozen(images)
        chosen = [sessions[row] for row in played]
        self.engine.advance(chosen, [images[row] for row in played], [intents[row] for row in played])
        rewards = np.zeros(self.num_envs)
        rewards[played] = [session.reward for session in chosen]
        infos = batch_infos(self.num_envs, {r: turn_info(sessions[r]) for r in played}) if played else {}
        infos |= self._autoreset(sessions, played)
        return (
            self._seen(),
            rewards,
            *self._flags(sessions, played),
            infos | self._known(range(self.num_envs)),
        )

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """Each row's filmstrip, uint8 [H, W, 3]; None without a render mode."""
        if self.render_mode is None:
            return None
        from editenv.viewer import filmstrip

        return tuple(filmstrip([s], max_turns=self.engine.world.max_turns) for s in self.sessions)

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
            ValueError: bytes are no state, or one of another kind of environment; nothing has changed then.
            ResetNeeded: no session is open.
        """
        sessions = list(self.sessions)
        for row, state in states.items():
            sessions[row] = load_session(state, self.engine)
        self._sessions = sessions
        return self._seen(), self._known(list(states))

    def _autoreset(self, sessions: Sequence[Session], played: Sequence[int]) -> dict[str, Any]:
        """Opens sessions in the place of ended ones as the mode says; `sessions` stays as it was."""
        over = [row for row, session in enumerate(sessions) if session.ending]
        if self.autoreset_mode == AutoresetMode.NEXT_STEP:
            over = sorted(set(over) - set(played))
        if not over or self.autoreset_mode == AutoresetMode.DISABLED:
            return {}
        for row, session in zip(over, self.engine.open_all([self._next(row) for row in over]), strict=True):
            self._sessions[row] = session
        return self._finals(sessions, over) if self.autoreset_mode == AutoresetMode.SAME_STEP else {}

    def _finals(self, sessions: Sequence[Session], over: Sequence[int]) -> dict[str, Any]:
        """`final_obs` and `final_info` of the rows whose session has just ended."""
        seen = np.full(self.num_envs, None, dtype=object)
        for row in over:
            seen[row] = observation(sessions[row], self._images)
        known = {row: session_info(sessions[row]) | turn_info(sessions[row]) for row in over}
        final = batch_infos(self.num_envs, {row: {"final_info": info} for row, info in known.items()})
        return final | {"final_obs": seen, "_final_obs": final["_final_info"].copy()}

    def _flags(self, sessions: Sequence[Session], played: Sequence[int]) -> tuple[Bools, Bools]:
        """Terminations and truncations [N]; a row that NEXT_STEP has just reopened has neither."""
        ends = [session.ending for session in sessions]
        if self.autoreset_mode == AutoresetMode.NEXT_STEP:
            ends = [end if row in set(played) else None for row, end in enumerate(ends)]
        terminated = np.array([bool(end and end.terminated) for end in ends])
        return terminated, np.array([bool(end and end.truncated) for end in ends])

    def _next(self, row: int, seed: int | None = None, number: int | None = None) -> tuple[int, int]:
        """Seed and number of the session a row plays next; where none are given, N further than the last."""
        last = self._sessions[row] if self._sessions else None
        if number is None:
            number = row if last is None or seed is not None else last.index + self.num_envs
        if seed is None and last is not None:
            seed = last.seed
        assert seed is not None, "a first reset always has a seed"
        return int(seed), number

    def _rows(self, mask: Any) -> list[int]:
        """The rows to reset.

        Raises:
            ValueError: the mask is no bool array [N] with a True in it, or the first reset leaves rows out.
        """
        if mask is None:
            return list(range(self.num_envs))
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (self.num_envs,):
            came = f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__
            raise ValueError(
                f"options['reset_mask'] is {came}, expected a bool array of shape ({self.num_envs},)"
            )
        if not mask.any() or not (self._sessions or mask.all()):
            raise ValueError(
                "options['reset_mask'] must name at least one row, and all of them in the first reset"
            )
        return [int(row) for row in np.flatnonzero(mask)]

    def _numbers(self, numbers: Any) -> list[int] | None:
        """The session number of each row, or None.

        Raises:
            ValueError: these are not N session numbers.
        """
        if numbers is None:
            return None
        if not isinstance(numbers, Sequence | np.ndarray) or len(numbers) != self.num_envs:
            raise ValueError(f"options['sessions'] is {numbers!r}, expected {self.num_envs} session numbers")
        return [check_session(number, f"options['sessions'][{row}]") for row, number in enumerate(numbers)]

    def _seen(self) -> dict[str, Any]:
        return observations(self._sessions, self._images)

    def _known(self, rows: Sequence[int]) -> dict[str, Any]:
        return session_infos(self.num_envs, {row: self._sessions[row] for row in rows})
