"""Sessions that a language model plays by calling tools; needs neither torch nor TRL.

`tool_sessions(suite="mixed")` is what `GRPOTrainer(environment_factory=...)` takes. Any other loop calls `reset`,
then methods by their name, and `get_reward` in the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from PIL.Image import fromarray

from editenv.agents.baselines.oracle import oracle_operation
from editenv.agents.tool_agent.tools import Toolbox, scene_in_words
from editenv.build import make_env
from editenv.env import MICEEditEnv
from editenv.session import Session
from editenv.types import Image
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.scene import Scene

PROMPT = (
    "You edit a picture for a user, who gives one instruction after another. Answer each instruction by calling one "
    "tool. What the user asked for earlier stays in force. When the user has left, say goodbye."
)
OVER, GOODBYE = "The user has left.", "Goodbye."
WRONG, STAYS = "Wrong call: {}.", " The picture stays as it is.\n"
Shown = str | list[dict[str, Any]]
"""What a model is shown: text, or content blocks with a picture."""


def shown(picture: Image, text: str, grid: int, pictures: bool) -> Shown:
    """A picture and a text, as content blocks or with the picture in words."""
    if pictures:
        return [{"type": "image", "image": fromarray(picture)}, {"type": "text", "text": text}]
    return f"Picture: {scene_in_words(picture, grid)}\n{text}"


def said(instruction: str) -> str:
    """An instruction, or that there is none any more."""
    return f"User: {instruction}" if instruction else OVER


class ToolSession:
    """One session at a time; `tool_sessions` adds the tools, one method each.

    A call is a turn: the tool's result becomes the picture, and the answer is what the user says next. A wrong call is
    answered by what is wrong with it; the turn goes on, up to `tries` of them, after which the picture stays as it is.

    Attributes:
        settings: of `editenv.build.make_env`.
        pictures: whether pictures are shown as content blocks; else they are told in words.
        tries: wrong calls that end a turn.
        reward: "mean" of the turns, those that were never played counted as 0, or their "sum".
        toolbox: the tools.
    """

    settings: ClassVar[dict[str, Any]]
    pictures: ClassVar[bool]
    tries: ClassVar[int]
    reward: ClassVar[str]
    toolbox: ClassVar[Toolbox]

    def __init__(self) -> None:
        self._envs: dict[tuple[str, str], MICEEditEnv] = {}
        self._env = self._env_of(self.settings["suite"], self.settings["split"])
        self._scenes: list[Scene] = []
        self._wrong = 0

    @property
    def session(self) -> Session:
        """The session being played; ResetNeeded where none was opened yet."""
        return self._env.session

    def reset(self, **row: Any) -> Shown:
        """Opens a session; what the model is shown first.

        Args:
            row: of a dataset; `session` (its number), `seed`, `suite` and `split` say which one, all else is left
                alone. Rows with the same four open the same session.
        """
        self._env = self._env_of(*(row.get(name) or self.settings[name] for name in ("suite", "split")))
        self._env.reset(seed=row.get("seed", 0), options={"session": row.get("session", 0)})
        self._scenes, self._wrong = parse(self.session.pictures, self.toolbox.grid), 0
        return self._shown()

    def get_reward(self) -> float | None:
        """Of the session so far; None where nobody judges, or a judge failed."""
        session = self.session
        session.resolve()
        if self._env.engine.scorer is None or any(not one.scored for one in session.scores):
            return None
        total = float(sum(one.reward for one in session.scores))
        played = session.turn if session.ending else max(session.turn, session.spec.turn_count)
        return total if self.reward == "sum" else total / played

    def _play(self, tool: str, arguments: dict[str, Any]) -> Shown:
        """The answer to a call."""
        session, note = self.session, ""
        if session.ending:
            return OVER
        try:
            scene, image, words = self.toolbox.carry_out(tool, arguments, session.pictures, self._scenes)
        except ValueError as error:
            self._wrong += 1
            note = WRONG.format(error)
            if self._wrong < self.tries:
                return note
            scene, image, words = self._scenes[-1], session.pictures[-1], "leave"
            note += STAYS
        self._env.step({"image": image, "intent": words})
        self._scenes.append(scene)
        self._wrong = 0
        return self._shown(note)

    def _env_of(self, suite: str, split: str) -> MICEEditEnv:
        if (suite, split) not in self._envs:
            settings: dict[str, Any] = {**self.settings, "suite": suite, "split": split}
            self._envs[suite, split] = make_env(**settings)
        return self._envs[suite, split]

    def _shown(self, note: str = "") -> Shown:
        text = note + said(self.session.instruction)
        return shown(self.session.pictures[-1], text, self.toolbox.grid, self.pictures)


def tool_sessions(
    *,
    pictures: bool = False,
    tries: int = 3,
    reward: str = "mean",
    tools: Sequence[str] | None = None,
    **settings: Any,
) -> type[ToolSession]:
    """The class of such sessions, with one method a task; call it without arguments for each session side by side.

    Args:
        pictures, tries, reward: see `ToolSession`.
        tools: names of those that are offered; None for all, which takes some 2,000 tokens of a prompt.
        settings: of `editenv.build.make_env`, such as suite, user and scorer; the exact one judges if none is named.

    Raises:
        ValueError: a setting is not known, or the pictures are no studio scenes.
    """
    if reward not in ("mean", "sum"):
        raise ValueError(f"reward is {reward!r}, expected 'mean' or 'sum'")
    if tries < 1:
        raise ValueError(f"tries is {tries}, expected 1 or more")
    settings = {"suite": "mixed", "split": "train", "scorer": "exact", **settings}
    toolbox = Toolbox(make_env(**settings).engine.world, tools)
    fixed = {"settings": settings, "pictures": pictures, "tries": tries, "reward": reward, "toolbox": toolbox}
    methods = {name: tool.function(ToolSession._play) for name, tool in toolbox.tools.items()}
    return type("ToolSession", (ToolSession,), {"__doc__": ToolSession.__doc__, **fixed, **methods})


def session_rows(sessions: Sequence[int], seed: int = 0, **more: Any) -> list[dict[str, Any]]:
    """Rows of a dataset, one a session: the prompt, which `reset` completes, and which session it is.

    Args:
        sessions: their numbers.
        seed: of the sessions.
        more: `suite` and `split`, where they are not the settings'.
    """
    prompt = [{"role": "system", "content": PROMPT}, {"role": "user", "content": ""}]
    return [{"prompt": prompt, "session": number, "seed": seed, **more} for number in sessions]


def oracle_conversation(session: ToolSession, row: dict[str, Any]) -> list[dict[str, Any]]:
    """A session as the oracle plays it, as chat messages with tool calls, for supervised training.

    Args:
        session: plays it.
        row: of `session_rows`.
    """
    system, user = row["prompt"]
    messages = [system, {**user, "content": session.reset(**row)}]
    while not session.session.ending:
        scenes = parse(session.session.pictures, session.toolbox.grid)
        name, arguments = session.toolbox.call(oracle_operation(session.session, scenes, session.toolbox.parts))
        call = {"type": "function", "function": {"name": name, "arguments": arguments}}
        messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
        messages.append({"role": "tool", "name": name, "content": getattr(session, name)(**arguments)})
    return [*messages, {"role": "assistant", "content": GOODBYE}]
