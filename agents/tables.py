"""Tables of summaries for the terminal."""

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
    """
    turns = max((len(means) for name, means in summary.items() if name not in SUMMARY_KEYS), default=0)
    names = [*ROWS, *(name for name in summary if name not in SUMMARY_KEYS and name not in ROWS)]
    rows = {ROWS.get(name, name): _cells(summary, name, turns, signed) for name in names if name in summary}
    table = Table(title=f"{title} ({summary['sessions']} sessions)", title_justify="left", pad_edge=False)
    if turns <= WIDEST:
        table.padding = 0 if turns == WIDEST else (0, 1)
        heads = ["", *(f"turn {turn}" for turn in range(1, turns + 1))]
        lines = [(label, *cells) for label, cells in rows.items()]
    else:
        # All scores have to stand side by side in 80 characters, and intervals as short as "[.79,.91]".
        table.box, table.padding = SIMPLE_HEAD, 0
        heads = ["turn", *(label.replace("_", "\n") for label in rows)]
        columns = [
            [(mean, interval.replace("0.", ".").replace(", ", ",")) for mean, interval in cells]
            for cells in rows.values()
        ]
        lines = [(str(turn), *cells) for turn, cells in enumerate(zip(*columns, strict=True), start=1)]
    for place, head in enumerate(heads):
        table.add_column(head, justify="center" if place else "left", no_wrap=True)
    for label, *cells in lines:
        table.add_row(label, *(Text(f"{mean}\n").append(interval, style="dim") for mean, interval in cells))
    return table


def comparison(base: Summary, trained: Summary, difference: Summary) -> Group:
    """Two evaluations of the same sessions, side by side where there is room, and their paired difference.

    Args:
        base, trained: before and after training.
        difference: trained minus base, from `summarise_difference`.
    """
    tables = [turn_table(base, "base"), turn_table(trained, "trained")]
    return Group(Columns(tables, padding=(0, 3)), turn_table(difference, "trained - base, paired", signed=True))


def _cells(summary: Summary, name: str, turns: int, signed: bool) -> list[tuple[str, str]]:
    """Mean and interval of a score at each turn, in words; "-" where there is none."""
    form, cells = "+.2f" if signed else ".2f", []
    for mean, (low, high) in zip(summary[name], summary["intervals"][name], strict=True):
        interval = "" if low is None or high is None else f"[{low:{form}}, {high:{form}}]"
        cells.append(("-", "") if mean is None else (f"{mean:{form}}", interval))
    return cells + [("-", "")] * (turns - len(cells))
