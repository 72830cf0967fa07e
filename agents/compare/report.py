"""The report of an experiment: one long table, statistics over seeds, and pages made of them.

`table.csv` has the columns arm, seed, suite, session, turn, task, family, score, value; everything on the
pages follows from it. `report.html` needs no network: its figures are SVG inside the page. `report.md` says
the same in text.
"""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, select_autoescape

from editenv import __version__
from editenv.agents.compare.experiment import Experiment
from editenv.agents.compare.queue import Outcome
from editenv.agents.compare.statistics import (
    Estimate,
    Floats,
    cautions,
    estimate,
    gap_closed,
    iqm,
    paired_difference,
    performance_profile,
    probability_of_improvement,
)
from editenv.files import atomic_write_text

COLUMNS = ("arm", "seed", "suite", "session", "turn", "task", "family", "score", "value")
HEADLINE = "global_awareness"
"""The score that arms are compared by, of each session's last turn."""
SHOWN = {
    "instruction_following": "IF",
    "content_consistency": "CC",
    "global_awareness": "GA",
    "rule_kept": "rules kept",
}


@dataclass(frozen=True)
class Row:
    """One turn's score, fields as in COLUMNS; the value is None where it was not scored."""

    arm: str
    seed: int
    suite: str
    session: int
    turn: int
    task: str
    family: str
    score: str
    value: float | None


def read_rows(folder: Path, outcome: Outcome) -> Iterator[Row]:
    """The rows of one finished job, from the `scores.jsonl` of its evaluations."""
    job = outcome.job
    for suite in job.evaluate:
        with (folder / "runs" / job.name / suite / "scores.jsonl").open(encoding="utf-8") as lines:
            for line in lines:
                session = json.loads(line)
                turns = len(session["instruction_following"])
                tasks = session.get("task") or [None] * turns
                families = session.get("family") or [None] * turns
                for score in SHOWN:
                    for turn, value in enumerate(session[score]):
                        yield Row(
                            job.arm,
                            job.seed,
                            suite,
                            session["index"],
                            turn + 1,
                            tasks[turn] or "",
                            families[turn] or "",
                            score,
                            value,
                        )


class Results:
    """The finished runs of an experiment as arrays.

    Args:
        experiment: what was asked.
        rows: of all finished jobs.
    """

    def __init__(self, experiment: Experiment, rows: Sequence[Row]) -> None:
        self.experiment, self.rows = experiment, rows
        self.arms = [arm for arm in experiment.schema.arms if any(row.arm == arm for row in rows)]
        self.suites = [suite for suite in experiment.schema.suites if any(row.suite == suite for row in rows)]

    def seeds(self, arm: str) -> list[int]:
        """Seeds of an arm that have finished."""
        return sorted({row.seed for row in self.rows if row.arm == arm})

    def last_turn(self, arm: str, suite: str, score: str = HEADLINE) -> Floats:
        """A score of each session's last turn, [seeds, sessions]; NaN where it was not scored."""
        found: dict[int, dict[int, tuple[int, float]]] = defaultdict(dict)
        for row in self.rows:
            if (row.arm, row.suite, row.score) == (arm, suite, score):
                value = np.nan if row.value is None else row.value
                if row.turn >= found[row.seed].get(row.session, (0, 0.0))[0]:
                    found[row.seed][row.session] = (row.turn, value)
        sessions = sorted({session for one in found.values() for session in one})
        missing = (0, np.nan)
        return np.array([[found[seed].get(session, missing)[1] for session in sessions] for seed in sorted(found)])

    def run_means(self, arm: str, score: str = HEADLINE) -> Floats:
        """Means over sessions of the last turn, [seeds, suites], as the statistics over runs take them."""
        return np.stack([_row_means(self.last_turn(arm, suite, score)) for suite in self.suites], 1)

    def mean_by(self, arm: str, suite: str, score: str, key: str) -> dict[str, Estimate]:
        """A score's mean by turn, task or family: over seeds of the means over what was scored."""
        values: dict[tuple[str, int], list[float]] = defaultdict(list)
        for row in self.rows:
            if (row.arm, row.suite, row.score) == (arm, suite, score) and row.value is not None:
                values[str(getattr(row, key)), row.seed].append(row.value)
        names = sorted({name for name, _ in values if name}, key=lambda name: (len(name), name))
        seeds = self.seeds(arm)
        found = {}
        for name in names:
            means = [[float(np.mean(values[name, seed]))] for seed in seeds if values[name, seed]]
            found[name] = estimate(lambda matrix: float(np.mean(matrix)), means)
        return found

    def rules_kept_when_followed(self, arm: str, suite: str) -> float | None:
        """Mean of rule_kept over the turns with IF = 1: memory, told apart from editing skill."""
        turns: dict[tuple[int, int, int], dict[str, float]] = defaultdict(dict)
        for row in self.rows:
            if row.arm == arm and row.suite == suite and row.value is not None:
                turns[row.seed, row.session, row.turn][row.score] = row.value
        kept = [
            one["rule_kept"] for one in turns.values() if one.get("instruction_following") == 1 and "rule_kept" in one
        ]
        return float(np.mean(kept)) if kept else None


