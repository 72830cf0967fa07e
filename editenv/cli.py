"""The `editenv` executable: finds the command, composes its settings with Hydra and calls it."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editenv import __version__
from editenv.manual import Command, commands, overview, page

if TYPE_CHECKING:
    from omegaconf import DictConfig

TRACEBACK = "EDITENV_TRACEBACK"
"""Set to 1 in the environment, errors of the user show their traceback too."""

_FULL_ERRORS = "HYDRA_FULL_ERROR"
_HELP = ("-h", "--help")
_OWN_WORDS = ("records", "audit")
"""Commands that read their words themselves and return the exit status."""
_BENCHES = {
    "env": ("editenv.bench", "bench_env", "table"),
    "rollout": ("editenv.agents.bench", "bench_rollout", "rollout_table"),
}
"""What `bench` measures: a module, its function of settings, and what prints the figures."""
_SWEEP = ("-m", "--multirun")
_FLAGS = (*_SWEEP, "-c", "--cfg", "-p", "--package", "-i", "--info", "--resolve", "--hydra-help", "--version")
"""What Hydra takes beside KEY=VALUE; the word after one is its value."""
# Everything goes to `out`, and there is no log file. Hydra would write its notes over those of an earlier run
# before the settings are known to be right, so `_note` writes them.
_QUIET_HYDRA = (
    "hydra/job_logging=none",
    "hydra/hydra_logging=none",
    "hydra.output_subdir=null",
    "hydra.run.dir=${out}",
    "hydra.sweep.dir=${out}",
    "hydra.sweep.subdir=${hydra.job.override_dirname}",
    # Names with = or , would have to be quoted in a later model=DIR.
    "hydra.job.config.override_dirname.kv_sep=-",
    "hydra.job.config.override_dirname.item_sep=_",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: what is typed after "editenv"; None takes the process's.

    Returns:
        The exit status: 0; 1 where a check found what cannot be used; 2 where the user has to change
        something, which one line on stderr names.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
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
    if not words or words[0] in _HELP:
        print(overview())
        return 0
    if words[0] == "--version":
        print(f"editenv {__version__}")
        return 0
    name, *rest = words
    if name not in commands():
        near = get_close_matches(name, commands(), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"command {name!r} is not known, {hint}expected one of {', '.join(commands())}")
    command = commands()[name]
    if any(word in _HELP for word in rest):
        print(page(command))
    elif name == "bench":
        _bench(command, rest)
    elif name in _OWN_WORDS:
        return _function(command)(rest)
    else:
        _run_hydra(command, _with_first_named(command, rest))
    return 0


def _with_first_named(command: Command, words: list[str]) -> list[str]:
    """The words, a first one without "=" as the setting it stands for: "runs/a" is "run='runs/a'"."""
    if not command.first or not words or words[0].startswith(("-", "~", "+")) or "=" in words[0]:
        return words
    quoted = words[0].replace("\\", "\\\\").replace("'", "\\'")
    return [f"{command.first}='{quoted}'", *words[1:]]


def _run_hydra(command: Command, words: list[str]) -> None:
    """Composes the settings, once or for every job of a sweep, and calls the command."""
    import hydra
    from hydra.core.hydra_config import HydraConfig

    from editenv.configs.compose import PACKAGE
    from editenv.configs.mistakes import check_parts
    from editenv.configs.schema import register

    failures: list[Exception] = []

    def job(config: DictConfig) -> None:
        try:
            _run_job(command, config)
        except Exception as error:
            # Raised again below: Hydra would print lines of its own. The other jobs of a sweep still run.
            failures.append(error)
            _remove_if_empty(Path(HydraConfig.get().runtime.output_dir))

    register()
    # Hydra's parser wants all overrides in one stretch.
    overrides = [word for word in words if not word.startswith("-") and ("=" in word or word.startswith("~"))]
    check_parts(overrides)
    others = [word for word in words if word not in overrides]
    _check_flags(others)
    sweep = any(word in _SWEEP for word in others)
    fixed = [override for override in overrides if not (sweep and re.search(r"[,(]", override))]
    if not any(override.startswith("out=") for override in overrides):
        overrides.append(f"out={default_out(command.name, fixed)}")
    _check_out(next(word for word in overrides if word.startswith("out=")).partition("=")[2])
    names = ",".join(["out", *(override.partition("=")[0].lstrip("+~") for override in fixed)])
    quiet = [*_QUIET_HYDRA, f"hydra.job.config.override_dirname.exclude_keys=[{names}]"]
    with _as_hydra_wants(["editenv", *quiet, *overrides, *others]):
        hydra.main(version_base="1.3", config_path=f"pkg://{PACKAGE}", config_name=command.name)(job)()
    if failures:
        raise failures[0]


def _check_flags(words: list[str]) -> None:
    """Refuses --KEY=VALUE and what else starts with a dash and Hydra would answer with its usage."""
    for word in words:
        if word.startswith("-") and word.partition("=")[0] not in _FLAGS:
            hint = f"did you mean {word.lstrip('-')!r}? " if "=" in word else ""
            raise ValueError(f"{word!r} is not known, {hint}expected KEY=VALUE or one of {', '.join(_FLAGS)}")


def _check_out(out: str) -> None:
    """Refuses a folder that is none."""
    place = Path(out.strip("'\""))
    if not out.strip("'\"") or place.is_file() or any(parent.is_file() for parent in place.parents):
        raise ValueError(f"out is {out!r}, expected a folder for all that is written, which may be new")


def _remove_if_empty(folder: Path) -> None:
    """Takes back the folder that Hydra makes for a command that was then refused."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _note(folder: Path, config: DictConfig, overrides: Sequence[str]) -> None:
    """Writes what was set and what was typed, as Hydra does, into folder/.hydra."""
    from omegaconf import OmegaConf

    notes = folder / ".hydra"
    notes.mkdir(exist_ok=True)
    OmegaConf.save(config, notes / "config.yaml")
    OmegaConf.save(list(overrides), notes / "overrides.yaml")


