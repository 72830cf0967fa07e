"""What finished sessions say: their scores turn by turn, a line each for later pairing, and pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from editenv.agents.report.statistics import MaybeScore
from editenv.agents.report.summary import TurnScores
from editenv.session import Session
from editenv.types import SCORE_NAMES, Scores
from editenv.viewer import Shown, filmstrip

NAMES = (*SCORE_NAMES, "reward")
"""Names of the scores that are reported."""


def turn_scores(sessions: Sequence[Session]) -> TurnScores:
    """Scores by name, session and turn; None where no judge gave an answer, for the reward too."""
    return {name: [_column(session, name) for session in sessions] for name in NAMES}


def is_scored(sessions: Sequence[Session]) -> bool:
    """Is there a judge; False where all scores are None because none is configured."""
    return any(session.versions["scorer"] is not None for session in sessions)


def write_lines(sessions: Iterable[Session], path: Path) -> None:
    """JSON Lines, one session each: which one it was, what was said and meant, and its scores by name."""
    lines = [json.dumps(_line(session), ensure_ascii=False) + "\n" for session in sessions]
    path.write_text("".join(lines), encoding="utf-8")


def write_filmstrip(sessions: Sequence[Shown], path: Path) -> None:
    """The sessions' filmstrip as a PNG."""
    from PIL import Image

    Image.fromarray(filmstrip(sessions)).save(path)


def as_text(session: Session) -> str:
    """The session for a reader: what was said, meant and scored in each turn."""
    lines = [session.title]
    for turn, (said, intent, scores) in enumerate(
        zip(session.transcript, session.intents, session.scores, strict=False), start=1
    ):
        lines += [
            f"turn {turn}",
            f"  user:   {said}",
            f"  intent: {intent or '-'}",
            f"  scores: {_written(scores)}",
        ]
    return "\n".join([*lines, f"end: {session.ending.reason if session.ending else 'it goes on'}"])


def _column(session: Session, name: str) -> list[MaybeScore]:
    judged = session.versions["scorer"] is not None
    return [getattr(scores, name) if judged and scores.scored else None for scores in session.scores]


def _line(session: Session) -> dict[str, Any]:
    return {
        "session": session.spec.id,
        "split": session.split,
        "seed": session.seed,
        "index": session.index,
        "transcript": list(session.transcript),
        "intents": list(session.intents),
        "ending": session.ending.reason if session.ending else None,
        **{name: _column(session, name) for name in NAMES},
    }


def _written(scores: Scores) -> str:
    if scores.error is not None:
        return f"none, {scores.error}"
    values = {name: getattr(scores, name) for name in SCORE_NAMES}
    known = [f"{name} {value:.2f}" for name, value in values.items() if value is not None]
    return ", ".join([*known, f"reward {scores.reward:.2f}"]) if known else "none"
