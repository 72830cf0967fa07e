"""`editenv users`: how the simulated users speak, and which of their instructions cannot be understood."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from editenv.agents.baselines import POLICIES
from editenv.agents.baselines.oracle import NoisyOracle
from editenv.agents.baselines.reader import ReaderPolicy, Unclear
from editenv.agents.play import play
from editenv.agents.played import turn_scores
from editenv.agents.report.speaking import Speaking, markdown, speaking
from editenv.agents.report.statistics import known_mean
from editenv.agents.report.suitefigures import PARTS
from editenv.build import make_vector_env
from editenv.configs.schema import UsersConfig
from editenv.registry import load_class
from editenv.session import Session
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.studio.suites import suite_names

SUITE = "persona"
"""Where personas are measured: its sessions leave room to ask more than once."""

AGENTS = {"oracle": "an agent that is always right", "clumsy": "one that fails in 30% of its turns"}
"""The agents that personas speak to."""


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


def users(config: UsersConfig) -> dict[str, Any]:
    """Measures, prints two tables and writes users.md and users.json.

    Raises:
        ValueError: a setting is not in its range, or a name is not known.
    """
    for name in ("sessions", "num_envs"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name} is {getattr(config, name)}, expected 1 or more")
    suites = suite_names() if config.suites is None else config.suites
    spoken = {
        agent: {name: measure_persona(name, agent, config) for name in config.personas} for agent in AGENTS
    }
    understood = {suite: read_suite(suite, config) for suite in suites}
    understood |= {f"{SUITE}, {name}, failing": read_persona(name, config) for name in config.personas}
    text = _report(spoken, understood)
    folder = Path(config.out)
    folder.mkdir(parents=True, exist_ok=True)
    facts = _facts(spoken, understood)
    (folder / "users.md").write_text(text, encoding="utf-8")
    (folder / "users.json").write_text(
        json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    print(text)
    return facts


def measure_persona(name: str, agent: str, config: UsersConfig) -> Speaking:
    """How a persona speaks to one of AGENTS."""
    sessions, _ = _played(agent, config, suite=SUITE, user="goal", user_settings={"persona": name})
    return speaking(sessions)


def read_suite(suite: str, config: UsersConfig) -> Understood:
    """What the reader makes of a suite, whose script is read out; personas speak in theirs."""
    user: dict[str, Any] = {"user": "goal"} if suite == SUITE else {}
    sessions, policy = _played("reader", config, suite=suite, **user)
    return _understood(sessions, policy)


def read_persona(name: str, config: UsersConfig) -> Understood:
    """What the reader makes of a persona, who often has to ask again as 30% of its turns fail."""
    envs = _envs(config, suite=SUITE, user="goal", user_settings={"persona": name})
    reader = ReaderPolicy(envs)
    sessions = play(envs, NoisyOracle(envs, other=reader), range(config.sessions), config.seed)
    return _understood(sessions, reader)


def _understood(sessions: list[Session], policy: ReaderPolicy) -> Understood:
    means = {name: known_mean(chain(*rows)) for name, rows in turn_scores(sessions).items()}
    return Understood(policy.instructions, tuple(policy.unclear), means)


def _played(agent: str, config: UsersConfig, **settings: Any) -> tuple[list[Session], Any]:
    """Sessions 0, 1, ... with an agent, and the agent."""
    envs = _envs(config, **settings)
    policy = load_class("policy", agent, POLICIES)(envs)
    return play(envs, policy, range(config.sessions), config.seed), policy


def _envs(config: UsersConfig, **settings: Any) -> MICEEditVectorEnv:
    count = min(config.num_envs, config.sessions)
    return make_vector_env(num_envs=count, autoreset_mode="Disabled", split=config.split, **settings)


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
