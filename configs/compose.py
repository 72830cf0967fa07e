"""From a command's name and overrides to checked settings, through Hydra's API.

Overrides are held to the schema before Hydra merges them, so that a mistake is answered by the setting's
name, what came and what is expected.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, field, fields, is_dataclass, make_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_origin

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from editenv.configs import schema
from editenv.registry import unknown
from editenv.settings import SettingHelp, check_settings, describe

PACKAGE = "editenv.configs"
"""Where the YAML files lie."""

_BY_CLASS = ("user", "scorer")
"""Groups of which a choice may also be "package.module:Class"; a user may also be a persona's file."""


def compose(command: str, overrides: Sequence[str] = (), **values: Any) -> Any:
    """A command's settings, as `editenv COMMAND OVERRIDES` would have them.

    Args:
        command: a name in `schema.COMMANDS`.
        overrides: in Hydra's language, such as "seed=1".
        values: settings by name, as Python values (a dict for a part's settings), which have the last word.

    Raises:
        ValueError: an override names no setting, or a value is not what is expected.
    """
    with hydra_app() as app:
        lines = checked_overrides(app, command, overrides)
        config = in_words(hydra.compose, command, lines)
    # Settings by name, such as those of a user's class, may have names that no file has.
    OmegaConf.set_struct(config, False)
    merged = in_words(OmegaConf.merge, config, values)
    assert isinstance(merged, DictConfig)
    return as_object(merged)


def as_object(config: DictConfig) -> Any:
    """Composed settings as an object of their schema's class, all values resolved and in their ranges.

    Raises:
        ValueError: a setting has no value, or one that it may not have.
    """
    for name in sorted(OmegaConf.missing_keys(config)):
        raise ValueError(f"{name} has no value, expected {name}=VALUE: there is none that would suit everybody")
    settings = in_words(OmegaConf.to_object, config)
    for name in vars(settings).keys() - {one.name for one in fields(settings)}:
        raise ValueError(unknown("setting", name, [one.name for one in fields(settings)]))
    check_settings(settings)
    return settings


@contextmanager
def hydra_app(config_dir: str | None = None) -> Iterator[Any]:
    """Hydra over the package's settings and another folder's; the one that is running where there is one.

    Raises:
        ValueError: there is no such folder.
    """
    _register()
    # A job may compose further settings, from the same folders.
    if GlobalHydra.instance().is_initialized():
        yield GlobalHydra.instance().hydra
        return
    with hydra.initialize_config_module(PACKAGE, job_name="editenv", version_base="1.3"):
        app: Any = GlobalHydra.instance().hydra
        if config_dir is not None:
            if not Path(config_dir).is_dir():
                raise ValueError(f"--config-dir is {config_dir!r}, expected a folder of YAML files")
            place = f"file://{Path(config_dir).resolve()}"
            app.config_loader.get_search_path().prepend("command-line", place)
            app.config_loader.repository.initialize_sources(app.config_loader.get_search_path())
        yield app


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
        line = override.input_line or ""
        key = override.key_or_group
        if key.startswith(("hydra.", "hydra/")):
            lines.append(line)
            continue
        if override.is_sweep_override() and not sweep:
            raise ValueError(f"{line!r} gives several values, expected one, or -m beside it to play each of them")
        choices = app.config_loader.get_group_options(key, overrides=search_path)
        if choices:
            _check_choice(override, [one for one in choices if not one.endswith("_schema")])
        else:
            line = _check_setting(override, settings, chosen, command)
        lines.append(line)
    return lines


def in_words(function: Any, *arguments: Any) -> Any:
    """What a function of Hydra's or OmegaConf's returns, its errors as ValueErrors of one line.

    Raises:
        ValueError: the function refused; the message leaves out how Hydra was set up.
    """
    try:
        return function(*arguments)
    except (HydraException, OmegaConfBaseException) as error:
        cause = f": {str(error.__cause__).splitlines()[0]}" if error.__cause__ else ""
        text = re.sub(r"\w+_schema\b", "", str(error).partition("Config search path")[0] + cause)
        raise ValueError(" ".join(text.split())) from error


