"""Writes docs/suites.md: what each suite asks, how well it can be answered, and filmstrips of it.

    python docs/scripts/suites_page.py --out docs

makes the page as it is in docs; `--suites mixed --sessions 64` makes one of one suite.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from editenv.agents.baselines.oracle import OraclePolicy, studio_turn
from editenv.agents.baselines.reader import ReaderPolicy, Unclear
from editenv.agents.baselines.trivial import NoopPolicy
from editenv.agents.episodes import run_episodes
from editenv.agents.stats import known_mean
from editenv.build import make_vector_env
from editenv.protocols import Observations
from editenv.session import Session
from editenv.types import Image
from editenv.vector import MICEEditVectorEnv
from editenv.viewer import filmstrip
from editenv.worlds.studio.render import GROUND, INK
from editenv.worlds.studio.rule import Except, Replace
from editenv.worlds.studio.session import StudioTurn
from editenv.worlds.studio.suites import Suite, load_suite, suite_names

_COLORS = 64
_LONGEST_ROW = 6

PARTS = ("instruction_following", "content_consistency", "global_awareness")
"""The scores that are paid for: IF, CC and GA."""


SHORT = dict(zip(PARTS, ("IF", "CC", "GA"), strict=True))

_INTRO = """# Suites

A suite says which sessions are drawn; `suite=NAME` chooses one. Each is a YAML file in
`editenv/worlds/studio/suites`, and `suite=PATH.yaml` takes a file of one's own. This page was written, with
its pictures, by

```bash
{command}
```

from {sessions:,} sessions of each suite, split {split}, seed {seed}:

- **Oracle**: an agent that is told what was meant. What it misses of 1.0 in any turn is a mistake of the
  environment.
- **Ceiling**: `policy=reader`, which knows the picture, the transcript and the language, and is told nothing.
  No agent can be expected to do better. Instructions that it cannot read, or in two ways, are **unclear**:
  mistakes of the simulated user.
- **No-op**: an agent that returns the picture as it is; its IF over the turns that ask for something.
- **Leave alone**: turns that ask for what a rule in force forbids, as a share of all turns of the oracle's
  sessions; right is the picture as it is.
- **Tasks** are shares of all instructions, **rules** of sessions in which something is said about them,
  **references** of instructions after a session's first; all as the oracle heard them.
