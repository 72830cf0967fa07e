"""What cannot be meant as it stands is found, one session a kind; sound sessions have no findings."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from editenv.records import record_from_json
from editenv.worlds.records.sentences import KINDS, contradictions
from tests.worlds.records.handmade import records

TASK = {
    "Add": "subject_add",
    "Remove": "subject_remove",
    "Replace": "subject_replace",
    "Change the color": "color_alter",
    "Change the material": "material_alter",
    "Change the count": "count_change",
    "Change the position": "position_change",
    "Change the background": "background_change",
    "Add text": "text_change",
    "Replace the text": "text_change",
}


def session(*turns, available=(), **keys):
    """A record of resolved instructions, each with a fitting task type; other keys say nothing."""
    tasks = [TASK[max((start for start in TASK if turn.startswith(start)), key=len)] for turn in turns]
    count = len(turns)
    return record_from_json(
        {
            "image": "a.png",
            "instruction": list(turns),
            "task_type": tasks,
            "formatted_instruction": list(turns),
            "bg_consistency": [task != "background_change" for task in tasks],
            "unchanged_objects": [[]] * count,
            "available_objects": [list(available)] * count,
            "all_objects": [[]] * count,
            "turns": count,
        }
        | keys
    )


RULE = "From now on, every edit must apply {} color only to what is edited. "
FOUND = [
    (session("Remove [pole]", "Add [boat] on the [left] of [pole]"), 1, "removed_object"),
    (session("Remove [pole]", "Change the color of [Pole] to [red]"), 1, "removed_object"),
    (session("Remove [pole]", "Remove [pole]"), 1, "removed_object"),
    (session("Remove [pole]", "Change the position of [boat] to [left] of [pole]"), 1, "removed_object"),
    (session("Remove [pole]", "Replace the text '[A]' on [pole] with '[B]'"), 1, "removed_object"),
    (session("Replace [pole] with [mast]", "Change the count of [pole] to [2]"), 1, "replaced_object"),
    (session("Change the color of [red pole] to [blue]", "Remove [red pole]", available=["blue pole"]), 1, "old_name"),
    (session("Remove [nut]", "Add [pole]", "Remove [pole]", available=["pole"]), 1, "already_there"),
    (
        session("Remove [nut]", "Replace [egg] with [pole]", "Remove [pole]", available=["pole", "egg"]),
        1,
        "already_there",
    ),
    (session("Change the color of [red pole] to [red]"), 0, "no_change"),
    (session("Change the material of [wood red pole] to [wood]"), 0, "no_change"),
    (session("Replace [pole] with [Pole]"), 0, "no_change"),
    (session("Replace the text '[A]' on [pole] with '[A]'"), 0, "no_change"),
    (session("Add text '[]' on the image"), 0, "empty_text"),
    (
        session("Add [egg]", "Add [nut]", instruction=[RULE.format("red") + "Add egg", RULE.format("blue")]),
        1,
        "two_rules",
    ),
    (
        session(
            "Add [egg]",
            "Change the color of [egg] to [blue]",
            instruction=[RULE.format("red") + "Add egg", "Change its color to blue"],
        ),
        1,
        "against_rule",
    ),
    (session("Remove [pole]", task_type=["subject_add"]), 0, "other_task"),
    (session("Remove [pole]", unchanged_objects=[["pole", "egg"]]), 0, "kept_but_edited"),
    (session("Change the background to [harbour]", bg_consistency=[True]), 0, "kept_background"),
]
SOUND = [
    session("Remove [pole]", "Add [pole]", "Change the color of [pole] to [red]"),
    session("Replace [pole] with [mast]", "Replace [mast] with [pole]", "Remove [pole]"),
    session("Change the color of [red pole] to [blue]", "Remove [blue pole]", available=["blue pole"]),
    session("Change the count of [pole] to [2]", "Remove [pole]"),
    # Two poles are no contradiction until someone speaks of one.
    session("Remove [nut]", "Add [pole]", available=["pole"]),
    session("Change the material of [petrified wood] to [wood]"),
    session("Change the color of [red and white pole] to [red]"),
    session("Add [egg]", instruction=[RULE.format("red") + "Add egg"]),
    session(
        "Add [egg]",
        "Change the material of [egg] to [tin]",
        instruction=[RULE.format("red") + "Add egg", RULE.format("red") + "Make it tin"],
    ),
    session("Add text '[A]' on the image"),
    *map(record_from_json, records()),
]


@pytest.mark.parametrize(("record", "turn", "kind"), FOUND, ids=[f"{k}-{n}" for n, (*_, k) in enumerate(FOUND)])
def test_each_kind_is_found_in_its_turn(record, turn, kind):
    assert [(found.turn, found.kind) for found in contradictions(record)] == [(turn, kind)]


def test_there_is_a_session_for_every_kind():
    assert {kind for *_, kind in FOUND} == set(KINDS)


def test_the_page_about_records_explains_every_kind():
    page = (Path(__file__).resolve().parents[3] / "docs" / "records.md").read_text(encoding="utf-8")
    assert all(f"| `{kind}` | {text} |" in page for kind, text in KINDS.items())


@pytest.mark.parametrize("record", SOUND, ids=lambda record: record.turns[0].formatted_instruction)
def test_sound_sessions_have_no_findings(record):
    assert contradictions(record) == []


def test_findings_say_what_contradicts_what():
    record = session("Remove [tin pole]", "Add [boat] on the [left] of [tin pole]")
    assert contradictions(record)[0].text == "[tin pole] was removed in turn 0"


def test_composed_and_decomposed_names_are_one():
    name = "café"
    first, second = unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)
    assert first != second
    (found,) = contradictions(session(f"Remove [{first}]", f"Remove [{second}]"))
    assert found.kind == "removed_object"


def test_a_sentence_that_is_not_understood_is_passed_over():
    record = session("Remove [pole]", "Add [egg]", "Remove [pole]", formatted_instruction=["?", "!", "Remove [pole]"])
    assert contradictions(record) == []
