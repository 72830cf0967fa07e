"""The unified model as a policy: a writer of intents and a painter of pictures; each can be exact instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Protocol

import numpy as np
import torch

from editenv.agents.baselines.oracle import studio_turn
from editenv.agents.editor.checkpoint import Checkpoint, load_checkpoint
from editenv.agents.editor.history import Past, history_blocks
from editenv.agents.editor.noise import normals, uniforms
from editenv.agents.editor.room import check_room
from editenv.agents.editor.turns import TurnSettings, decode, encode, generate, spoken, write_intents
from editenv.agents.unified import Block, ImageBlock
from editenv.protocols import Observations
from editenv.registry import lookup
from editenv.types import Image
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.studio.intents import intent_form
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.render import render
from editenv.worlds.studio.scene import BACKGROUNDS, UNREADABLE, Scene

_WORDS, _NOISE = range(2)


@dataclass(frozen=True, slots=True)
class EditorMemory:
    """What the editor knows of a session beside the observations.

    Attributes:
        row: of the session in its environments, for writers that look there.
        seed: of all that is drawn at random in the session.
        turn: number of the turn to come, from 0.
        past: earlier pictures and intents.
    """

    row: int
    seed: int
    turn: int = 0
    past: Past = ()


class Writer(Protocol):
    """Writes one intent a session."""

    def write(self, observations: Observations, memories: Sequence[EditorMemory]) -> list[str]:
        """Intents in words."""

    def counts(self) -> dict[str, float]:
        """Shares worth reporting, of all turns so far."""


class Painter(Protocol):
    """Carries intents out."""

    def paint(
        self, pictures: Sequence[Image], intents: Sequence[str], memories: Sequence[EditorMemory]
    ) -> list[Image]:
        """The edited pictures, uint8 [H, W, 3]."""

    def counts(self) -> dict[str, float]:
        """Shares worth reporting, of all turns so far."""


class EditorPolicy:
    """In each turn the writer writes the intent, then the painter paints it.

    Args:
        writer: of intents.
        painter: of pictures.
    """

    def __init__(self, writer: Writer, painter: Painter) -> None:
        self.writer = writer
        self.painter = painter

    def start(self, observations: Observations, seeds: Sequence[int]) -> list[EditorMemory]:
        """Fresh memories; sessions are the environments' first rows, in order."""
        return [EditorMemory(row, seed) for row, seed in enumerate(seeds)]

    def act(
        self, observations: Observations, memories: list[EditorMemory]
    ) -> tuple[dict[str, Any], list[EditorMemory]]:
        """One turn of all sessions."""
        intents = self.writer.write(observations, memories)
        images = self.painter.paint(observations["image"], intents, memories)
        after = [
            replace(memory, turn=memory.turn + 1, past=(*memory.past, (picture, intent)))
            for memory, picture, intent in zip(memories, observations["image"], intents, strict=True)
        ]
        return {"image": np.stack(images), "intent": tuple(intents)}, after

    def counts(self) -> dict[str, float]:
        """What writer and painter counted."""
        return self.writer.counts() | self.painter.counts()


class ModelWriter:
    """The model writes; where what it wrote cannot be used, the user's words serve.

    Args:
        checkpoint: of the model.
        settings: of a turn.
    """

    def __init__(self, checkpoint: Checkpoint, settings: TurnSettings) -> None:
        self.checkpoint = checkpoint
        self.settings = settings
        self._written = self._fallbacks = 0

    def write(self, observations: Observations, memories: Sequence[EditorMemory]) -> list[str]:
        """Intents from `intent_from_turn` on, before it the user's words."""
        intents = list(observations["instruction"])
        rows = [n for n, memory in enumerate(memories) if memory.turn + 1 >= self.settings.intent_from_turn]
        if not rows:
            return intents
        written = write_intents(
            self.checkpoint,
            [observations["transcript"][row] for row in rows],
            self.settings,
            self._uniforms([memories[row] for row in rows]),
            self._before(observations, memories, rows),
        )
        texts, fallbacks = spoken(self.checkpoint, written, [intents[row] for row in rows])
        for row, text in zip(rows, texts, strict=True):
            intents[row] = text
        self._written += len(rows)
        self._fallbacks += sum(fallbacks)
        return intents

    def counts(self) -> dict[str, float]:
        """`fallback_share`, of the intents written."""
        return {"fallback_share": self._fallbacks / max(self._written, 1)}

    def _before(
        self, observations: Observations, memories: Sequence[EditorMemory], rows: Sequence[int]
    ) -> list[Block]:
        if not self.settings.interleaved:
            return []
        current = encode(self.checkpoint, [observations["image"][row] for row in rows])
        past = history_blocks(self.checkpoint, [memories[row].past for row in rows])
        return [*past, ImageBlock(current)]

    def _uniforms(self, memories: Sequence[EditorMemory]) -> torch.Tensor | None:
        if self.settings.temperature == 0:
            return None
        numbers = uniforms([(m.seed, m.turn, _WORDS) for m in memories], self.settings.intent_tokens)
        return numbers.to(self.checkpoint.model.device)


