"""What outside code can add: sentences of a new act, suites in files of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from editenv.worlds.studio.phrases import add_sentences
from editenv.worlds.studio.suites import load_suite
from editenv.worlds.studio.world import StudioWorld

SUITE = "turns: 2\nobjects: [3, 4]\nreference: {share: 0.0}\ntasks: {subject_remove: 1}\n"


def test_a_suite_in_a_file_is_named_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(SUITE)
    world = StudioWorld(str(path))
    spec = world.session("test", 3, 0)
    assert (spec.suite, spec.turn_count, world.max_turns) == ("mine", 2, 2)
    assert {turn.edit.task for turn in spec.turns} == {"subject_remove"}
    path.write_text(SUITE.replace("turns: 2", "turns: 3"))
    assert load_suite(str(path)).turns == 3


def test_files_that_are_missing_or_wrong_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"suite is '.*none\.yaml', which is no file"):
        load_suite(str(tmp_path / "none.yaml"))
    path = tmp_path / "mine.yaml"
    path.write_text(SUITE.replace("turns: 2", "turns: 0"))
    with pytest.raises(ValueError, match=r"suite mine\.yaml: key 'turns' is 0"):
        load_suite(str(path))


def test_sentences_that_would_do_harm_are_refused() -> None:
    with pytest.raises(ValueError, match="'subject_add' is there already"):
        add_sentences("subject_add", {"train": ["a"], "test": ["b"]})
    with pytest.raises(ValueError, match="'twirl' has no sentences under 'test'"):
        add_sentences("twirl", {"train": ["twirl"]})
