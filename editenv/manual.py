"""The pages of the command line's help, from commands.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Command:
    """One command as the help knows it.

    Attributes:
        name: what is typed.
        summary: one line.
        target: the function it calls, as "module:name".
        text: what it does and writes.
        examples: (command line, what it is for).
        settings: (names, values, what they mean) of the most used ones.
        first: the setting that a first word without "=" stands for; empty where there is none.
    """

    name: str
    summary: str
    target: str
    text: str
    examples: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str, str], ...]
    first: str = ""


@cache
def commands() -> dict[str, Command]:
    """All commands by name."""
    data = tomllib.loads(files("editenv").joinpath("commands.toml").read_text(encoding="utf-8"))
    return {
        name: Command(
            name,
            page["summary"],
            page["target"],
            page["text"].strip(),
            tuple(map(tuple, page["examples"])),
            tuple(map(tuple, page["settings"])),
            page.get("first", ""),
        )
        for name, page in data.items()
    }


def overview() -> str:
    """What `editenv --help` prints."""
    known = commands()
    width = max(map(len, known))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in known.items()]
    return "\n".join(
        [
            "usage: editenv COMMAND [KEY=VALUE ...]",
            "",
            "Multi-turn image editing: an environment, a unified model, and reinforcement learning on both.",
            "",
            "commands:",
            *lines,
            "",
            "examples:",
            *(f"  {known[name].examples[0][0]}" for name in ("demo", "evaluate", "show")),
            "",
            "`editenv COMMAND --help` names the settings of a command.",
        ]
    )


def page(command: Command) -> str:
    """What `editenv COMMAND --help` prints."""
    examples = [f"  {line}\n      {purpose}" for line, purpose in command.examples]
    width = max(len(names) for names, _, _ in command.settings)
    settings = [
        f"  {names:<{width}}  {values}\n  {'':<{width}}    {text}" for names, values, text in command.settings
    ]
    own = _OWN_USAGE.get(command.name)
    first = f"[{command.first.upper()}] " if command.first else ""
    return "\n".join(
        [
            f"usage: editenv {command.name} {first}{own or '[KEY=VALUE ...]'}",
            "",
            command.text,
            "",
            "examples:",
            *examples,
            "",
            "settings, with their values or defaults:",
            *settings,
            *([] if own else ["", _EVERYWHERE]),
        ]
    )


_OWN_USAGE = {
    "bench": "env|rollout [--json] [KEY=VALUE ...]",
    "records": "check PATH [--json]",
    "audit": "[--json] [KEY=VALUE ...]",
}
"""What follows the commands that Hydra does not compose."""

_EVERYWHERE = """everywhere:
  seed=K       of everything drawn at random (0)
  out=DIR      where everything is written (below runs/, named for the command)
  --cfg job    print all settings and do nothing
  -m           play every combination of values with commas (seed=0,1,2), each in a folder of its own"""
