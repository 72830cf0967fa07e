"""The environment for agents that choose operations: sessions, users and scorers are those of MICEEdit-v0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from editenv.env import MICEEditEnv
from editenv.session import Session
from editenv.types import Image
from editenv.worlds.studio.language import tokens, vocabulary
from editenv.worlds.studio.operations import apply_operation, in_words, operation_parts, value_masks
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.render import render
from editenv.worlds.studio.scene import Scene

TOKENS = 64
"""Words an instruction is shown with, where nothing else is asked for."""

PADDING, UNKNOWN = 0, 1
"""Ids of what stands behind a text's end, and of a word that no sentence of the training split holds."""

_SPECIAL = ("", "?")


class WordIds:
    """Numbers words and marks; the same vocabulary gives the same numbers.

    Args:
        length: words a text may have; longer texts lose their end.
    """

    def __init__(self, length: int) -> None:
        if length < 1:
            raise ValueError(f"token count is {length}, expected 1 or more")
        self.length = length
        self.words = _SPECIAL + vocabulary()
        self._ids = {word: number for number, word in enumerate(self.words) if word not in _SPECIAL}

    def encode(self, text: str) -> NDArray[np.int32]:
        """A text as int32 [length]: ids from 1, then PADDING."""
        ids = np.full(self.length, PADDING, np.int32)
        known = [self._ids.get(word, UNKNOWN) for word in tokens(text)[: self.length]]
        ids[: len(known)] = known
        return ids

    def encode_all(self, texts: Sequence[str], rows: int) -> NDArray[np.int32]:
        """Texts one after another as int32 [rows * length], `length` ids each; missing ones padded.

        Raises:
            ValueError: there are more texts than rows.
        """
        if len(texts) > rows:
            raise ValueError(f"there are {len(texts)} texts, expected at most {rows}")
        ids = np.full((rows, self.length), PADDING, np.int32)
        for row, text in enumerate(texts):
            ids[row] = self.encode(text)
        return ids.reshape(-1)

    def decode(self, ids: Sequence[int] | NDArray[np.int32]) -> str:
        """The words of a text with blanks between them, "?" for unknown ones."""
        return " ".join(self.words[number] for number in ids if number != PADDING)


class MICEEditToolsEnv(gymnasium.Env[dict[str, Any], NDArray[np.int64]]):
    """A user asks for edits, the agent answers each with one operation, which is carried out exactly.

    Observation, of Box and Discrete parts only: `image`, uint8 [H, W, 3]; `instruction`, int32 [tokens], word
    ids (`words.words` names them, 0 behind the end); `transcript`, int32 [max_turns * tokens], what the user
    said turn by turn, the present instruction included; `turn`, 0 to max_turns.

    Action: MultiDiscrete, one number a part (`parts.names`, `parts.values`). The operation's result is drawn
    and handed to the session as the agent's picture. A wrong operation (on an empty cell, onto a full one,
    for an object that does not exist, without effect) leaves the picture as it is; `info["carried_out"]` is
    False then. The operation "leave" leaves it so on purpose, "undo" goes back to the picture a turn before.

    Rewards, endings, infos and the order of sessions are those of `MICEEditEnv`.

    Args:
        inner: the environment that is played, of studio scenes.
        tokens: words of an instruction that are shown; longer ones lose their end.

    Raises:
        ValueError: the world has no grid of cells, so operations cannot be carried out on its pictures.
    """

    # Gymnasium reads it from the class as well as from its objects.
    metadata: ClassVar[dict[str, Any]] = dict(MICEEditEnv.metadata)  # type: ignore[misc]

    def __init__(self, inner: MICEEditEnv, tokens: int = TOKENS) -> None:
        world = inner.engine.world
        grid = getattr(world, "grid", None)
        if grid is None:
            raise ValueError(
                f"world {world.name!r} has no grid of cells, expected studio scenes; MICEEdit-v0 plays any"
            )
        self.inner = inner
        self.render_mode = inner.render_mode
        self.grid: int = grid
        self.parts = operation_parts(grid)
        self.words = WordIds(tokens)
        self.action_space = spaces.MultiDiscrete(self.parts.sizes)
        self.observation_space = self._space(world.max_turns)
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
        _, info = self.inner.reset(seed=seed, options=options)
        return self._opened(info)

    def step(self, action: NDArray[np.int64]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Carries out one operation and lets the user answer.

        Raises:
            ValueError: the action is not in the action space; the session stays as it was.
            ResetNeeded: no session is open, or it is over.
        """
        if not self.action_space.contains(np.asarray(action)):
            limits = dict(zip(self.parts.names, self.parts.sizes, strict=True))
            raise ValueError(f"action is {action!r}, expected one whole number a part, each below {limits}")
        operation = self.parts.decode(np.asarray(action).tolist())
        session, scenes = self.session, self._scenes
        result = apply_operation(operation, scenes[-1], scenes[-2] if len(scenes) > 1 else None)
        image = session.pictures[-1] if result is None else self._picture(result)
        if image is None:
            result, image = None, session.pictures[-1]
        words = in_words(operation, self.grid)
        _, reward, terminated, truncated, info = self.inner.step({"image": image, "intent": words})
        scenes.append(scenes[-1] if result is None else result)
        info |= {"operation": words, "carried_out": result is not None}
        return self._seen(), reward, terminated, truncated, info

    def action_masks(self) -> NDArray[np.bool_]:
        """Which values of each part are worth trying, bool [sum of sizes], as sb3-contrib reads it.

        False stands for what is wrong in every operation now, such as the background that is there already.
        Parts are masked one by one; so an operation of allowed values may still be a wrong one.

        Raises:
            ResetNeeded: no session was opened yet.
        """
        if not self._scenes:
            raise ResetNeeded("no session is open, call reset first")
        return value_masks(self.parts, self._scenes[-1], first=len(self._scenes) < 2)

    def render(self) -> NDArray[np.uint8] | None:
        """The session's filmstrip, as `MICEEditEnv.render` gives it."""
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

    def _picture(self, scene: Scene) -> Image | None:
        """A scene as it was shown last, or drawn; None where something in it cannot be read."""
        for shown, picture in zip(reversed(self._scenes), reversed(self.session.pictures), strict=True):
            if shown == scene:
                return picture
        return None if min(scene.codes()) < 0 else render(scene, self.session.pictures[0].shape[0])

    def _opened(self, info: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Reads the session's pictures; what agents see first."""
        self._scenes = parse(self.session.pictures, self.grid)
        return self._seen(), info

    def _seen(self) -> dict[str, Any]:
        session = self.session
        return {
            "image": session.pictures[-1].copy(),
            "instruction": self.words.encode(session.instruction),
            "transcript": self.words.encode_all(session.transcript, self.inner.engine.world.max_turns),
            "turn": np.int64(session.turn),
        }

    def _space(self, max_turns: int) -> spaces.Dict:
        length, last = self.words.length, len(self.words.words) - 1
        parts: Mapping[str, spaces.Space[Any]] = {
            "image": spaces.Box(0, 255, shape=self.inner.engine.world.image_shape, dtype=np.uint8),
            "instruction": spaces.Box(0, last, shape=(length,), dtype=np.int32),
            "transcript": spaces.Box(0, last, shape=(max_turns * length,), dtype=np.int32),
            "turn": spaces.Discrete(max_turns + 1),
        }
        return spaces.Dict(dict(parts))
