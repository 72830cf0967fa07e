"""Environments for agents that choose operations: sessions, users and scorers are those of MICEEdit-v0.

Observation, of Box and Discrete parts only: `image`, uint8 [H, W, 3]; `instruction`, int32 [tokens], word ids
(`words.words` names them, 0 behind the end); `transcript`, int32 [max_turns * tokens], what the user said so
far turn by turn, the present instruction included; `turn`, 0 to max_turns.

Action: MultiDiscrete, one number a part (`parts.names`, `parts.values`). The operation's result is drawn and
handed to the session as the agent's picture. A wrong operation (on an empty cell, onto a full one, for an
object that does not exist, without effect) leaves the picture as it is; `info["carried_out"]` is False then.
The operation "leave" leaves it so on purpose, "undo" goes back to the picture a turn before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar, Protocol

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from editenv.ahead import SessionsAhead
from editenv.env import MICEEditEnv
from editenv.protocols import World
from editenv.session import Session, readonly
from editenv.types import Image
from editenv.vector import Batch, Bools, Floats, MICEEditVectorEnv
from editenv.worlds.studio.operations import apply_operation, in_words, operation_parts, value_masks
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.phrases import tokens as split_tokens
from editenv.worlds.studio.phrases import vocabulary
from editenv.worlds.studio.render import render
from editenv.worlds.studio.scene import Scene

TOKENS = 64
"""Words an instruction is shown with, where nothing else is asked for."""
PADDING, UNKNOWN = 0, 1
"""Ids of what stands behind a text's end, and of a word that no sentence of the training split holds."""


class WordIds:
    """Numbers words and marks; the same vocabulary gives the same numbers.

    Args:
        length: words a text may have; longer texts lose their end.
    """

    def __init__(self, length: int) -> None:
        if isinstance(length, bool) or not isinstance(length, int) or length < 1:
            raise ValueError(f"tokens is {length!r}, expected a whole number of 1 or more")
        self.length = length
        self.words = ("", "?", *vocabulary())
        self._ids = {word: number for number, word in enumerate(self.words) if number > UNKNOWN}
        self._encode = lru_cache(maxsize=4096)(self._encode_text)

    def encode(self, text: str) -> NDArray[np.int32]:
        """A text as int32 [length]: ids from 1, then PADDING."""
        return self._encode(text).copy()

    def encode_all(self, texts: Sequence[str], rows: int) -> NDArray[np.int32]:
        """Texts one after another as int32 [rows * length], `length` ids each; missing ones padded.

        Raises:
            ValueError: there are more texts than rows.
        """
        if len(texts) > rows:
            raise ValueError(f"there are {len(texts)} texts, expected at most {rows}")
        ids = np.full((rows, self.length), PADDING, np.int32)
        for row, text in enumerate(texts):
            ids[row] = self._encode(text)
        return ids.reshape(-1)

    def decode(self, ids: Sequence[int] | NDArray[np.int32]) -> str:
        """The words of a text with blanks between them, "?" for unknown ones."""
        return " ".join(self.words[number] for number in ids if number != PADDING)

    def _encode_text(self, text: str) -> NDArray[np.int32]:
        ids = np.full(self.length, PADDING, np.int32)
        known = [self._ids.get(word, UNKNOWN) for word in split_tokens(text)[: self.length]]
        ids[: len(known)] = known
        return ids


class Shown(Protocol):
    """What agents are shown of a session: a `Session`, or anything with its pictures and words."""

    @property
    def pictures(self) -> Sequence[Image]:
        """The source, then the picture after each turn."""
        ...

    @property
    def instruction(self) -> str:
        """This turn's text, empty once the session is over."""
        ...

    @property
    def transcript(self) -> Sequence[str]:
        """All the user said."""
        ...

    @property
    def turn(self) -> int:
        """Number of finished turns."""
        ...


