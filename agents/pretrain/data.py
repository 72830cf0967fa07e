"""Teaching material from studio sessions: transcripts with their intents, pictures with their edits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from editenv.agents.pretrain.flaws import forget, spoil
from editenv.agents.unified.autoencoder import CellAutoencoder
from editenv.worlds.studio.intents import intent_form
from editenv.worlds.studio.render import cell_pictures
from editenv.worlds.studio.rules import right_result
from editenv.worlds.studio.scene import Scene
from editenv.worlds.studio.session import StudioSpec
from editenv.worlds.studio.world import StudioWorld


@dataclass(frozen=True)
class Lessons:
    """What a base is taught, and what is kept from it.

    Attributes:
        suites: suites whose training sessions are used, in turn.
        whole_session_share: share of text lessons from whole sessions; the rest are single instructions.
        whole_sessions: number of different whole sessions there are; None for as many as asked for.
        keep_rule: chance that a text lesson's answer keeps the rules stated in earlier turns.
        resolve_reference: chance that a text lesson's answer names the object that "it" stands for.
        spoilt: share of image lessons whose right result is replaced by a wrong one.
        intent_form: of all intents, a name in `intents.FORMS`.
    """

    suites: tuple[str, ...] = ("mixed", "mice-cm", "mice-cu")
    whole_session_share: float = 1.0
    whole_sessions: int | None = None
    keep_rule: float = 1.0
    resolve_reference: float = 1.0
    spoilt: float = 0.0
    intent_form: str = "free"


class ImageLesson(NamedTuple):
    """One edit: the scene before, the intent in words, the scene after."""

    before: Scene
    intent: str
    after: Scene


class TextLesson(NamedTuple):
    """One answer: what the user said so far, and the intent to be written."""

    transcript: tuple[str, ...]
    intent: str


def image_lessons(lessons: Lessons, seed: int, grid: int) -> Iterator[ImageLesson]:
    """Edits of all turns of training sessions, without end."""
    rng = np.random.default_rng([seed, 1])
    form = intent_form(lessons.intent_form)
    for spec in _sessions(lessons.suites, seed, grid):
        scene = spec.scene
        for turn in spec.turns:
            result = right_result(turn.edit, turn.rules, scene)
            wrong = rng.random() < lessons.spoilt
            intent = form.write(turn, grid)
            yield ImageLesson(scene, intent, spoil(turn, scene, result, rng) if wrong else result)
            scene = result


def text_lessons(lessons: Lessons, seed: int, grid: int) -> Iterator[TextLesson]:
    """Answers to transcripts, without end: of whole sessions or single instructions, as the lessons say."""
    rng = np.random.default_rng([seed, 2])
    whole = _sessions(lessons.suites, seed, grid, lessons.whole_sessions)
    single = _sessions(lessons.suites, seed + 1, grid)
    while True:
        if rng.random() < lessons.whole_session_share:
            yield from _whole(next(whole), lessons, grid, rng)
        else:
            turn = next(single).turns[0]
            yield TextLesson((turn.text,), intent_form(lessons.intent_form).write(turn, grid))


def _whole(spec: StudioSpec, lessons: Lessons, grid: int, rng: Generator) -> Iterator[TextLesson]:
    said: tuple[str, ...] = ()
    for number, turn in enumerate(spec.turns):
        said = (*said, turn.text)
        stated = turn.rules if number == 0 or turn.rules != spec.turns[number - 1].rules else ()
        keep = bool(stated) or rng.random() < lessons.keep_rule
        resolve = rng.random() < lessons.resolve_reference
        answer = forget(turn, grid, rules=keep, reference=resolve, form=lessons.intent_form)
        yield TextLesson(said, answer)


def _sessions(suites: Sequence[str], seed: int, grid: int, count: int | None = None) -> Iterator[StudioSpec]:
    worlds = [StudioWorld(suite, size=16 * grid, grid=grid) for suite in suites]
    index = 0
    while True:
        number = index if count is None else index % count
        yield worlds[number % len(worlds)].session("train", seed, number)
        index += 1


class LatentTable:
    """Latents of scenes by looking up each cell's; cells are coded apart, so this equals encoding pictures.

    Args:
        autoencoder: codes one cell a token.
        cell: side of a cell in pixels, the autoencoder's `token_side`.
    """

    def __init__(self, autoencoder: CellAutoencoder, cell: int) -> None:
        pictures = torch.from_numpy(np.array(cell_pictures(cell)))
        with torch.no_grad():
            codes = autoencoder.encode(pictures.flatten(0, 1))
        self.table = codes.reshape(*pictures.shape[:2], -1)

    def __call__(self, scenes: Sequence[Scene]) -> Tensor:
        """Latents [B, N, C] of scenes with N cells."""
        codes = torch.tensor([scene.codes() for scene in scenes])
        return self.table[codes[:, :1], codes[:, 1:]]
