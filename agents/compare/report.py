"""The report of an experiment: one long table, statistics over seeds, and pages made of them.

`table.csv` has the columns arm, seed, suite, session, turn, task, family, score, value. `report.html` needs no
network: its figures are SVG, its filmstrip a PNG inside the page. `report.md` says the same in text.
"""

from __future__ import annotations

import csv
import re
import shlex
from base64 import b64encode
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, select_autoescape

from editenv import __version__
from editenv.agents.compare.command import Outcome
from editenv.agents.compare.experiment import BEST, Experiment
from editenv.agents.compare.results import HEADLINE, SHOWN, Results, chosen, cost, learning_curve, mean, tried
from editenv.agents.episodes import most_different, side_by_side, write_filmstrip
from editenv.agents.stats import (
    cautions,
    estimate,
    gap_closed,
    iqm,
    paired_difference,
    performance_profile,
    probability_of_improvement,
    row_means,
)
from editenv.agents.waves import RECORDS
from editenv.files import atomic_write, atomic_write_text

COLUMNS = ("arm", "seed", "suite", "session", "turn", "task", "family", "score", "value")
FIGURES = {"curves": "Learning curves", "profiles": "Performance profiles"}


def write_report(
    experiment: Experiment, trials: Sequence[Outcome], outcomes: Sequence[Outcome], out: Path, command: Sequence[str]
) -> Path:
    """Writes table.csv, report.md with its figures and report.html of what has finished; returns the page's path.

    Args:
        experiment: what was asked.
        trials: of tuning.
        outcomes: of all runs.
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
    facts = _facts(experiment, results, [*trials, *outcomes], out) | {"command": shlex.join(["editenv", *command])}
    facts["tuning"] = _tuning(experiment, trials, out)
    pages = Environment(
        loader=PackageLoader("editenv.agents.compare"), autoescape=select_autoescape(), trim_blocks=True
    )
    for name in ("report.md", "report.html"):
        atomic_write_text(out / name, pages.get_template(f"{name}.j2").render(facts))
    return out / "report.html"


def _facts(experiment: Experiment, results: Results, outcomes: Sequence[Outcome], out: Path) -> dict[str, Any]:
    """Everything that the pages show; writes the figures that report.md links."""
    plan, arms = experiment.schema.evaluation, results.arms
    base = experiment.baseline if experiment.baseline in arms else arms[0]
    ceiling = experiment.schema.ceiling
    most = mean(results.run_means(ceiling)) if ceiling in arms else 1.0
    trained = [len(results.run_means(arm)) for arm in arms if experiment.schema.arms[arm].agent != "policy"]
    said = cautions(min(trained, default=1), plan.sessions)
    for arm in experiment.schema.arms:
        runs = [one.state for one in outcomes if one.job.arm == arm and one.job.trial is None]
        if "failed" in runs:
            said.append(
                f"{experiment.label(arm)}: {runs.count('failed')} of {len(runs)} runs failed and are left out."
            )
    said += [
        f"{experiment.label(arm)}: {share:.1%} of turns are unscored."
        for arm in arms
        if (share := results.unscored(arm))
    ]
    tables = {
        key: [_breakdown(experiment, results, suite, key) for suite in results.suites]
        for key in ("turn", "task", "family")
    }
    drawn = {"curves": _curves(experiment, results), "profiles": _profiles(experiment, results)}
    figures = {name: figure for name, figure in drawn.items() if figure}
    for name, figure in figures.items():
        atomic_write_text(out / f"{name}.svg", figure)
    return {
        "schema": experiment.schema,
        "version": __version__,
        "oracles": any(experiment.schema.arms[arm].oracle for arm in arms),
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
        "figures": figures,
        "titles": FIGURES,
        "strip": _strip(experiment, results, base, out / "filmstrips.png"),
    }


def _arm_facts(experiment: Experiment, results: Results, arm: str, base: str, most: float) -> dict[str, Any]:
    known, means = experiment.schema.arms[arm], results.run_means(arm)
    costs = [cost(results.runs / arm / f"seed_{seed}") for seed in results.lines[arm, results.suites[0]]]
    suites = {}
    for suite in results.suites:
        final, best = results.last_turn(arm, suite), None
        if (arm, suite + BEST) in results.lines:
            best = results.last_turn(arm, suite + BEST)
        suites[suite] = {
            "scores": {
                score: estimate(mean, row_means(results.last_turn(arm, suite, score))[:, None]) for score in SHOWN
            },
            "difference": None if arm == base else paired_difference(final, results.last_turn(base, suite)),
            "kept": results.rules_kept_when_followed(arm, suite),
            "best": None if best is None else estimate(mean, row_means(best)[:, None]),
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
        "gap": None if arm == base else gap_closed(mean(results.run_means(base)), mean(means), most),
        "cost": {name: mean([[one[name] for one in costs]]) for name in costs[0]},
    }


def _tuning(experiment: Experiment, trials: Sequence[Outcome], out: Path) -> list[dict[str, Any]]:
    """What was tried for each arm, with which score, and what was chosen and frozen."""
    if experiment.schema.tuning is None:
        return []
    known = tried(trials, experiment.schema.tuning.metric, out)
    return [
        {
            "label": experiment.label(arm),
            "trial": one,
            "chosen": one is best,
            "cost": cost(out / "runs" / one.job.name),
        }
        for arm, ended in known.items()
        for best in (chosen(ended),)
        for one in ended
    ]


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


def _strip(experiment: Experiment, results: Results, base: str, path: Path) -> dict[str, Any] | None:
    """The sessions that differ most between the baseline and the arm furthest from it; None without pictures."""
    suite, count = results.suites[0], experiment.schema.evaluation.filmstrips
    folders = {
        arm: results.runs / arm / f"seed_{min(results.lines[arm, suite])}" / suite / RECORDS for arm in results.arms
    }
    start = mean(results.run_means(base))
    others = sorted(
        (arm for arm in results.arms if arm != base and folders[arm].is_dir()),
        key=lambda arm: abs(mean(results.run_means(arm)) - start),
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
    """Mean reward a turn of trainings over turns played and over seconds, a line a seed, as SVG; "" for none."""
    runs = {
        arm: [results.runs / arm / f"seed_{s}" / "run" for s in results.lines[arm, results.suites[0]]]
        for arm in results.arms
    }
    found = {
        arm: [logs for run in places if (logs := learning_curve(run)) is not None] for arm, places in runs.items()
    }
    if not any(found.values()):
        return ""

    def draw(axes: Sequence[Any]) -> None:
        for (arm, logs), name in ((pair, name) for pair in found.items() for name in ("turns", "training")):
            axis, line = axes[0 if name == "turns" else 1], None
            for run in logs:
                color, label = (None, experiment.label(arm)) if line is None else (line.get_color(), None)
                (line,) = axis.plot(run[name], run["reward"], alpha=0.8, color=color, label=label)
        axes[0].set(xlabel="turns played in training", ylabel="mean reward a turn, in training")
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
    handles, labels = axes[0][0].get_legend_handles_labels()
    rows = -(-len(labels) // (2 * columns))
    figure.set_figheight(3 + 0.2 * rows)
    figure.legend(handles, labels, loc="outside lower left", ncols=2 * columns, frameon=False)
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    # Inside a page an SVG has no XML head, and its metadata would name hosts.
    return re.sub(r"<metadata>.*?</metadata>", "", text.getvalue()[text.getvalue().index("<svg") :], flags=re.DOTALL)
