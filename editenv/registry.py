"""Things chosen by name: what a registry holds, what "module:Class" stands for, and settings that fit it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from inspect import Parameter, signature
from typing import Any, TypeVar

T = TypeVar("T")

NEEDS = {
    "world": ("name", "version", "max_turns", "image_shape", "session", "picture"),
    "user": ("version", "begin", "reply"),
    "scorer": ("version", "score"),
    "policy": ("start", "act"),
}
"""What is asked of everything of a kind (editenv.protocols), and missed as soon as one is made."""


def lookup(kind: str, name: str, registry: Mapping[str, T]) -> T:
    """What a registry holds under a name, or what a name "package.module:Name" stands for, imported now.

    Args:
        kind: what the name is given for, such as "advantage".
        name: as it was given.
        registry: all there are.

    Raises:
        ValueError: there is none of that name; the message gives the nearest one and all of them. Or the
            module cannot be imported, or has no such attribute.
    """
    if name in registry:
        return registry[name]
    if ":" in str(name):
        return import_object(kind, name)
    raise ValueError(unknown(kind, name, registry))


def load_class(kind: str, name: str, registry: Mapping[str, str]) -> Callable[..., Any]:
    """As `lookup`, where the registry holds "module:Class", imported now."""
    found: Any = lookup(kind, name, registry)
    if name in registry:
        found = import_object(kind, found)
    return found


def load_function(kind: str, name: str, registry: Mapping[str, str]) -> Callable[..., Any]:
    """As `load_class`; ValueError, too, for what cannot be called as the registry's first function is."""
    found, first = _called(kind, name, registry), next(iter(registry))
    if ":" in name:
        model, wanted = signature(load_class(kind, first, registry)), [list[None](), dict[str, None]()]
        for one in model.parameters.values():
            if one.kind is Parameter.KEYWORD_ONLY:
                wanted[1][one.name] = None
            else:
                wanted[0].append(None)
        try:
            signature(found).bind(*wanted[0], **wanted[1])
        except (TypeError, ValueError) as error:
            raise ValueError(f"{kind} is {name!r}, expected a function {first}{model}: {error}") from error
    return found


def _called(kind: str, name: str, registry: Mapping[str, str]) -> Callable[..., Any]:
    found = load_class(kind, name, registry)
    if not callable(found):
        raise ValueError(f"{kind} is {name!r}, which is a {type(found).__name__}, expected a class or function")
    return found


def import_object(kind: str, place: str) -> Any:
    """The object that "package.module:Name" stands for; ValueError if there is no such module or attribute."""
    module, _, attribute = place.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError, ValueError) as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name
        if missing and not f"{module}.".startswith(f"{missing}."):
            raise  # the module is there, but something that it imports is not
        raise ValueError(f"{kind} is {place!r}, expected package.module:Name that can be imported: {error}") from error


def nearest(name: Any, known: Iterable[str]) -> str:
    """A question for who mistyped a name, "" where no known one is near."""
    near = get_close_matches(str(name), known, n=1)
    return f"did you mean {near[0]!r}? " if near else ""


def unknown(kind: str, name: Any, known: Iterable[str]) -> str:
    """Says which names there are, the likely one first."""
    return f"{kind} {name!r} is not known, {nearest(name, known)}expected one of {', '.join(sorted(known))}"


def build(kind: str, name: str, registry: Mapping[str, str], settings: Mapping[str, Any] | None, *given: Any) -> Any:
    """What a registry names, called with what is given and with settings by name.

    Raises:
        ValueError: the registry has no such name; or what it names has no such setting, needs another one,
            cannot be called with what is given, or refuses a value.
    """
    make, chosen = _called(kind, name, registry), dict(settings or {})
    _check_call(kind, name, make, given, chosen)
    try:
        made = make(*given, **chosen)
    except ValueError as error:
        raise ValueError(f"{kind} {name!r}: {error}") from error
    except (OSError, ImportError):
        raise
    except Exception as error:
        if ":" not in name:
            raise
        raise ValueError(f"{kind} {name!r} cannot be made: {type(error).__name__}: {error}") from error
    needs = NEEDS.get(kind, ())
    if missing := [attribute for attribute in needs if not hasattr(made, attribute)]:
        came = f"{kind} {name!r} made a {type(made).__name__}, which has no {missing[0]!r}"
        raise ValueError(f"{came}, expected {', '.join(needs)}")
    return made


def _check_call(
    kind: str, name: str, make: Callable[..., Any], given: Sequence[Any], chosen: Mapping[str, Any]
) -> None:
    """ValueError where a callable does not take what is given and these settings."""
    try:
        taken = signature(make)
    except ValueError:  # of some built-in classes nothing is known
        return
    parameters = list(taken.parameters.values())
    by_name = (Parameter.KEYWORD_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    left = {one.name: one for one in parameters[len(given) :] if one.kind in by_name}
    names = ", ".join(left) or "none"
    if not any(one.kind == Parameter.VAR_KEYWORD for one in parameters):
        for key in chosen:
            if key not in left:
                raise ValueError(f"{kind} {name!r} has no setting {key!r}, {nearest(key, left)}expected {names}")
    for key, one in left.items():
        if one.default is Parameter.empty and key not in chosen:
            raise ValueError(f"{kind} {name!r} lacks the setting {key!r}, expected {names}")
    try:
        taken.bind(*given, **chosen)
    except TypeError as error:
        came = ", ".join([*(type(one).__name__ for one in given), *chosen]) or "nothing"
        raise ValueError(f"{kind} {name!r} cannot be called with {came}: {error}") from error