def write_report(experiment: Experiment, outcomes: Sequence[Outcome], out: Path, command: Sequence[str]) -> Path:
    """Writes table.csv, report.md and report.html of what has finished; returns the page's path.

    Args:
        experiment: what was asked.
        outcomes: of all its jobs.
        out: its folder.
        command: words that make this report again.

    Raises:
        ValueError: no job has finished.
    """
    done = [one for one in outcomes if one.state == "done"]
    rows = [row for one in done for row in read_rows(out, one)]
    if not rows:
        raise ValueError("no run has finished, so there is nothing to report")
    _write_table(rows, out / "table.csv")
    facts = _facts(experiment, Results(experiment, rows), outcomes, out, command)
    pages = Environment(
        loader=PackageLoader("editenv.agents.compare"), autoescape=select_autoescape(), trim_blocks=True
    )
    for name in ("report.md", "report.html"):
        atomic_write_text(out / name, pages.get_template(f"{name}.j2").render(facts))
    return out / "report.html"


def _write_table(rows: Sequence[Row], path: Path) -> None:
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([getattr(row, name) for name in COLUMNS] for row in rows)
    atomic_write_text(path, text.getvalue())


def _facts(
    experiment: Experiment, results: Results, outcomes: Sequence[Outcome], out: Path, command: Sequence[str]
) -> dict[str, Any]:
    """Everything that the pages show."""
    base = experiment.baseline if experiment.baseline in results.arms else results.arms[0]
    arms = [_arm_facts(experiment, results, arm, base, outcomes) for arm in results.arms]
    failed = [one for one in outcomes if one.state == "failed"]
    waiting = [one for one in outcomes if one.state == "waiting"]
    trained = [len(results.seeds(arm)) for arm in results.arms if experiment.schema.arms[arm].agent != "policy"]
    return {
        "experiment": experiment,
        "schema": experiment.schema,
        "version": __version__,
        "arms": arms,
        "base": experiment.label(base),
        "suites": results.suites,
        "scores": SHOWN,
        "tables": {
            key: [_breakdown(experiment, results, suite, key) for suite in results.suites]
            for key in ("turn", "task", "family")
        },
        "cautions": cautions(min(trained, default=1), experiment.schema.evaluation.sessions),
        "failed": failed,
        "waiting": waiting,
        "figures": [_curves_figure(experiment, results, out), _profile_figure(experiment, results)],
        "command": shlex.join(["editenv", *command]),
    }


def _arm_facts(
    experiment: Experiment, results: Results, arm: str, base: str, outcomes: Sequence[Outcome]
) -> dict[str, Any]:
    means = results.run_means(arm)
    known = experiment.schema.arms[arm]
    differences = {}
    for suite in results.suites:
        pair = results.last_turn(arm, suite), results.last_turn(base, suite)
        differences[suite] = None if arm == base else paired_difference(*pair)
    start = float(results.run_means(base).mean())
    seconds = [one.seconds for one in outcomes if one.job.arm == arm and one.state == "done"]
    return {
        "name": arm,
        "label": experiment.label(arm),
        "agent": known.agent,
        "overrides": known.overrides,
        "oracle": known.oracle,
        "seeds": len(means),
        "last": {
            score: [estimate(_mean, results.run_means(arm, score)[:, [k]]) for k in range(len(results.suites))]
            for score in SHOWN
        },
        "iqm": estimate(iqm, means),
        "better": None if arm == base else estimate(probability_of_improvement, means, results.run_means(base)),
        "differences": differences,
        "gap": None if arm == base else gap_closed(start, float(means.mean()), 1.0),
        "kept": {suite: results.rules_kept_when_followed(arm, suite) for suite in results.suites},
        "seconds": float(np.mean(seconds)) if seconds else 0.0,
    }


