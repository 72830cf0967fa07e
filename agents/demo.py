"""The whole path once: evaluate, train, evaluate the same sessions again, and play sessions from files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console

from editenv.agents.episodes import most_different, side_by_side, write_filmstrip
from editenv.agents.evaluate import Evaluation, print_evaluation, run_evaluation
from editenv.agents.export import export
from editenv.agents.plots import learning_curves
from editenv.agents.stats import Summary, summarise_difference
from editenv.agents.tables import comparison
from editenv.agents.train import train
from editenv.agents.waves import RECORDS
from editenv.configs.compose import compose
from editenv.configs.schema import DemoConfig
from editenv.files import atomic_write_text


def demo(config: DemoConfig) -> Summary:
    """`editenv demo`: prints both tables and writes summary.json, curves.png and before_after.png.

    `out`/run holds the training, `out`/base, `out`/trained and `out`/exported the evaluations, all of which go on
    where they were stopped, `out`/sessions the exported sessions.

    Returns:
        What summary.json holds.
    """
    start, folder = perf_counter(), Path(config.out)
    base = _evaluated(config, config.model, "base", sessions=config.sessions, save_images=True)
    result = train(replace(config.train, out=str(folder / "run")))
    model = str(result.model_folder)
    trained = _evaluated(config, model, "trained", sessions=config.sessions, save_images=True)
    difference = summarise_difference(base.scores, trained.scores)
    Console().print(comparison(base.summary, trained.summary, difference))
    summary = {
        "base": base.to_json(),
        "trained": trained.to_json(),
        "difference": difference,
        "seed": config.seed,
        "iterations": result.iterations,
    }
    learning_curves(result.logs, folder / "curves.png", f"{config.model}, seed {config.seed}")
    # The sessions that training changed most, to the better or the worse.
    changed = most_different(base.lines, trained.lines, config.filmstrip)
    folders = {"before training": base.folder / RECORDS, "after training": trained.folder / RECORDS}
    write_filmstrip(side_by_side(folders, changed), folder / "before_after.png")
    if config.exported:
        files = compose("export", seed=config.seed, out=str(folder / "sessions"), sessions=config.exported)
        path = export(files)
        exported = _evaluated(config, model, "exported", sessions_file=str(path))
        print_evaluation(exported, f"trained, on {path}")
        summary["exported"] = exported.to_json()
    summary["seconds"] = perf_counter() - start
    atomic_write_text(folder / "summary.json", json.dumps(summary, indent=2) + "\n")
    print(f"pictures: {folder / 'before_after.png'}, {folder / 'curves.png'}")
    return summary


def _evaluated(config: DemoConfig, model: str, name: str, **values: Any) -> Evaluation:
    """Test sessions played by a model into a folder of that name, with equal noise whatever the model."""
    shared = {one: getattr(config, one) for one in ("seed", "num_envs", "filmstrip", "threads")}
    settings = compose("evaluate", out=str(Path(config.out, name)), model=model, **shared, **values)
    return run_evaluation(settings, f"evaluating {name}")
