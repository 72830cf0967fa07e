"""Records: what was played is read back and plays the same again; hostile files are refused by name."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from PIL import Image

from editenv import files
from editenv.build import make_env
from editenv.env import MICEEditEnv
from editenv.records import Recorder, SessionRecord, read_records, replay
from editenv.types import Scores
from editenv.vector import MICEEditVectorEnv
from tests.fakes import FailingScorer, FakeWorld, FlatScorer, ScriptUser, answer


def play(folder: Path, sessions: int = 2, scorer: Any = None) -> MICEEditEnv:
    env = MICEEditEnv(FakeWorld(), ScriptUser(), scorer or FlatScorer(), on_end=Recorder(folder))
    for index in range(sessions):
        env.reset(seed=2, options={"session": index})
        turn = 0
        while env.session.ending is None:
            env.step(answer(8, 50 * turn + index, f"für {turn} 猫\n"))
            turn += 1
    return env


def test_what_was_played_is_read_back(tmp_path: Path) -> None:
    session = play(tmp_path).session
    found = list(read_records(tmp_path))
    assert len(found) == 2
    last = found[1]
    assert (last.split, last.seed, last.index, last.session) == ("train", 2, 1, session.spec.id)
    assert last.versions == session.versions
    assert FakeWorld().spec_from_json(last.spec) == session.spec
    assert last.transcript == session.transcript
    assert list(last.intents) == session.intents
    assert list(last.scores) == session.scores
    assert data_equivalence(list(last.pictures), [np.array(p) for p in session.pictures], exact=True)
    assert last.reason == "done"


def test_replay_gives_the_same_scores(tmp_path: Path) -> None:
    play(tmp_path)
    env = MICEEditEnv(FakeWorld(), ScriptUser(), FlatScorer())
    for record in read_records(tmp_path):
        assert replay(record, env) == list(record.scores)


def test_replay_elsewhere_says_what_differs(tmp_path: Path) -> None:
    play(tmp_path)
    record = next(read_records(tmp_path))
    with pytest.raises(ValueError, match="the environment's split is 'test', the record has 'train'"):
        replay(record, MICEEditEnv(FakeWorld(), ScriptUser(), FlatScorer(), split="test"))
    with pytest.raises(ValueError, match=r"the environment's versions is .*fake 2"):
        replay(record, MICEEditEnv(FakeWorld(version="2"), ScriptUser(), FlatScorer()))
    with pytest.raises(ValueError, match="the environment's session is"):
        replay(record, MICEEditEnv(FakeWorld(turns=2), ScriptUser(), FlatScorer()))


def test_a_failed_judge_is_kept_in_the_record(tmp_path: Path) -> None:
    play(tmp_path, scorer=FailingScorer(first=1))
    record = next(read_records(tmp_path))
    assert record.reason == "unscored"
    assert record.scores[-1] == Scores(error="judge: timed out")


def test_equal_runs_write_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        play(tmp_path / name)
    files = [
        {path.relative_to(top): path.read_bytes() for path in top.rglob("*") if path.is_file()}
        for top in (tmp_path / "a", tmp_path / "b")
    ]
    assert files[0] == files[1]
    assert not [path for path in files[0] if path.suffix not in (".jsonl", ".png")]


def test_equal_pictures_are_stored_once(tmp_path: Path) -> None:
    env = MICEEditVectorEnv(3, FakeWorld(), ScriptUser(), FlatScorer(), on_end=Recorder(tmp_path))
    env.reset(seed=1, options={"sessions": [4, 4, 4]})
    for _ in range(3):
        env.step({"image": np.zeros((3, 8, 8, 3), np.uint8), "intent": ("",) * 3})
    assert len(list(read_records(tmp_path))) == 3
    assert len(list((tmp_path / "pictures").iterdir())) == 2


def rewrite(folder: Path, **changes: Any) -> None:
    """Changes keys of the second line; a value of KeyError drops the key."""
    lines = (folder / "sessions.jsonl").read_text().splitlines()
    data = json.loads(lines[1])
    for key, value in changes.items():
        (data if key == "instruction" else data["played"])[key] = value
    data["played"] = {key: value for key, value in data["played"].items() if value is not KeyError}
    lines[1] = json.dumps(data)
    (folder / "sessions.jsonl").write_text("\n".join(lines) + "\n")


SCORE = Scores(1.0, 1.0, 1.0).to_json()
PICTURES = ["a.png"] * 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": KeyError}, "key 'played.seed' is missing"),
        ({"extra": 1}, "key 'played.extra' is not known"),
        ({"format": "editenv session 9"}, "key 'played.format' is 'editenv session 9'"),
        ({"seed": "2"}, "key 'played.seed' is '2', expected a whole number"),
        ({"seed": True}, "key 'played.seed' is True"),
        ({"spec": []}, "key 'played.spec' is \\[\\], expected an object"),
        ({"instruction": ["a", "b", 3]}, r"key 'instruction\[2\]' is 3, expected a text"),
        ({"intents": ["a"]}, "key 'played.intents' has 1 entries, expected 3"),
        ({"scores": [SCORE, SCORE, SCORE | {"reward": "1"}]}, r"key 'played.scores\[2\].reward' is '1'"),
        ({"scores": [SCORE, SCORE | {"rule_kept": 1.5}, SCORE]}, r"key 'played.scores\[1\].rule_kept' is 1.5"),
        ({"scores": [{}, SCORE, SCORE]}, r"key 'played.scores\[0\].instruction_following' is missing"),
        ({"pictures": ["a.png"]}, "key 'played.pictures' has 1 entries"),
        ({"pictures": ["../a.png", *PICTURES[1:]]}, r"key 'played.pictures\[0\]': '../a.png' lies outside"),
        ({"pictures": ["/etc/passwd", *PICTURES[1:]]}, "lies outside of the records' folder"),
        ({"pictures": ["a\0.png", *PICTURES[1:]]}, r"key 'played.pictures\[0\]'"),
        ({"pictures": ["none.png", *PICTURES[1:]]}, "is no file in the records' folder"),
        ({"pictures": ["pictures", *PICTURES[1:]]}, "is no file in the records' folder"),
        ({"pictures": ["x" * 5000, *PICTURES[1:]]}, r"key 'played.pictures\[0\]'"),
        ({"ending": 5}, "key 'played.ending' is 5, expected a text"),
    ],
)
def test_a_bad_line_is_named_with_its_key(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    play(tmp_path)
    rewrite(tmp_path, **changes)
    found = read_records(tmp_path)
    assert isinstance(next(found), SessionRecord)
    with pytest.raises(ValueError, match=rf"sessions.jsonl, line 2: .*{message}"):
        next(found)


@pytest.mark.parametrize(
    "line", ["", "{", "[]", "null", '{"seed": NaN}', "[" * 100_000, "\udcff", '{"a": ' + "9" * 5000 + "}"]
)
def test_a_line_that_is_no_json_object_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "sessions.jsonl").write_bytes(line.encode(errors="surrogateescape") + b"\n")
    with pytest.raises(ValueError, match=r"sessions\.jsonl, line 1: "):
        list(read_records(tmp_path))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int) -> bytes:
    """A small PNG file that claims to be a big picture."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def picture_error(folder: Path, content: bytes, **limits: Any) -> str:
    play(folder)
    name = json.loads((folder / "sessions.jsonl").read_text().splitlines()[1])["played"]["pictures"][1]
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"line 2: key 'played.pictures\[1\]'") as caught:
        list(read_records(folder, **limits))
    return str(caught.value)


