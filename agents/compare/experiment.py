"""An experiment as data: a question, its arms, seeds, budget and evaluation, read from YAML."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from editenv import __version__
from editenv.agents.resume import deciding_settings
from editenv.agents.waves import with_contents
from editenv.configs.compose import compose
from editenv.records import read_sessions_file
from editenv.registry import unknown
from editenv.strict import Strict, check, read_yaml
from editenv.worlds.studio.suites import load_suite

Count = Annotated[int, Field(ge=1)]
FIXED_SEED = 0
"""Of arms without training: the same sessions give the same scores, so they play once."""
BEST = ".best"
"""Behind a suite's name: the evaluation of a run's best checkpoint, beside that of its last weights."""


class ArmSchema(Strict):
    """One arm: `policy` is evaluated once, the others train with each seed and are evaluated then."""

    agent: Literal["edit_r2", "sb3", "trl", "policy"]
    overrides: list[str] = Field(default_factory=list)
    evaluate: list[str] = Field(default_factory=list)
    label: str | None = None
    oracle: str | None = None
    seconds: Annotated[float, Field(gt=0)] | None = None


class BudgetSchema(Strict):
    """What every training may spend: one of three, and settings that all share."""

    turns: Count | None = None
    updates: Count | None = None
    seconds: Annotated[float, Field(gt=0)] | None = None
    settings: list[str] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _of_a_list(cls, data: Any) -> Any:
        return {"settings": data} if isinstance(data, list) else data

    @property
    def spent(self) -> dict[str, float]:
        """The one that is set, by name; empty where the settings alone decide."""
        named = {"turns": self.turns, "updates": self.updates, "seconds": self.seconds}
        return {name: value for name, value in named.items() if value is not None}


class EvaluationSchema(Strict):
    """How every arm is evaluated: the same sessions for all."""

    sessions: Count = 256
    split: Literal["train", "validation", "test"] = "test"
    seed: Annotated[int, Field(ge=0)] = 0
    scorer: str = "exact"
    tries: Count = 1
    filmstrips: Annotated[int, Field(ge=0)] = 3


class ExperimentSchema(Strict):
    """An experiment file."""

    question: str
    notes: list[str] = Field(default_factory=list)
    arms: dict[str, ArmSchema]
    seeds: list[Annotated[int, Field(ge=0)]]
    suites: list[str] = Field(default_factory=lambda: ["mixed"])
    budget: BudgetSchema = BudgetSchema()
    evaluation: EvaluationSchema = EvaluationSchema()
    baseline: str | None = None
    ceiling: str | None = None


@dataclass(frozen=True)
class Job:
    """One (arm, seed): commands that run one after another in a folder of their own."""

    arm: str
    seed: int  # of the training; FIXED_SEED for arms that do not train
    train: tuple[str, ...]  # words of the training command; empty where nothing trains
    evaluate: dict[str, tuple[str, ...]]  # words of each evaluation, by the name of its folder
    key: str  # hash of the resolved settings of all commands, of what their files hold, and of the package's version

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

    @property
    def suites(self) -> dict[str, str]:
        """The suites by the names of their folders: a suite's own name, or its file's."""
        return {Path(suite).stem: suite for suite in self.schema.suites}

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
            ValueError: an override or the budget fits no setting; names the arm.
        """
        schema, plan = self.schema.arms[arm], self.schema.evaluation
        seed, first = (FIXED_SEED, True) if schema.agent == "policy" else (seed, seed == self.schema.seeds[0])
        folder = out / "runs" / arm / f"seed_{seed}"
        train, keeps_best, players = (), False, {"": list(schema.overrides)}
        if schema.agent != "policy":
            run = folder / "run"
            kind = ("agent=trl",) if schema.agent == "trl" else ()
            if schema.agent == "sb3" and not any(line.startswith("agent=") for line in schema.overrides):
                raise ValueError(f"arm {arm!r}: overrides name no agent, expected agent=ppo, a2c or maskable_ppo")
            words = (
                "train",
                *kind,
                *self.schema.budget.settings,
                *schema.overrides,
                f"seed={seed}",
                f"out={_quoted(run)}",
            )
            settings = _composed(arm, words)
            train = (*words, *_budget_words(arm, schema.agent, settings, self.schema.budget))
            plays = "model" if schema.agent == "edit_r2" else "policy"
            players = {"": [f"{plays}={_quoted(run)}"]}
            if keeps_best := schema.agent == "edit_r2" and settings.eval_every > 0:
                players[BEST] = [f"model={_quoted(run / 'best')}"]
        shared = [f"sessions={plan.sessions}", f"split={plan.split}", f"seed={plan.seed}", f"scorer={plan.scorer}"]
        evaluate = {}
        for place, suite in self.suites.items():
            for which, played in players.items():
                for attempt in range(1 if which else plan.tries):
                    name = f"{place}{which}" + (f".try_{attempt}" if attempt else "")
                    # Pictures are kept where filmstrips are made of them.
                    keep = bool(plan.filmstrips and first and not which and not attempt)
                    more = [
                        f"attempt={attempt}",
                        f"save_images={keep}".lower(),
                        f"suite={_quoted(Path(suite))}",
                        f"out={_quoted(folder / name)}",
                    ]
                    evaluate[name] = ("evaluate", *played, *schema.evaluate, *shared, *more)
        resolved = [_deciding(arm, words, trained=bool(train)) for words in (train, *evaluate.values()) if words]
        return Job(arm, seed, train, evaluate, _hash([__version__, keeps_best, resolved]))


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
        text = path.read_text(encoding="utf-8")
    elif name in shipped:
        text = (folder / f"{name}.yaml").read_text(encoding="utf-8")
    else:
        raise ValueError(unknown("experiment", name, shipped) + ", or the path of a YAML file")
    try:
        schema = check(ExperimentSchema, read_yaml(text))
        _check_whole(schema)
    except ValueError as error:
        raise ValueError(f"experiment {name}: {error}") from error
    return Experiment(path.stem, schema)


