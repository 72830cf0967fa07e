"""`policy=folder`: pictures that were made elsewhere."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from editenv.agents.evaluate import run_evaluation
from editenv.agents.export import export
from editenv.configs.compose import compose
from editenv.records import read_records
from editenv.worlds.records.edival import COLUMNS, read_edival, write_records


def evaluated(folder, out, intents="files", fit=False, missing="error", **values):
    chosen = {"path": str(folder), "intents": intents, "fit": fit, "missing": missing}
    return run_evaluation(
        compose("evaluate", out=str(out), policy="folder", policy_settings=chosen, filmstrip=0, **values)
    )


@pytest.fixture
def pictures(tmp_path):
    """What the oracle made of four sessions, as an outside model's pictures, with its intents beside them."""
    made = tmp_path / "made"
    run_evaluation(compose("evaluate", out=str(tmp_path / "oracle"), policy="oracle", sessions=4, save_images=True))
    for record in read_records(tmp_path / "oracle" / "records"):
        place = made / record.session
        place.mkdir(parents=True)
        for turn, (picture, intent) in enumerate(zip(record.pictures[1:], record.intents, strict=True), 1):
            Image.fromarray(picture).save(place / f"turn_{turn}.png")
            (place / f"turn_{turn}.txt").write_text(intent + "\n")
    return made


def test_pictures_made_elsewhere_get_the_scores_of_who_made_them(tmp_path, pictures):
    found = evaluated(pictures, tmp_path / "out", sessions=4, num_envs=3)
    other = [json.loads(line) for line in (tmp_path / "oracle" / "scores.jsonl").read_text().splitlines()]
    assert found.lines == other and found.summary["global_awareness"] == [1.0] * 3
    assert found.facts["failed_turns"] == 0 and found.facts["turns"] == 12


def test_exported_sessions_are_the_same_and_folders_may_be_numbers(tmp_path, pictures):
    path = export(compose("export", out=str(tmp_path / "files"), sessions=4))
    found = evaluated(pictures, tmp_path / "a", sessions_file=str(path))
    assert found.summary["global_awareness"] == [1.0] * 3
    for line in found.lines:
        assert (path.parent / "source_image" / f"{line['session']}.png").is_file()
        (pictures / line["session"]).rename(pictures / str(line["index"]))
    assert evaluated(pictures, tmp_path / "b", sessions_file=str(path)).lines == found.lines


@pytest.mark.parametrize("kind", ["mice", "edival"])
def test_the_published_benchmarks_files_are_played(tmp_path, kind):
    """Pictures of twice the size, folders by number; a MICE-Bench file as it stands and EdiVal's CSV made records."""
    said, meant = ["Remove tin boat", "Make it night"], ["Remove [tin boat]", "Change the background to [night]"]
    path, objects = tmp_path / "sessions.jsonl", [["pier"], []]
    if kind == "edival":
        table = tmp_path / "edival.csv"
        with open(table, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            tasks = ["subject_remove", "background_change"]
            for turn in (1, 2):
                so_far = [repr(column[:turn]) for column in (tasks, said, meant)]
                writer.writerow(["7", turn, *so_far, "True", *[repr(objects[turn - 1])] * 3])
        write_records(read_edival(table, "{}.png"), path)
    else:
        line = {"image": "7.png", "instruction": said, "formatted_instruction": meant, "turns": 2}
        line |= {"task_type": ["subject_remove", "background_change"], "bg_consistency": [True, False]}
        path.write_text(
            json.dumps(line | dict.fromkeys(("unchanged_objects", "available_objects", "all_objects"), objects))
        )
    Image.fromarray(np.full((24, 32, 3), 90, np.uint8)).save(tmp_path / "7.png")
    made = tmp_path / "made" / "0"
    made.mkdir(parents=True)
    for turn in (1, 2):
        Image.fromarray(np.full((48, 64, 3), turn, np.uint8)).save(made / f"turn_{turn}.png")
    found = evaluated(made.parent, tmp_path / "out", "oracle", fit=True, sessions_file=str(path), save_images=True)
    [record] = found.records()
    assert [picture.shape for picture in record.pictures] == [(24, 32, 3)] * 3
    assert [int(picture.max()) for picture in record.pictures[1:]] == [1, 2] and found.facts["fitted_turns"] == 2
    assert record.transcript == tuple(said) and record.intents == ("Remove tin boat", "Change the background to night")


def test_files_that_are_missing_or_of_another_size_are_named_before_a_turn_is_played(tmp_path, pictures):
    place = sorted(pictures.iterdir())[-1]
    third = place / "turn_3.png"
    Image.fromarray(np.zeros((32, 64, 3), np.uint8)).save(third)
    with pytest.raises(
        ValueError, match=rf"{place.name}/turn_3.png is 64 x 32 pixels, expected 64 x 64; with fit=true"
    ):
        evaluated(pictures, tmp_path / "a", sessions=4)
    third.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=rf"{place.name}/turn_3.png' is no picture"):
        evaluated(pictures, tmp_path / "b", sessions=4)
    third.unlink()
    with pytest.raises(ValueError, match=rf"{place.name}/turn_3.png is missing, expected the picture after turn 3 of"):
        evaluated(pictures, tmp_path / "c", sessions=4)
    with pytest.warns(UserWarning, match=r"turn 3: no edit, .*turn_3.png is missing"):
        found = evaluated(pictures, tmp_path / "d", missing="keep", sessions=4)
    assert found.facts["failed_turns"] == 1 and found.summary["global_awareness"] == [1.0, 1.0, 0.75]


def test_a_wide_picture_is_fitted_with_grey_and_a_nearly_square_one_is_stretched(tmp_path, pictures):
    [first, second, *_] = sorted(pictures.iterdir())
    Image.fromarray(np.zeros((64, 128, 3), np.uint8)).save(first / "turn_1.png")
    Image.fromarray(np.zeros((128, 130, 3), np.uint8)).save(second / "turn_1.png")
    found = evaluated(pictures, tmp_path / "out", fit=True, sessions=4, save_images=True)
    shown = {record.session: record.pictures[1] for record in found.records()}
    assert set(shown[first.name][:15].flat) == {128} and shown[first.name][17:47].max() == 0
    assert shown[second.name].max() == 0 and found.facts["fitted_turns"] == 2


@pytest.mark.parametrize("intents", ["instructions", "concatenated", "oracle", "files"])
def test_the_intent_says_what_the_pictures_were_made_from(tmp_path, pictures, intents):
    for path in pictures.glob("*/*.txt"):
        path.unlink()
    found = evaluated(pictures, tmp_path / "out", intents, sessions=4)
    spoken = [line["transcript"] for line in found.lines]
    expected = {
        "instructions": spoken,
        "concatenated": [["\n".join(said[: turn + 1]) for turn in range(3)] for said in spoken],
        "oracle": [
            json.loads(line)["intents"] for line in (tmp_path / "oracle/scores.jsonl").read_text().splitlines()
        ],
        "files": [[""] * 3] * 4,
    }[intents]
    assert [line["intents"] for line in found.lines] == expected


def test_settings_are_checked(tmp_path, pictures):
    with pytest.raises(ValueError, match=r"path is .*nope', which is no folder"):
        evaluated(tmp_path / "nope", tmp_path / "out")
    with pytest.raises(ValueError, match="missing 'kep' is not known, did you mean 'keep'"):
        evaluated(pictures, tmp_path / "out", missing="kep")
    with pytest.raises(ValueError, match="intents 'orcale' is not known, did you mean 'oracle'"):
        evaluated(pictures, tmp_path / "out", "orcale")
