"""Suites, one YAML file each: what kind of sessions an evaluation or a training is made of.

Files are read strictly: every error names file and key, what came and what is expected.
"""

from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from editenv.registry import import_object, unknown
from editenv.strict import Strict, check, read_yaml
from editenv.worlds.studio.dialogue import POINTING
from editenv.worlds.studio.edit import Edit
from editenv.worlds.studio.phrases import add_sentences
from editenv.worlds.studio.rule import Rule
from editenv.worlds.studio.rules import CHANGES, RULES, register_rule
from editenv.worlds.studio.tasks import SAMPLERS, register_task

Share = Annotated[float, Field(ge=0, le=1)]
Pair = Annotated[tuple[int, int], Field(strict=False)]


class RuleEntry(Strict):
    """Something said about rules in some sessions."""

    model_config = ConfigDict(frozen=True)

    family: str  # of RULES or CHANGES; package.module:Class in a file
    share: Share  # share of sessions in which it is said, in one of `turns`, counted from 0
    turns: Annotated[tuple[int, ...], Field(strict=False)]

    @field_validator("family")
    @classmethod
    def _known(cls, name: str) -> str:
        return _known_name("rule", name, Rule, (*RULES, *CHANGES))


class References(Strict):
    """How later turns point back: the chance that they do ("it", "there"; at 1 all do), and kinds of POINTING."""

    model_config = ConfigDict(frozen=True)

    share: Share = 0.0
    kinds: Annotated[tuple[str, ...], Field(strict=False)] = ()

    @field_validator("kinds")
    @classmethod
    def _known(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        for kind in kinds:
            if kind not in POINTING:
                raise ValueError(f"{kind!r}, expected one of {', '.join(POINTING)}")
        return kinds


class Suite(Strict):
    """How the sessions of a suite are drawn; the keys of its file."""

    model_config = ConfigDict(frozen=True)

    name: str  # the file's name
    turns: int = Field(ge=1)  # instructions a session's script holds
    max_turns: int  # turns a session may have; more than `turns` leaves room for users who react
    objects: Pair  # smallest and largest number of objects in the initial scene
    # weight of each way of asking, a key of SAMPLERS; package.module:Class in a file
    tasks: dict[str, Annotated[float, Field(gt=0)]]
    # what is said about rules, in which share of sessions, and when
    rules: Annotated[tuple[RuleEntry, ...], Field(strict=False)] = ()
    reference: References = References()  # how later turns point back
    signs: Pair = (0, 0)  # smallest and largest number of signs among the initial scene's objects
    phrasings: Literal["first", "all"] = "first"  # "all" adds the sentences that came later to the "first" ones
    tempt: Share = 0.0  # chance that a turn asks for what a rule in force forbids
    undo: Share = 0.0  # chance that a turn undoes the last one, where one sentence can say what that means
    # may sessions use what is held out of training? "seek": the test split must, others may not
    held_out: Literal["allow", "avoid", "seek"] = "avoid"
    measures: str = ""  # for readers: what its scores tell, and what they do not
    cannot_show: str = ""

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, data: dict[str, Any]) -> dict[str, Any]:
        return {"max_turns": data.get("turns")} | data

    @field_validator("max_turns")
    @classmethod
    def _enough(cls, most: int, info: ValidationInfo) -> int:
        if most < info.data.get("turns", most):
            raise ValueError(f"{most}, expected {info.data['turns']} or more")
        return most

    @field_validator("rules")
    @classmethod
    def _in_turns(cls, rules: tuple[RuleEntry, ...], info: ValidationInfo) -> tuple[RuleEntry, ...]:
        turns = range(info.data.get("turns", 0))
        for entry in rules:
            if not set(entry.turns) <= set(turns):
                raise ValueError(f"stated in turns {list(entry.turns)}, expected 0 to {turns.stop - 1}")
        return rules

    @field_validator("objects", "signs")
    @classmethod
    def _ordered(cls, pair: tuple[int, int]) -> tuple[int, int]:
        if not 0 <= pair[0] <= pair[1]:
            raise ValueError(f"{list(pair)}, expected a smallest and a largest number")
        return pair

    @field_validator("tasks")
    @classmethod
    def _known(cls, weights: dict[str, float]) -> dict[str, float]:
        if not weights:
            raise ValueError("{}, expected at least one task")
        return {_known_name("task", name, Edit, SAMPLERS): weight for name, weight in weights.items()}

    @field_validator("measures", "cannot_show")
    @classmethod
    def _one_line(cls, text: str) -> str:
        return " ".join(text.split())


def suite_names() -> list[str]:
    """Names of all suites."""
    return sorted(f.name.removesuffix(".yaml") for f in files(__name__).iterdir() if f.name.endswith(".yaml"))


def load_suite(name: str) -> Suite:
    """A suite by name, or by the path of a file of one's own that ends in ".yaml".

    Tasks and rules that the file names as "package.module:Class" are imported and made known. ValueError names the
    nearest suites where there is none, and file and key where the file cannot be used.
    """
    if name.endswith(".yaml"):
        path = Path(name)
        if not path.is_file():
            raise ValueError(f"suite is {name!r}, which is no file")
        return read_suite(path.stem, path.read_text(encoding="utf-8"))
    if name not in suite_names():
        raise ValueError(unknown("suite", name, suite_names()))
    return _shipped(name)


@lru_cache(maxsize=32)
def _shipped(name: str) -> Suite:
    return read_suite(name, files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8"))


def read_suite(name: str, text: str) -> Suite:
    """A suite from the text of its file; ValueError that names file and key."""
    try:
        return check(Suite, {"name": name} | read_yaml(text))
    except ValueError as error:
        raise ValueError(f"suite {name}.yaml: {error}") from error


def _known_name(what: str, name: str, base: type[Edit] | type[Rule], known: Iterable[str]) -> str:
    """A task's or rule's name in the registry; those of other packages are imported and made known."""
    if name in (names := tuple(known)):
        return name
    if ":" not in name:
        raise ValueError(f"{name!r}, expected one of {', '.join(names)}, or package.module:Class")
    kind = import_object(what, name)
    if not (isinstance(kind, type) and issubclass(kind, base)):
        raise ValueError(f"{name!r}, expected a class that derives from {base.__module__}.{base.__name__}")
    if issubclass(kind, Edit):
        register_task(kind)
        for act, sentences in kind.sentences.items():
            add_sentences(act, sentences)
        return kind.task
    register_rule(kind)
    if kind.sentences:
        add_sentences(kind.act, kind.sentences)
    return kind.family
