"""Rollouts of a run read back, with care: their lines are JSON that others may have written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from editenv.agents.watching.record import FORMAT, record_paths, recorded_iterations
from editenv.jsonread import check_keys, read_list, read_object, read_value, scores_from_json
from editenv.picturefile import read_png
from editenv.types import Image, Scores

_KEYS = (
    "format", "row", "size", "versions", "split", "seed", "index", "rollout", "noise", "session", "spec",
    "transcript", "intents", "scores", "advantages", "turns", "ending",
)  # fmt: skip

_SHOWN = {
    "instruction_following": "IF",
    "content_consistency": "CC",
    "global_awareness": "GA",
    "reward": "reward",
}


@dataclass(frozen=True)
class RolloutRecord:
    """One rollout as it was written; a filmstrip can be drawn from it.

    Attributes:
        iteration: in which it was played.
        split, seed, index: where the session came from.
        rollout: which of the session's rollouts, from 0.
        noise: what all its random numbers are a function of.
        versions: of world, user and scorer.
        session: the session's id.
        spec: the world's session as JSON values.
        transcript, intents, scores: one entry a turn.
        advantages: of each turn; None where it has none.
        turns: what became of each turn: "trains", "filtered" or "unscored".
        pictures: the source, then the picture after each turn, uint8 [H, W, 3].
        reason: why it ended.
    """

    iteration: int
    split: str
    seed: int
    index: int
    rollout: int
    noise: tuple[int, ...]
    versions: Mapping[str, str | None]
    session: str
    spec: Mapping[str, Any]
    transcript: tuple[str, ...]
    intents: tuple[str, ...]
    scores: tuple[Scores, ...]
    advantages: tuple[float | None, ...]
    turns: tuple[str, ...]
    pictures: tuple[Image, ...]
    reason: str | None

    @property
    def title(self) -> str:
        """The rollout's name for a reader."""
        return (
            f"iteration {self.iteration}, {self.split} {self.seed}:{self.index}, rollout {self.rollout}  "
            f"{self.session}"
        )


def read_rollout(out: Path, iteration: int, session: int, rollout: int) -> RolloutRecord:
    """A rollout of a run.

    Args:
        out: the run's folder.
        iteration: one that was recorded.
        session: place of the script in the iteration, from 0.
        rollout: which of its rollouts, from 0.

    Raises:
        ValueError: the iteration, session or rollout has no record, or the record cannot be used.
    """
    known = recorded_iterations(out)
    if iteration not in known:
        there = f"expected one of {', '.join(map(str, known))}" if known else "which has no records at all"
        raise ValueError(f"iteration is {iteration}, of which {out} has no record, {there}")
    lines, pictures = record_paths(out, iteration)
    scripts: dict[int, list[dict[str, Any]]] = {}
    for line in _lines(lines):
        scripts.setdefault(line["index"], []).append(line)
    found = list(scripts.values())
    played = found[_place("session", session, len(found), lines)]
    line = played[_place("rollout", rollout, len(played), lines)]
    try:
        return _record(line, iteration, pictures)
    except ValueError as error:
        raise ValueError(f"{lines}, the line of row {line['row']}: {error}") from error


def rollout_table(record: RolloutRecord) -> Table:
    """A row a turn: what was said, meant, scored and paid, and whether it trained the model."""
    ended = f"end: {record.reason or 'none'}; judged by {record.versions['scorer']}"
    table = Table(title=record.title, title_justify="left", caption=ended, caption_justify="left")
    table.add_column("turn", justify="right")
    for heading in ("user", "intent"):
        table.add_column(heading, overflow="fold")
    for heading in (*_SHOWN.values(), "advantage"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("update", no_wrap=True)
    for turn, (scores, advantage) in enumerate(zip(record.scores, record.advantages, strict=True)):
        judged = [getattr(scores, name) if scores.scored else None for name in _SHOWN]
        numbers = ["-" if value is None else f"{value:.2f}" for value in judged]
        paid = "-" if advantage is None else f"{advantage:+.2f}"
        said = (Text(record.transcript[turn]), Text(record.intents[turn] or "-"))
        table.add_row(str(turn + 1), *said, *numbers, paid, record.turns[turn])
    return table


def _place(name: str, value: int, count: int, path: Path) -> int:
    if not 0 <= value < count:
        raise ValueError(f"{name} is {value}, expected 0 to {count - 1}, which {path} has")
    return value


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines as far as choosing one needs them."""
    with open(path, "rb") as file:
        for number, text in enumerate(file, start=1):
            try:
                line = read_object(text)
                check_keys(line, _KEYS)
                if line["format"] != FORMAT:
                    raise ValueError(f"key 'format' is {line['format']!r}, expected {FORMAT!r}")
                for key in ("row", "index", "rollout"):
                    read_value(line, key, int)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
            yield line


def _record(line: dict[str, Any], iteration: int, pictures: Path) -> RolloutRecord:
    scores = [_scores(entry) for entry in read_list(line, "scores", dict)]
    count = len(scores)
    ending = None if line["ending"] is None else read_value(line, "ending", str)
    return RolloutRecord(
        iteration=iteration,
        split=read_value(line, "split", str),
        seed=read_value(line, "seed", int),
        index=line["index"],
        rollout=line["rollout"],
        noise=tuple(read_list(line, "noise", int)),
        versions=read_value(line, "versions", dict),
        session=read_value(line, "session", str),
        spec=read_value(line, "spec", dict),
        transcript=tuple(read_list(line, "transcript", str, count)),
        intents=tuple(read_list(line, "intents", str, count)),
        scores=tuple(scores),
        advantages=tuple(_numbers(line, count)),
        turns=tuple(read_list(line, "turns", str, count)),
        pictures=_pictures(line, count + 1, pictures),
        reason=ending,
    )


def _scores(entry: dict[str, Any]) -> Scores:
    """A reward that was no number is written as null; nobody was paid it."""
    return scores_from_json(entry if entry.get("reward") is not None else entry | {"reward": 0.0})


def _numbers(line: dict[str, Any], count: int) -> Iterator[float | None]:
    values = read_value(line, "advantages", list)
    if len(values) != count:
        raise ValueError(f"key 'advantages' has {len(values)} entries, expected {count}")
    for value in values:
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"key 'advantages' holds {value!r}, expected numbers or null")
        yield value


def _pictures(line: dict[str, Any], count: int, path: Path) -> tuple[Image, ...]:
    """The row's pictures, cut from the iteration's PNG."""
    height, width = read_list(line, "size", int, 2)
    top = line["row"] * height
    whole = read_png(path.parent, path.name)
    if height < 1 or width < 1 or top < 0 or whole.shape[0] < top + height or whole.shape[1] < count * width:
        raise ValueError(
            f"key 'row' is {line['row']} with {count} pictures of {height} x {width}, which {path.name} "
            f"({whole.shape[0]} x {whole.shape[1]}) does not have"
        )
    row = whole[top : top + height]
    return tuple(row[:, place * width : (place + 1) * width] for place in range(count))
