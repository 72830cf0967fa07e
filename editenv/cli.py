"""The `editenv` executable: finds the command, composes its settings with Hydra and calls it."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from difflib import get_close_matches
from functools import partial
from hashlib import blake2b
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editenv import __version__

if TYPE_CHECKING:
    from omegaconf import DictConfig

TRACEBACK = "EDITENV_TRACEBACK"
"""Set to 1 in the environment, errors of the user show their traceback too."""

_BENCHES = {
    "env": ("editenv.benchmarks.env", "bench_env", "env_table"),
    "rollout": ("editenv.benchmarks.rollout", "bench_rollout", "rollout_table"),
}
"""What `bench` measures: a module, its function of settings, and what prints the figures."""


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        target: the function it calls, as "module:name": with its settings, or with the words that were
            typed where `configs.schema.COMMANDS` has no settings for it. An int that it returns is the
            exit status.
        first: the setting that a first word without "=" stands for; empty where there is none.
        usage: what follows the command's name.
    """

    target: str
    first: str = ""
    usage: str = "[KEY=VALUE ...]"


COMMANDS = {
    "train": Command("editenv.agents.train:train"),
    "evaluate": Command("editenv.agents.evaluate:main"),
    "score": Command("editenv.agents.score:main", first="records", usage="RECORDS [KEY=VALUE ...]"),
    "pretrain": Command("editenv.agents.pretrain.run:pretrain"),
    "show": Command("editenv.agents.show:show", first="run", usage="[RUN] [KEY=VALUE ...]"),
    "export": Command("editenv.agents.export:export"),
    "records": Command("editenv.worlds.records.check:records", usage="check PATH [--json]"),
    "audit": Command("editenv.agents.audit.run:audit", usage="[--json] [KEY=VALUE ...]"),
    "demo": Command("editenv.agents.demo:demo"),
    "compare": Command(
        "editenv.agents.compare.command:compare", first="comparison", usage="NAME|FILE.yaml [KEY=VALUE ...]"
    ),
    "bench": Command("editenv.cli:_bench", usage="env|rollout [--json] [KEY=VALUE ...]"),
}
"""By name; editenv.manual holds what is said about them."""

