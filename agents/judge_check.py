"""`editenv judge check`: does a judge answer, does it agree with itself, with another judge, and with what is true."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from editenv.agents.evaluate import run_evaluation, status
from editenv.agents.score import records_folder, score
from editenv.agents.stats import krippendorff_alpha
from editenv.agents.tables import ROWS
from editenv.build import make_vector_env
from editenv.configs.schema import EvaluateConfig, JudgeConfig, ScoreConfig, ScorerConfig
from editenv.files import atomic_write_text
from editenv.records import read_records

EXACT = ("exact", "residual")
"""Scorers that know what is true of studio sessions."""
JUDGED = ("instruction_following", "content_consistency", "global_awareness")
_SERVERS = (
    "vllm serve MODEL --port 8000 (server=vllm)",
    "python -m sglang.launch_server --model-path MODEL --port 30000 (server=sglang)",
    "transformers serve --port 8000 (server=transformers)",
)
_OTHER_SEEDS = 7919  # between repeats, so that no vote of one has a seed of another's


def judge_check(config: JudgeConfig) -> int:
    """Prints tables and writes judge.json; the exit status is 1 where too many turns are unscored."""
    check_ready(config.scorer)
    if config.other is not None:
        check_ready(config.other)
    records = config.records or _play(config)
    out, first = Path(config.out), next(read_records(records_folder(records)))
    raters = {"judge": config.scorer}
    raters |= {f"judge again {number}": _again(config.scorer, number) for number in range(1, config.repeats)}
    raters |= {"other": config.other} if config.other is not None else {}
    if str(first.versions["world"]).startswith("studio"):
        raters |= {name: ScorerConfig(kind=name) for name in EXACT}
    shared: dict[str, Any] = {one.name: getattr(config, one.name) for one in fields(ScoreConfig)} | {
        "records": records
    }
    found = {}
    for name, scorer in raters.items():
        print(f"{name}: {scorer.kind}", flush=True)
        own: dict[str, Any] = {"scorer": scorer, "out": str(out / name.replace(" ", "_"))}
        found[name] = score(ScoreConfig(**shared | own))
    report: dict[str, Any] = {"records": records, "versions": {k: v.facts["versions"] for k, v in found.items()}}
    report["unscored"] = {name: one.facts["unscored"] for name, one in found.items()}
    others = [name for name in ("other", *EXACT) if name in found]
    report["agreement"] = {name: agreement(found["judge"].lines, found[name].lines) for name in others}
    repeats = [found[name].lines for name in found if name.startswith("judge")]
    report["repeats"] = repeat_variance(repeats) if len(repeats) > 1 else None
    atomic_write_text(out / "judge.json", json.dumps(report, indent=2) + "\n")
    _show(report)
    return max(status(found[name], config.max_unscored) for name in found)


def check_ready(scorer: ScorerConfig) -> None:
    """Asks the judge's server what a last turn asks, with as many pictures; what to do stands in the error.

    Raises:
        ConnectionError: there is no answer.
        ValueError: the scorer is none, or has no such setting.
    """
    if scorer.kind is None:
        raise ValueError("scorer is none, expected a judge, such as scorer=judge")
    try:
        settings = {"scorer": scorer.kind, "scorer_settings": scorer.settings}
        make_vector_env(num_envs=1, autoreset_mode="Disabled", **settings).engine.close()
    except ConnectionError as error:
        raise ConnectionError(f"{error}. A server is started by, for example: {'; '.join(_SERVERS)}") from error
    endpoint = scorer.settings.get("endpoint", {})
    print(f"ready: {scorer.kind} {endpoint.get('model', '')}".rstrip(), flush=True)


def _play(config: JudgeConfig) -> str:
    """Sessions of an agent that does much right and much wrong; kept, so that they are played once."""
    named = {
        "policy": "clumsy",
        "policy_settings": {"failing": 0.5},
        "suite": config.suite or "mixed",
        "sessions": config.sessions,
        "seed": config.seed,
    }
    out = str(Path(config.out) / "played")
    run_evaluation(EvaluateConfig(out=out, save_images=True, filmstrip=0, **named), "playing")
    return out


def _again(scorer: ScorerConfig, number: int) -> ScorerConfig:
    """The same judge with other seeds and nothing kept of earlier answers."""
    endpoint = dict(scorer.settings.get("endpoint") or {})
    if endpoint.get("seed", 0) is not None:
        endpoint["seed"] = endpoint.get("seed", 0) + number * _OTHER_SEEDS
    return replace(scorer, settings={**scorer.settings, "endpoint": endpoint | {"cache": None}})


Lines = Sequence[Mapping[str, Any]]


def _ratings(raters: Sequence[Lines], name: str) -> tuple[np.ndarray[Any, Any], list[str]]:
    """A score's values [raters, turns], NaN where there is none, and each turn's task."""
    known = [[line[name] for line in lines] for lines in raters]
    tasks = [task or "unknown" for line in raters[0] for task in line["task"]]
    flat = [[np.nan if value is None else value for turns in one for value in turns] for one in known]
    return np.array(flat, float), tasks


def agreement(judge: Lines, other: Lines) -> dict[str, Any]:
    """Of each score that both gave: turns, Krippendorff's alpha (interval), means, and verdicts by task.

    A verdict is a score of a half or more; `confusion` counts by task [both yes, judge's yes alone, other's yes alone,
    both no].
    """
    found = {}
    for name in JUDGED:
        ratings, tasks = _ratings([judge, other], name)
        both = ~np.isnan(ratings).any(0)
        counts: dict[str, Counter[tuple[bool, bool]]] = {}
        for task, mine, theirs in zip(np.array(tasks)[both], *(ratings[:, both] >= 0.5), strict=True):
            counts.setdefault(str(task), Counter())[bool(mine), bool(theirs)] += 1
        cells = ((True, True), (True, False), (False, True), (False, False))
        confusion = {task: [seen[cell] for cell in cells] for task, seen in sorted(counts.items())}
        if both.any():
            means = ratings[:, both].mean(1).tolist()
            alpha = krippendorff_alpha(ratings)
            found[name] = {"turns": int(both.sum()), "alpha": alpha, "means": means, "confusion": confusion}
    return found


def repeat_variance(repeats: Sequence[Lines]) -> dict[str, Any]:
    """Of each score: alpha of the repeats, the mean variance over them of a turn, and turns whose verdict changes."""
    found = {}
    for name in JUDGED:
        ratings, _ = _ratings(repeats, name)
        ratings = ratings[:, ~np.isnan(ratings).any(0)]
        if ratings.size:
            yes = (ratings >= 0.5).mean(0)
            changing = float(((yes > 0) & (yes < 1)).mean())
            variance = float(ratings.var(0, ddof=1).mean())
            one = {"turns": ratings.shape[1], "alpha": krippendorff_alpha(ratings), "variance": variance}
            found[name] = one | {"changed_verdicts": changing}
    return found


def _show(report: Mapping[str, Any]) -> None:
    console = Console()
    for other, scores in report["agreement"].items():
        table = Table("", "turns", "alpha", "judge", other, "yes yes", "yes no", "no yes", "no no", box=SIMPLE_HEAD)
        table.title = f"judge and {other}: Krippendorff's alpha, means, verdicts (judge's first)"
        table.padding, table.columns[0].no_wrap = (0, 1, 0, 0), True
        for name, one in scores.items():
            sums = np.sum(list(one["confusion"].values()), 0)
            figures = [_said(one["alpha"]), *map(_said, one["means"])]
            table.add_row(ROWS[name], str(one["turns"]), *figures, *map(str, sums), style="bold")
            for task, cells in one["confusion"].items():
                table.add_row(f"  {task}", str(sum(cells)), "", "", "", *map(str, cells))
        console.print(table)
    if report["repeats"]:
        table = Table(
            "",
            "turns",
            "alpha",
            "variance",
            "changed verdicts",
            title="the judge and itself, asked again",
            box=SIMPLE_HEAD,
        )
        for name, one in report["repeats"].items():
            figures = [_said(one[key]) for key in ("alpha", "variance", "changed_verdicts")]
            table.add_row(ROWS[name], str(one["turns"]), *figures)
        console.print(table)


def _said(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
