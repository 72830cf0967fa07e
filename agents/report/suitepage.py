"""The page of all suites: a section each, with what it measures, its figures and its filmstrips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from editenv.agents.report.suitefigures import PARTS, SuiteFigures

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


def suites_page(
    figures: Sequence[SuiteFigures],
    pictures: Mapping[str, Sequence[str]],
    command: str,
    split: str,
    seed: int,
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
