"""An experiment as data: a question, its arms, seeds, budget and evaluation, read from YAML."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from editenv import __version__
from editenv.configs.compose import compose
from editenv.registry import unknown
from editenv.strict import Strict, check, read_yaml

Count = Annotated[int, Field(ge=1)]
FIXED_SEED = 0
"""Of arms without training: the same sessions give the same scores, so they play once."""


class ArmSchema(Strict):
    """One arm of an experiment file."""

    agent: Literal["edit_r2", "policy"]
    overrides: list[str] = Field(default_factory=list)
    label: str | None = None
    oracle: str | None = None


class EvaluationSchema(Strict):
    """How every arm is evaluated: the same sessions for all."""

    sessions: Count = 256
    split: Literal["train", "validation", "test"] = "test"
    seed: Annotated[int, Field(ge=0)] = 0
    scorer: str = "exact"


class ExperimentSchema(Strict):
    """An experiment file."""

    question: str
    arms: dict[str, ArmSchema]
    seeds: list[Annotated[int, Field(ge=0)]]
    suites: list[str] = Field(default_factory=lambda: ["mixed"])
    budget: list[str] = Field(default_factory=list)
    evaluation: EvaluationSchema = EvaluationSchema()
    baseline: str | None = None


@dataclass(frozen=True)
class Job:
    """One (arm, seed): commands that run one after another in a folder of their own.

    Attributes:
        arm: name of the arm.
        seed: of the training; FIXED_SEED for arms that do not train.
        train: words of the training command; empty where nothing trains.
        evaluate: words of one evaluation a suite, by suite.
        key: hash of the resolved settings of all commands and of the package's version.
    """

    arm: str
    seed: int
    train: tuple[str, ...]
    evaluate: dict[str, tuple[str, ...]]
    key: str

    @property
    def name(self) -> str:
        """The folder's name."""
        return f"{self.arm}/seed_{self.seed}"

    def to_json(self) -> dict[str, Any]:
        """The job as JSON values."""
        return asdict(self) | {"version": __version__}


@dataclass(frozen=True)
class Experiment:
    """A checked experiment; `schema` is its file's content."""

    name: str
    schema: ExperimentSchema

    @property
    def baseline(self) -> str:
        """The arm that the others are compared with: the one named, else the first."""
        return self.schema.baseline or next(iter(self.schema.arms))

    def label(self, arm: str) -> str:
        """The arm in the report's words."""
        return self.schema.arms[arm].label or arm

    def jobs(self, out: Path) -> list[Job]:
        """All (arm, seed) of the experiment, arms side by side."""
        return [
            self.job(arm, seed, out)
            for seed in self.schema.seeds
            for arm, known in self.schema.arms.items()
            if known.agent != "policy" or seed == self.schema.seeds[0]
        ]

    def job(self, arm: str, seed: int, out: Path) -> Job:
        """One run; its settings are composed here, so that a wrong override is refused before anything runs.

        Args:
            arm: its name.
            seed: of the training.
            out: the experiment's folder.

        Raises:
            ValueError: an override fits no setting; names the arm.
        """
        schema, plan = self.schema.arms[arm], self.schema.evaluation
        seed = FIXED_SEED if schema.agent == "policy" else seed
        folder = out / "runs" / arm / f"seed_{seed}"
        train: tuple[str, ...] = ()
        played = list(schema.overrides)
        if schema.agent == "edit_r2":
            run = _quoted(str(folder / "run"))
            train = ("train", *self.schema.budget, *schema.overrides, f"seed={seed}", f"out={run}")
            played = [f"model={run}"]
        settings = [f"sessions={plan.sessions}", f"split={plan.split}", f"seed={plan.seed}", f"scorer={plan.scorer}"]
        evaluate = {
            suite: ("evaluate", *played, *settings, f"suite={suite}", f"out={_quoted(str(folder / suite))}")
            for suite in self.schema.suites
        }
        resolved = [_resolved(arm, words) for words in (train, *evaluate.values()) if words]
        return Job(arm, seed, train, evaluate, _hash([__version__, resolved]))


def load_experiment(name: str) -> Experiment:
    """A shipped experiment by name, or a YAML file by path.

    Raises:
        ValueError: there is none; a key is missing or unknown; names the file and the key.
    """
    folder = files("editenv.configs") / "compare"
    shipped = sorted(one.name.removesuffix(".yaml") for one in folder.iterdir() if one.name.endswith(".yaml"))
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise ValueError(f"experiment is {name!r}, expected a YAML file that is there")
        text, title = path.read_text(encoding="utf-8"), path.stem
    elif name in shipped:
        text, title = (folder / f"{name}.yaml").read_text(encoding="utf-8"), name
    else:
        raise ValueError(unknown("experiment", name, shipped) + ", or the path of a YAML file")
    try:
        schema = check(ExperimentSchema, read_yaml(text))
    except ValueError as error:
        raise ValueError(f"experiment {name}: {error}") from error
    _check_whole(name, schema)
    return Experiment(title, schema)


def _check_whole(name: str, schema: ExperimentSchema) -> None:
    """Refuses what the schema alone cannot see."""
    if not schema.arms or not schema.seeds or not schema.suites:
        raise ValueError(f"experiment {name}: expected one arm, one seed and one suite at least")
    if len(set(schema.seeds)) < len(schema.seeds):
        raise ValueError(f"experiment {name}: key seeds is {schema.seeds}, expected each seed once")
    if schema.baseline is not None and schema.baseline not in schema.arms:
        raise ValueError(f"experiment {name}: {unknown('baseline', schema.baseline, schema.arms)}")
    for arm in schema.arms:
        if not arm.replace("_", "").replace("-", "").isalnum() or not arm.isascii():
            raise ValueError(f"experiment {name}: arm {arm!r}, expected letters, digits, - and _: it names a folder")


def _resolved(arm: str, words: Sequence[str]) -> Any:
    """A command's settings as JSON values, less where its files go."""
    command, *overrides = words
    try:
        settings = asdict(compose(command, overrides))
    except ValueError as error:
        raise ValueError(f"arm {arm!r}: {error}") from error
    settings.pop("out")
    return settings


def _hash(value: Any) -> str:
    return blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=12).hexdigest()


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
