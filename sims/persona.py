"""Personas: how somebody speaks, apart from what they want. One YAML file each, in personas/ or anywhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from editenv.registry import unknown
from editenv.strict import Strict, check, read_yaml

FOLDER = Path(__file__).parent / "personas"

DialogueAct = Literal["ask", "again", "repair", "mind"]
"""Why something is said: a request, once more what failed, damage to be put right, a change of mind."""
Share = Annotated[float, Field(ge=0, le=1)]
Texts = Annotated[tuple[str, ...], Field(strict=False)]


class Persona(Strict):
    """How somebody speaks. Every share is a probability."""

    name: str  # the file's name
    summary: str  # one sentence for a reader, and for a language model that speaks in this persona
    length: Literal["short", "any", "long"]  # which of a speech act's sentences are taken
    politeness: Share  # that a sentence with "please" is taken, where there is one
    chattiness: Share  # that words of `before` and `after`, which ask for nothing, are put around a sentence
    fullness: Share  # that an object is named with all its looks, not by the fewest words that fit it alone
    vagueness: Share  # that a look is left unsaid, to be put right in a later turn
    references: Share  # that something is pointed back to ("it", "there", "the same") where it can be understood
    changes: Share  # after a turn that went well, that the user wants the object other than they wanted it before
    patience: int = Field(ge=0)  # failed or damaging turns, less the good ones, that are borne before giving up
    # words in front of a sentence, by dialogue act; "ask" is used with probability `chattiness`, the others whenever
    # there are any
    before: dict[DialogueAct, Texts]
    after: Texts  # words behind a sentence


def persona_names() -> list[str]:
    """Names of the personas that come with the package."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def load_persona(name: str) -> Persona:
    """A persona by name, or from the path of a YAML file; ValueError where there is none, or the file is not one."""
    path = FOLDER / f"{name}.yaml"
    if name not in persona_names():
        path = Path(name)
        if path.suffix not in (".yaml", ".yml"):
            raise ValueError(f"{unknown('persona', name, persona_names())} or the path of a YAML file")
        if not path.is_file():
            raise ValueError(f"persona {name!r} is no file, expected a YAML file like those in {FOLDER}")
    try:
        table = read_yaml(path.read_text(encoding="utf-8"))
        return persona_from_table(table | {"name": path.stem})
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def persona_from_table(table: Mapping[str, Any]) -> Persona:
    """A persona from JSON values, its name under "name"; ValueError names the persona and what is wrong with it."""
    try:
        return check(Persona, table)
    except ValueError as error:
        raise ValueError(f"persona {dict(table).get('name')!r}: {error}") from error
