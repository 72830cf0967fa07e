"""From a command's name and overrides to checked settings, through Hydra's API.

Overrides are held to the schema before Hydra merges them, so that a mistake is answered by the setting's
name, what came and what is expected.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, field, fields, is_dataclass, make_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_origin

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from editenv.configs import schema
from editenv.registry import nearest, unknown
from editenv.settings import SettingHelp, check_settings, describe, kind_in_words

PACKAGE = "editenv.configs"
"""Where the YAML files lie."""


def compose(command: str, overrides: Sequence[str] = (), **values: Any) -> Any:
    """A command's settings, as `editenv COMMAND OVERRIDES` would have them.

    Args:
        command: a name in `schema.COMMANDS`.
        overrides: in Hydra's language, such as "seed=1".
        values: settings by name, as Python values (a dict for a part's settings), which have the last word.

    Raises:
        ValueError: an override names no setting, or a value is not what is expected.
    """
    command, overrides = schema.command_of(command, overrides)
    with hydra_app() as app, in_words():
        config = hydra.compose(command, checked_overrides(app, command, overrides))
        # Settings by name, such as those of a user's class, may have names that no file has.
        OmegaConf.set_struct(config, False)
        merged = OmegaConf.merge(config, values)
    assert isinstance(merged, DictConfig)
    return as_object(merged)


def as_object(config: DictConfig) -> Any:
    """Composed settings as an object of their schema's class, all values resolved and in their ranges.

    Raises:
        ValueError: a setting has no value, or one that it may not have.
    """
    for name in sorted(OmegaConf.missing_keys(config)):
        raise ValueError(f"{name} has no value, expected {name}=VALUE: there is none that would suit everybody")
    with in_words():
        settings: Any = OmegaConf.to_object(config)
    known = [one.name for one in fields(settings)]
    for name in vars(settings).keys() - set(known):
        raise ValueError(unknown("setting", name, known))
    check_settings(settings)
    return settings


@contextmanager
def hydra_app(config_dir: str | None = None) -> Iterator[Any]:
    """Hydra over the package's settings and another folder's; the one that is running where there is one."""
    store = ConfigStore.instance()
    for name, kind in schema.COMMANDS.items():
        store.store(name=f"{name}_schema", node=kind)
    for group, part in schema.GROUPS.items():
        if part is not None:
            store.store(group=group, name=f"{group}_schema", node=part)
    store.store(group="recipe", name="autoencoder_schema", node=schema.AutoencoderRecipe)
    store.store(group="recipe", name="model_schema", node=schema.ModelRecipe)
    # A job may compose further settings, from the same folders.
    if GlobalHydra.instance().is_initialized():
        yield GlobalHydra.instance().hydra
        return
    with hydra.initialize_config_module(PACKAGE, job_name="editenv", version_base="1.3"):
        app: Any = GlobalHydra.instance().hydra
        if config_dir is not None:
            if not Path(config_dir).is_dir():
                raise ValueError(f"--config-dir is {config_dir!r}, expected a folder of YAML files")
            search_path = app.config_loader.get_search_path()
            search_path.prepend("command-line", f"file://{Path(config_dir).resolve()}")
            app.config_loader.repository.initialize_sources(search_path)
        yield app


@contextmanager
def in_words() -> Iterator[None]:
    """Makes errors of Hydra's and OmegaConf's ValueErrors of one line, which leave out how Hydra was set up."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        cause = f": {str(error.__cause__).splitlines()[0]}" if error.__cause__ else ""
        text = re.sub(r"\w+_schema\b", "", str(error).partition("Config search path")[0] + cause)
        raise ValueError(" ".join(text.split())) from error


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """The overrides as Hydra reads them; a value that its grammar has no room for is a text as it stands.

    Raises:
        ValueError: one is not KEY=VALUE.
    """
    parser, parsed = OverridesParser.create(), []
    for line in overrides:
        key, equals, value = line.partition("=")
        text = os.path.expanduser(value).replace("\\", "\\\\").replace("'", "\\'")
        for way in (line, f"{key}='{text}'") if equals else (line,):
            try:
                parsed.append(parser.parse_override(way))
                break
            except (HydraException, OverrideParseException):
                continue
        else:
            raise ValueError(f"{line!r} cannot be read, expected KEY=VALUE, with 'quotes' around =, comma and space")
    return parsed


def checked_overrides(app: Any, command: str, overrides: Sequence[str], sweep: bool = False) -> list[str]:
    """The overrides as Hydra is to have them.

    Args:
        app: of `hydra_app`.
        command: a name in `schema.COMMANDS`.
        overrides: as they were written.
        sweep: whether one may have several values, "seed=0,1".

    Raises:
        ValueError: names the setting, what came and what is expected.
    """
    settings = {one.name: one for one in describe(schema.COMMANDS[command])}
    parsed = parse_overrides(overrides)
    chosen = [one.get_key_element().lstrip("+~") for one in parsed]
    search_path = [one.input_line for one in parsed if one.key_or_group == "hydra.searchpath"]
    lines = []
    for override in parsed:
        line, key = override.input_line or "", override.key_or_group
        if not key.startswith(("hydra.", "hydra/")):
            if override.is_sweep_override():
                if not sweep:
                    asked = "expected one, or -m beside it to play each of them"
                    raise ValueError(f"{line!r} gives several values, {asked}")
                # What a pattern stands for Hydra finds out.
                given = override.is_discrete_sweep() and override.value_type != ValueType.GLOB_CHOICE_SWEEP
                values = list(override.sweep_iterator()) if given else []
            else:
                values = [override.value()]
            choices = app.config_loader.get_group_options(key, overrides=search_path)
            if not choices:
                line = _check_setting(command, key, line, values, settings, chosen)
            elif not override.is_delete():
                files = [one for one in choices if not one.endswith("_schema")]
                _check_choice(key, override.package, values, files)
        lines.append(line)
    return lines


def _check_choice(group: str, package: str | None, values: Sequence[Any], choices: Sequence[str]) -> None:
    """Holds the choices of a group's file to the files there are.

    A class, "package.module:Class", or a persona's file from outside becomes one of them.
    """
    key = f"{group}@{package}" if package else group
    for value in values:
        if value is None:
            if package is None:
                none = ", or nothing: leave it out for none" if group == "experiment" else ""
                raise ValueError(f"{key} is null, expected one of {', '.join(sorted(choices))}{none}")
        elif isinstance(value, list):
            names = ",".join(map(str, value))
            raise ValueError(f"{key} is [{names}], expected one name; -m {key}={names} plays each of them")
        elif (group in ("user", "scorer") and ":" in value) or (group == "user" and value.endswith((".yaml", ".yml"))):
            part: Any = schema.GROUPS[group]
            folder, _, name = f"{group}/{value}".rpartition("/")
            ConfigStore.instance().store(group=folder, name=name, node=part(kind=value))
        elif value not in choices:
            raise ValueError(unknown(group, value, choices))


def _check_setting(
    command: str,
    key: str,
    line: str,
    values: Sequence[Any],
    settings: Mapping[str, SettingHelp],
    chosen: Sequence[str],
) -> str:
    """Holds a setting to the schema: it is known, its part chosen, its values of its kind; the line for Hydra."""
    known = settings.get(key)
    parts = [one for name, one in settings.items() if key == name or key.startswith(f"{name}.")]
    is_open = any(map(_takes_any_names, parts))
    if known is None and not is_open:
        hint = nearest(key, [*settings, "experiment"])
        raise ValueError(f"{command} has no setting {key!r}, {hint}`editenv {command} --help` names them")
    for part in [one for one in parts if one.group]:
        names = schema.options(part.group or "")
        near = (get_close_matches(str(values[0]) if values else "", names, n=1) or ["NAME"])[0]
        choose = f"expected {part.group}@{part.name}={near}, one of {', '.join(names)}"
        if part.default is None and f"{part.group}@{part.name}" not in chosen and values != [None]:
            what = f"is {values[0]!r}" if key == part.name else f"is set, but {part.name} is not chosen"
            raise ValueError(f"{key} {what}; {choose}")
        if key == part.name and isinstance(values[0], str) and not values[0].startswith("${"):
            raise ValueError(f"{key} is {values[0]!r}, a name where settings belong; {choose}")
    kind = known.kind if known else Any
    for value in values if known else ():
        holder = OmegaConf.structured(make_dataclass("Holder", [("value", kind, field(default=MISSING))]))
        try:
            OmegaConf.update(holder, "value", value)
        except OmegaConfBaseException as error:
            written = str(value).replace(" ", "").replace("'", "") if isinstance(value, list) else value
            came = "null" if value is None else repr(written)
            raise ValueError(f"{key} is {came}, expected {kind_in_words(kind, value)}") from error
    # Hydra asks for a + in front of names that no YAML file has.
    return f"++{line}" if is_open and not line.startswith(("+", "~")) else line


def _takes_any_names(known: SettingHelp) -> bool:
    """Whether it holds the settings of a class that is chosen by name."""
    return get_origin(known.kind) is dict or (known.name == "recipe" and not is_dataclass(known.kind))
