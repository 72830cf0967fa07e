"""The whole path once: evaluate, train, evaluate the same sessions again, and play sessions from files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console

from editenv.agents.episodes import write_filmstrip
from editenv.agents.evaluate import Evaluation, print_evaluation, run_evaluation, write_evaluation
from editenv.agents.export import export
from editenv.agents.plots import learning_curves
from editenv.agents.stats import Summary, summarise_difference
from editenv.agents.tables import comparison
from editenv.agents.train import train
from editenv.configs.compose import compose
from editenv.configs.schema import DemoConfig, EvaluateConfig, ExportConfig
from editenv.session import Session
from editenv.types import Image, Scores


@dataclass(frozen=True)
class Captioned:
    """What a filmstrip shows of a session, under a title with a caption; fields as `Shown` describes them."""

    title: str
    pictures: Sequence[Image]
    transcript: Sequence[str]
    intents: Sequence[str]
    scores: Sequence[Scores]

    @classmethod
    def of(cls, caption: str, session: Session) -> Captioned:
        """The session, its caption before its title."""
        shown = (session.pictures, session.transcript, session.intents, session.scores)
        return cls(f"{caption}  {session.title}", *shown)


def demo(config: DemoConfig) -> Summary:
    """`editenv demo`: prints both tables and writes summary.json, curves.png and before_after.png.

    `out`/run holds the training run, which goes on where it was stopped; `out`/base, `out`/trained and
    `out`/exported hold the evaluations, `out`/sessions the exported sessions.

    Returns:
        What summary.json holds.
    """
    start = perf_counter()
    folder = Path(config.out)
    base = _evaluated(config, config.model, "base", sessions=config.sessions)
    result = train(replace(config.train, out=str(folder / "run")))
    trained = _evaluated(config, str(result.model_folder), "trained", sessions=config.sessions)
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
    write_filmstrip(before_after(base.sessions, trained.sessions, config.filmstrip), folder / "before_after.png")
    if config.exported:
        summary["exported"] = _play_files(config, str(result.model_folder)).to_json()
    summary["seconds"] = perf_counter() - start
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    print(f"pictures: {folder / 'before_after.png'}, {folder / 'curves.png'}")
    return summary


def before_after(before: Sequence[Session], after: Sequence[Session], count: int) -> list[Captioned]:
    """Sessions before and after training, one above the other.

    Args:
        before: sessions played before training.
        after: the same sessions after it, in the same order.
        count: pairs wanted; those come first in which a turn's GA changed, to the better or the worse.

    Returns:
        Two rows a pair.
    """
    pairs = sorted(zip(before, after, strict=True), key=lambda pair: _awareness(pair[0]) == _awareness(pair[1]))
    return [
        Captioned.of(caption, session)
        for pair in pairs[:count]
        for caption, session in zip(("before training", "after training"), pair, strict=True)
    ]


def _awareness(session: Session) -> list[float | None]:
    return [scores.global_awareness for scores in session.scores]


def _evaluated(config: DemoConfig, model: str, name: str, **values: Any) -> Evaluation:
    """Test sessions played by a model, written to a folder of that name.

    Equal sessions are played with equal noise, whatever the model.
    """
    settings: EvaluateConfig = compose(
        "evaluate",
        seed=config.seed,
        out=str(Path(config.out, name)),
        model=model,
        num_envs=config.num_envs,
        filmstrip=config.filmstrip,
        threads=config.threads,
        **values,
    )
    evaluation = run_evaluation(settings, f"evaluating {name}")
    write_evaluation(evaluation, Path(settings.out), settings.filmstrip)
    return evaluation


def _play_files(config: DemoConfig, model: str) -> Evaluation:
    """Test sessions written to files and played from there."""
    settings: ExportConfig = compose(
        "export", seed=config.seed, out=str(Path(config.out, "sessions")), sessions=config.exported
    )
    path = export(settings)
    evaluation = _evaluated(config, model, "exported", sessions_file=str(path))
    print_evaluation(evaluation, f"trained, on {path}")
    return evaluation