def test_broken_and_foreign_pictures_are_refused(tmp_path: Path) -> None:
    play(tmp_path / "x")
    png = next((tmp_path / "x" / "pictures").iterdir()).read_bytes()
    assert "is no picture that can be used" in picture_error(tmp_path / "a", b"GIF89a")
    assert "is no picture that can be used" in picture_error(tmp_path / "b", b"")
    assert "is no picture that can be used" in picture_error(tmp_path / "c", png[: len(png) // 2])
    grey = tmp_path / "grey.png"
    Image.new("L", (8, 8)).save(grey)
    assert "it has mode L, expected RGB" in picture_error(tmp_path / "d", grey.read_bytes())
    Image.new("RGB", (4, 8)).save(grey)
    assert "has shape (8, 4, 3), expected" in picture_error(tmp_path / "e", grey.read_bytes())


def test_big_pictures_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    assert "has 5000 x 5000 pixels" in picture_error(tmp_path / "a", bomb(5000, 5000))
    assert "is no picture that can be used" in picture_error(tmp_path / "b", bomb(60000, 60000))
    assert "has 8 x 9 pixels, expected 64 at most" in picture_error(tmp_path / "c", bomb(8, 9), max_pixels=64)


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    play(folder)
    outside = tmp_path / "secret.png"
    Image.new("RGB", (8, 8)).save(outside)
    os.symlink(outside, folder / "pictures" / "link.png")
    rewrite(folder, pictures=["pictures/link.png"] * 4)
    with pytest.raises(ValueError, match=r"'pictures/link\.png' lies outside of the records' folder"):
        list(read_records(folder))


def test_a_pipe_does_not_make_the_reader_wait(tmp_path: Path) -> None:
    play(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    rewrite(tmp_path, pictures=["pipe.png"] * 4)
    with pytest.raises(ValueError, match=r"'pipe\.png' is no file in the records' folder"):
        list(read_records(tmp_path))


def test_replay_notices_a_user_who_says_something_else(tmp_path: Path) -> None:
    play(tmp_path)
    record = next(read_records(tmp_path))
    other = replace(record, transcript=(record.transcript[0], "something else", record.transcript[2]))
    with pytest.raises(ValueError, match="at turn 1 the user has said"):
        replay(other, MICEEditEnv(FakeWorld(), ScriptUser(), FlatScorer()))


def test_a_disk_that_fills_up_leaves_the_records_as_they_were(tmp_path: Path, monkeypatch: Any) -> None:
    """A second line is written in part; fails where half of it stays or the first line is lost."""
    play(tmp_path, 1)
    before = (tmp_path / "sessions.jsonl").read_bytes()
    real, written = io.FileIO.write, []

    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            if written:
                raise OSError(28, "No space left on device")
            written.append(real(self, bytes(data)[:100]))
            return written[0]

    monkeypatch.setattr(files, "open", lambda path, mode, **_: Full(path, "a+"), raising=False)
    with pytest.raises(OSError, match="No space left"):
        files.append_line(tmp_path / "sessions.jsonl", before)
    assert written and (tmp_path / "sessions.jsonl").read_bytes() == before


def test_half_a_line_of_a_killed_writer_is_taken_away(tmp_path: Path) -> None:
    play(tmp_path, 1)
    with open(tmp_path / "sessions.jsonl", "ab") as file:
        file.write(b'{"image": "' + b"x" * 100_000)
    play(tmp_path, 1)
    assert [record.index for record in read_records(tmp_path)] == [0, 0]


def test_writers_take_turns(tmp_path: Path) -> None:
    """Several processes write long lines into one file; fails where two of them are mixed."""
    code = (
        "import sys; from pathlib import Path; from editenv.files import append_line\n"
        "for _ in range(10): append_line(Path(sys.argv[1]), sys.argv[2].encode() * 200_000 + b'\\n')"
    )
    path = tmp_path / "lines"
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), letter]) for letter in "abc"]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    lines = path.read_bytes().splitlines()
    assert len(lines) == 30 and {(len(line), len(set(line))) for line in lines} == {(200_000, 1)}


@pytest.mark.parametrize("user", ["replay", "goal"])
def test_what_was_recorded_can_be_played_again_where_the_user_followed_a_script(tmp_path: Path, user: str) -> None:
    env = make_env(suite="mice-cm", user=user, record_to=str(tmp_path))
    env.reset(seed=4)
    while env.session.ending is None:
        env.step({"image": env.session.pictures[-1].copy(), "intent": ""})
    (record,) = read_records(tmp_path)
    assert record.transcript == env.session.transcript
    path = str(tmp_path / "sessions.jsonl")
    if user == "goal":  # What it says follows from what the agent does.
        with pytest.raises(ValueError, match="line 1: key 'task_type' is missing"):
            make_env(sessions_file=path)
        return
    again = make_env(sessions_file=path)
    seen, info = again.reset(seed=0)
    assert info["session"] == record.session and (seen["image"] == record.pictures[0]).all()
    for scores in record.scores:
        action = {"image": seen["image"], "intent": ""}
        seen, _, _, _, info = again.step(action)
        assert info["scores"] == scores
