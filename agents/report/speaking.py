"""How users spoke in finished sessions, in figures: what tells one persona from another."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from editenv.session import Session

HEADINGS = {
    "words": "words an instruction",
    "references": "share of references",
    "repeats": "repeats a session",
    "repairs": "repairs a session",
    "changes": "changes of mind a session",
    "turns": "turns to the goal",
    "done": "done",
    "gave_up": "gave up",
    "out_of_turns": "out of turns",
}
"""The figures of `Speaking` for a reader."""


@dataclass(frozen=True, slots=True)
class Speaking:
    """Figures of some sessions with one user; NaN where there is nothing to count.

    Attributes:
        words: mean words of an instruction, marks not counted.
        references: share of instructions that point back or at something in the picture.
        repeats, repairs, changes: instructions a session that ask again for what failed, have damage put
            right, or say that the user wants something else now.
        turns: mean turns of the sessions that reached their goal.
        done, gave_up, out_of_turns: shares of sessions by how they ended.
    """

    words: float
    references: float
    repeats: float
    repairs: float
    changes: float
    turns: float
    done: float
    gave_up: float
    out_of_turns: float

    def to_json(self) -> dict[str, float | None]:
        """The figures as JSON values, None in place of NaN."""
        return {name: None if np.isnan(value) else value for name, value in asdict(self).items()}


def speaking(sessions: Sequence[Session]) -> Speaking:
    """Figures of finished sessions whose user keeps "mood" and "reference" with what they say.

    Raises:
        ValueError: there is no session, or the user keeps nothing, as one who reads out a script.
    """
    details = [detail for session in sessions for detail in session.details]
    if not details or not all("mood" in detail for detail in details):
        raise ValueError("these sessions' user keeps no moods, expected sessions of a goal user")
    said = [text for session in sessions for text in session.transcript]
    ends = [session.ending.reason if session.ending else None for session in sessions]
    lengths = [session.turn for session, end in zip(sessions, ends, strict=True) if end == "done"]

    def a_session(mood: str) -> float:
        return sum(detail["mood"] == mood for detail in details) / len(sessions)

    return Speaking(
        words=float(np.mean([len(re.findall(r"\w+", text)) for text in said])),
        references=float(np.mean([detail["reference"] is not None for detail in details])),
        repeats=a_session("again"),
        repairs=a_session("repair"),
        changes=a_session("mind"),
        turns=float(np.mean(lengths)) if lengths else float("nan"),
        done=ends.count("done") / len(ends),
        gave_up=ends.count("gave_up") / len(ends),
        out_of_turns=ends.count("max_turns") / len(ends),
    )


def markdown(rows: dict[str, Speaking]) -> str:
    """A Markdown table, one row a name."""
    lines = [f"| | {' | '.join(HEADINGS.values())} |", f"|---|{'---|' * len(HEADINGS)}"]
    for name, figures in rows.items():
        values = [f"{value:.2f}" for value in asdict(figures).values()]
        lines.append(f"| {name} | {' | '.join(values)} |")
    return "\n".join(lines)
