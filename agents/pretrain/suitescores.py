"""What a checkpoint scores in every suite and task, for its card."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from editenv.agents.editor.checkpoint import Checkpoint
from editenv.agents.editor.policy import EditorPolicy, ModelPainter, ModelWriter, OracleWriter, Writer
from editenv.agents.editor.turns import TurnSettings
from editenv.agents.episodes import run_episodes
from editenv.agents.stats import known_mean
from editenv.build import make_vector_env
from editenv.session import Session
from editenv.worlds.studio.suites import suite_names

_LONGEST_INTENT = 40


def scores_everywhere(
    checkpoint: Checkpoint, size: int, grid: int, sessions: int, seed: int, form: str = "free"
) -> dict[str, Any]:
    """Scores on test sessions of every suite, whose scripts are read out.

    Args:
        checkpoint: what plays, with the likeliest intents and with right ones.
        size: side of a picture in pixels.
        grid: cells a side.
        sessions: of each suite.
        seed: of sessions and noise.
        form: of intents, a name in `intents.FORMS`.

    Returns:
        "sessions"; "suites": by suite, "greedy" and "right_intents": means of IF and CC over all turns, and
        GA of the last one; "tasks": by task, "turns" and the mean IF of both over those turns of all suites.
    """
    settings = TurnSettings(max_intent_tokens=_LONGEST_INTENT, intent_form=form)
    suites: dict[str, Any] = {}
    followed: dict[str, dict[str, list[float | None]]] = defaultdict(lambda: defaultdict(list))
    for suite in suite_names():
        envs = make_vector_env(
            num_envs=sessions, suite=suite, split="test", size=size, grid=grid, autoreset_mode="Disabled"
        )
        painter = ModelPainter(checkpoint, settings)
        writers: dict[str, Writer] = {
            "greedy": ModelWriter(checkpoint, settings),
            "right_intents": OracleWriter(envs, form),
        }
        suites[suite] = {}
        for name, writer in writers.items():
            played = run_episodes(
                envs, EditorPolicy(writer, painter), range(sessions), seed, f"{suite}, {name}"
            )
            suites[suite][name] = _of_suite(played)
            for session in played:
                for turn, score in zip(session.spec.turns, session.scores, strict=True):
                    followed[turn.edit.task][name].append(score.instruction_following)
    tasks = {task: _of_task(followed[task]) for task in sorted(followed)}
    return {"sessions": sessions, "suites": suites, "tasks": tasks}


def _of_suite(sessions: Sequence[Session]) -> dict[str, float | None]:
    scores = [score for session in sessions for score in session.scores]
    return {
        "instruction_following": rounded_mean(score.instruction_following for score in scores),
        "content_consistency": rounded_mean(score.content_consistency for score in scores),
        "last_global_awareness": rounded_mean(session.scores[-1].global_awareness for session in sessions),
    }


def _of_task(followed: dict[str, list[float | None]]) -> dict[str, Any]:
    return {"turns": len(followed["greedy"])} | {
        name: rounded_mean(values) for name, values in followed.items()
    }


def rounded_mean(values: Iterable[float | None]) -> float | None:
    """The mean of the scores there are, to four places; None where there is none."""
    mean = known_mean(values)
    return None if mean is None else round(mean, 4)
