"""The folder of the best weights, whole whenever somebody looks."""

import json
import shutil
from pathlib import Path

import pytest

from editenv.agents.watching.best import read_best, recover, write_best


def saver(text: str):
    return lambda folder: (folder / "weights").write_text(text)


def weights(out):
    return (out / "best" / "weights").read_text()


def test_new_weights_take_the_place_of_old_ones_with_their_facts(tmp_path):
    assert read_best(tmp_path) is None
    for number in (3, 7):
        write_best(saver(f"after {number}"), {"iteration": number}, tmp_path)
        assert weights(tmp_path) == f"after {number}" and read_best(tmp_path) == {"iteration": number}
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_writer_that_fails_leaves_the_old_ones(tmp_path):
    write_best(saver("old"), {"iteration": 1}, tmp_path)

    def full(folder):
        (folder / "weights").write_text("ha")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_best(full, {"iteration": 2}, tmp_path)
    assert weights(tmp_path) == "old" and read_best(tmp_path) == {"iteration": 1}


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_whenever_it_is_killed_weights_and_facts_belong_together(tmp_path, monkeypatch, renames):
    """Killed before the first, between, and after both of the two renames."""
    write_best(saver("1"), {"iteration": 1}, tmp_path)
    true, left = Path.replace, [renames]

    def killed(self, target):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return true(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        if renames < 2:
            with pytest.raises(KeyboardInterrupt):
                write_best(saver("2"), {"iteration": 2}, tmp_path)
        else:
            patch.setattr(shutil, "rmtree", lambda *_, **__: None)
            write_best(saver("2"), {"iteration": 2}, tmp_path)
    recover(tmp_path)
    expected = 2 if renames == 2 else 1
    assert weights(tmp_path) == str(expected) and read_best(tmp_path) == {"iteration": expected}
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
    json.loads((tmp_path / "best" / "best.json").read_text())