def _values(override: Override) -> list[Any]:
    """The value of an override, or each one of a sweep over given values."""
    if override.is_sweep_override():
        return list(override.sweep_iterator()) if override.is_discrete_sweep() else []
    return [override.value()]


def _check_choice(override: Override, choices: Sequence[str]) -> None:
    """Holds the choice of a group's file to the files there are; a class from outside becomes one of them.

    Raises:
        ValueError: there is no such file, or several are asked for at once.
    """
    group, package = override.key_or_group, override.package
    key = f"{group}@{package}" if package else group
    for value in [] if override.is_delete() else _values(override):
        if value is None:
            if package is None:
                none = ", or nothing: leave it out for none" if group == "experiment" else ""
                raise ValueError(f"{key} is null, expected one of {', '.join(sorted(choices))}{none}")
        elif isinstance(value, list):
            names = ",".join(map(str, value))
            raise ValueError(f"{key} is [{names}], expected one name; -m {key}={names} plays each of them")
        elif (group in _BY_CLASS and ":" in value) or (group == "user" and value.endswith((".yaml", ".yml"))):
            part: Any = schema.GROUPS[group]
            folder, _, name = f"{group}/{value}".rpartition("/")
            ConfigStore.instance().store(group=folder, name=name, node=part(kind=value))
        elif value not in choices:
            raise ValueError(unknown(group, value, choices))


def _check_setting(override: Override, settings: dict[str, SettingHelp], chosen: Sequence[str], command: str) -> str:
    """Holds a setting to the schema; returns the line for Hydra.

    Raises:
        ValueError: there is no such setting, its part is not chosen, or its value is of another kind.
    """
    key, line, values = override.key_or_group, override.input_line or "", _values(override)
    known = settings.get(key)
    is_open = any((key == n or key.startswith(f"{n}.")) and _is_open(one) for n, one in settings.items())
    if known is None and not is_open:
        near = get_close_matches(key, [*settings, "experiment"], n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"{command} has no setting {key!r}, {hint}`editenv {command} --help` names them")
    for part in [one for n, one in settings.items() if one.group and (key == n or key.startswith(f"{n}."))]:
        names = schema.options(part.group or "")
        near = (get_close_matches(str(values[0]) if values else "", names, n=1) or ["NAME"])[0]
        choose = f"expected {part.group}@{part.name}={near}, one of {', '.join(names)}"
        if part.default is None and f"{part.group}@{part.name}" not in chosen and values != [None]:
            what = f"is {values[0]!r}" if key == part.name else f"is set, but {part.name} is not chosen"
            raise ValueError(f"{key} {what}; {choose}")
        if key == part.name and isinstance(values[0], str) and not values[0].startswith("${"):
            raise ValueError(f"{key} is {values[0]!r}, a name where settings belong; {choose}")
    if known is not None:
        for value in values:
            _check_kind(known, value)
    # Hydra asks for a + in front of names that no YAML file has.
    return f"++{line}" if is_open and not line.startswith(("+", "~")) else line


def _check_kind(known: SettingHelp, value: Any) -> None:
    """Refuses a value of another kind than the setting's."""
    holder = OmegaConf.structured(make_dataclass("Holder", [("value", known.kind, field(default=MISSING))]))
    try:
        OmegaConf.update(holder, "value", value)
    except OmegaConfBaseException as error:
        written = str(value).replace(" ", "").replace("'", "") if isinstance(value, list) else value
        came = "null" if value is None else repr(written)
        raise ValueError(f"{known.name} is {came}, expected {known.type_in_words(value)}") from error


def _is_open(known: SettingHelp) -> bool:
    """Whether a setting takes any names: the settings of a class that is chosen by name."""
    return get_origin(known.kind) is dict or (known.name == "recipe" and not is_dataclass(known.kind))


def _register() -> None:
    """Makes the schemas known to Hydra; calling it again changes nothing."""
    store = ConfigStore.instance()
    for name, kind in schema.COMMANDS.items():
        store.store(name=f"{name}_schema", node=kind)
    for group, part in schema.GROUPS.items():
        if part is not None:
            store.store(group=group, name=f"{group}_schema", node=part)
    store.store(group="recipe", name="autoencoder_schema", node=schema.AutoencoderRecipe)
    store.store(group="recipe", name="model_schema", node=schema.ModelRecipe)
