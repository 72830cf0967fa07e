"""The report of an experiment: one long table, statistics over seeds, and pages made of them.

`table.csv` has the columns arm, seed, suite, session, turn, task, family, score, value. `report.html` needs no
network: its figures are SVG, its filmstrip a PNG inside the page. `report.md` says the same in text.
"""

from __future__ import annotations

import csv
import json
import re
import shlex
from base64 import b64encode
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, select_autoescape

from editenv import __version__
from editenv.agents.compare.command import Outcome
from editenv.agents.compare.experiment import BEST, Experiment
from editenv.agents.episodes import most_different, side_by_side, write_filmstrip
from editenv.agents.stats import (
    Floats,
    cautions,
    estimate,
    gap_closed,
    iqm,
    paired_difference,
    pass_at_k,
    performance_profile,
    probability_of_improvement,
    row_means,
)
from editenv.agents.waves import RECORDS
from editenv.files import atomic_write, atomic_write_text

COLUMNS = ("arm", "seed", "suite", "session", "turn", "task", "family", "score", "value")
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
                read = map(json.loads, path.read_text(encoding="utf-8").splitlines())
                lines = [{key: line[key] for key in _READ} for line in read]
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
        return {str(name): _mean([[_mean([one])] for one in values[name].values()]) for name in sorted(values)}

    def rules_kept_when_followed(self, arm: str, suite: str) -> float | None:
        """Mean of rule_kept over the turns with IF = 1: memory, told apart from editing skill."""
        lines = [line for run in self.lines[arm, suite].values() for line in run]
        pairs = [pair for line in lines for pair in zip(line["instruction_following"], line["rule_kept"], strict=True)]
        kept = [kept for followed, kept in pairs if followed == 1 and kept is not None]
        return _mean([kept]) if kept else None

    def pass_at(self, arm: str, suite: str, k: int) -> float:
        """pass@k of each run's tries, mean over seeds; sessions with a try that was not scored are left out."""
        names = [suite, *(f"{suite}.try_{n}" for n in range(1, self.experiment.schema.evaluation.tries))]
        tries = np.stack([self.last_turn(arm, name) for name in names])
        return _mean([[pass_at_k(run[:, ~np.isnan(run).any(0)] == 1, k) for run in tries.swapaxes(0, 1)]])

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


def write_report(experiment: Experiment, outcomes: Sequence[Outcome], out: Path, command: Sequence[str]) -> Path:
    """Writes table.csv, report.md and report.html of what has finished; returns the page's path.

    Args:
        experiment: what was asked.
        outcomes: of all its jobs.
        out: its folder.
        command: words that make this report again.

    Raises:
        ValueError: no job has finished, or runs cannot stand in one table.
    """
    results = Results(experiment, outcomes, out)
    if not results.arms:
        raise ValueError("no run has finished, so there is nothing to report")
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for (arm, suite), runs in results.lines.items():
        for seed, lines in runs.items() if suite in results.suites else ():
            for line in lines:
                for score in SHOWN:
                    turns = zip(line["turn"], line["task"], line["family"], line[score], strict=True)
                    writer.writerows(
                        (arm, seed, suite, line["index"], t, task, kind, score, v) for t, task, kind, v in turns
                    )
    atomic_write_text(out / "table.csv", text.getvalue())
    facts = _facts(experiment, results, outcomes, out) | {"command": shlex.join(["editenv", *command])}
    pages = Environment(
        loader=PackageLoader("editenv.agents.compare"), autoescape=select_autoescape(), trim_blocks=True
    )
    for name in ("report.md", "report.html"):
        atomic_write_text(out / name, pages.get_template(f"{name}.j2").render(facts))
    return out / "report.html"