_OWN_WORDS = ("records", "bench")
"""Commands that read their words themselves."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: what is typed after "editenv"; None takes the process's.

    Returns:
        The exit status: 0; 1 where a check found what cannot be used; 2 where the user has to change
        something, which one line on stderr names.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    # `policy=mine:Agent` means mine.py in the current folder.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return _dispatch(words)
    except KeyboardInterrupt:
        print("editenv: stopped", file=sys.stderr)
        return 130
    except Exception as error:
        explained = None if os.environ.get(TRACEBACK) == "1" else explain(error, words[0])
        if explained is None:
            raise
        print(f"editenv: {explained}", file=sys.stderr)
        return 2


def _dispatch(words: list[str]) -> int:
    from editenv.manual import overview, page

    if not words or words[0] in ("-h", "--help"):
        print(overview())
        return 0
    if words[0] == "--version":
        print(f"editenv {__version__}")
        return 0
    name, *rest = words
    if name not in COMMANDS:
        near = get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"command {name!r} is not known, {hint}expected one of {', '.join(COMMANDS)}")
    if "-h" in rest or "--help" in rest:
        print(page(name))
        return 0
    if name in _OWN_WORDS:
        return _function(name)(rest) or 0
    first = COMMANDS[name].first
    if first and rest and "=" not in rest[0] and not rest[0].startswith(("-", "~", "+")):
        # "runs/a" stands for "run='runs/a'".
        quoted = rest[0].replace("\\", "\\\\").replace("'", "\\'")
        rest[0] = f"{first}='{quoted}'"
    return _run_hydra(name, ["json=true" if word == "--json" and name == "audit" else word for word in rest])


def _run_hydra(command: str, words: list[str]) -> int:
    """Composes the settings, once or for every job of a sweep, and calls the command."""
    from editenv.configs import schema
    from editenv.configs.compose import checked_overrides, hydra_app, in_words

    flags, overrides = _flags(words)
    with hydra_app(flags.config_dir) as app:
        sweep = flags.multirun or "hydra.mode=MULTIRUN" in overrides
        lines = checked_overrides(app, command, overrides, sweep)
        swept = _swept(lines)
        out = next((line for line in lines if line.startswith("out=")), None)
        if out is None and schema.COMMANDS[command].__dataclass_fields__["out"].default is MISSING:
            lines.append(f"out={default_out(command, [line for line in lines if _key(line) not in swept])}")
        elif out is not None:
            _check_out(out.partition("=")[2])
        if flags.cfg:
            in_words(app.show_cfg, command, lines, flags.cfg, flags.package, flags.resolve)
            return 0
        if flags.info:
            _show_info(app, flags.info, command, lines)
            return 0
        job = partial(run_job, command=command, swept=swept if sweep else ())
        played = in_words(app.multirun if sweep else app.run, command, job, lines)
        # Sweepers other than Hydra's own may hand back nothing.
        jobs = [one for batch in played or () for one in batch] if sweep else [played]
    results = [one.return_value for one in jobs]
    for result in results:
        if isinstance(result, Exception):
            raise result
    return max([result or 0 for result in results], default=0)


def _show_info(app: Any, kind: str, command: str, lines: Sequence[str]) -> None:
    """Hydra's --info; Hydra turns on the log of everything for it, which is put back."""
    import logging

    from editenv.configs.compose import in_words

    root = logging.getLogger()
    before = root.level, list(root.handlers)
    try:
        in_words(app.show_info, kind, command, lines)
    finally:
        root.setLevel(before[0])
        root.handlers[:] = before[1]


class _Flags(argparse.ArgumentParser):
    """Hydra's flags; what cannot be read is a ValueError."""

    def __init__(self) -> None:
        super().__init__(add_help=False, allow_abbrev=False)
        self.add_argument("overrides", nargs="*")
        self.add_argument("-m", "--multirun", action="store_true")
        self.add_argument("-c", "--cfg", choices=("job", "hydra", "all"))
        self.add_argument("-p", "--package")
        self.add_argument("--resolve", action="store_true")
        self.add_argument("-cd", "--config-dir")
        kinds = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
        self.add_argument("-i", "--info", nargs="?", const="all", choices=kinds)

    def error(self, message: str) -> Any:
        """Raises the message."""
        raise ValueError(message)


