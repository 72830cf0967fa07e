"""Rollouts of a training kept for looking at: a folder of records (`editenv.records`) an iteration."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from editenv.records import FILE, SessionRecord, Training, played_line, read_records

if TYPE_CHECKING:
    from torch import Tensor

    from editenv.agents.rollout import RolloutBatch

FOLDER = "records"
"""Below a run's folder."""

_SHOWN = {"instruction_following": "IF", "content_consistency": "CC", "global_awareness": "GA", "reward": "reward"}


def record_folder(out: Path, iteration: int) -> Path:
    """Where the records of an iteration lie."""
    return out / FOLDER / f"iteration_{iteration:05d}"


def recorded_iterations(out: Path) -> list[int]:
    """Iterations with records, in order."""
    names = (path.parent.name.removeprefix("iteration_") for path in (out / FOLDER).glob(f"iteration_*/{FILE}"))
    return sorted(int(name) for name in names if name.isdigit())


def write_rollouts(
    out: Path, iteration: int, rollout: RolloutBatch, paid: Mapping[str, Tensor], most_bytes: int
) -> int:
    """Writes the records of an iteration, all of them or none; returns how many rollouts they are.

    Records of later iterations go, since a run that was killed makes them again; then the oldest ones go
    until all records of the run have at most `most_bytes`, but for this one. `paid` are `advantage`, `loss_mask`
    and `scored_mask`, each [S, K].
    """
    place = record_folder(out, iteration)
    unfinished = place.with_suffix(".part")
    for left in (out / FOLDER).glob("*.part"):
        left.unlink() if left.is_symlink() else shutil.rmtree(left)
    unfinished.mkdir(parents=True)
    _drop(out, [late for late in recorded_iterations(out) if late > iteration])
    try:
        lines = []
        for row, (session, noise) in enumerate(zip(rollout.sessions, rollout.rng_keys.tolist(), strict=True)):
            # Further tries of siblings' turns come after the session's own ones.
            own = {name: value[row, : len(session.scores)].tolist() for name, value in paid.items()}
            fates = zip(own["scored_mask"], own["loss_mask"], strict=True)
            training = Training(
                iteration=iteration,
                rollout=noise[-1],
                noise=noise,
                advantages=[value if math.isfinite(value) else None for value in own["advantage"]],
                turns=["unscored" if not scored else "trains" if keep else "filtered" for scored, keep in fates],
            )
            lines.append(played_line(unfinished, session, training=training))
        (unfinished / FILE).write_bytes(b"".join(lines))
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    shutil.rmtree(place, ignore_errors=True)
    unfinished.rename(place)
    _drop(out, too_old(out, most_bytes))
    return len(rollout.sessions)


def too_old(out: Path, most_bytes: int) -> list[int]:
    """The oldest iterations without which the records are small enough; never the newest."""
    sizes = {
        iteration: sum(path.stat().st_size for path in record_folder(out, iteration).rglob("*") if path.is_file())
        for iteration in recorded_iterations(out)
    }
    total, old = sum(sizes.values()), []
    for iteration, size in list(sizes.items())[:-1]:
        if total <= most_bytes:
            break
        old.append(iteration)
        total -= size
    return old


def _drop(out: Path, iterations: Sequence[int]) -> None:
    """Removes records, the lines first: pictures without lines are no record."""
    for iteration in iterations:
        place = record_folder(out, iteration)
        (place / FILE).unlink(missing_ok=True)
        shutil.rmtree(place)


def read_rollout(out: Path, iteration: int, session: int, rollout: int) -> SessionRecord:
    """A rollout of a recorded iteration; ValueError where there is none that can be used.

    `session` is the place of the script in the iteration, from 0, `rollout` which of its rollouts, from 0.
    """
    known = recorded_iterations(out)
    if iteration not in known:
        there = f"expected one of {', '.join(map(str, known))}" if known else "which has no records at all"
        raise ValueError(f"iteration is {iteration}, of which {out} has no record, {there}")
    place = record_folder(out, iteration)
    scripts: dict[int, list[SessionRecord]] = {}
    for record in read_records(place):
        scripts.setdefault(record.index, []).append(record)
    found = list(scripts.values())
    for name, value, count in (
        ("session", session, len(found)),
        ("rollout", rollout, len(found[session]) if 0 <= session < len(found) else 0),
    ):
        if not 0 <= value < count:
            raise ValueError(f"{name} is {value}, expected 0 to {count - 1}, which {place} has")
    record = found[session][rollout]
    if record.training is None:
        raise ValueError(f"{place} holds a session without the key 'training', expected rollouts of a training")
    return record


def record_table(record: SessionRecord) -> Table:
    """A row a turn: instruction, intent, scores, and of a rollout advantage and what became of the turn."""
    ended = f"end: {record.reason or 'none'}; judged by {record.versions.get('scorer')}"
    # Narrow, so that words stay whole in 80 characters.
    table = Table(title=record.title, title_justify="left", caption=ended, caption_justify="left")
    table.box, table.padding, table.pad_edge = SIMPLE_HEAD, (0, 1, 0, 0), False
    training = record.training
    table.add_column("turn", justify="right")
    for heading in ("user", "intent"):
        table.add_column(heading, overflow="fold")
    for heading in (*_SHOWN.values(), *(["advantage"] if training else [])):
        table.add_column(heading, justify="right", no_wrap=True)
    if training:
        table.add_column("update", no_wrap=True)
    for turn, scores in enumerate(record.scores):
        judged = [getattr(scores, name) if scores.scored else None for name in _SHOWN]
        cells = ["-" if value is None else f"{value:.2f}" for value in judged]
        if training:
            advantage = training.advantages[turn]
            cells += ["-" if advantage is None else f"{advantage:+.2f}", training.turns[turn]]
        table.add_row(str(turn + 1), Text(record.transcript[turn]), Text(record.intents[turn] or "-"), *cells)
    return table
