"""The `editenv` executable: finds the command, composes its settings with Hydra and calls it."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass
from functools import partial
from hashlib import blake2b
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editenv import __version__
from editenv.files import atomic_write_text, hide_logins
from editenv.registry import nearest

if TYPE_CHECKING:
    from omegaconf import DictConfig

TRACEBACK = "EDITENV_TRACEBACK"
"""Set to 1 in the environment, errors of the user show their traceback too."""

_LONGEST_NAME = 100
"""Characters of a folder's name, where file systems take 255 bytes."""


@dataclass(frozen=True)
class Command:
    """One command; editenv.manual holds what is said about it."""

    # "module:name" of the function it calls: with its settings, or with the words that were typed where
    # `configs.schema.COMMANDS` has no settings for it. An int that it returns is the exit status.
    target: str
    first: str = ""  # the setting that a first word without "=" stands for
    usage: str = "[KEY=VALUE ...]"


COMMANDS = {
    "train": Command("editenv.agents.train:train"),
    "train_sb3": Command("editenv.agents.sb3.train:train", usage="agent=ppo|a2c|maskable_ppo [KEY=VALUE ...]"),
    "train_trl": Command("editenv.agents.tool_agent.train:train", usage="agent=trl model=PATH [KEY=VALUE ...]"),
    "evaluate": Command("editenv.agents.evaluate:main"),
    "score": Command("editenv.agents.score:main", first="records", usage="RECORDS [KEY=VALUE ...]"),
    "judge": Command(
        "editenv.agents.judge_check:judge_check", first="records", usage="check [RECORDS] [KEY=VALUE ...]"
    ),
    "pretrain": Command("editenv.agents.pretrain.run:pretrain"),
    "show": Command("editenv.agents.show:show", first="run", usage="[RUN] [KEY=VALUE ...]"),
    "export": Command("editenv.agents.export:export"),
    "records": Command("editenv.worlds.records.check:records", usage="check PATH [--json]"),
    "audit": Command("editenv.agents.audit.run:audit", usage="[--json] [KEY=VALUE ...]"),
    "demo": Command("editenv.agents.demo:demo"),
    "compare": Command(
        "editenv.agents.compare.command:compare", first="comparison", usage="NAME|FILE.yaml [KEY=VALUE ...]"
    ),
    "bench": Command("editenv.cli:bench", usage="env|rollout|tools [--json] [KEY=VALUE ...]"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: what is typed after "editenv"; None takes the process's.

    Returns:
        The exit status: 0; 1 where a check found what cannot be used; 2 where the user has to change
        something, which one line on stderr names.
    """
    name, *words = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    # `policy=mine:Agent` means mine.py in the current folder.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        from editenv.configs.schema import command_of

        name, words = command_of(name, words)
        if name not in COMMANDS or "-h" in words or "--help" in words:
            return _answer(name)
        if name in ("records", "bench"):
            return _function(name)(words) or 0
        from editenv.configs.compose import hydra_app, in_words

        flags, overrides = _read_words(name, words)
        with hydra_app(flags.config_dir) as app, in_words():
            lines, swept = _checked(app, name, overrides, flags)
            if flags.cfg:
                app.show_cfg(name, lines, flags.cfg, flags.package, flags.resolve)
                return 0
            if flags.info:
                return _show_info(app, flags.info, name, lines)
            job = partial(run_job, command=name, swept=swept)
            # Called from here, so that a training's own frames begin two above it. Sweepers other than Hydra's own
            # may hand back nothing.
            played = app.multirun(name, job, lines) if flags.multirun else [[app.run(name, job, lines)]]
        results = [one.return_value for batch in played or () for one in batch]
        for result in results:
            if isinstance(result, Exception):
                raise result
        return max([result or 0 for result in results], default=0)
    except KeyboardInterrupt:
        print("editenv: stopped", file=sys.stderr)
        return 130
    except Exception as error:
        explained = None if os.environ.get(TRACEBACK) == "1" else explain(error, name)
        if explained is None:
            raise
        print(f"editenv: {hide_logins(' '.join(explained.split()))}", file=sys.stderr)
        return 2


def _answer(name: str) -> int:
    """Prints what --help and --version ask for; ValueError for a command that there is not."""
    from editenv.manual import overview, page

    if name in COMMANDS:
        print(page(name))
    elif name in ("-h", "--help"):
        print(overview())
    elif name == "--version":
        print(f"editenv {__version__}")
    else:
        expected = f"{nearest(name, COMMANDS)}expected one of {', '.join(COMMANDS)}"
        raise ValueError(f"command {name!r} is not known, {expected}")
    return 0


def _read_words(command: str, words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Hydra's flags, and the KEY=VALUE words; ValueError for a word that is neither."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("-m", "--multirun", action="store_true")
    parser.add_argument("-c", "--cfg", choices=("job", "hydra", "all"))
    parser.add_argument("-p", "--package")
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("-cd", "--config-dir")
    kinds = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
    parser.add_argument("-i", "--info", nargs="?", const="all", choices=kinds)
    if command == "judge":
        if words[:1] != ["check"]:
            raise ValueError(f"judge is asked for {' '.join(words[:1])!r}, expected 'check'")
        words = words[1:]
    words = ["json=true" if word == "--json" and command == "audit" else word for word in words]
    first = COMMANDS[command].first
    if first and words and "=" not in words[0] and not words[0].startswith(("-", "~", "+")):
        # "runs/a" stands for "run='runs/a'".
        quoted = words[0].replace("\\", "\\\\").replace("'", "\\'")
        words[0] = f"{first}='{quoted}'"
    try:
        # KEY=VALUE may begin with ~ and +, but never with a dash.
        flags, left = parser.parse_known_intermixed_args(words)
    except argparse.ArgumentError as error:
        raise ValueError(str(error)) from error
    for word in left:
        hint = f"did you mean {word.lstrip('-')!r}? " if "=" in word else ""
        known = ", ".join(name for action in parser._actions for name in action.option_strings)
        raise ValueError(f"{word!r} is not known, {hint}expected KEY=VALUE or one of {known}")
    flags.multirun |= "hydra.mode=MULTIRUN" in flags.overrides
    return flags, flags.overrides


def _checked(
    app: Any, command: str, overrides: Sequence[str], flags: argparse.Namespace
) -> tuple[list[str], tuple[str, ...]]:
    """The overrides as Hydra is to have them, a folder among them, and the keys that differ between jobs."""
    from editenv.configs import schema
    from editenv.configs.compose import checked_overrides, parse_overrides

    lines = checked_overrides(app, command, overrides, flags.multirun)
    sweeping = [one for one in parse_overrides(lines) if one.is_sweep_override()]
    swept = tuple(one.get_key_element().lstrip("+~") for one in sweeping)
    if "out" in swept:
        raise ValueError("out has several values, expected one folder: every job has its own below it")
    out = next((line.partition("=")[2] for line in lines if line.startswith("out=")), None)
    if out is not None:
        place = Path(out.strip("'\""))
        if not out.strip("'\"") or place.is_file() or any(parent.is_file() for parent in place.parents):
            raise ValueError(f"out is {out!r}, expected a folder for all that is written, which may be new")
    elif schema.COMMANDS[command].__dataclass_fields__["out"].default is MISSING:
        lines.append(f"out={default_out(command, [line for line in lines if _key(line) not in swept])}")
    return lines, swept


def _show_info(app: Any, kind: str, command: str, lines: Sequence[str]) -> int:
    """Hydra's --info; Hydra turns on the log of everything for it, which is put back."""
    import logging

    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        app.show_info(kind, command, lines)
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers
    return 0


def run_job(config: DictConfig, command: str, swept: Sequence[str]) -> Any:
    """Calls a command with composed settings, here or in a launcher's process.

    Args:
        config: as Hydra composed it.
        command: its name.
        swept: the settings that differ between the jobs of a sweep; empty for a single job.

    Returns:
        What the command returned if that is an exit status, else None; or the exception it raised: Hydra
        would print lines of its own about it, and the other jobs of a sweep still run.
    """
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from editenv.configs.compose import as_object

    task, is_new = list(HydraConfig.get().overrides.task), False
    try:
        if swept:
            typed = Path(config.out, "multirun.yaml")  # which Hydra has just written, with all that was typed
            if typed.is_file():
                atomic_write_text(typed, typed.read_text(encoding="utf-8"))
            name = job_name([line for line in task if _key(line) in swept])
            config.out = str(Path(config.out, name))
            print(f"== {command} {name} -> {config.out}", flush=True)
        out = Path(config.out)
        is_new = not out.exists()
        result = _function(command)(as_object(config))
        # Hydra itself would write over the notes of an earlier run before the settings are known to be right.
        notes = out / ".hydra"
        notes.mkdir(parents=True, exist_ok=True)
        atomic_write_text(notes / "config.yaml", OmegaConf.to_yaml(config))
        atomic_write_text(notes / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(task)))
    except Exception as error:
        # A command that was refused leaves no folder behind.
        if is_new and out.is_dir() and not any(out.iterdir()):
            out.rmdir()
        return error
    return result if isinstance(result, int) else None


def _function(command: str) -> Callable[[Any], Any]:
    module, _, function = COMMANDS[command].target.partition(":")
    return getattr(import_module(module), function)


def _key(line: str) -> str:
    return line.partition("=")[0].lstrip("+~")


def default_out(command: str, overrides: Sequence[str]) -> str:
    """The folder of a command that names none: the same words give the same folder, so that runs resume."""
    kept = sorted(line for line in overrides if not line.lstrip("+~").startswith("hydra"))
    return "runs/" + "-".join([command, *([job_name(kept, "-")] if kept else [])])


def job_name(overrides: Sequence[str], separator: str = "_") -> str:
    """A folder's name for overrides: readable, never a path, and another one for other overrides.

    Values that do not fit a name are shortened, and a hash of all overrides stands at the end then.
    """
    shown = [hide_logins(line).replace("=", "-", 1) for line in overrides]
    name = separator.join(re.sub(r"[^\w.-]+", "-", line.lstrip("+~")) for line in shown)
    if name == separator.join(shown) and len(name) <= _LONGEST_NAME and name.isascii():
        return name
    digest = blake2b("\n".join(map(hide_logins, overrides)).encode(), digest_size=4).hexdigest()
    ascii_name = name.encode("ascii", "ignore").decode()
    return f"{ascii_name[: _LONGEST_NAME - len(digest) - 1].rstrip('-')}-{digest}"


def bench(words: list[str]) -> None:
    """`editenv bench env|rollout|tools [--json] [KEY=VALUE ...]`, which needs no Hydra."""
    if not words or words[0] not in ("env", "rollout", "tools"):
        raise ValueError(f"bench is asked for {' '.join(words[:1])!r}, expected 'env', 'rollout' or 'tools'")
    module = import_module(f"editenv.benchmarks.{words[0]}")
    measure = getattr(module, f"bench_{words[0]}")
    known, settings = signature(measure).parameters, {}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if word == "--json":
            continue
        if not equals or key not in known:
            raise ValueError(f"bench has no setting {word!r}, expected KEY=VALUE of {', '.join(known)}")
        kind = type(known[key].default)
        try:
            settings[key] = kind(value)
        except ValueError as error:
            raise ValueError(f"{key} is {value!r}, expected {kind.__name__}") from error
    result = measure(**settings)
    print(json.dumps(result) if "--json" in words else getattr(module, f"{words[0]}_table")(result))


def explain(error: Exception, command: str) -> str | None:
    """What the user can mend, in words; None where the program is to blame."""
    if isinstance(error, ModuleNotFoundError):
        if "pip install" in str(error):
            return str(error)
        if str(error.name).startswith("editenv"):
            return None
        extra = "sb3" if error.name in ("stable_baselines3", "sb3_contrib") else "train"
        extra = "cli" if error.name in ("hydra", "omegaconf", "rich", "scipy", "matplotlib") else extra
        needs = f"{error.name} is not installed, which `editenv {command}` needs"
        return f"{needs}: pip install 'editenv[{extra}]'"
    from editenv.agents.resume import TrainingAborted

    if isinstance(error, TrainingAborted):
        return f"{error} (the traceback is shown with {TRACEBACK}=1)"
    return str(error) if isinstance(error, ValueError | OSError) else None


if __name__ == "__main__":
    sys.exit(main())