def _facts(experiment: Experiment, results: Results, outcomes: Sequence[Outcome], out: Path) -> dict[str, Any]:
    """Everything that the pages show."""
    plan, arms = experiment.schema.evaluation, results.arms
    base = experiment.baseline if experiment.baseline in arms else arms[0]
    ceiling = experiment.schema.ceiling
    most = _mean(results.run_means(ceiling)) if ceiling in arms else 1.0
    trained = [len(results.run_means(arm)) for arm in arms if experiment.schema.arms[arm].agent != "policy"]
    said = cautions(min(trained, default=1), plan.sessions)
    said += [
        f"{experiment.label(arm)}: {share:.1%} of turns are unscored."
        for arm in arms
        if (share := results.unscored(arm))
    ]
    tables = {
        key: [_breakdown(experiment, results, suite, key) for suite in results.suites]
        for key in ("turn", "task", "family")
    }
    return {
        "schema": experiment.schema,
        "version": __version__,
        "best": any(name.endswith(BEST) for _, name in results.lines),
        "arms": [_arm_facts(experiment, results, arm, base, most) for arm in arms],
        "base": experiment.label(base),
        "ceiling": f"{experiment.label(ceiling)}, {most:.3f}" if ceiling in arms and ceiling else "1",
        "suites": results.suites,
        "tries": [] if plan.tries == 1 else sorted({1, plan.tries}),
        "tables": tables,
        "cautions": said,
        "failed": [one for one in outcomes if one.state == "failed"],
        "waiting": [one for one in outcomes if one.state == "waiting"],
        "figures": [_curves(experiment, results), _profiles(experiment, results)],
        "strip": _strip(experiment, results, base, out / "filmstrips.png"),
    }


def _arm_facts(experiment: Experiment, results: Results, arm: str, base: str, most: float) -> dict[str, Any]:
    known, means = experiment.schema.arms[arm], results.run_means(arm)
    costs = [_cost(results.runs / arm / f"seed_{seed}") for seed in results.lines[arm, results.suites[0]]]
    suites = {}
    for suite in results.suites:
        final, best = results.last_turn(arm, suite), None
        if (arm, suite + BEST) in results.lines:
            best = results.last_turn(arm, suite + BEST)
        suites[suite] = {
            "scores": {
                score: estimate(_mean, row_means(results.last_turn(arm, suite, score))[:, None]) for score in SHOWN
            },
            "difference": None if arm == base else paired_difference(final, results.last_turn(base, suite)),
            "kept": results.rules_kept_when_followed(arm, suite),
            "best": None if best is None else estimate(_mean, row_means(best)[:, None]),
            "best_difference": None if best is None else paired_difference(best, final),
            "pass": {k: results.pass_at(arm, suite, k) for k in (1, experiment.schema.evaluation.tries)},
        }
    return {
        "name": arm,
        "label": experiment.label(arm),
        "agent": known.agent,
        "overrides": known.overrides,
        "oracle": known.oracle,
        "seeds": len(means),
        "suites": suites,
        "iqm": estimate(iqm, means),
        "better": None if arm == base else estimate(probability_of_improvement, means, results.run_means(base)),
        "gap": None if arm == base else gap_closed(_mean(results.run_means(base)), _mean(means), most),
        "cost": {name: _mean([[one[name] for one in costs]]) for name in costs[0]},
    }


def _breakdown(experiment: Experiment, results: Results, suite: str, key: str) -> dict[str, Any]:
    """The table of one suite by turn, task or family: a row an arm and score, a column each."""
    rows = {
        (experiment.label(arm), SHOWN[score]): results.mean_by(arm, suite, score, key)
        for arm in results.arms
        for score in ("instruction_following", HEADLINE, "rule_kept")
    }
    rows = {name: row for name, row in rows.items() if row}
    names = sorted({name for row in rows.values() for name in row}, key=lambda name: (len(name), name))
    return {"suite": suite, "names": names, "rows": rows}


def _cost(folder: Path) -> dict[str, float]:
    """What one run took: turns and updates of its training, seconds of training and of evaluation."""
    cost = {"turns": 0.0, "updates": 0.0, "training": 0.0}
    logs = _logs(folder / "run")
    if logs is not None:
        cost = {name: float(values[-1]) for name, values in logs.items() if name != "reward"}
    elif (folder / "run" / "summary.json").is_file():
        summary = json.loads((folder / "run" / "summary.json").read_text(encoding="utf-8"))
        cost |= {
            "turns": summary.get("turns", 0),
            "training": summary.get("seconds", 0.0),
            "updates": summary.get("updates", 0),
        }
    evaluated = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in folder.glob("*/summary.json")
        if path.parent.name != "run"
    ]
    return cost | {"evaluation": sum(one["seconds"] for one in evaluated)}