class Tools:
    """Spaces, encoded observations, masks and results of actions, for environments and for whoever plays them.

    Args:
        world: of studio scenes.
        tokens: words of an instruction that are shown; longer ones lose their end.

    Raises:
        ValueError: the world has no grid of cells.
    """

    def __init__(self, world: World, tokens: int) -> None:
        grid = getattr(world, "grid", None)
        if grid is None:
            raise ValueError(
                f"world {world.name!r} has no grid of cells, expected studio scenes; MICEEdit-v0 plays any"
            )
        self.grid: int = grid
        self.max_turns = world.max_turns
        self.parts = operation_parts(grid)
        self.words = WordIds(tokens)
        self.action_space = spaces.MultiDiscrete(self.parts.sizes)
        last = len(self.words.words) - 1
        parts: dict[str, spaces.Space[Any]] = {
            "image": spaces.Box(0, 255, shape=world.image_shape, dtype=np.uint8),
            "instruction": spaces.Box(0, last, shape=(tokens,), dtype=np.int32),
            "transcript": spaces.Box(0, last, shape=(world.max_turns * tokens,), dtype=np.int32),
            "turn": spaces.Discrete(world.max_turns + 1),
        }
        self.observation_space = spaces.Dict(parts)
        self._masks: dict[Any, NDArray[np.bool_]] = {}

    def observations(self, sessions: Sequence[Shown]) -> dict[str, NDArray[Any]]:
        """What agents see, fresh arrays [N, ...]."""
        encode, encode_all = self.words.encode, self.words.encode_all
        return {
            "image": np.stack([session.pictures[-1] for session in sessions]),
            "instruction": np.stack([encode(session.instruction) for session in sessions]),
            "transcript": np.stack([encode_all(session.transcript, self.max_turns) for session in sessions]),
            "turn": np.array([session.turn for session in sessions], np.int64),
        }

    def observation(self, session: Shown) -> dict[str, Any]:
        """The same of one session, [...]."""
        return {name: values[0] for name, values in self.observations([session]).items()}

    def masks(self, played: Sequence[Sequence[Scene]]) -> NDArray[np.bool_]:
        """Values worth trying, bool [N, sum of sizes], after the scenes that each session has shown so far."""
        return np.stack([self._mask(scenes[-1], len(scenes) < 2) for scenes in played])

    def _mask(self, scene: Scene, first: bool) -> NDArray[np.bool_]:
        # All that `value_masks` asks of a scene; few combinations ever occur.
        shown = frozenset(name for obj in scene.cells if obj is not None for name in obj.attributes())
        key = scene.background, shown, None in scene.cells, first
        if key not in self._masks:
            self._masks[key] = value_masks(self.parts, scene, first)
        return self._masks[key]

    def check(self, action: Any, space: spaces.Space[Any]) -> NDArray[np.int64]:
        """The action as an array; ValueError where it is not in the space."""
        if not space.contains(np.asarray(action)):
            limits = dict(zip(self.parts.names, self.parts.sizes, strict=True))
            raise ValueError(f"action is {action!r}, expected one whole number a part, each below {limits}")
        return np.asarray(action)

    def result(
        self, action: NDArray[np.int64], pictures: Sequence[Image], scenes: Sequence[Scene]
    ) -> tuple[Scene, Image, str, bool]:
        """The scene and picture after an operation, its words, and whether it was carried out.

        Args:
            action: one number a part.
            pictures: of the session so far.
            scenes: what they show.
        """
        operation = self.parts.decode(action.tolist())
        words = in_words(operation, self.grid)
        result = apply_operation(operation, scenes[-1], scenes[-2] if len(scenes) > 1 else None)
        image = None if result is None else self._picture(result, pictures, scenes)
        if result is None or image is None:
            return scenes[-1], pictures[-1], words, False
        return result, image, words, True

    def _picture(self, scene: Scene, pictures: Sequence[Image], scenes: Sequence[Scene]) -> Image | None:
        """A scene as it was shown last, or drawn; None where something in it cannot be read."""
        for shown, picture in zip(reversed(scenes), reversed(pictures), strict=True):
            if shown == scene:
                return picture
        return None if min(scene.codes()) < 0 else render(scene, pictures[0].shape[0])


