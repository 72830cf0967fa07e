import math
from unittest.mock import patch

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from editenv.agents.plots import COLOURS, learning_curves, running_mean, turn_colour
from editenv.agents.stats import summarise


def logs(count=40):
    rng = np.random.default_rng(0)
    for iteration in range(count):
        level = 0.3 + 0.5 * iteration / count
        log = {"iteration": iteration}
        for name in ("reward", "instruction_following", "content_consistency", "global_awareness", "rule_kept"):
            log[name] = [float(np.clip(level - 0.12 * turn + rng.normal(0, 0.05), 0, 1)) for turn in range(3)]
        log["rule_kept"][0] = None
        log |= {"flow_clip_fraction": 0.1, "text_clip_fraction": 0.2, "flow_kl": 1e-5 * iteration, "text_kl": 0.01}
        if iteration % 10 == 0:
            hits = (rng.random((64, 3)) < level).astype(float).tolist()
            log["held_out"] = summarise({"reward": hits, "global_awareness": hits})
        yield log


def picture(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def holds_colour(pixels, colour):
    return bool((np.abs(pixels.astype(int) - colour).max(axis=-1) <= 2).any())


def test_the_picture_shows_each_turn_in_its_colour(tmp_path):
    learning_curves(list(logs()), tmp_path / "curves.png", "demo")
    pixels = picture(tmp_path / "curves.png")
    assert pixels.shape[1] > pixels.shape[0] > 300
    for colour in ((0, 114, 178), (230, 159, 0), (0, 158, 115)):
        assert holds_colour(pixels, colour)
    assert not holds_colour(pixels, (204, 121, 167))


def test_only_panels_with_data_are_drawn(tmp_path):
    learning_curves([{"iteration": 0, "reward": [0.5]}, {"iteration": 1, "reward": [0.6]}], tmp_path / "one.png")
    learning_curves(list(logs()), tmp_path / "all.png")
    one, everything = picture(tmp_path / "one.png"), picture(tmp_path / "all.png")
    assert one.shape[1] * 3 < everything.shape[1]


def test_the_same_logs_give_the_same_picture_and_other_logs_another(tmp_path):
    some = [{"iteration": log["iteration"], "reward": log["reward"]} for log in logs(12)]
    learning_curves(some, tmp_path / "a.png")
    learning_curves(some, tmp_path / "b.png")
    learning_curves([*some[:-1], {**some[-1], "reward": [0.0, 0.0, 0.0]}], tmp_path / "c.png")
    assert np.array_equal(picture(tmp_path / "a.png"), picture(tmp_path / "b.png"))
    assert not np.array_equal(picture(tmp_path / "a.png"), picture(tmp_path / "c.png"))


def test_held_out_points_alone_and_missing_scores_can_be_drawn(tmp_path):
    learning_curves(
        [
            {"iteration": 0, "held_out": {"reward": [None, 0.2]}, "flow_kl": None},
            {"iteration": 5, "reward": [0.1], "flow_kl": math.nan},
        ],
        tmp_path / "sparse.png",
    )
    assert holds_colour(picture(tmp_path / "sparse.png"), (230, 159, 0))


def test_running_mean_by_hand():
    assert running_mean([1.0, 2.0, 6.0, 4.0], 3) == [1.0, 3.0, 4.0, 4.0]
    assert running_mean([1.0, 2.0], 1) == [1.0, 2.0]
    gap = running_mean([1.0, math.nan, 3.0], 3)
    assert gap == [1.0, 2.0, 3.0]
    assert math.isnan(running_mean([math.nan], 1)[0])


def test_nothing_to_draw_is_refused(tmp_path):
    with pytest.raises(ValueError, match="logs: got 1 without"):
        learning_curves([{"iteration": 0, "seconds": 3.0}], tmp_path / "none.png")


def test_sixteen_turns_have_colours_of_their_own_and_few_names(tmp_path):
    """Fails where turns share a colour, or where the names of all of them cover the curves."""
    colours = [turn_colour(turn, 16) for turn in range(16)]
    assert len(set(colours)) == 16
    assert [turn_colour(turn, 3) for turn in range(3)] == list(COLOURS[:3])
    long = [{"iteration": step, "reward": [0.5 + turn / 40 for turn in range(16)]} for step in range(3)]
    figure = None

    def kept(self, *_, **__):
        nonlocal figure
        figure = self

    with patch.object(Figure, "savefig", kept):
        learning_curves(long, tmp_path / "long.png")
    assert figure is not None
    named = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert named == ["turn 1", "turn 5", "turn 9", "turn 12", "turn 16"]


def test_curves_of_a_curriculum_have_turns_that_begin_later(tmp_path):
    """Fails where iterations with fewer turns break the picture of later ones."""
    grown = [{"iteration": step, "reward": [0.5] * (2 if step < 2 else 8)} for step in range(4)]
    learning_curves(grown, tmp_path / "grown.png")
    assert (tmp_path / "grown.png").stat().st_size > 0