def _flags(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Hydra's flags, and the KEY=VALUE words.

    Raises:
        ValueError: a word is neither.
    """
    parser = _Flags()
    # KEY=VALUE may begin with ~ and +, but never with a dash.
    found, left = parser.parse_known_intermixed_args(list(words))
    for word in left:
        hint = f"did you mean {word.lstrip('-')!r}? " if "=" in word else ""
        flags = ", ".join(name for action in parser._actions for name in action.option_strings)
        raise ValueError(f"{word!r} is not known, {hint}expected KEY=VALUE or one of {flags}")
    return found, found.overrides


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

    from editenv.configs.compose import as_object

    task, is_new = list(HydraConfig.get().overrides.task), False
    try:
        if swept:
            name = job_name([line for line in task if _key(line) in swept])
            config.out = str(Path(config.out, name))
            print(f"== {command} {name} -> {config.out}", flush=True)
        out = Path(config.out)
        is_new = not out.exists()
        result = _function(command)(as_object(config))
        _note(out, config, task)
    except Exception as error:
        # A command that was refused leaves no folder behind.
        if is_new and out.is_dir() and not any(out.iterdir()):
            out.rmdir()
        return error
    return result if isinstance(result, int) else None


def _note(folder: Path, config: DictConfig, overrides: Sequence[str]) -> None:
    """Writes what was set and what was typed into folder/.hydra, as Hydra does.

    Hydra itself would write over the notes of an earlier run before the settings are known to be right.
    """
    from omegaconf import OmegaConf

    notes = folder / ".hydra"
    notes.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, notes / "config.yaml")
    OmegaConf.save(list(overrides), notes / "overrides.yaml")


def _function(command: str) -> Callable[[Any], Any]:
    module, _, function = COMMANDS[command].target.partition(":")
    return getattr(import_module(module), function)


def _swept(lines: Sequence[str]) -> tuple[str, ...]:
    """The keys of overrides with several values."""
    from editenv.configs.compose import parse_overrides

    return tuple(one.get_key_element().lstrip("+~") for one in parse_overrides(lines) if one.is_sweep_override())


def _key(line: str) -> str:
    return line.partition("=")[0].lstrip("+~")


def _check_out(out: str) -> None:
    """Refuses a folder that is none."""
    place = Path(out.strip("'\""))
    if not out.strip("'\"") or place.is_file() or any(parent.is_file() for parent in place.parents):
        raise ValueError(f"out is {out!r}, expected a folder for all that is written, which may be new")


_LONGEST_NAME = 100
"""Characters of a folder's name, where file systems take 255 bytes."""


def default_out(command: str, overrides: Sequence[str]) -> str:
    """The folder of a command that names none: the same words give the same folder, so that runs resume."""
    kept = sorted(line for line in overrides if not line.lstrip("+~").startswith("hydra"))
    return "runs/" + "-".join([command, *([job_name(kept, "-")] if kept else [])])


def job_name(overrides: Sequence[str], separator: str = "_") -> str:
    """A folder's name for overrides: readable, never a path, and another one for other overrides.

    Values that do not fit a name are shortened, and a hash of all overrides stands at the end then.
    """
    name = separator.join(re.sub(r"[^\w.-]+", "-", line.replace("=", "-", 1).lstrip("+~")) for line in overrides)
    plain = separator.join(line.replace("=", "-", 1) for line in overrides)
    if name == plain and len(name) <= _LONGEST_NAME and name.isascii():
        return name
    digest = blake2b("\n".join(overrides).encode(), digest_size=4).hexdigest()
    ascii_name = name.encode("ascii", "ignore").decode()
    return f"{ascii_name[: _LONGEST_NAME - len(digest) - 1].rstrip('-')}-{digest}"


def _bench(words: list[str]) -> None:
    """`editenv bench env|rollout [--json] [KEY=VALUE ...]`, which needs no Hydra."""
    if not words or words[0] not in _BENCHES:
        expected = " or ".join(map(repr, _BENCHES))
        raise ValueError(f"bench is asked for {' '.join(words[:1])!r}, expected {expected}")
    place, function, shown = _BENCHES[words[0]]
    module = import_module(place)
    measure = getattr(module, function)
    result = measure(**_bench_settings(words[1:], signature(measure).parameters))
    print(json.dumps(result) if "--json" in words else getattr(module, shown)(result))


def _bench_settings(words: Sequence[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """KEY=VALUE words as arguments of the types that their defaults have."""
    settings: dict[str, Any] = {}
    for word in words:
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
    return settings


def explain(error: Exception, command: str) -> str | None:
    """One line for what the user can mend; None where the program is to blame."""
    if isinstance(error, ModuleNotFoundError):
        if "pip install" in str(error):
            return _one_line(str(error))
        if str(error.name).startswith("editenv"):
            return None
        extra = "cli" if error.name in ("hydra", "omegaconf", "rich", "scipy", "matplotlib") else "train"
        needs = f"{error.name} is not installed, which `editenv {command}` needs"
        return f"{needs}: pip install 'editenv[{extra}]'"
    from editenv.agents.resume import TrainingAborted

    if isinstance(error, TrainingAborted):
        return _one_line(f"{error} (the traceback is shown with {TRACEBACK}=1)")
    return _one_line(str(error)) if isinstance(error, ValueError | OSError) else None


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    sys.exit(main())