def _logs(run: Path) -> dict[str, Floats] | None:
    """Turns, updates and seconds of a training and the last turn's mean reward after each iteration."""
    if not (run / "logs.jsonl").is_file():
        return None
    logs = [json.loads(line) for line in (run / "logs.jsonl").read_text(encoding="utf-8").splitlines()]
    logs = [log for log in logs if log.get("reward")]
    settings = json.loads((run / "settings.json").read_text(encoding="utf-8"))
    if not logs or "groups" not in settings:
        return None
    sessions = settings["groups"] * settings["group_size"]
    return {
        "turns": np.cumsum([float(sessions * len(log["reward"])) for log in logs]),
        "updates": np.arange(1.0, len(logs) + 1) * settings["algorithm.updates_per_iteration"],
        "training": np.cumsum([sum(v for k, v in log.items() if k.startswith("seconds/")) for log in logs]),
        "reward": np.array([log["reward"][-1] for log in logs], float),
    }


def _strip(experiment: Experiment, results: Results, base: str, path: Path) -> dict[str, Any] | None:
    """The sessions that differ most between the baseline and the arm furthest from it; None without pictures."""
    suite, count = results.suites[0], experiment.schema.evaluation.filmstrips
    folders = {
        arm: results.runs / arm / f"seed_{min(results.lines[arm, suite])}" / suite / RECORDS for arm in results.arms
    }
    start = _mean(results.run_means(base))
    others = sorted(
        (arm for arm in results.arms if arm != base and folders[arm].is_dir()),
        key=lambda arm: abs(_mean(results.run_means(arm)) - start),
    )
    if not count or not others or not folders[base].is_dir():
        return None
    pair = (base, others[-1])
    lines = [results.lines[arm, suite][min(results.lines[arm, suite])] for arm in pair]
    places = most_different(lines[0], lines[1], count)
    rows = side_by_side({experiment.label(arm): folders[arm] for arm in pair}, places)
    atomic_write(path, lambda file: write_filmstrip(rows, file))
    data = b64encode(path.read_bytes()).decode()
    return {"labels": [experiment.label(arm) for arm in pair], "suite": suite, "file": path.name, "data": data}


def _curves(experiment: Experiment, results: Results) -> str:
    """Training rewards over turns played and over seconds, a line a seed, as SVG; "" for none."""
    runs = {
        arm: [results.runs / arm / f"seed_{s}" / "run" for s in results.lines[arm, results.suites[0]]]
        for arm in results.arms
    }
    found = {arm: [logs for run in places if (logs := _logs(run)) is not None] for arm, places in runs.items()}
    if not any(found.values()):
        return ""

    def draw(axes: Sequence[Any]) -> None:
        for (arm, logs), name in ((pair, name) for pair in found.items() for name in ("turns", "training")):
            axis, line = axes[0 if name == "turns" else 1], None
            for run in logs:
                color, label = (None, experiment.label(arm)) if line is None else (line.get_color(), None)
                (line,) = axis.plot(run[name], run["reward"], alpha=0.8, color=color, label=label)
        axes[0].set(xlabel="turns played in training", ylabel="mean reward of the last turn")
        axes[1].set(xlabel="seconds of training")

    return _figure(2, draw)


def _profiles(experiment: Experiment, results: Results) -> str:
    """Performance profiles of the last turn's GA over runs and suites, as SVG."""
    thresholds = np.linspace(0, 1, 101)

    def draw(axes: Sequence[Any]) -> None:
        for arm in results.arms:
            profile = performance_profile(results.run_means(arm), thresholds)
            axes[0].step(thresholds, profile, where="post", label=experiment.label(arm))
        axes[0].set(xlabel="GA of the last turn, tau", ylabel="share of runs and suites above tau", ylim=(-0.02, 1.02))

    return _figure(1, draw)


def _figure(columns: int, draw: Callable[[Sequence[Any]], None]) -> str:
    """What is drawn on so many axes, as SVG that stands inside a page and is the same for the same numbers."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "editenv", "font.size": 9})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, columns, figsize=(4.2 * columns, 3), squeeze=False, layout="constrained")
    for axis in axes[0]:
        axis.spines[["top", "right"]].set_visible(False)
    draw(axes[0])
    axes[0][0].legend(frameon=False)
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    # Inside a page an SVG has no XML head, and its metadata would name hosts.
    return re.sub(r"<metadata>.*?</metadata>", "", text.getvalue()[text.getvalue().index("<svg") :], flags=re.DOTALL)


def _mean(matrix: Any) -> float:
    return float(np.mean(np.asarray(matrix, float)))
