"""Studio sessions played with any pictures through an exact scorer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from editenv.protocols import Scorer
from editenv.rewards.exact import ExactScorer
from editenv.types import Image, Scores, TurnResult
from editenv.worlds.studio.render import render
from editenv.worlds.studio.rule import right_result
from editenv.worlds.studio.scene import Scene
from editenv.worlds.studio.session import StudioSpec
from editenv.worlds.studio.world import StudioWorld

Answer = Callable[[int, int, Scene, Scene], Image]
"""(row of the session, turn, scene before, right scene after) -> the picture an agent answers; the scenes are
those that pictures should show, whatever was answered earlier."""


_DRAWN: dict[tuple[str, str, int], tuple[StudioWorld, list[StudioSpec]]] = {}


def drawn_sessions(suite: str, split: str, count: int, grid: int = 4) -> list[StudioSpec]:
    """The first sessions of a split, drawn once for all tests of a process."""
    key = suite, split, grid
    if key not in _DRAWN:
        _DRAWN[key] = StudioWorld(suite, grid=grid), []
    world, specs = _DRAWN[key]
    specs += [world.session(split, 5, index) for index in range(len(specs), count)]
    return specs[:count]


def right_scenes(spec: StudioSpec) -> list[Scene]:
    """The start scene and what every turn should lead to."""
    scenes = [spec.scene]
    for turn in spec.turns:
        scenes.append(right_result(turn.edit, turn.rules, scenes[-1], scenes[:-1]))
    return scenes


def play(
    specs: Sequence[StudioSpec],
    answer: Answer,
    grid: int = 4,
    size: int = 64,
    make: Callable[[Any], Scorer] = ExactScorer,
) -> list[list[Scores]]:
    """Scores [session][turn] of sessions in which `answer` gives every picture and `make` the scorer."""
    scorer = make(SimpleNamespace(grid=grid))
    right = [right_scenes(spec) for spec in specs]
    pictures = [[render(spec.scene, size)] for spec in specs]
    scores: list[list[Scores]] = [[] for _ in specs]
    for turn in range(max(spec.turn_count for spec in specs)):
        rows = [row for row, spec in enumerate(specs) if turn < spec.turn_count]
        for row in rows:
            pictures[row].append(answer(row, turn, right[row][turn], right[row][turn + 1]))
        outcomes = [
            TurnResult(
                specs[row],
                turn,
                specs[row].message(turn),
                pictures[row][0],
                pictures[row][-2],
                pictures[row][-1],
                tuple(scores[row]),
                tuple(pictures[row][1:-1]),
            )
            for row in rows
        ]
        for row, score in zip(rows, scorer.score(outcomes), strict=True):
            scores[row].append(score)
    return scores


def five(scores: Scores) -> tuple[float | None, ...]:
    """IF, CC, GA, turn consistency and whether rules were kept."""
    return (
        scores.instruction_following,
        scores.content_consistency,
        scores.global_awareness,
        scores.turn_consistency,
        scores.rule_kept,
    )
