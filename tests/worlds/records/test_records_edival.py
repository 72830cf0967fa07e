"""EdiVal-Bench's CSV becomes records: a row a turn, each with the turns before, one line a session."""

from __future__ import annotations

import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editenv.records import read_sessions_file
from editenv.worlds.records.edival import COLUMNS, read_edival, write_records

TASKS = ["subject_remove", "text_change"]
SAID = ["Remove tin boat", "\"Add text '茶馆' on the image\""]
MEANT = ["Remove [tin boat]", "\"Add text '[茶馆]' on the image\""]


def rows(index="7"):
    """The two rows of a session as the CSV's columns."""
    kept, there = [["pier"], []], [["pier"], ["pier"]]
    return [
        {
            "image_index": index,
            "turns": str(turn + 1),
            "task_type": repr(TASKS[: turn + 1]),
            "instructions": repr(SAID[: turn + 1]),
            "format_instructions": repr(MEANT[: turn + 1]),
            "bg_consistency": "True",
            "unchanged_objects": repr(kept[turn]),
            "available_objects": repr(there[turn]),
            "all_objects": "['tin boat', 'pier']",
        }
        for turn in range(2)
    ]


def write_csv(path, table, columns=COLUMNS):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(table)
    return path


def test_sessions_are_put_together_and_written_as_json_lines(tmp_path):
    first, second = rows("7"), rows("12")
    table = write_csv(tmp_path / "e.csv", [first[0], second[0], first[1], second[1]])
    records = read_edival(table, "pictures/{}.png")
    assert [record.image for record in records] == ["pictures/7.png", "pictures/12.png"]
    record = records[0]
    assert record.instruction == tuple(SAID)
    assert [turn.task_type for turn in record.turns] == TASKS
    assert [turn.unchanged_objects for turn in record.turns] == [("pier",), ()]
    assert record.turns[1].formatted_instruction == MEANT[1] and record.turns[1].bg_consistency is True
    write_records(records, tmp_path / "e.jsonl")
    assert [line.record for line in read_sessions_file(tmp_path / "e.jsonl").lines] == records
    assert "茶馆" in (tmp_path / "e.jsonl").read_text(encoding="utf-8")


def test_pictures_lie_where_they_are_published(tmp_path):
    (record,) = read_edival(write_csv(tmp_path / "e.csv", rows("0")))
    assert record.image == "input_images_resize_512/0_input_raw.jpg"


def test_lists_as_numpy_prints_them_keep_their_entries_apart(tmp_path):
    """Without commas Python would take two texts for one word."""
    first, second = rows()
    second |= {
        "instructions": "[" + " ".join(map(repr, SAID)) + "]",
        "available_objects": "['pier' 'it\\'s red' \"old pier\"]",
        "all_objects": "['tin boat'\n 'pier']",
    }
    (record,) = read_edival(write_csv(tmp_path / "e.csv", [first, second]))
    assert record.instruction == tuple(SAID)
    assert record.turns[1].available_objects == ("pier", "it's red", "old pier")
    assert record.turns[1].all_objects == ("tin boat", "pier")


def test_a_byte_order_mark_hides_no_column(tmp_path):
    path = write_csv(tmp_path / "e.csv", rows())
    expected = read_edival(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_edival(path) == expected


BAD = [
    ({"turns": "3"}, "line 3: column 'turns' is '3', expected '2'"),
    ({"turns": "1"}, "line 3: column 'turns' is '1', expected '2'"),
    ({"instructions": repr(["Dance", SAID[1]])}, "line 3: column 'instructions' is ['Dance'"),
    ({"instructions": repr(SAID[:1])}, "line 3: column 'instructions' is ['Remove tin boat'], expected one more"),
    ({"task_type": "["}, "line 3: column 'task_type' is [, expected a list, True or False"),
    ({"task_type": "__import__('os').getcwd()"}, "line 3: column 'task_type' is __import__"),
    ({"bg_consistency": "no"}, "line 3: column 'bg_consistency' is no, expected a list, True or False"),
    ({"bg_consistency": "1"}, "image_index '7': key 'bg_consistency[1]' is 1, expected true or false"),
    ({"all_objects": "(" * 5000}, "line 3: column 'all_objects' is ((("),
    ({"all_objects": "[" + "1," * 60_000 + "]"}, "line 3: column 'all_objects' has 120002 characters"),
    ({"all_objects": "[1]"}, "image_index '7': key 'all_objects[1][0]' is 1, expected a text"),
    ({"task_type": "['subject_remove', 'x']"}, "image_index '7': key 'task_type[1]' is 'x', expected one of"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message[:60] for _, message in BAD])
def test_rows_that_do_not_fit_are_refused(tmp_path, change, message):
    first, second = rows()
    path = write_csv(tmp_path / "e.csv", [first, second | change])
    with pytest.raises(ValueError) as error:
        read_edival(path)
    assert str(error.value).startswith(f"{path}, {message}")


def test_tables_that_are_none_are_refused(tmp_path):
    with pytest.raises(ValueError, match="which is no file, expected EdiVal-Bench's CSV"):
        read_edival(tmp_path / "none.csv")
    path = write_csv(tmp_path / "e.csv", rows(), [column for column in COLUMNS if column != "all_objects"])
    with pytest.raises(ValueError, match="column 'all_objects' is missing"):
        read_edival(path)
    path.write_bytes(b"\xff\xfe\0")
    with pytest.raises(ValueError, match="is no readable CSV"):
        read_edival(path)
    with pytest.raises(ValueError, match=r"key 'image' is '\.\./7', expected a relative path"):
        read_edival(write_csv(path, rows()), "../{}")


@given(st.sampled_from(COLUMNS), st.text(max_size=30))
def test_any_value_in_any_column_is_read_or_refused(tmp_path_factory, column, value):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    first, second = rows()
    write_csv(path, [first, second | {column: value.encode("utf-8", "replace").decode()}])
    try:
        records = read_edival(path)
    except ValueError as error:
        assert str(error).startswith(str(path))
        return
    assert all(json.loads(json.dumps(record.to_json())) for record in records)


@pytest.mark.parametrize("row", [["7", "1"], ["7"] * 12])
def test_a_row_of_another_length_is_refused(tmp_path, row):
    path = write_csv(tmp_path / "e.csv", rows()[:1])
    with open(path, "a", encoding="utf-8") as file:
        file.write(",".join(row) + "\n")
    with pytest.raises(ValueError, match="line 3: the row has more or fewer cells"):
        read_edival(path)