class OracleWriter:
    """Reads the right intent from the open sessions, where agents cannot look.

    Args:
        envs: whose sessions are played, of studio scenes.
        form: a name in `intents.FORMS`.
    """

    def __init__(self, envs: MICEEditVectorEnv, form: str = "free") -> None:
        self.envs = envs
        self.form = intent_form(form)

    def write(self, observations: Observations, memories: Sequence[EditorMemory]) -> list[str]:
        """Intents in the form; ValueError where a session has no studio meaning."""
        sessions = [self.envs.sessions[memory.row] for memory in memories]
        return [self.form.write(studio_turn(session), session.spec.scene.grid) for session in sessions]

    def counts(self) -> dict[str, float]:
        """Nothing."""
        return {}


class ModelPainter:
    """The model generates, from noise that is a function of the session's seed and the turn.

    Args:
        checkpoint: of the model.
        settings: of a turn.
    """

    def __init__(self, checkpoint: Checkpoint, settings: TurnSettings) -> None:
        self.checkpoint = checkpoint
        self.settings = settings

    def paint(
        self, pictures: Sequence[Image], intents: Sequence[str], memories: Sequence[EditorMemory]
    ) -> list[Image]:
        """Pictures by the flow's ODE."""
        latents = encode(self.checkpoint, pictures)
        noise = normals([(m.seed, m.turn, _NOISE) for m in memories], tuple(latents.shape[1:]))
        before = (
            history_blocks(self.checkpoint, [m.past for m in memories]) if self.settings.interleaved else []
        )
        edited = generate(self.checkpoint, latents, intents, noise.to(latents.device), self.settings, before)
        return decode(self.checkpoint, edited)

    def counts(self) -> dict[str, float]:
        """Nothing."""
        return {}


class ExactPainter:
    """Reads picture and intent by rules and draws the result; what it cannot carry out stays as it is.

    Args:
        size: side of a picture in pixels.
        grid: cells a side.
        form: of the intents, a name in `intents.FORMS`.
    """

    def __init__(self, size: int, grid: int, form: str = "free") -> None:
        self.size = size
        self.grid = grid
        self.form = intent_form(form)
        self._painted = self._left_alone = 0

    def paint(
        self, pictures: Sequence[Image], intents: Sequence[str], memories: Sequence[EditorMemory]
    ) -> list[Image]:
        """Exact pictures of the scenes that the intents ask for."""
        edited = list(pictures)
        for row, (scene, intent) in enumerate(zip(parse(pictures, self.grid), intents, strict=True)):
            result = self.form.read(intent, scene, self.grid) if _readable(scene) else None
            self._painted += 1
            self._left_alone += result is None
            if result is not None:
                edited[row] = render(result, self.size)
        return edited

    def counts(self) -> dict[str, float]:
        """`left_alone_share`, of the intents given."""
        return {"left_alone_share": self._left_alone / max(self._painted, 1)}


def model_policy(checkpoint: Checkpoint, settings: TurnSettings) -> EditorPolicy:
    """The policy of a model that writes and paints itself."""
    return EditorPolicy(ModelWriter(checkpoint, settings), ModelPainter(checkpoint, settings))


def editor_policy(
    envs: MICEEditVectorEnv, model: str, intent: str, image: str, settings: TurnSettings
) -> EditorPolicy:
    """The policy of a checkpoint, which is loaded only where it is used.

    Args:
        envs: what is going to be played.
        model: a shipped checkpoint, a run's folder or a checkpoint's.
        intent: "model" or "oracle".
        image: "model" or "exact".
        settings: of a turn.

    Raises:
        ValueError: a name is not known, the sessions are longer than the model's positions, or the exact
            painter is to play pictures that are no studio scenes.
    """

    @cache
    def load() -> Checkpoint:
        checkpoint = load_checkpoint(model)
        check_room(checkpoint, envs, settings)
        return checkpoint

    writers: dict[str, Callable[[], Writer]] = {
        "model": lambda: ModelWriter(load(), settings),
        "oracle": lambda: OracleWriter(envs, settings.intent_form),
    }
    painters: dict[str, Callable[[], Painter]] = {
        "model": lambda: ModelPainter(load(), settings),
        "exact": lambda: exact_painter(envs, settings.intent_form),
    }
    return EditorPolicy(lookup("intent", intent, writers)(), lookup("image", image, painters)())


def exact_painter(envs: MICEEditVectorEnv, form: str) -> ExactPainter:
    """One for the environments' pictures; ValueError where these are no studio scenes."""
    world = envs.engine.world
    grid = getattr(world, "grid", None)
    if grid is None:
        raise ValueError(f"image is 'exact' but the world is {world.name!r}, expected one of studio scenes")
    return ExactPainter(world.image_shape[0], grid, form)


def _readable(scene: Scene) -> bool:
    return scene.background in BACKGROUNDS and UNREADABLE not in scene.cells
