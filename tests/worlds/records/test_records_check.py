"""`editenv records check`: what it counts, lists and refuses, as a table and as JSON."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from editenv.cli import main
from editenv.records import TASKS
from editenv.worlds.records.export import export_sessions
from editenv.worlds.studio.world import StudioWorld
from tests.worlds.records.handmade import draw_pictures, records, write_lines


def check(capsys, path):
    """The exit status and the JSON object."""
    status = main(["records", "check", str(path), "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_a_sound_file_is_counted(folder, capsys):
    status, report = check(capsys, write_lines(folder, records()))
    assert (status, report["sessions"], report["turns"]) == (0, 3, 7)
    assert list(report["tasks"]) == list(TASKS)
    assert {task: n for task, n in report["tasks"].items() if n} == {
        "subject_add": 1, "subject_remove": 1, "count_change": 1, "text_change": 1, "material_alter": 1,
        "background_change": 1, "color_alter": 1,
    }  # fmt: skip
    assert (report["rules"], report["references"], report["with_meaning"]) == (1, 1, 0)
    for key in ("unparsed_sentences", "contradictions", "repeated", "errors"):
        assert report[key] == []


def test_odd_records_are_listed_with_their_lines_and_can_be_used(folder, capsys):
    odd = records()
    odd[1]["formatted_instruction"][1] = "Make its frame nicer"
    odd[2]["formatted_instruction"] = "Change the color of [black cat] to [black]"
    status, report = check(capsys, write_lines(folder, [*odd, odd[0]]))
    assert (status, report["sessions"]) == (0, 4)
    assert report["unparsed_sentences"] == [{"line": 2, "turn": 1, "sentence": "Make its frame nicer"}]
    assert report["contradictions"] == [
        {"line": 3, "turn": 0, "kind": "no_change", "text": "[black cat] is so already"}
    ]
    assert report["repeated"] == [{"line": 4, "first": 1}]


def test_every_line_that_cannot_be_used_is_an_error(folder, capsys):
    bad = [records()[0], {"image": "x"}, records()[1] | {"image": "gone.png"}, records()[2]]
    path = write_lines(folder, bad)
    status, report = check(capsys, path)
    assert (status, report["sessions"], report["turns"]) == (1, 2, 7)
    assert [error["line"] for error in report["errors"]] == [2, 3]
    assert report["errors"][0]["error"].startswith(f"{path}, line 2: key 'instruction' is missing")
    assert "'gone.png' is no file" in report["errors"][1]["error"]


def test_the_table_names_the_same(folder, capsys):
    odd = records()
    odd[1]["formatted_instruction"][1] = "Make it\nnicer"
    assert main(["records", "check", str(write_lines(folder, [*odd, {"image": "x"}]))]) == 1
    printed = capsys.readouterr().out
    assert "3 sessions that can be used, 7 turns" in printed
    assert "unparsed sentences: 1\n  line 2, turn 1: Make it nicer\n" in printed
    assert "errors: 1\n  line 4: " in printed and "key 'instruction' is missing" in printed
    assert max(map(len, printed.splitlines())) < 400


def test_exported_sessions_are_checked_by_their_meaning(tmp_path, capsys):
    path = export_sessions(StudioWorld("mice-cm"), "test", 0, 3, tmp_path)
    status, report = check(capsys, path)
    assert (status, report["sessions"], report["with_meaning"]) == (0, 3, 3)
    assert report["unparsed_sentences"] == report["contradictions"] == []
    # Every session of mice-cm states a rule, and nothing in it points back.
    assert (report["rules"], report["references"]) == (3, 0)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1]["editenv"]["spec"]["scene"][1:] = [0] * 16
    write_lines(tmp_path, lines)
    status, report = check(capsys, path)
    assert (status, report["sessions"], [error["line"] for error in report["errors"]]) == (1, 2, [2])


def test_lines_that_do_not_go_together_are_an_error_of_the_file(tmp_path, capsys):
    path = export_sessions(StudioWorld(), "test", 0, 1, tmp_path)
    draw_pictures(tmp_path)
    write_lines(tmp_path, [json.loads(path.read_text()), records()[2]])
    status, report = check(capsys, path)
    assert (status, report["sessions"]) == (1, 0)
    assert report["errors"][0]["line"] is None and "it is missing unlike in line 1" in report["errors"][0]["error"]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "records is asked for ''"),
        (["look", "x"], "records is asked for 'look'"),
        (["check"], "expected `editenv records check PATH [--json]`"),
        (["check", "a", "b"], "got 'a b'"),
        (["check", "a", "--yaml"], "got 'a --yaml'"),
        (["check", "none.jsonl"], "'none.jsonl', which is no file"),
    ],
)
def test_mistakes_are_named_in_one_line(words, part, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["records", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("editenv: ") and error.count("\n") == 1 and part in error


def test_the_command_needs_the_core_alone(folder):
    """Fails where checking imports torch, hydra or anything else that `pip install editenv` leaves out."""
    path = write_lines(folder, records())
    code = (
        "import sys; from editenv.cli import main; status = main(['records', 'check', sys.argv[1]]);"
        "heavy = {'torch', 'hydra', 'omegaconf', 'rich', 'transformers'} & sys.modules.keys();"
        "sys.exit(status or len(heavy))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], stdout=subprocess.DEVNULL).returncode == 0


def test_published_files_find_their_pictures_one_folder_up(folder, capsys):
    (folder / "cm").mkdir()
    path = write_lines(folder / "cm", [records()[0]])
    assert check(capsys, path)[0] == 0
    # Where the file has pictures of its own, or a path begins elsewhere, nothing is looked for outside.
    write_lines(folder / "cm", [records()[0], records()[2] | {"image": "cat.png"}])
    assert check(capsys, path)[1]["sessions"] == 0
    write_lines(folder / "cm", [records()[0]])
    (folder / "cm" / "source_image").mkdir()
    assert "is no file" in check(capsys, path)[1]["errors"][0]["error"]


def test_half_a_surrogate_anywhere_is_told_with_its_line(tmp_path, capsys):
    """Fails where the report, as a table or as JSON, cannot be printed."""
    path = export_sessions(StudioWorld(), "test", 0, 2, tmp_path)
    good, other = [json.loads(line) for line in path.read_text().splitlines()]
    good["editenv"]["spec"]["turns"][0]["edit"]["\ud800"] = 1
    path.write_text("\n".join(map(json.dumps, [good, other])))
    for words in ([], ["--json"]):
        assert main(["records", "check", str(path), *words]) == 1
        printed = capsys.readouterr().out
        printed.encode()
        assert "line 1: key 'editenv': " in printed and "\\ud800" in printed
    path.write_text("\n".join(map(json.dumps, [other | {"\udfff": 1}, other])))
    assert main(["records", "check", str(path)]) == 1
    assert "key '\\udfff' is not known" in capsys.readouterr().out