def _breakdown(experiment: Experiment, results: Results, suite: str, key: str) -> dict[str, Any]:
    """The table of one suite by turn, task or family: a row an arm and score, a column each."""
    scores = ("instruction_following", HEADLINE) if key == "turn" else ("instruction_following",)
    found = {
        (experiment.label(arm), SHOWN[score]): results.mean_by(arm, suite, score, key)
        for arm in results.arms
        for score in scores
    }
    names = list(dict.fromkeys(name for one in found.values() for name in one))
    return {"suite": suite, "names": names, "rows": found}


def _curves_figure(experiment: Experiment, results: Results, out: Path) -> str:
    """Training rewards over turns played and over seconds, a line a seed, as SVG; "" for none."""
    curves: dict[str, list[tuple[Floats, Floats, Floats]]] = defaultdict(list)
    for arm in results.arms:
        for seed in results.seeds(arm):
            path = out / "runs" / arm / f"seed_{seed}" / "run" / "logs.jsonl"
            if path.is_file():
                curves[arm].append(_curve(path))
    if not curves:
        return ""
    figure, axes = _plot(2)
    for arm, runs in curves.items():
        for number, axis in enumerate(axes):
            line = None
            for turns, seconds, reward in runs:
                x = (turns, seconds)[number]
                color = None if line is None else line.get_color()
                (line,) = axis.plot(x, reward, alpha=0.8, color=color, label=None if line else experiment.label(arm))
    axes[0].set(xlabel="turns played in training", ylabel="mean reward of the last turn")
    axes[1].set(xlabel="seconds of training")
    axes[0].legend(frameon=False)
    return _svg(figure)


def _curve(path: Path) -> tuple[Floats, Floats, Floats]:
    """Turns played, seconds and the last turn's mean reward after each iteration of a run's log."""
    logs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    logs = [log for log in logs if log.get("reward")]
    settings = json.loads((path.parent / "settings.json").read_text(encoding="utf-8"))
    sessions = settings["groups"] * settings["group_size"]
    turns = np.cumsum([float(sessions * len(log["reward"])) for log in logs])
    seconds = np.cumsum([sum(v for k, v in log.items() if k.startswith("seconds/")) for log in logs])
    reward = np.array([np.nan if log["reward"][-1] is None else log["reward"][-1] for log in logs], float)
    return turns, seconds, reward


def _profile_figure(experiment: Experiment, results: Results) -> str:
    """Performance profiles of the last turn's GA over runs and suites, as SVG."""
    thresholds = np.linspace(0, 1, 101)
    figure, (axis,) = _plot(1)
    for arm in results.arms:
        profile = performance_profile(results.run_means(arm), thresholds)
        axis.step(thresholds, profile, where="post", label=experiment.label(arm))
    axis.set(xlabel="GA of the last turn, tau", ylabel="share of runs and suites above tau", ylim=(-0.02, 1.02))
    axis.legend(frameon=False)
    return _svg(figure)


def _plot(columns: int) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "editenv", "font.size": 9})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, columns, figsize=(4.2 * columns, 3), squeeze=False, layout="constrained")
    for axis in axes[0]:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, list(axes[0])


def _svg(figure: Any) -> str:
    from matplotlib import pyplot

    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    # Inside a page an SVG has no XML head, and its metadata would name hosts.
    return re.sub(r"<metadata>.*?</metadata>", "", text.getvalue()[text.getvalue().index("<svg") :], flags=re.DOTALL)


def _row_means(values: Floats) -> Floats:
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0.0).sum(1) / known.sum(1)


def _mean(matrix: Floats) -> float:
    return float(np.mean(matrix))
