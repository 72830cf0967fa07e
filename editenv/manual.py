"""The pages of the command line's help, made from the settings' declarations in editenv.configs.schema."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import MISSING
from importlib.resources import files
from inspect import cleandoc
from typing import Any

import yaml

from editenv.cli import COMMANDS
from editenv.configs import schema
from editenv.settings import SettingHelp, describe

WIDTH = 100

_OTHERS = {
    "records": """
        Look through a file of sessions before it is played.

        Counts sessions and tasks of JSON Lines in MICE-Bench's format, decodes every picture, and lists
        sentences that follow no known pattern, turns that contradict earlier ones, and records that
        cannot be used (exit status 1). PATH: a session a line; pictures lie below its folder, or in
        source_image one folder up. --json prints one JSON object: sessions, tasks, unparsed_sentences,
        contradictions, errors and more.

        Examples:
          editenv records check runs/export/sessions.jsonl
              an exported file, as a table
          editenv records check mice/cu/test_metadata.jsonl
              a published file, pictures in mice/source_image
          editenv records check mice/cm/test_metadata.jsonl --json
              for a script
        """,
    "bench": """
        Measure the environment's speed, or that of rollouts and training.

        env: plays whole sessions with an agent that is always right and times reset and step, exact
            scores included,
        beside MiniGrid's steps at the same size of picture; then measures how the time of a turn grows
        with turns and pixels, and how much memory many sessions take. Settings: num_envs=64, turns=6144,
        repeats=5, suite, split, seed, size, grid, noise=0, minigrid_steps=1500, scaling_sessions=32,
        memory_sessions=1024 (0 leaves one out). rollout: plays an iteration's sessions with a model as
        training does, beside a plain loop that plays one at a time and keeps nothing between turns, and
        takes a training iteration apart. Settings: model=practice, groups=16, group_size=6, repeats=5,
        threads=0, plain_sessions=4, iterations=3. tools: plays MICEEditTools-v0 by random operations, in one
        batch and as Stable-Baselines3 plays single environments. Settings: num_envs=16, steps=100, repeats=5,
        suite, tokens=32, seed. With --json the last line is one JSON object with medians over the repeats.
        OMP_NUM_THREADS=1 keeps it on one core.

        Examples:
          editenv bench env
              64 sessions side by side
          editenv bench env --json num_envs=256 turns=20000
              more of them, for a script
          editenv bench rollout --json repeats=5
              turns a second with the shipped checkpoint, an iteration's parts
        """,
}
"""Of the commands without a class of settings."""

_OVERVIEW = """\
usage: editenv COMMAND [KEY=VALUE ...]

Multi-turn image editing: an environment, a unified model, and reinforcement learning on both.

commands:
{commands}

examples:
  editenv demo out=runs/demo
  editenv evaluate policy=oracle suite=mixed sessions=64
  editenv show policy=oracle session=3

{suites}

`editenv COMMAND --help` names a command's settings, `editenv --version` the version."""

_EVERYWHERE = """
everywhere:
  -m                 play every combination of values with commas (seed=0,1,2), each in a folder of its own
  --cfg job          print all settings and do nothing
  --config-dir DIR   take experiments, users, scorers ... also from YAML files below DIR
  --info             say where settings come from (defaults, searchpath, plugins ...)"""


def text_of(command: str) -> str:
    """What is said about a command: its summary in the first line, then the rest."""
    kind = schema.COMMANDS.get(command)
    return cleandoc(_OTHERS[command] if kind is None else kind.__doc__ or "")


def overview() -> str:
    """What `editenv --help` prints."""
    width = max(map(len, COMMANDS))
    summaries = {name: text_of(name).partition("\n")[0].rstrip(".") for name in COMMANDS}
    commands = "\n".join(f"  {name:<{width}}  {text[0].lower()}{text[1:]}" for name, text in summaries.items())
    suites = textwrap.fill(f"suites: {', '.join(schema.suites())}", WIDTH, subsequent_indent="  ")
    return _OVERVIEW.format(commands=commands, suites=suites)


def page(command: str) -> str:
    """What `editenv COMMAND --help` prints."""
    lines = [f"usage: editenv {command} {COMMANDS[command].usage}", "", text_of(command)]
    if command in schema.COMMANDS:
        lines += ["", "settings, with their defaults:", *_table_lines(settings_table(command)), _EVERYWHERE]
    return "\n".join(lines)


def settings_table(command: str) -> list[tuple[str, str, str]]:
    """The settings of a command: (name, default, meaning), those of a group's file after the group."""
    text = files("editenv").joinpath("configs", f"{command}.yaml").read_text(encoding="utf-8")
    entries = [entry for entry in yaml.safe_load(text)["defaults"] if isinstance(entry, dict)]
    chosen = {key.rpartition("@")[2]: value for entry in entries for key, value in entry.items() if value != "???"}
    rows = [
        (one.name, _in_words(chosen.get(one.name, one.default) if one.group else one.default), _meaning(one))
        for one in describe(schema.COMMANDS[command])
        # What a user or a scorer takes is its own affair, and demo's training is that of `train`.
        if not one.name.startswith(("user.", "scorer.", "eval_scorer.", "other.", "train."))
    ]
    for group, what in (("experiment", "a set of settings"), ("server", "where a judge answers")):
        if group in chosen:
            names = ", ".join(schema.options(group))
            rows.append((group, "null", f"{what}: {names}, or a file below --config-dir"))
    if command == "demo":
        rows.append(("train.*", "", "every setting of `train`; seed, out, model and threads are the demo's"))
    return rows


def _table_lines(rows: list[tuple[str, str, str]]) -> Iterator[str]:
    names, defaults = (min(31, max(len(row[column]) for row in rows)) for column in (0, 1))
    for name, default, meaning in rows:
        head = f"  {name:<{names}}  {default:<{defaults}}  "
        indent = " " * (names + defaults + 6)
        first, *others = textwrap.wrap(meaning, WIDTH - len(indent), break_on_hyphens=False) or [""]
        # A long name or default has a line of its own.
        yield from (head.rstrip(), indent + first) if len(head) > len(indent) else (head + first,)
        yield from (indent + line for line in others)


def _meaning(one: SettingHelp) -> str:
    """The help with the values that are known."""
    known = one.expected
    if one.group:
        others = {"user": ", package.module:Class or a persona's file", "scorer": " or package.module:Class"}
        known = f"{', '.join(schema.options(one.group))}{others.get(one.group, '')}"
        if one.name != one.group:
            known = f"{one.group}@{one.name}=NAME with {known}"
    elif one.names:
        known = ", ".join(one.names)
    return f"{one.help}: {known}" if known else one.help


def _in_words(default: Any) -> str:
    if default is MISSING:
        return ""
    if default is None:
        return "null"
    return str(default).lower() if isinstance(default, bool) else str(default).replace("'", "")
