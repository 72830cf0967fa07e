"""Measures how the simulated users speak, and which of their instructions cannot be understood.

    python docs/scripts/users_page.py --sessions 64 --out runs/users

prints two tables and writes them with their figures, users.md and users.json.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from editenv.agents.baselines import POLICIES
from editenv.agents.baselines.oracle import NoisyOracle
from editenv.agents.baselines.reader import ReaderPolicy, Unclear
from editenv.agents.episodes import run_episodes, turn_scores
from editenv.agents.stats import known_mean
from editenv.build import make_vector_env
from editenv.registry import load_class
from editenv.session import Session
from editenv.sims.persona import persona_names
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.studio.suites import suite_names

PARTS = ("instruction_following", "content_consistency", "global_awareness")
SUITE = "persona"
"""Where personas are measured: its sessions leave room to ask more than once."""

AGENTS = {"oracle": "an agent that is always right", "clumsy": "one that fails in 30% of its turns"}
"""The agents that personas speak to."""


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


@dataclass(frozen=True, slots=True)
class Understood:
    """What an agent that reads exactly made of a suite.

    Attributes:
        instructions: how many there were.
        unclear: those it could not read, or in more than one way; a mistake of the simulated user each.
        scores: mean over all turns, by name; the ceiling an agent can reach.
    """

    instructions: int
    unclear: tuple[Unclear, ...]
    scores: dict[str, float | None]

    @property
    def errors(self) -> float:
        """Share of instructions that are unclear."""
        return len(self.unclear) / self.instructions


def main(words: Sequence[str] | None = None) -> None:
    """Measures, prints two tables and writes users.md and users.json into `--out`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of both files")
    parser.add_argument("--suites", nargs="+", choices=suite_names(), default=suite_names(), metavar="NAME")
    parser.add_argument("--personas", nargs="+", default=persona_names(), metavar="NAME")
    parser.add_argument("--sessions", type=int, default=256, help="of each suite and persona, from 0 on")
    parser.add_argument("--split", choices=("train", "validation", "test"), default="test")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-envs", type=int, default=256, help="sessions side by side")
    options = parser.parse_args(words)
    spoken = {agent: {name: measure_persona(name, agent, options) for name in options.personas} for agent in AGENTS}
    understood = {suite: read_suite(suite, options) for suite in options.suites}
    understood |= {f"{SUITE}, {name}, failing": read_persona(name, options) for name in options.personas}
    text = _report(spoken, understood)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "users.md").write_text(text, encoding="utf-8")
    facts = json.dumps(_facts(spoken, understood), indent=2, ensure_ascii=False)
    (options.out / "users.json").write_text(facts + "\n", encoding="utf-8")
    print(text)


def measure_persona(name: str, agent: str, options: argparse.Namespace) -> Speaking:
    """How a persona speaks to one of AGENTS."""
    sessions, _ = _played(agent, options, suite=SUITE, user="goal", user_settings={"persona": name})
    return speaking(sessions)


def read_suite(suite: str, options: argparse.Namespace) -> Understood:
    """What the reader makes of a suite, whose script is read out; personas speak in theirs."""
    user: dict[str, Any] = {"user": "goal"} if suite == SUITE else {}
    sessions, policy = _played("reader", options, suite=suite, **user)
    return _understood(sessions, policy)


def read_persona(name: str, options: argparse.Namespace) -> Understood:
    """What the reader makes of a persona, who often has to ask again as 30% of its turns fail."""
    envs = _envs(options, suite=SUITE, user="goal", user_settings={"persona": name})
    reader = ReaderPolicy(envs)
    sessions = run_episodes(envs, NoisyOracle(envs, other=reader), range(options.sessions), options.seed)
    return _understood(sessions, reader)


def _understood(sessions: list[Session], policy: ReaderPolicy) -> Understood:
    means = {name: known_mean(chain(*rows)) for name, rows in turn_scores(sessions).items()}
    return Understood(policy.instructions, tuple(policy.unclear), means)


def _played(agent: str, options: argparse.Namespace, **settings: Any) -> tuple[list[Session], Any]:
    """Sessions 0, 1, ... with an agent, and the agent."""
    envs = _envs(options, **settings)
    policy = load_class("policy", agent, POLICIES)(envs)
    return run_episodes(envs, policy, range(options.sessions), options.seed), policy


def _envs(options: argparse.Namespace, **settings: Any) -> MICEEditVectorEnv:
    count = min(options.num_envs, options.sessions)
    return make_vector_env(num_envs=count, autoreset_mode="Disabled", split=options.split, **settings)


def _report(spoken: dict[str, dict[str, Speaking]], understood: dict[str, Understood]) -> str:
    """Both tables as Markdown, and the unclear instructions word by word."""
    parts = [f"## Personas speaking to {AGENTS[agent]}\n\n{markdown(rows)}" for agent, rows in spoken.items()]
    lines = ["| suite | instructions | unclear | IF | CC | GA |", "|---|---|---|---|---|---|"]
    for suite, found in understood.items():
        means = [found.scores[name] for name in PARTS]
        written = " | ".join("-" if mean is None else f"{mean:.4f}" for mean in means)
        lines.append(f"| {suite} | {found.instructions} | {found.errors:.2%} | {written} |")
    parts.append("## What can be understood from words and pictures alone\n\n" + "\n".join(lines))
    unclear = [f"- {suite}: {u.text} ({u.meanings})" for suite, f in understood.items() for u in f.unclear]
    if unclear:
        parts.append("Unclear, with the number of meanings:\n\n" + "\n".join(unclear))
    return "\n\n".join(parts) + "\n"


def _facts(spoken: dict[str, dict[str, Speaking]], understood: dict[str, Understood]) -> dict[str, Any]:
    """The same as JSON values."""
    return {
        "personas": {agent: {n: s.to_json() for n, s in rows.items()} for agent, rows in spoken.items()},
        "suites": {
            suite: {
                "instructions": found.instructions,
                "errors": found.errors,
                "scores": found.scores,
                "unclear": [{"text": u.text, "turn": u.turn, "meanings": u.meanings} for u in found.unclear],
            }
            for suite, found in understood.items()
        },
    }


if __name__ == "__main__":
    main()
