"""Reading records: good files give every field, bad ones a message with file, line and key."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editenv.records import RecordSpec, RecordTurn, read_sessions_file, record_from_json
from tests.worlds.records.handmade import MEMORY, SINGLE, UNDERSTANDING, records, write_lines


def test_every_field_of_a_session_is_kept(tmp_path):
    spec = read_sessions_file(write_lines(tmp_path, records())).lines[1].record
    assert spec.image == "source_image/街.png" and spec.turn_count == 3
    assert spec.message(0).text == "把招牌上的字换成“茶馆”"
    assert spec.message(2).meaning == RecordTurn(
        task_type="background_change",
        formatted_instruction="Change the background to [snowy street]",
        bg_consistency=False,
        unchanged_objects=(),
        available_objects=("wood red sign", "bicycle"),
        all_objects=("red sign", "bicycle", "wood red sign"),
    )
    assert spec.to_json() == UNDERSTANDING


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n", "\r\n\r\n", "\n  \n\t\n"])
def test_the_last_line_may_lack_its_newline_or_have_blank_ones_behind_it(tmp_path, end):
    assert len(read_sessions_file(write_lines(tmp_path, records(), end)).lines) == 3


def test_a_single_turn_has_texts_in_place_of_lists():
    spec = record_from_json(SINGLE)
    assert spec.instruction == ("Change the color of the cat to white.",)
    assert spec.message(0).meaning.unchanged_objects == ("sofa",)
    assert record_from_json(spec.to_json()) == spec


def test_a_single_turn_may_leave_out_objects_and_background():
    keys = ("image", "instruction", "task_type", "formatted_instruction")
    turn = record_from_json({key: SINGLE[key] for key in keys}).turns[0]
    assert (turn.bg_consistency, turn.unchanged_objects, turn.all_objects) == (True, (), ())


def test_ids_name_the_content():
    spec = record_from_json(MEMORY)
    assert record_from_json(json.loads(json.dumps(MEMORY))).id == spec.id
    for key in ("formatted_instruction", "available_objects", "bg_consistency"):
        other = records()[0]
        other[key] = [other[key][0], other[key][1], {"bg_consistency": False}.get(key, other[key][0])]
        assert record_from_json(other).id != spec.id


def changed(key: str, value: Any, base: dict[str, Any] = MEMORY) -> dict[str, Any]:
    return base | {key: value}


def without(key: str, base: dict[str, Any] = MEMORY) -> dict[str, Any]:
    return {name: value for name, value in base.items() if name != key}


SAID = MEMORY["instruction"]
BAD_RECORDS = [
    (without("image"), "key 'image' is missing"),
    (without("instruction"), "key 'instruction' is missing"),
    (without("task_type"), "key 'task_type' is missing"),
    (without("turns"), "key 'turns' is missing"),
    (without("all_objects"), "key 'all_objects' is missing"),
    (without("task_type", SINGLE), "key 'task_type' is missing"),
    (changed("extra", 1), "key 'extra' is not known"),
    (changed("prompt", "x", SINGLE), "key 'prompt' is not known"),
    (changed("turns", 2), "key 'instruction' has 3 entries, expected 2"),
    (changed("turns", 0), "key 'turns' is 0, expected 1 or more"),
    (changed("turns", "3"), "key 'turns' is '3', expected a whole number"),
    (changed("turns", True), "key 'turns' is True, expected a whole number"),
    (changed("turns", 3.0), "key 'turns' is 3.0, expected a whole number"),
    (changed("turns", 1, SINGLE), "key 'turns' stands beside an instruction that is a text"),
    (changed("instruction", SAID[:2]), "key 'instruction' has 2 entries, expected 3"),
    (changed("instruction", None), "key 'instruction' is None, expected a list"),
    (changed("instruction", [*SAID[:2], 7]), "key 'instruction[2]' is 7, expected a text"),
    (changed("instruction", [*SAID[:2], " \t"]), "key 'instruction[2]' is blank, expected words"),
    (changed("instruction", " ", SINGLE), "key 'instruction[0]' is blank, expected words"),
    (changed("instruction", [*SAID[:2], "a\ud800"]), "key 'instruction[2]' is no text that UTF-8 can write"),
    (changed("task_type", MEMORY["task_type"][:1]), "key 'task_type' has 1 entries, expected 3"),
    (changed("task_type", ["add"] * 3), "key 'task_type[0]' is 'add', expected one of subject_add, "),
    (changed("task_type", ["color_alter"], SINGLE), "key 'task_type[0]' is ['color_alter'], expected one of"),
    (changed("formatted_instruction", [*SAID, "x"]), "key 'formatted_instruction' has 4 entries, expected 3"),
    (changed("formatted_instruction", "x"), "key 'formatted_instruction' is 'x', expected a list"),
    (changed("bg_consistency", [True, True, 1]), "key 'bg_consistency[2]' is 1, expected true or false"),
    (changed("bg_consistency", True), "key 'bg_consistency' is True, expected a list"),
    (changed("bg_consistency", "yes", SINGLE), "key 'bg_consistency[0]' is 'yes', expected true or false"),
    (changed("unchanged_objects", [[], []]), "key 'unchanged_objects' has 2 entries, expected 3"),
    (changed("unchanged_objects", [[], "x", []]), "key 'unchanged_objects[1]' is 'x', expected a list"),
    (changed("unchanged_objects", "sofa", SINGLE), "key 'unchanged_objects[0]' is 'sofa', expected a list"),
    (changed("available_objects", [[], [], ["a", 2]]), "key 'available_objects[2][1]' is 2, expected a text"),
    (changed("all_objects", [[], [""], []]), "key 'all_objects[1][0]' is blank, expected words"),
    (changed("image", 5), "key 'image' is 5, expected a text"),
    (changed("image", ""), "key 'image' is blank, expected words"),
    (changed("image", "/etc/passwd"), "key 'image' is '/etc/passwd', expected a relative path without '..'"),
    (changed("image", "a/../../b.png"), "key 'image' is 'a/../../b.png', expected a relative path"),
    (changed("image", "..\\b.png"), "expected a relative path without '..'"),
    (changed("image", "C:\\b.png"), "expected a relative path without '..'"),
    (changed("image", "\\\\host\\b.png"), "expected a relative path without '..'"),
    (changed("image", "a\0b.png"), "expected a relative path without '..'"),
    (changed("editenv", "studio"), "key 'editenv' is 'studio', expected an object"),
]


@pytest.mark.parametrize(("record", "message"), BAD_RECORDS, ids=[message[:50] for _, message in BAD_RECORDS])
def test_a_bad_record_is_refused_with_file_line_and_key(tmp_path, record, message):
    path = tmp_path / "bad.jsonl"
    path.write_text("\n".join(map(json.dumps, [SINGLE, record, SINGLE])), encoding="utf-8")
    with pytest.raises(ValueError) as error:
        read_sessions_file(path)
    assert str(error.value).startswith(f"{path}, line 2: key ")
    assert message in str(error.value)


BAD_LINES = [
    (b"", "the line is blank, expected a JSON object"),
    (b"  ", "the line is blank, expected a JSON object"),
    (b"{", "no valid JSON"),
    (b"[1, 2]", "JSON is a list, expected an object"),
    (b'{"turns": NaN}', "no valid JSON: 'NaN'"),
    (b'{"image": "\xff"}', "the line is no UTF-8: byte 11 is invalid start byte"),
    (b"{}", "key 'image' is missing"),
    (b"[" * 100_000, "no valid JSON"),
]


@pytest.mark.parametrize(("line", "message"), BAD_LINES, ids=[str(line[:12]) for line, _ in BAD_LINES])
def test_a_line_that_is_no_object_is_refused(tmp_path, line, message):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(json.dumps(MEMORY).encode() + b"\n" + line + b"\n" + json.dumps(MEMORY).encode())
    with pytest.raises(ValueError) as error:
        read_sessions_file(path)
    assert str(error.value).startswith(f"{path}, line 2: {message}")


def test_missing_and_empty_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.jsonl', which is no file"):
        read_sessions_file(tmp_path / "nowhere.jsonl")
    with pytest.raises(ValueError, match="which is no file"):
        read_sessions_file(tmp_path)
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(ValueError, match="is empty, expected one session a line"):
        read_sessions_file(tmp_path / "empty.jsonl")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 5) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=2),
    max_leaves=6,
)


@given(st.data())
def test_any_value_in_any_place_loads_or_is_refused_with_its_line(tmp_path_factory, data):
    record = data.draw(st.sampled_from(records()))
    key = data.draw(st.sampled_from([*record, "editenv", "other"]))
    old = record.get(key)
    if isinstance(old, list) and data.draw(st.booleans()):
        old[data.draw(st.integers(0, len(old) - 1))] = data.draw(JSON_VALUES)
    else:
        record[key] = data.draw(JSON_VALUES)
    check(tmp_path_factory.getbasetemp() / "values.jsonl", json.dumps(record).encode())


@given(st.sampled_from(records()), st.integers(0, 10_000), st.binary(max_size=3), st.integers(0, 3))
def test_any_damage_to_a_line_loads_or_is_refused_with_its_line(tmp_path_factory, record, place, new, cut):
    line = json.dumps(record, ensure_ascii=False).encode()
    place %= len(line)
    damaged = line[:place] + new + line[place + cut :]
    check(tmp_path_factory.getbasetemp() / "damage.jsonl", damaged)


def check(path, line):
    path.write_bytes(json.dumps(SINGLE).encode() + b"\n" + line)
    try:
        specs = [line.record for line in read_sessions_file(path).lines]
    except ValueError as error:
        assert str(error).startswith((f"{path}, line 2: ", f"{path}, line 3: "))
        return
    assert all(isinstance(spec, RecordSpec) and record_from_json(spec.to_json()) == spec for spec in specs)