"""

_COLUMNS = (
    "suite",
    "turns",
    "oracle, worst turn: IF / CC / GA",
    "ceiling: IF / CC / GA",
    "unclear",
    "no-op IF",
    "leave alone",
)


@dataclass(frozen=True, slots=True)
class SuiteFigures:
    """Figures of some sessions of a suite.

    Attributes:
        suite: what they were drawn by.
        sessions: how many each agent played.
        turns: fewest and most turns of a session that the oracle played.
        instructions: how many it was given in all.
        tasks, rules, references: shares of its instructions by task, of its sessions by what is said about
            rules in them, and of its instructions after the first of a session by how they point.
        left_alone: share of its turns whose right answer is to leave the picture alone.
        oracle: the oracle's mean by score and turn; None where a score applies to no session.
        reader: the mean over all turns by score of the agent that knows the language and sees the picture.
        unclear: what that agent could not read, or in more than one way.
        read: instructions that it was given.
        noop: mean IF of an agent that does nothing, over the turns that ask for something; None for none.
    """

    suite: Suite
    sessions: int
    turns: tuple[int, int]
    instructions: int
    tasks: dict[str, float]
    rules: dict[str, float]
    references: dict[str, float]
    left_alone: float
    oracle: dict[str, list[float | None]]
    reader: dict[str, float | None]
    unclear: tuple[Unclear, ...]
    read: int
    noop: float | None

    @property
    def unclear_share(self) -> float:
        """Share of instructions that are unclear."""
        return len(self.unclear) / self.read


def suite_figures(
    suite: Suite,
    meant: Sequence[Sequence[StudioTurn]],
    oracle: Sequence[Session],
    reader: Sequence[Session],
    noop: Sequence[Session],
    unclear: Sequence[Unclear],
    read: int,
) -> SuiteFigures:
    """The figures of sessions that oracle, reader and no-op agent have finished.

    Args:
        suite: of all of them.
        meant: what was said to the oracle in each of its sessions.
        oracle: its sessions.
        reader: its sessions.
        noop: its sessions.
        unclear: what the reader found unclear.
        read: instructions that the reader was given.
    """
    turns = [turn for session in meant for turn in session]
    later = [turn.reference for session in meant for turn in session[1:]]
    asked = [s.instruction_following for one in noop for s in one.scores if not s.detail.get("leave_alone")]
    left = [bool(score.detail.get("leave_alone")) for one in oracle for score in one.scores]
    return SuiteFigures(
        suite=suite,
        sessions=len(oracle),
        turns=(min(one.turn for one in oracle), max(one.turn for one in oracle)),
        instructions=len(turns),
        tasks=_shares((turn.edit.task for turn in turns), len(turns)),
        rules=_shares((family for session in meant for family in families_said(session)), len(meant)),
        references=_shares((kind for kind in later if kind is not None), len(later)),
        left_alone=float(np.mean(left)),
        oracle={name: _by_turn(oracle, name) for name in PARTS},
        reader={name: known_mean([getattr(s, name) for one in reader for s in one.scores]) for name in PARTS},
        unclear=tuple(unclear),
        read=read,
        noop=known_mean(asked),
    )


def families_said(session: Sequence[StudioTurn]) -> set[str]:
    """What is said about rules in a session: families of new rules, "exception", "revoke", "replace"."""
    families = set()
    known = set()
    for turn in session:
        families |= {change.family for change in turn.changes}
        known |= {change.rule for change in turn.changes if isinstance(change, Except)}
        known |= {change.by for change in turn.changes if isinstance(change, Replace)}
        families |= {rule.family for rule in turn.rules if rule not in known}
        known |= set(turn.rules)
    return families


def _by_turn(sessions: Sequence[Session], name: str) -> list[float | None]:
    last = max(session.turn for session in sessions)
    return [known_mean([getattr(s.scores[turn], name) for s in sessions if turn < s.turn]) for turn in range(last)]


def _shares(names: Iterable[str], total: int) -> dict[str, float]:
    """Count of each name over a total, the largest first."""
    counts: Mapping[str, int] = Counter(names)
    return {name: counts[name] / total for name in sorted(counts, key=lambda name: (-counts[name], name))}


class _Listener(OraclePolicy):
    """The oracle, which also keeps what was meant, by the number of the session."""

    def __init__(self, envs: MICEEditVectorEnv) -> None:
        super().__init__(envs)
        self.meant: dict[int, list[StudioTurn]] = defaultdict(list)

    def act(self, observations: Observations, memories: list[int]) -> tuple[dict[str, Any], list[int]]:
        for row in memories:
            session = self.envs.sessions[row]
            self.meant[session.index].append(studio_turn(session))
        return super().act(observations, memories)


def main(words: Sequence[str] | None = None) -> None:
    """Measures, and writes suites.md and a folder of pictures, suites, into `--out`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the page")
    parser.add_argument("--suites", nargs="+", choices=suite_names(), default=suite_names(), metavar="NAME")
    parser.add_argument("--sessions", type=int, default=1000, help="of each suite, from session 0 on")
    parser.add_argument("--split", choices=("train", "validation", "test"), default="test")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-envs", type=int, default=256, help="sessions side by side")
    parser.add_argument("--filmstrip", type=int, default=3, help="sessions of each suite that are drawn")
    options = parser.parse_args(words)
    folder = options.out / "suites"
    folder.mkdir(parents=True, exist_ok=True)
    figures, pictures = [], {}
    for name in options.suites:
        found, shown = measure_suite(name, options)
        figures.append(found)
        pictures[name] = [f"suites/{path.name}" for path in write_strips(name, shown, folder)]
        print(f"{name}: {found.instructions} instructions, {len(found.unclear)} unclear", flush=True)
    command = " ".join(["python docs/scripts/suites_page.py", *(sys.argv[1:] if words is None else words)])
    page = suites_page(figures, pictures, command, options.split, options.seed)
    (options.out / "suites.md").write_text(page, encoding="utf-8")
    print(f"page: {options.out / 'suites.md'}")


def measure_suite(name: str, options: argparse.Namespace) -> tuple[SuiteFigures, list[Session]]:
    """A suite's figures, and the sessions that its filmstrip shows; users react where there is room."""
    suite = load_suite(name)
    user = "goal" if suite.max_turns > suite.turns else "replay"
    count = min(options.num_envs, options.sessions)
    envs = make_vector_env(num_envs=count, autoreset_mode="Disabled", split=options.split, suite=name, user=user)
    numbers = range(options.sessions)
    oracle, reader = _Listener(envs), ReaderPolicy(envs)
    right = run_episodes(envs, oracle, numbers, options.seed)
    read = run_episodes(envs, reader, numbers, options.seed)
    idle = run_episodes(envs, NoopPolicy(envs), numbers, options.seed)
    meant = [oracle.meant[number] for number in numbers]
    figures = suite_figures(suite, meant, right, read, idle, reader.unclear, reader.instructions)
    return figures, right[: options.filmstrip]


def write_strips(name: str, sessions: list[Session], folder: Path) -> list[Path]:
    """Filmstrips in few colours: one of all sessions, or one each where they are long."""
    if not sessions:
        return []
    apart = max(session.turn for session in sessions) > _LONGEST_ROW
    groups = [[session] for session in sessions] if apart else [sessions]
    names = [f"{name}-{number}" for number in range(1, len(groups) + 1)] if apart else [name]
    paths = [folder / f"{each}.png" for each in names]
    for group, path in zip(groups, paths, strict=True):
        in_few_colors(filmstrip(group)).save(path, optimize=True)
    return paths


