"""A hundred broken files: each is refused by a clear error that names what is wrong, and nothing hangs."""

from __future__ import annotations

import json
import os
import time
import warnings

import pytest

from editenv.cli import main
from editenv.worlds.records.world import open_sessions
from tests.worlds.records.broken import FILES, GOOD

SECONDS = 5


def play(path):
    """Everything that playing a file reads."""
    world = open_sessions(path)
    for index in range(len(world.file.lines)):
        world.picture(world.session("test", 0, index))


def test_there_are_a_hundred():
    assert len(FILES) >= 100


def test_the_file_that_all_are_made_from_is_good(folder):
    path = folder / "sessions.jsonl"
    path.write_bytes(GOOD + b"\n" + GOOD)
    play(path)


@pytest.mark.parametrize("name", FILES)
def test_a_broken_file_is_refused_by_players_and_by_the_check(folder, capsys, name):
    """Fails where one of them takes the file, raises anything else, says something else or takes too long."""
    build, message = FILES[name]
    path = folder / "sessions.jsonl"
    path.write_bytes(build(folder))
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError) as error:
            play(path)
        assert main(["records", "check", str(path), "--json"]) == 1
    assert time.process_time() - began < SECONDS
    said = str(error.value)
    assert said.startswith(f"{path}") and message in said and len(said) < 3000
    found = json.loads(capsys.readouterr().out)["errors"]
    assert message in found[0]["error"]


@pytest.mark.parametrize("what", ["nothing", "folder", "pipe"])
def test_what_is_no_file_is_refused(tmp_path, capsys, what):

    path = tmp_path / "sessions.jsonl"
    {"nothing": lambda p: None, "folder": os.mkdir, "pipe": os.mkfifo}[what](path)
    with pytest.raises(ValueError, match="which is no file, expected JSON Lines"):
        play(path)
    assert main(["records", "check", str(path)]) == 2
    assert "which is no file" in capsys.readouterr().err