class MICEEditToolsEnv(gymnasium.Env[dict[str, Any], NDArray[np.int64]]):
    """A user asks for edits, the agent answers each with one operation, which is carried out exactly.

    Observations and actions are described above; rewards, endings, infos and the order of sessions are those
    of `MICEEditEnv`.

    Args:
        inner: the environment that is played, of studio scenes.
        tokens: words of an instruction that are shown; longer ones lose their end.

    Raises:
        ValueError: the world has no grid of cells, so operations cannot be carried out on its pictures.
    """

    # Gymnasium reads it from the class as well as from its objects.
    metadata: ClassVar[dict[str, Any]] = dict(MICEEditEnv.metadata)  # type: ignore[misc]

    def __init__(self, inner: MICEEditEnv, tokens: int = TOKENS) -> None:
        self.inner = inner
        self.render_mode = inner.render_mode
        self._tools = Tools(inner.engine.world, tokens)
        self.grid, self.parts, self.words = self._tools.grid, self._tools.parts, self._tools.words
        self.action_space = self._tools.action_space
        self.observation_space = self._tools.observation_space
        self._scenes: list[Scene] = []

    @property
    def session(self) -> Session:
        """The session being played; ResetNeeded where none was opened yet."""
        return self.inner.session

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Opens the next session, or the one that options["session"] names, as `MICEEditEnv.reset` does."""
        super().reset(seed=seed)
        return self._opened(self.inner.reset(seed=seed, options=options)[1])

    def step(self, action: NDArray[np.int64]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Carries out one operation and lets the user answer.

        Raises:
            ValueError: the action is not in the action space; the session stays as it was.
            ResetNeeded: no session is open, or it is over.
        """
        numbers = self._tools.check(action, self.action_space)
        scene, image, words, done = self._tools.result(numbers, self.session.pictures, self._scenes)
        _, reward, terminated, truncated, info = self.inner.step({"image": image, "intent": words})
        self._scenes.append(scene)
        info |= {"operation": words, "carried_out": done}
        return self._tools.observation(self.session), reward, terminated, truncated, info

    def action_masks(self) -> NDArray[np.bool_]:
        """Which values of each part are worth trying, bool [sum of sizes], as sb3-contrib reads it.

        False stands for what is wrong in every operation now, such as the background that is there already.
        Parts are masked one by one; so an operation of allowed values may still be a wrong one.

        Raises:
            ResetNeeded: no session was opened yet.
        """
        if not self._scenes:
            raise ResetNeeded("no session is open, call reset first")
        return self._tools.masks([self._scenes])[0]

    def render(self) -> NDArray[np.uint8] | str | None:
        """The session's filmstrip or text, as `MICEEditEnv.render` gives it."""
        return self.inner.render()

    def get_state(self) -> bytes:
        """The session and its place in the count, as `MICEEditEnv.get_state` gives them."""
        return self.inner.get_state()

    def set_state(self, state: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
        """Goes on from a state of this environment or of a `MICEEditEnv` of the same kind.

        Raises:
            ValueError: these bytes are no state of such an environment; nothing has changed then.
        """
        return self._opened(self.inner.set_state(state)[1])

    def close(self) -> None:
        """Closes the inner environment."""
        self.inner.close()

    def _opened(self, info: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Reads the session's pictures; what agents see first."""
        self._scenes = parse(self.session.pictures, self.grid)
        return self._tools.observation(self.session), info


class MICEEditToolsVectorEnv(MICEEditVectorEnv):
    """N sessions of `MICEEditToolsEnv` side by side; each is bit for bit what the single environment plays.

    Observations and actions are batched, actions are int [N, parts]; all else is as in `MICEEditVectorEnv`.
    The infos `operation` and `carried_out` stand for the rows that were played.

    Args:
        args, settings: as in `MICEEditVectorEnv`.
        tokens: as in `MICEEditToolsEnv`.
        draw_ahead: whether a process of its own draws the sessions that come next; they are the same.

    Attributes:
        tools: what encodes observations.
    """

    def __init__(self, *args: Any, tokens: int = TOKENS, draw_ahead: bool = False, **settings: Any) -> None:
        super().__init__(*args, **settings)
        if draw_ahead:
            self.engine = replace(self.engine, world=SessionsAhead(self.engine.world))
        self.tools = Tools(self.engine.world, tokens)
        self.grid, self.parts, self.words = self.tools.grid, self.tools.parts, self.tools.words
        self.single_observation_space = self.tools.observation_space
        self.single_action_space = self.tools.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        # What each row's pictures show, beside the session that they are of.
        self._scenes: list[tuple[Session | None, list[Scene]]] = [(None, [])] * self.num_envs

    def reset(self, **arguments: Any) -> Batch:
        """As `MICEEditVectorEnv.reset`."""
        found = super().reset(**arguments)
        self._read_scenes()
        return found

    def set_states(self, states: Mapping[int, bytes]) -> Batch:
        """As `MICEEditVectorEnv.set_states`."""
        _, infos = super().set_states(states)
        self._read_scenes()
        return self._obs(), infos

    def step(self, actions: Any) -> tuple[dict[str, Any], Floats, Bools, Bools, dict[str, Any]]:
        """Carries out one operation in every row whose session is not over; the scorer is asked once.

        Raises:
            ValueError, ResetNeeded: as in `MICEEditVectorEnv.step`.
        """
        sessions = self.sessions
        results = self.play(actions)
        *found, infos = self._told(sessions, list(results))
        mask = np.isin(np.arange(self.num_envs), list(results))
        words = np.array([results[row][0] if row in results else "" for row in range(self.num_envs)], object)
        done = np.array([row in results and results[row][1] for row in range(self.num_envs)])
        infos |= {"operation": words, "_operation": mask, "carried_out": done, "_carried_out": mask.copy()}
        return *found, infos  # type: ignore[return-value]

    def play(self, actions: Any) -> dict[int, tuple[str, bool]]:
        """Does what `step` does and builds nothing of what it returns.

        Returns:
            By row that played: the operation's words, and whether it was carried out. All else stands in the
            sessions that `sessions` gave before, and in those that it gives now.
        """
        sessions, scenes = self.sessions, self._scenes
        numbers = self.tools.check(actions, self.action_space)
        images, words = [session.pictures[-1] for session in sessions], [""] * self.num_envs
        results = {}
        for row in [row for row, session in enumerate(sessions) if session.ending is None]:
            scene, image, words[row], done = self.tools.result(numbers[row], sessions[row].pictures, scenes[row][1])
            images[row], results[row] = readonly(image), (scene, done)
        self._advance(images, words)
        for row, (scene, _) in results.items():
            scenes[row][1].append(scene)
        self._read_scenes()
        return {row: (words[row], done) for row, (_, done) in results.items()}

    @property
    def scenes(self) -> list[list[Scene]]:
        """What the pictures of each row's session show."""
        return [scenes for _, scenes in self._scenes]

    def close_extras(self, **kwargs: Any) -> None:
        """Gives back threads, connections and the process that draws ahead."""
        super().close_extras(**kwargs)
        if isinstance(self.engine.world, SessionsAhead):
            self.engine.world.close()

    def action_masks(self) -> NDArray[np.bool_]:
        """Each row's masks as `MICEEditToolsEnv.action_masks` gives them, bool [N, sum of sizes].

        Raises:
            ResetNeeded: no session was opened yet.
        """
        if not self._sessions:
            raise ResetNeeded("no session is open, call reset first")
        return self.tools.masks(self.scenes)

    def _obs(self) -> dict[str, Any]:
        return self.tools.observations(self._sessions)

    def _final_obs(self, session: Session) -> dict[str, Any]:
        return self.tools.observation(session)

    def _read_scenes(self) -> None:
        """Reads the pictures of sessions that were opened since, all in one batch."""
        new = [row for row, session in enumerate(self._sessions) if self._scenes[row][0] is not session]
        if isinstance(self.engine.world, SessionsAhead):
            places = [self._next(row, None, None, self._strides) for row in new]
            self.engine.world.expect(self.engine.split, places)
        pictures = [picture for row in new for picture in self._sessions[row].pictures]
        scenes = iter(parse(pictures, self.tools.grid))
        for row in new:
            session = self._sessions[row]
            self._scenes[row] = (session, [next(scenes) for _ in session.pictures])
