"""SB3's `VecEnv` over the batched `MICEEditTools-v0`: one process, one call of the scorer a step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv

from editenv.observations import session_info, turn_info
from editenv.tools_env import MICEEditToolsVectorEnv

Step = tuple[dict[str, NDArray[Any]], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]


class ToolsVecEnv(VecEnv):
    """Plays bit for bit what `make_vec_env(lambda: gym.make("MICEEditTools-v0"), n_envs=N)` plays, in less time.

    After `seed(K)` row i plays sessions 0, 1, 2, ... of seed K + i. Infos are those of the single environment;
    at the end of a session also `terminal_observation`, `TimeLimit.truncated` and `episode`, as SB3's Monitor
    gives it, so that no wrapper is needed.

    Attributes:
        restart: a seed at whose first sessions every reset begins again; None goes on counting.

    Args:
        envs: batched environments that open the next session in the same step.

    Raises:
        ValueError: `envs` have another autoreset mode.
    """

    def __init__(self, envs: MICEEditToolsVectorEnv) -> None:
        if envs.autoreset_mode != AutoresetMode.SAME_STEP:
            raise ValueError(f"autoreset_mode is {envs.autoreset_mode.value!r}, expected 'SameStep'")
        self.envs = envs
        self.restart: int | None = None
        self._opened = False
        self._actions: Any = None
        self._returns, self._lengths = np.zeros(envs.num_envs), np.zeros(envs.num_envs, np.int64)
        self._started = time.time()
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)

    def reset(self) -> dict[str, NDArray[Any]]:
        """Opens each row's next session, of the seeds and options that SB3 has set since the last time."""
        seeded = any(seed is not None for seed in self._seeds)
        if self.restart is not None or not (seeded or self._opened):
            # Each row counts sessions of a seed of its own, even where nobody chose it.
            self.seed(self.restart)
            seeded = True
        seeds = self._seeds if seeded else None
        unknown = {name for options in self._options for name in options} - {"session"}
        numbers = [options.get("session") for options in self._options]
        if unknown or (None in numbers and set(numbers) != {None}):
            raise ValueError(f"reset options are {self._options}, expected {{'session': number}} in every row or none")
        options = None if None in numbers else {"sessions": numbers}
        observations, _ = self.envs.reset(seed=seeds, options=options)
        self.reset_infos = [session_info(session) for session in self.envs.sessions]
        self._opened = True
        self._reset_seeds()
        self._reset_options()
        self._returns[:], self._lengths[:] = 0.0, 0
        return observations

    def step_async(self, actions: NDArray[np.int64]) -> None:
        """Keeps the actions, int [N, parts]."""
        self._actions = actions

    def step_wait(self) -> Step:
        """Carries them out: observations, rewards [N], whether sessions ended [N], infos."""
        played, done = self.envs.sessions, self.envs.play(self._actions)
        rewards = np.array([session.reward for session in played])
        dones = np.array([session.ending is not None for session in played])
        self._returns += rewards
        self._lengths += 1
        infos = []
        for row, session in enumerate(played):
            operation, carried_out = done[row]
            info = session_info(session) | turn_info(session)
            info |= {"operation": operation, "carried_out": carried_out}
            info["TimeLimit.truncated"] = session.ending is not None and session.ending.truncated
            if session.ending is not None:
                info["terminal_observation"] = self.envs.tools.observation(session)
                total, turns = round(float(self._returns[row]), 6), int(self._lengths[row])
                info["episode"] = {"r": total, "l": turns, "t": round(time.time() - self._started, 6)}
                self.reset_infos[row] = session_info(self.envs.sessions[row])
            infos.append(info)
        self._returns[dones], self._lengths[dones] = 0.0, 0
        return self.envs.tools.observations(self.envs.sessions), rewards.astype(np.float32), dones, infos

    def get_states(self) -> list[bytes]:
        """Every row's session, to go on from later."""
        return [self.envs.get_state(row) for row in range(self.num_envs)]

    def set_states(self, states: Sequence[bytes]) -> dict[str, NDArray[Any]]:
        """Goes on from `get_states`; the observations that it left off with.

        Raises:
            ValueError: there are not N states, or one is of another kind of environment.
        """
        if len(states) != self.num_envs:
            raise ValueError(f"there are {len(states)} states, expected {self.num_envs}, one a row")
        self.seed(0)
        self.reset()
        observations, _ = self.envs.set_states(dict(enumerate(states)))
        for row, session in enumerate(self.envs.sessions):
            self._returns[row] = sum(scores.reward for scores in session.scores)
            self._lengths[row] = session.turn
        return observations

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of the environments, or a method as each row has it."""
        rows = list(self._get_indices(indices))
        if attr_name in self._methods():
            return [partial(self._methods()[attr_name], row) for row in rows]
        if attr_name == "session":
            return [self.envs.sessions[row] for row in rows]
        return [getattr(self.envs, attr_name) for _ in rows]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Sets an attribute that all rows share.

        Raises:
            ValueError: it is to be set in some rows only.
        """
        if sorted(self._get_indices(indices)) != list(range(self.num_envs)):
            raise ValueError(
                f"indices are {indices!r}, expected None: the rows are one environment and share attributes"
            )
        setattr(self.envs, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """What a method of the single environment gives in each row: action_masks, get_state or render.

        Raises:
            AttributeError: it is another one.
        """
        rows = list(self._get_indices(indices))
        if method_name == "action_masks":
            masks = self.envs.action_masks()
            return [masks[row] for row in rows]
        if method_name not in self._methods():
            raise AttributeError(f"{method_name!r} is no method of these rows, expected {', '.join(self._methods())}")
        return [self._methods()[method_name](row, *method_args, **method_kwargs) for row in rows]

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """True for Monitor, whose `episode` is in the infos; False for all others."""
        return [issubclass(wrapper_class, Monitor) for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[Any]:
        """Each row's filmstrip; None without render_mode="rgb_array"."""
        return self.envs.render() or [None] * self.num_envs

    def close(self) -> None:
        """Closes the environments."""
        self.envs.close()

    def _methods(self) -> dict[str, Callable[..., Any]]:
        """Methods of the single environment, called with the row."""
        return {
            "action_masks": lambda row: self.envs.action_masks()[row],
            "get_state": self.envs.get_state,
            "render": lambda row: self.get_images()[row],
        }
