"""Tables of summaries for the terminal."""

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.columns import Columns
from rich.console import Group
from rich.table import Table
from rich.text import Text

from editenv.agents.stats import SUMMARY_KEYS, Summary

ROWS = {
    "instruction_following": "IF",
    "content_consistency": "CC",
    "global_awareness": "GA",
    "reward": "reward",
    "rule_kept": "rule_kept",
}
"""Scores in the order of the tables, with their short names; other scores follow under their own names."""

WIDEST = 4
"""Turns that stand side by side in 80 characters; tables of longer sessions have a row a turn instead."""


def turn_table(summary: Summary, title: str, signed: bool = False) -> Table:
    """Table of one evaluation: a row a score, a column a turn (of many turns the other way round).

    The mean stands above its interval.

    Args:
        summary: from `summarise` or `summarise_difference`.
        title: above the table; the number of sessions is added.
        signed: print a plus before gains, for differences.

    Returns:
        A rich table, about 50 characters wide for three turns.
    """
    heads, rows = _laid_out(summary, signed)
    table = Table(title=f"{title} ({summary['sessions']} sessions)", title_justify="left", pad_edge=False)
    if _turns(summary) == WIDEST:
        table.padding = 0
    if _turns(summary) > WIDEST:
        # All scores have to stand side by side in 80 characters.
        table.box, table.padding = SIMPLE_HEAD, 0
        heads = [head.replace("_", "\n") for head in heads]
        rows = [
            (turn.removeprefix("turn "), [(mean, _short(interval)) for mean, interval in cells])
            for turn, cells in rows
        ]
    table.add_column("turn" if _turns(summary) > WIDEST else "", no_wrap=True)
    for head in heads:
        table.add_column(head, justify="center", no_wrap=True)
    for label, cells in rows:
        table.add_row(label, *(Text(f"{mean}\n").append(interval, style="dim") for mean, interval in cells))
    return table


def comparison(base: Summary, trained: Summary, difference: Summary) -> Group:
    """Two evaluations of the same sessions side by side, and the paired difference below.

    Args:
        base: before training.
        trained: after it.
        difference: trained minus base, from `summarise_difference`.

    Returns:
        A rich renderable; the tables stand below each other where the terminal is narrow.
    """
    tables = [turn_table(base, "base"), turn_table(trained, "trained")]
    return Group(
        Columns(tables, padding=(0, 3)), turn_table(difference, "trained - base, paired", signed=True)
    )


def _short(interval: str) -> str:
    """An interval without what can be left out: "[.79,.91]"."""
    return interval.replace("0.", ".").replace(", ", ",")


_Row = tuple[str, list[tuple[str, str]]]


def _laid_out(summary: Summary, signed: bool) -> tuple[list[str], list[_Row]]:
    """Heads of the columns, and the rows: the longer side goes down where it would be too wide."""
    turns = [f"turn {turn}" for turn in range(1, _turns(summary) + 1)]
    rows = list(_rows(summary, signed))
    if len(turns) <= WIDEST:
        return turns, rows
    down = [(turn, [cells[place] for _, cells in rows]) for place, turn in enumerate(turns)]
    return [label for label, _ in rows], down


def _turns(summary: Summary) -> int:
    return max((len(means) for name, means in summary.items() if name not in SUMMARY_KEYS), default=0)


def _rows(summary: Summary, signed: bool) -> Iterator[_Row]:
    others = [name for name in summary if name not in SUMMARY_KEYS and name not in ROWS]
    for name in [*ROWS, *others]:
        if name in summary:
            pairs = zip(summary[name], summary["intervals"][name], strict=True)
            cells = [_cell(mean, low, high, signed) for mean, (low, high) in pairs]
            yield ROWS.get(name, name), cells + [("-", "")] * (_turns(summary) - len(cells))


def _cell(mean: float | None, low: float | None, high: float | None, signed: bool) -> tuple[str, str]:
    form = "+.2f" if signed else ".2f"
    if mean is None:
        return "-", ""
    if low is None or high is None:
        return f"{mean:{form}}", ""
    return f"{mean:{form}}", f"[{low:{form}}, {high:{form}}]"
