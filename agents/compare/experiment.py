"""An experiment as data: a question, its arms, seeds, budget and evaluation, read from YAML."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from itertools import product
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
    search: dict[str, Annotated[list[bool | int | float | str], Field(min_length=1)]] = Field(default_factory=dict)
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


class TuningSchema(Strict):
    """A search before the runs, alike for every trained arm: its trials, what each may spend and who is best."""

    trials: Annotated[int, Field(ge=2)]
    budget: BudgetSchema = BudgetSchema()
    sessions: Count = 128
    metric: Literal["instruction_following", "content_consistency", "global_awareness", "rule_kept"] = (
        "global_awareness"
    )
    seed: Annotated[int, Field(ge=0)] = 0


class ExperimentSchema(Strict):
    """An experiment file."""

    question: str
    notes: list[str] = Field(default_factory=list)
    arms: dict[str, ArmSchema]
    seeds: list[Annotated[int, Field(ge=0)]]
    suites: list[str] = Field(default_factory=lambda: ["mixed"])
    budget: BudgetSchema = BudgetSchema()
    tuning: TuningSchema | None = None
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
    trial: int | None = None  # of tuning; None for a run
    tuned: tuple[str, ...] = ()  # settings that tuning tries, or has chosen

    @property
    def name(self) -> str:
        """The folder's name."""
        return f"{self.arm}/" + (f"seed_{self.seed}" if self.trial is None else f"trial_{self.trial}")

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

    @property
    def tuned(self) -> bool:
        """Whether trained arms are tuned before their runs."""
        return self.schema.tuning is not None

    def trials(self, out: Path) -> list[Job]:
        """The search's trainings, as many of each trained arm, on validation sessions; none without tuning."""
        plan = self.schema.tuning
        if plan is None:
            return []
        shared = self.schema.budget.settings
        budget = plan.budget.model_copy(update={"settings": [*shared, *plan.budget.settings]})
        update = {"sessions": plan.sessions, "split": "validation", "tries": 1, "filmstrips": 0}
        evaluation = self.schema.evaluation.model_copy(update=update)
        small = replace(self, schema=self.schema.model_copy(update={"budget": budget, "evaluation": evaluation}))
        return [
            small.job(arm, plan.seed, out, words, number)
            for arm, schema in self.schema.arms.items()
            if schema.agent != "policy"
            for number, words in enumerate(_search(arm, schema.search, plan))
        ]

    def jobs(self, out: Path, chosen: Mapping[str, Sequence[str]] | None = None) -> list[Job]:
        """All (arm, seed) of the experiment, arms side by side.

        Args:
            out: the experiment's folder.
            chosen: what tuning chose, by arm; trained arms that are missing have no runs. None for no choice yet.
        """
        return [
            self.job(arm, seed, out, (chosen or {}).get(arm, ()))
            for seed in self.schema.seeds
            for arm, known in self.schema.arms.items()
            if known.agent != "policy" or seed == self.schema.seeds[0]
            if known.agent == "policy" or not self.tuned or chosen is None or arm in chosen
        ]

    def seconds(self, job: Job) -> float | None:
        """That a job takes, by what its file says; None where it says nothing."""
        whole, schema = self.schema.budget.spent, self.schema.arms[job.arm]
        said = schema.seconds or (whole.get("seconds") if job.train else None)
        if job.trial is None or said is None or self.schema.tuning is None:
            return said
        part = self.schema.tuning.budget.spent
        return said * part[next(iter(whole))] / next(iter(whole.values())) if part.keys() == whole.keys() else said

    def job(self, arm: str, seed: int, out: Path, tuned: Sequence[str] = (), trial: int | None = None) -> Job:
        """One run; its settings are composed here, so that a wrong override is refused before anything runs.

        Args:
            arm: its name.
            seed: of the training.
            out: the experiment's folder.
            tuned: settings of tuning, after the arm's own.
            trial: the number of a trial, which keeps no best checkpoint.

        Raises:
            ValueError: an override or the budget fits no setting; names the arm.
        """
        schema, plan = self.schema.arms[arm], self.schema.evaluation
        seed, first = (FIXED_SEED, True) if schema.agent == "policy" else (seed, seed == self.schema.seeds[0])
        job = Job(arm, seed, (), {}, "", trial, tuple(tuned))
        folder = out / "runs" / job.name
        train, resolved, players, fixed = (), [], {"": list(schema.overrides)}, schema.overrides
        if schema.agent != "policy":
            run, fixed = folder / "run", []
            kind = ("agent=trl",) if schema.agent == "trl" else ()
            if schema.agent == "sb3" and not any(line.startswith("agent=") for line in schema.overrides):
                raise ValueError(f"arm {arm!r}: overrides name no agent, expected agent=ppo, a2c or maskable_ppo")
            words = ("train", *kind, *self.schema.budget.settings, *schema.overrides, *tuned)
            settings = replace(_composed(arm, words), seed=seed)
            spent = _spent(arm, schema.agent, settings, self.schema.budget)
            resolved.append(_deciding(replace(settings, **spent)))
            train = (*words, f"seed={seed}", f"out={_quoted(run)}", *(f"{k}={v:.10g}" for k, v in spent.items()))
            plays = "model" if schema.agent == "edit_r2" else "policy"
            players = {"": [f"{plays}={_quoted(run)}"]}
            if schema.agent != "trl" and settings.eval_every > 0 and trial is None:
                players[BEST] = [f"{plays}={_quoted(run / 'best')}"]
        shared = [f"sessions={plan.sessions}", f"split={plan.split}", f"seed={plan.seed}", f"scorer={plan.scorer}"]
        evaluate = {}
        for place, suite in self.suites.items():
            for which, played in players.items():
                for attempt in range(1 if which else plan.tries):
                    name = f"{place}{which}" + (f".try_{attempt}" if attempt else "")
                    # Pictures are kept where filmstrips are made of them.
                    keep = bool(plan.filmstrips and first and not which and not attempt)
                    own = [*schema.evaluate, *shared, f"suite={_quoted(Path(suite))}"]
                    settings = _composed(arm, ("evaluate", *fixed, *own))
                    resolved.append(_deciding(replace(settings, attempt=attempt, save_images=keep)))
                    if train:
                        del resolved[-1]["model"], resolved[-1]["policy"]
                    more = [f"attempt={attempt}", f"save_images={keep}".lower(), f"out={_quoted(folder / name)}"]
                    evaluate[name] = ("evaluate", *played, *own, *more)
        key = _hash([__version__, schema.agent == "edit_r2" and BEST in players, resolved])
        return replace(job, train=train, evaluate=evaluate, key=key)


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
    for key, budget in (("budget", schema.budget), ("tuning.budget", (schema.tuning or schema).budget)):
        if len(budget.spent) > 1:
            raise ValueError(f"key {key} is {budget.spent}, expected turns, updates or seconds, one of them")
    for arm in [arm for arm, known in schema.arms.items() if known.search]:
        if schema.tuning is None or schema.arms[arm].agent == "policy":
            raise ValueError(f"arm {arm!r}: search is set, expected it of trained arms alone, beside the key tuning")
    for key in ("baseline", "ceiling"):
        arm = getattr(schema, key)
        if arm is not None and arm not in schema.arms:
            raise ValueError(unknown(key, arm, schema.arms))
    places = [Path(suite).stem for suite in schema.suites]
    for name in (*schema.arms, *places):
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            kind = "arm" if name in schema.arms else "suite"
            raise ValueError(f"{kind} {name!r}, expected letters, digits, - and _: it names a folder")
    if len(set(places)) < len(places):
        raise ValueError(f"key suites is {schema.suites}, expected each of another name")


