import io

import pytest
from rich.console import Console

from editenv.agents.stats import summarise, summarise_difference
from editenv.agents.tables import comparison, turn_table

BASE = {
    "reward": [[0.5, 0.0], [1.0, 0.0]],
    "instruction_following": [[1.0, 0.0], [1.0, 1.0]],
    "rule_kept": [[None, 1.0], [None, None]],
    "turn_consistency": [[0.25], [0.25]],
}
TRAINED = {name: [[1.0 if score is not None else None for score in turns] for turns in BASE[name]] for name in BASE}


def printed(renderable, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    return console.file.getvalue()


def cells(renderable, width=60):
    """What stands in each line between head and foot, frames left out."""
    lines = [
        line.replace("\N{BOX DRAWINGS LIGHT VERTICAL}", " ").split()
        for line in printed(renderable, width).splitlines()
    ]
    return [line for line in lines if line and line[0][0] < "\N{BOX DRAWINGS LIGHT HORIZONTAL}"]


def test_a_table_by_hand():
    assert cells(turn_table(summarise(BASE), "base")) == [
        ["base", "(2", "sessions)"],
        ["IF", "1.00", "0.50"],
        ["[1.00,", "1.00]", "[0.00,", "1.00]"],
        ["reward", "0.75", "0.00"],
        ["[0.50,", "1.00]", "[0.00,", "0.00]"],
        ["rule_kept", "-", "1.00"],
        ["turn_consistency", "0.25", "-"],
        ["[0.25,", "0.25]"],
    ]


def test_differences_carry_their_sign():
    lines = cells(turn_table(summarise_difference(BASE, TRAINED), "trained - base", signed=True))
    place = lines.index(["reward", "+0.25", "+1.00"])
    assert lines[place + 1] == ["[+0.00,", "+0.50]", "[+1.00,", "+1.00]"]


def test_the_two_tables_stand_side_by_side_where_there_is_room():
    base, trained = summarise(BASE), summarise(TRAINED)
    tables = comparison(base, trained, summarise_difference(BASE, TRAINED))
    wide, narrow = printed(tables, 120).splitlines(), printed(tables, 60).splitlines()
    assert any("base (2 sessions)" in line and "trained (2 sessions)" in line for line in wide)
    assert not any("base (2 sessions)" in line and "trained (2" in line for line in narrow)
    assert any("+0.25" in line for line in wide) and any("[+0.00, +0.50]" in line for line in narrow)


def test_three_turns_fit_side_by_side_in_120_characters():
    scores = {"rule_kept": [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]}
    summary = summarise(scores)
    text = printed(comparison(summary, summary, summarise_difference(scores, scores)), 120)
    assert "base (2 sessions)" in text and len([line for line in text.splitlines() if "trained (2" in line]) == 1
    first = next(line for line in text.splitlines() if "base (2" in line)
    assert "trained (2" in first


def test_many_turns_go_down_the_table():
    """Fails where sixteen turns stand side by side, which no terminal shows, or where a cell gets lost."""
    scores = {"reward": [[turn / 16 for turn in range(16)]] * 2, "rule_kept": [[None, *[1.0] * 15]] * 2}
    lines = cells(turn_table(summarise(scores), "long"))
    assert lines[1:7] == [
        ["rule"],
        ["turn", "reward", "kept"],
        ["1", "0.00", "-"],
        ["[.00,.00]"],
        ["2", "0.06", "1.00"],
        ["[.06,.06]", "[1.00,1.00]"],
    ]
    assert len(lines) == 35 and lines[-2:] == [["16", "0.94", "1.00"], ["[.94,.94]", "[1.00,1.00]"]]
    names = ["instruction_following", "content_consistency", "global_awareness", "reward", "rule_kept"]
    gains = {name: [[0.5 + turn / 40 for turn in range(16)]] * 2 for name in [*names, "turn_consistency"]}
    text = printed(turn_table(summarise(gains), "gains", signed=True), 80)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "\N{HORIZONTAL ELLIPSIS}" not in text and text.count("[+.50,+.50]") == 6


@pytest.mark.parametrize("turns", range(1, 10))
def test_tables_of_any_number_of_turns_fit_into_80_characters(turns):
    """Fails where a column is cut or a number is broken on a narrow terminal."""
    names = ["instruction_following", "content_consistency", "global_awareness", "turn_consistency"]
    scores = {name: [[0.25] * turns, [0.75] * turns] for name in [*names, "rule_kept", "reward"]}
    text = printed(turn_table(summarise(scores), "a policy on a suite", signed=True), 80)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert text.count("+0.50") == 6 * turns and "\N{HORIZONTAL ELLIPSIS}" not in text