def _check_whole(schema: ExperimentSchema) -> None:
    """Refuses what the schema alone cannot see."""
    if not schema.arms or not schema.seeds or not schema.suites:
        raise ValueError("expected one arm, one seed and one suite at least")
    if len(set(schema.seeds)) < len(schema.seeds):
        raise ValueError(f"key seeds is {schema.seeds}, expected each seed once")
    if len(schema.budget.spent) > 1:
        raise ValueError(f"key budget is {schema.budget.spent}, expected turns, updates or seconds, one of them")
    for key in ("baseline", "ceiling"):
        arm = getattr(schema, key)
        if arm is not None and arm not in schema.arms:
            raise ValueError(unknown(key, arm, schema.arms))
    places = [Path(suite).stem for suite in schema.suites]
    for kind, names in (("arm", schema.arms), ("suite", places)):
        for one in names:
            if not one.replace("_", "").replace("-", "").isalnum() or not one.isascii():
                raise ValueError(f"{kind} {one!r}, expected letters, digits, - and _: it names a folder")
    if len(set(places)) < len(places):
        raise ValueError(f"key suites is {schema.suites}, expected each of another name")


def _budget_words(arm: str, agent: str, settings: Any, budget: BudgetSchema) -> list[str]:
    """The budget in the settings of an arm's training, never more than it."""
    if not budget.spent:
        return []
    ((name, amount),) = budget.spent.items()
    if name == "seconds":
        return [f"max_seconds={amount:g}"]
    if agent == "sb3":  # whose steps are turns
        if name == "updates":
            raise ValueError(f"arm {arm!r}: budget is in updates, expected turns or seconds, which sb3 counts too")
        return [f"steps={amount}"]
    word, each = ("steps", 1) if agent == "trl" else ("iterations", settings.algorithm.updates_per_iteration)
    if name == "turns":
        if settings.sessions_file is None:
            turns = load_suite(settings.suite).max_turns
        else:
            turns = max(line.record.turn_count for line in read_sessions_file(settings.sessions_file).lines)
        each = settings.groups * settings.group_size * turns
    if amount < each:
        raise ValueError(f"arm {arm!r}: budget is {amount} {name}, expected {each} or more, which one iteration takes")
    return [f"{word}={int(amount // each)}"]


def _composed(arm: str, words: Sequence[str]) -> Any:
    command, *overrides = words
    try:
        return compose(command, overrides)
    except ValueError as error:
        raise ValueError(f"arm {arm!r}: {error}") from error


def _deciding(arm: str, words: Sequence[str], trained: bool) -> dict[str, Any]:
    """A command's settings and what their files hold, less where its own files go: a comparison may be moved."""
    settings = with_contents(deciding_settings(_composed(arm, words), ("out", "threads")))
    if trained and words[0] == "evaluate":
        del settings["model"], settings["policy"]
    return settings


def _hash(value: Any) -> str:
    return blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=12).hexdigest()


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
