"""What the runs of a comparison left: their scores, costs and learning curves, and what tuning chose by them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from editenv.agents.compare.command import Outcome
from editenv.agents.compare.experiment import Experiment, Job
from editenv.agents.stats import Floats, pass_at_k, row_means

HEADLINE = "global_awareness"
"""The score that arms are compared by, of each session's last turn."""
SHOWN = {
    "instruction_following": "IF",
    "content_consistency": "CC",
    "global_awareness": "GA",
    "rule_kept": "rules kept",
}
_READ = ("session", "index", "versions", "turn", "task", "family", "errors", *SHOWN)


class Results:
    """The scores of an experiment's finished runs: `lines[arm, evaluation][seed]` are those of scores.jsonl.

    Raises:
        ValueError: a run's sessions or versions are not those of the other runs of its suite; names both.
    """

    def __init__(self, experiment: Experiment, outcomes: Iterable[Outcome], out: Path) -> None:
        self.experiment, self.runs = experiment, out / "runs"
        self.lines: dict[tuple[str, str], dict[int, list[dict[str, Any]]]] = defaultdict(dict)
        first: dict[str, tuple[Path, Any]] = {}
        for job in [one.job for one in outcomes if one.state == "done"]:
            for name in job.evaluate:
                path = self.runs / job.name / name / "scores.jsonl"
                try:
                    read = map(json.loads, path.read_text(encoding="utf-8").splitlines())
                    lines = [{key: line[key] for key in _READ} for line in read]
                except (ValueError, TypeError, KeyError, RecursionError) as error:
                    raise ValueError(
                        f"{path} cannot be read ({error}), expected what the run wrote: remove {path.parents[1]}, "
                        "and the same command runs it again"
                    ) from error
                self.lines[job.arm, name][job.seed] = lines
                played = [(line["session"], line["versions"]) for line in lines]
                other, expected = first.setdefault(name.partition(".")[0], (path, played))
                if played != expected:
                    raise ValueError(f"{path} holds other sessions or versions than {other}, expected the same ones")
        self.arms = [arm for arm in experiment.schema.arms if any(arm == one for one, _ in self.lines)]
        self.suites = list(experiment.suites)

    def last_turn(self, arm: str, name: str, score: str = HEADLINE) -> Floats:
        """A score of each session's last turn, [seeds, sessions]; NaN where it was not scored."""
        runs = self.lines[arm, name]
        return np.array([[line[score][-1] for line in runs[seed]] for seed in sorted(runs)], float)

    def run_means(self, arm: str, score: str = HEADLINE) -> Floats:
        """Means over sessions of the last turn, [seeds, suites], as the statistics over runs take them."""
        return np.stack([row_means(self.last_turn(arm, suite, score)) for suite in self.suites], 1)

    def mean_by(self, arm: str, suite: str, score: str, key: str) -> dict[str, float]:
        """A score's mean by turn, task or family: over seeds of the means over what was scored."""
        values: dict[Any, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        for seed, lines in self.lines[arm, suite].items():
            for line in lines:
                for name, value in zip(line[key], line[score], strict=True):
                    if name is not None and value is not None:
                        values[name][seed].append(value)
        return {str(name): mean([[mean([one])] for one in values[name].values()]) for name in sorted(values)}

    def rules_kept_when_followed(self, arm: str, suite: str) -> float | None:
        """Mean of rule_kept over the turns with IF = 1: memory, told apart from editing skill."""
        lines = [line for run in self.lines[arm, suite].values() for line in run]
        pairs = [pair for line in lines for pair in zip(line["instruction_following"], line["rule_kept"], strict=True)]
        kept = [kept for followed, kept in pairs if followed == 1 and kept is not None]
        return mean([kept]) if kept else None

    def pass_at(self, arm: str, suite: str, k: int) -> float:
        """pass@k of each run's tries, mean over seeds; sessions with a try that was not scored are left out."""
        names = [suite, *(f"{suite}.try_{n}" for n in range(1, self.experiment.schema.evaluation.tries))]
        tries = np.stack([self.last_turn(arm, name) for name in names])
        return mean([[pass_at_k(run[:, ~np.isnan(run).any(0)] == 1, k) for run in tries.swapaxes(0, 1)]])

    def unscored(self, arm: str) -> float:
        """Share of an arm's turns that no judge scored."""
        errors = [
            e
            for suite in self.suites
            for run in self.lines[arm, suite].values()
            for line in run
            for e in line["errors"]
        ]
        return sum(error is not None for error in errors) / max(len(errors), 1)


@dataclass(frozen=True)
class Trial:
    """A trial of tuning that has ended, and its score: the mean over suites and sessions of the last turn."""

    job: Job
    score: float | None  # None where it failed


def tried(outcomes: Iterable[Outcome], metric: str, out: Path) -> dict[str, list[Trial]]:
    """The trials of each arm that have ended."""
    found: dict[str, list[Trial]] = defaultdict(list)
    for one in outcomes:
        if one.state == "done":
            paths = [out / "runs" / one.job.name / name / "scores.jsonl" for name in one.job.evaluate]
            last = [[json.loads(line)[metric][-1] for line in path.read_text().splitlines()] for path in paths]
            score = mean([row_means(np.array([values], float)) for values in last])
            found[one.job.arm].append(Trial(one.job, score))
        elif one.state == "failed":
            found[one.job.arm].append(Trial(one.job, None))
    return found


def chosen(trials: Iterable[Trial]) -> Trial | None:
    """The best one, of equal ones the first; None where all have failed."""
    scored = [one for one in trials if one.score is not None and not np.isnan(one.score)]
    return max(scored, key=lambda one: one.score or 0.0, default=None)


def cost(folder: Path) -> dict[str, float]:
    """What one run took: turns and updates of its training, seconds of training and of evaluation."""
    points = learning_curve(folder / "run")
    last = {name: float(values[-1]) for name, values in points.items()} if points else {}
    evaluated = [json.loads(path.read_text()) for path in folder.glob("*/summary.json") if path.parent.name != "run"]
    return {
        **{name: last.get(name, 0.0) for name in ("turns", "updates", "training")},
        "evaluation": sum(one["seconds"] for one in evaluated),
    }


def learning_curve(run: Path) -> dict[str, Floats] | None:
    """Of a training: turns, updates and seconds so far, and the mean reward a turn of what it played, at each point.

    An Edit-R2 training writes logs.jsonl, the others a `curve` in summary.json; None without any.
    """
    if (run / "logs.jsonl").is_file():
        logs = [json.loads(line) for line in (run / "logs.jsonl").read_text(encoding="utf-8").splitlines()]
        logs = [log for log in logs if log.get("reward")]
        settings = json.loads((run / "settings.json").read_text(encoding="utf-8"))
        sessions = settings["groups"] * settings["group_size"]
        columns = {
            "turns": np.cumsum([float(sessions * len(log["reward"])) for log in logs]),
            "updates": np.arange(1.0, len(logs) + 1) * settings["algorithm.updates_per_iteration"],
            "training": np.cumsum([sum(v for k, v in log.items() if k.startswith("seconds/")) for log in logs]),
            "reward": np.array([np.nanmean(np.array(log["reward"], float)) for log in logs]),
        }
    elif (run / "summary.json").is_file():
        curve = json.loads((run / "summary.json").read_text(encoding="utf-8")).get("curve", [])
        names = {"turns": "turns", "updates": "updates", "training": "seconds", "reward": "reward"}
        columns = {name: np.array([point[key] for point in curve], float) for name, key in names.items()}
    else:
        return None
    return columns if len(columns["turns"]) else None


def mean(matrix: Any) -> float:
    """Of all entries."""
    return float(np.mean(np.asarray(matrix, float)))