def in_few_colors(picture: Image) -> PIL.Image.Image:
    """The picture in the studio's own colours, which stay exact, and the most frequent of all others."""
    image = PIL.Image.fromarray(picture)
    counted = sorted(image.getcolors(picture.shape[0] * picture.shape[1]) or [], reverse=True)
    frequent = [color for _, color in counted if isinstance(color, tuple)]
    palette: dict[tuple[int, ...], None] = dict.fromkeys([*INK.values(), *GROUND.values(), *frequent])
    chosen = list(palette)[:_COLORS]
    few = PIL.Image.new("P", (1, 1))
    # A palette that is not full is filled up with black, so the first colour stands for the rest.
    few.putpalette([part for color in chosen + chosen[:1] * (256 - len(chosen)) for part in color])
    return image.quantize(palette=few, dither=PIL.Image.Dither.NONE)


def suites_page(
    figures: Sequence[SuiteFigures], pictures: Mapping[str, Sequence[str]], command: str, split: str, seed: int
) -> str:
    """The page as Markdown.

    Args:
        figures: one a suite.
        pictures: paths of the filmstrips by suite, as seen from the page.
        command: what makes the page.
        split: of the sessions.
        seed: of the sessions.
    """
    intro = _INTRO.format(command=command, sessions=figures[0].sessions, split=split, seed=seed)
    sections = [_section(found, pictures[found.suite.name]) for found in figures]
    return "\n".join([intro, _overview(figures), "", *sections])


def _overview(figures: Sequence[SuiteFigures]) -> str:
    lines = [f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|"]
    for found in figures:
        name = found.suite.name
        cells = [
            f"[{name}](#{name})",
            _turns(found),
            " / ".join(_number(worst(found.oracle[part])) for part in PARTS),
            " / ".join(_number(found.reader[part]) for part in PARTS),
            f"{found.unclear_share:.2%}",
            _number(found.noop),
            f"{found.left_alone:.1%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _section(found: SuiteFigures, pictures: Sequence[str]) -> str:
    suite = found.suite
    fewest, most = suite.objects
    lines = [
        f"## {suite.name}\n",
        f"{suite.measures}\n",
        f"**What it cannot show.** {suite.cannot_show}\n",
        f"- Turns: {_turns(found)}; objects at the start: {fewest} to {most}"
        + (f", {suite.signs[0]} to {suite.signs[1]} of them signs" if suite.signs[1] else ""),
        f"- Tasks: {_listed(found.tasks)}",
        f"- Rules: {_listed(found.rules)}",
        f"- References: {_listed(found.references)}",
        f"- Held out of training: {_HELD_OUT[suite.held_out]}",
        f"- Oracle: {_oracle(found)}",
        f"- Ceiling: {', '.join(f'{SHORT[part]} {_number(found.reader[part])}' for part in PARTS)}; "
        f"{len(found.unclear)} of {found.read:,} instructions unclear ({found.unclear_share:.2%})",
        *[f'  - "{unclear.text}" ({unclear.meanings} meanings)' for unclear in found.unclear],
        f"- No-op: IF {_number(found.noop)}; {found.left_alone:.1%} of turns are to be left alone",
        "",
        *[f"![Test sessions of {suite.name}, played by the oracle]({path})\n" for path in pictures],
    ]
    return "\n".join(lines)


_HELD_OUT = {
    "allow": "nothing, so that no test of it is one of new combinations",
    "avoid": "pairs and rule values of `unseen`, which no session of this suite uses",
    "seek": "pairs and rule values that every test session uses and no other one",
}


def worst(means: Sequence[float | None]) -> float | None:
    """The smallest mean of the turns to which the score applies; None where it applies to none."""
    return min((mean for mean in means if mean is not None), default=None)


def _oracle(found: SuiteFigures) -> str:
    """One number where every turn has it, else a list."""
    parts = []
    for part in PARTS:
        numbers = [_number(mean) for mean in found.oracle[part]]
        same = len(set(numbers)) == 1
        parts.append(f"{SHORT[part]} {numbers[0] if same else ' / '.join(numbers)}")
    return f"{', '.join(parts)} in every turn"


def _turns(found: SuiteFigures) -> str:
    fewest, most = found.turns
    return f"{fewest}" if fewest == most else f"{fewest} to {most}"


def _listed(shares: Mapping[str, float]) -> str:
    return ", ".join(f"`{name}` {share:.1%}" for name, share in shares.items()) or "none"


def _number(mean: float | None) -> str:
    """Four places, and 1.0 for what is exactly that alone."""
    if mean is None:
        return "n/a"
    if mean in (0, 1):
        return f"{mean:.1f}"
    return f"{min(mean, 0.9999):.4f}"


if __name__ == "__main__":
    main()