def _spent(arm: str, agent: str, settings: Any, budget: BudgetSchema) -> dict[str, float]:
    """The budget as a setting of an arm's training, never more than it."""
    if not budget.spent:
        return {}
    ((name, amount),) = budget.spent.items()
    if name == "seconds":
        return {"max_seconds": amount}
    if agent == "sb3":  # whose steps are turns, in whole rollouts
        if name == "updates":
            raise ValueError(f"arm {arm!r}: budget is in updates, expected turns or seconds, which sb3 counts too")
        word, each, steps = "steps", settings.n_steps * settings.num_envs, settings.n_steps * settings.num_envs
    else:
        word, steps = ("steps" if agent == "trl" else "iterations"), 1
        each = 1 if agent == "trl" else settings.algorithm.updates_per_iteration
        if name == "turns":
            if settings.sessions_file is None:
                turns = load_suite(settings.suite).max_turns
            else:
                turns = max(line.record.turn_count for line in read_sessions_file(settings.sessions_file).lines)
            each = settings.groups * settings.group_size * turns
    if amount < each:
        raise ValueError(f"arm {arm!r}: budget is {amount} {name}, expected {each} or more, which one iteration takes")
    return {word: int(amount // each) * steps}


def _search(arm: str, search: Mapping[str, Sequence[Any]], plan: TuningSchema) -> list[tuple[str, ...]]:
    """Settings of each trial: of all combinations as many as there are trials, drawn by the plan's seed."""
    every = list(product(*([f"{name}={_word(value)}" for value in values] for name, values in search.items())))
    if len(every) < plan.trials:
        raise ValueError(
            f"arm {arm!r}: search has {len(every) if search else 0} combinations, expected {plan.trials} or more: "
            "every trained arm has as many trials"
        )
    return [every[number] for number in sorted(random.Random(plan.seed).sample(range(len(every)), plan.trials))]


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _composed(arm: str, words: Sequence[str]) -> Any:
    try:
        return _compose(*words)
    except ValueError as error:
        raise ValueError(f"arm {arm!r}: {error}") from error


@cache
def _compose(command: str, *overrides: str) -> Any:
    return compose(command, [*overrides, "out=unused"])


def _deciding(settings: Any) -> dict[str, Any]:
    """A command's settings and what their files hold, less where its own files go: a comparison may be moved."""
    return with_contents(deciding_settings(settings, ("out", "threads")))


def _hash(value: Any) -> str:
    return blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=12).hexdigest()


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