def _run_job(command: Command, config: DictConfig) -> None:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from editenv.configs.compose import as_object
    from editenv.configs.mistakes import check_known

    settings, run = as_object(config), HydraConfig.get()
    check_known(settings)
    folder = Path(run.runtime.output_dir)
    settings.out = str(folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder)
    if run.mode == RunMode.MULTIRUN:
        print(f"== {command.name} {run.job.override_dirname} -> {settings.out}", flush=True)
    _function(command)(settings)
    _note(folder, config, run.overrides.task)


def _function(command: Command) -> Callable[[Any], Any]:
    module, _, function = command.target.partition(":")
    return getattr(import_module(module), function)


def _bench(command: Command, words: list[str]) -> None:
    """`editenv bench env|rollout [--json] [KEY=VALUE ...]`, which needs no Hydra."""
    if not words or words[0] not in _BENCHES:
        expected = " or ".join(map(repr, _BENCHES))
        raise ValueError(f"bench is asked for {' '.join(words[:1])!r}, expected {expected}")
    place, function, shown = _BENCHES[words[0]]
    module = import_module(place)
    measure = getattr(module, function)
    known = signature(measure).parameters
    settings: dict[str, Any] = {}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if word == "--json":
            continue
        if not equals or key not in known:
            raise ValueError(f"bench has no setting {word!r}, expected KEY=VALUE of {', '.join(known)}")
        settings[key] = _converted(key, value, type(known[key].default))
    result = measure(**settings)
    if "--json" in words:
        print(json.dumps(result))
    else:
        print(getattr(module, shown)(result))


def _converted(key: str, value: str, kind: type) -> Any:
    try:
        return kind(value)
    except ValueError as error:
        raise ValueError(f"{key} is {value!r}, expected {kind.__name__}") from error


def default_out(command: str, overrides: Sequence[str]) -> str:
    """The folder of a command that names none: the same words give the same folder, so that runs resume."""
    kept = sorted(override for override in overrides if not override.startswith("hydra"))
    return "runs/" + re.sub(r"[^\w.]+", "-", "-".join([command, *kept]))


def explain(error: Exception, command: str) -> str | None:
    """One line for what the user can mend; None where the program is to blame."""
    if isinstance(error, ModuleNotFoundError) and "pip install" in str(error):
        return _one_line(str(error))
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("editenv"):
        return f"{error.name} is not installed, which `editenv {command}` needs: pip install 'editenv[train]'"
    from editenv.agents.stopped import RunStopped

    if isinstance(error, RunStopped):
        return _one_line(f"{error} (the traceback is shown with {TRACEBACK}=1)")
    if type(error).__module__.partition(".")[0] in ("hydra", "omegaconf"):
        from editenv.configs.mistakes import explain_hydra

        return _one_line(explain_hydra(error, command))
    return (
        _one_line(str(error)) if isinstance(error, ValueError | FileNotFoundError | ConnectionError) else None
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())


@contextmanager
def _as_hydra_wants(words: list[str]) -> Iterator[None]:
    """Hydra reads the process's arguments, and lets errors out only where the environment asks for it."""
    arguments, full_errors = sys.argv, os.environ.get(_FULL_ERRORS)
    sys.argv, os.environ[_FULL_ERRORS] = words, "1"
    try:
        yield
    finally:
        sys.argv = arguments
        if full_errors is None:
            del os.environ[_FULL_ERRORS]
        else:
            os.environ[_FULL_ERRORS] = full_errors


if __name__ == "__main__":
    sys.exit(main())
