"""The folder of the best weights is whole whenever it is read; the reward-hacking check, by hand."""

import json
import math
import shutil
from pathlib import Path

import pytest

from editenv.agents.heldout import Point, read_best, recover_best, reward_hacking, trend, write_best


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


@pytest.mark.parametrize("renames", [0, 1, 2, 3])
def test_whenever_it_is_killed_weights_and_facts_belong_together(tmp_path, monkeypatch, renames):
    """Killed before, between and after the three renames: of the facts, of the old folder, of the new one."""
    write_best(saver("1"), {"iteration": 1}, tmp_path)
    true, left = Path.replace, [renames]

    def killed(self, target):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return true(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        if renames < 3:
            with pytest.raises(KeyboardInterrupt):
                write_best(saver("2"), {"iteration": 2}, tmp_path)
        else:
            patch.setattr(shutil, "rmtree", lambda *_, **__: None)
            write_best(saver("2"), {"iteration": 2}, tmp_path)
    recover_best(tmp_path)
    expected = 2 if renames == 3 else 1
    assert weights(tmp_path) == str(expected) and read_best(tmp_path) == {"iteration": expected}
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
    json.loads((tmp_path / "best" / "best.json").read_text())


def curve(*means: float, error: float = 0.02, every: int = 10) -> list[Point]:
    return [Point(place * every, mean, error) for place, mean in enumerate(means)]


RISING, FALLING, FLAT = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8), (0.6, 0.5, 0.4, 0.3, 0.2, 0.1), (0.5,) * 6


def test_the_line_through_three_points_by_hand():
    """Times 0, 1, 2 and means 0, 0, 3: slope 3/2; distances 1/2, -1, 1/2, so RSS 3/2, n - 2 = 1, S = 2.

    Points' errors of 0.1: sqrt((0.01 + 0 + 0.01)) / 2 a unit of time.
    """
    line = trend(curve(0.0, 0.0, 3.0, error=0.1, every=1))
    assert line.change == pytest.approx(2 * 1.5)
    assert line.error == pytest.approx(2 * math.sqrt(1.5 / 1 / 2))
    straight = trend(curve(0.0, 1.0, 2.0, error=0.1, every=1))
    assert straight.change == pytest.approx(2.0)
    assert straight.error == pytest.approx(2 * math.sqrt(0.02) / 2)


def test_the_unit_of_time_does_not_matter():
    near, far = trend(curve(*RISING, every=1)), trend(curve(*RISING, every=50))
    assert near.change == pytest.approx(far.change) and near.error == pytest.approx(far.error)


def test_rising_reward_and_falling_scores_are_told():
    rising, falling = reward_hacking(curve(*RISING), curve(*FALLING))
    assert rising.change == pytest.approx(0.5) and falling.change == pytest.approx(-0.5)


@pytest.mark.parametrize(
    ("training", "held_out"),
    [
        (RISING, RISING),
        (FALLING, FALLING),
        (FALLING, RISING),
        (FLAT, FALLING),
        (RISING, FLAT),
        # Up and down by more than the fall: the distances from the line are the larger error.
        (RISING, (0.6, 0.3, 0.7, 0.2, 0.6, 0.3)),
        # Surely, but by so little that it is of no interest.
        (RISING, (0.5, 0.498, 0.496, 0.494, 0.492, 0.49)),
    ],
)
def test_everything_else_is_not(training, held_out):
    assert reward_hacking(curve(*training, error=0.001), curve(*held_out, error=0.001)) is None


def test_a_fall_within_the_errors_is_not_told():
    """It is 0.5 over six points, with an error of 5 e / sqrt(17.5): three of these are 0.5 at e = 0.139."""
    assert reward_hacking(curve(*RISING), curve(*FALLING, error=0.135)) is not None
    assert reward_hacking(curve(*RISING), curve(*FALLING, error=0.145)) is None


def test_three_evaluations_say_nothing_and_old_ones_are_forgotten():
    assert reward_hacking(curve(*RISING[:3]), curve(*FALLING[:3])) is None
    assert reward_hacking(curve(*RISING[:4]), curve(*FALLING[:4])) is not None
    # It fell long ago, and has been flat for six evaluations.
    assert reward_hacking(curve(*RISING, *RISING), curve(*FALLING, *FLAT)) is None
    # It rose long ago, and falls now: the last six decide.
    assert reward_hacking(curve(*RISING, *RISING), curve(*RISING, *FALLING)) is not None


def test_the_times_of_the_two_may_differ():
    """The last evaluation has no rollout beside it."""
    assert reward_hacking(curve(*RISING[:5]), curve(*FALLING)) is not None


def test_points_of_one_time_have_no_trend():
    with pytest.raises(ValueError, match=r"iterations \[3\], expected two or more"):
        trend([Point(3, 0.1, 0.0), Point(3, 0.2, 0.0)])
