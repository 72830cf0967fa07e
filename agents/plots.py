"""Learning curves as one picture, in colours that colour-blind readers can tell apart."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from editenv.agents.stats import Summary

Log = Mapping[str, Any]
"""One iteration: "iteration", numbers by name, per-turn lists by a score's name, and maybe "held_out"."""

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""Okabe and Ito's palette, in an order whose brightness differs too."""
MARKERS = ("o", "s", "^", "D", "v", "P")
_FEW = len(COLOURS)
"""More turns than this have colours from dark to bright, and only some of them are named."""
_NAMED = 5
TURN_PANELS = {
    "reward": "reward",
    "instruction_following": "instruction following (IF)",
    "content_consistency": "content consistency (CC)",
    "global_awareness": "global awareness (GA)",
    "rule_kept": "rules kept",
}
SPACE_PANELS = {"clip_fraction": ("clip fraction", "linear"), "kl": ("KL to the reference", "log")}
SPACES = ("flow", "text")


def learning_curves(logs: Sequence[Log], path: Path, title: str = "") -> None:
    """Draws reward and its parts per turn, clip fractions and KL of both spaces, as far as logs hold them.

    Thin lines are iterations, thick ones a running mean; markers with bars are held-out sessions and their
    intervals.

    Args:
        logs: one an iteration, each with "iteration" and any of: a score's name with a list over turns;
            "flow_clip_fraction", "text_clip_fraction", "flow_kl", "text_kl" with a number; "held_out" with a
            summary. None and NaN leave gaps.
        path: of the PNG; its folder must exist.
        title: above the picture.

    Raises:
        ValueError: logs in which there is nothing to draw.
    """
    turn_names = [name for name in TURN_PANELS if any(name in log or name in _held_out(log) for log in logs)]
    space_names = [name for name in SPACE_PANELS if any(f"{space}_{name}" in log for space in SPACES for log in logs)]
    count = len(turn_names) + len(space_names)
    if not count:
        raise ValueError(f"logs: got {len(logs)} without a score, a clip fraction or a KL, expected at least one")
    columns = min(count, 4)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(3.6 * columns, 2.9 * rows + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for name in turn_names:
        _draw_turns(axes.pop(0), logs, name)
    for name in space_names:
        _draw_spaces(axes.pop(0), logs, name)
    for unused in axes:
        unused.set_axis_off()
    figure.suptitle(title)
    figure.savefig(path, dpi=110, format="png")


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """Centred means over at most `width` (odd) neighbours, narrower at the ends; NaN is left out."""
    means = []
    for index in range(len(values)):
        reach = min(width // 2, index, len(values) - 1 - index)
        window = [value for value in values[index - reach : index + reach + 1] if not math.isnan(value)]
        means.append(sum(window) / len(window) if window else math.nan)
    return means


def turn_colour(turn: int, turns: int) -> str:
    """Of a turn, from 0: one of COLOURS, or where there are more turns, from viridis, as "#rrggbb"."""
    return COLOURS[turn] if turns <= _FEW else to_hex(colormaps["viridis"](0.92 * turn / (turns - 1)))


def _held_out(log: Log) -> Summary:
    return dict(log.get("held_out") or {})


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _draw_line(axes: Axes, logs: Sequence[Log], heights: list[float], colour: str, label: str | None) -> None:
    times = [log["iteration"] for log in logs]
    axes.plot(times, heights, color=colour, alpha=0.35, linewidth=0.8)
    width = 2 * (len(heights) // 20) + 1
    axes.plot(times, running_mean(heights, width), color=colour, linewidth=1.8, label=label)


def _draw_turns(axes: Axes, logs: Sequence[Log], name: str) -> None:
    held_out = [(log["iteration"], _held_out(log)) for log in logs if name in _held_out(log)]
    trained = [log for log in logs if name in log]
    turns = max(len(scores[name]) for scores in [*trained, *(summary for _, summary in held_out)])
    named = range(turns)
    if turns > _FEW:
        named = [round(place * (turns - 1) / (_NAMED - 1)) for place in range(_NAMED)]
    for turn in range(turns):
        heights = [_number(log[name][turn]) if turn < len(log[name]) else math.nan for log in trained]
        colour, label = turn_colour(turn, turns), f"turn {turn + 1}" if turn in named else None
        _draw_line(axes, trained, heights, colour, label)
        points = [(time, summary) for time, summary in held_out if turn < len(summary[name])]
        _draw_held_out(axes, points, name, turn, colour, label if turns <= _FEW else None)
    axes.set_ylim(-0.03, 1.03)
    _finish(axes, TURN_PANELS[name])


def _draw_held_out(
    axes: Axes, points: Sequence[tuple[float, Summary]], name: str, turn: int, colour: str, label: str | None
) -> None:
    heights = [_number(summary[name][turn]) for _, summary in points]
    bars: list[list[float]] = [[], []]
    for (_, summary), height in zip(points, heights, strict=True):
        low, high = summary["intervals"][name][turn] if "intervals" in summary else (None, None)
        bars[0].append(0.0 if low is None else max(0.0, height - low))
        bars[1].append(0.0 if high is None else max(0.0, high - height))
    axes.errorbar(
        [time for time, _ in points],
        heights,
        yerr=bars,
        linestyle="none",
        marker=MARKERS[turn % len(MARKERS)],
        color=colour,
        markerfacecolor="white",
        capsize=2,
        label=f"{label}, held out" if points and label else None,
    )


def _draw_spaces(axes: Axes, logs: Sequence[Log], name: str) -> None:
    title, scale = SPACE_PANELS[name]
    drawn: list[float] = []
    for colour, space in zip(COLOURS, SPACES, strict=False):
        present = [log for log in logs if f"{space}_{name}" in log]
        if present:
            heights = [_number(log[f"{space}_{name}"]) for log in present]
            drawn += heights
            _draw_line(axes, present, heights, colour, space)
    if scale == "log" and any(height > 0 for height in drawn):
        # the first KL is exactly 0, which a plain logarithmic axis would drop
        axes.set_yscale("symlog", linthresh=min(height for height in drawn if height > 0))
    _finish(axes, title)


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("iteration", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=6.5, framealpha=0.6)
