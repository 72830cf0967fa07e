"""Studio sessions played with any pictures through the exact scorer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace

from editenv.rewards.exact import ExactScorer
from editenv.types import Picture, Scores, TurnOutcome
from editenv.worlds.studio.constraints import right_result
from editenv.worlds.studio.render import render
from editenv.worlds.studio.scene import Scene
from editenv.worlds.studio.session import StudioSpec

Answer = Callable[[int, int, Scene, Scene], Picture]
"""(row of the session, turn, scene before, right scene after) -> the picture an agent answers; the scenes are
those that pictures should show, whatever was answered earlier."""


def right_scenes(spec: StudioSpec) -> list[Scene]:
    """The start scene and what every turn should lead to."""
    scenes = [spec.scene]
    for turn in spec.turns:
        scenes.append(right_result(turn.edit, turn.rules, scenes[-1]))
    return scenes


def play(specs: Sequence[StudioSpec], answer: Answer, grid: int = 4, size: int = 64) -> list[list[Scores]]:
    """Scores [session][turn] of sessions in which `answer` gives every picture."""
    scorer = ExactScorer(SimpleNamespace(grid=grid))
    right = [right_scenes(spec) for spec in specs]
    pictures = [[render(spec.scene, size)] for spec in specs]
    scores: list[list[Scores]] = [[] for _ in specs]
    for turn in range(specs[0].turn_count):
        for row, (scenes, shown) in enumerate(zip(right, pictures, strict=True)):
            shown.append(answer(row, turn, scenes[turn], scenes[turn + 1]))
        outcomes = [
            TurnOutcome(
                spec, turn, spec.speech(turn), shown[0], shown[-2], shown[-1], tuple(past), tuple(shown[1:-1])
            )
            for spec, shown, past in zip(specs, pictures, scores, strict=True)
        ]
        for past, score in zip(scores, scorer.score(outcomes), strict=True):
            past.append(score)
    return scores
