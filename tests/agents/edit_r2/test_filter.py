from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from editenv.agents import edit_r2, variants

DATA = dict(np.load(Path(__file__).parents[2] / "data" / "advantage.npz"))
NAN = float("nan")


def filtered(function, scores, scored=None, **more):
    return function(scores, ~scores.isnan() if scored is None else scored, **more)


def first_failure(scores, scored=None):
    return filtered(edit_r2.first_failure, scores, scored)


def test_first_failure_reproduces_the_published_mask():
    keep, counts = first_failure(torch.from_numpy(DATA["if"]))
    assert counts.all()
    assert keep.dtype == torch.bool
    assert torch.equal(keep, torch.from_numpy(DATA["mask"]).bool())
    assert not keep.all()


def test_the_failed_turn_trains_and_what_follows_does_not():
    scores = torch.tensor([[[1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0], [1.0, 1.0, 1.0, 0.0]]])
    assert first_failure(scores).loss_mask.tolist() == [
        [[True, True, False, False], [True, False, False, False], [True, True, True, True]]
    ]


def test_a_low_vote_is_no_failure():
    assert first_failure(torch.tensor([[[0.25, 1.0]]])).loss_mask.all()


def test_a_turn_without_a_score_is_no_failure():
    assert first_failure(torch.tensor([[[NAN, 1.0, 1.0]]])).loss_mask.all()
    scores = torch.tensor([[[0.0, 1.0]]])
    assert first_failure(scores, torch.tensor([[[False, True]]])).loss_mask.all()
    assert not first_failure(scores, torch.tensor([[[True, True]]])).loss_mask.all()


def test_none_keeps_everything():
    keep, counts = filtered(variants.no_filter, torch.zeros(2, 3, 4))
    assert keep.dtype == torch.bool and keep.shape == (2, 3, 4) and keep.all() and counts.all()


def test_exclude_takes_what_it_masks_out_of_the_statistics():
    scores = torch.tensor([[[1.0, 0.0, 1.0], [0.25, 1.0, 1.0]]])
    keep, counts = filtered(variants.exclude, scores)
    assert keep.tolist() == counts.tolist() == [[[True, True, False], [True, True, True]]]


def test_threshold_counts_a_low_vote_as_a_failure():
    scores = torch.tensor([[[0.5, 0.25, 1.0], [0.75, NAN, 1.0]]])
    keep, counts = filtered(variants.below_threshold, scores, threshold=0.5)
    assert keep.tolist() == [[[True, True, False], [True, True, True]]] and counts.all()
    assert filtered(variants.below_threshold, scores, threshold=0.6).loss_mask[0, 0].tolist() == [True, False, False]


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, NAN]), min_size=1, max_size=6))
def test_kept_turns_are_a_beginning_that_ends_with_the_first_zero(scores):
    keep = first_failure(torch.tensor(scores)[None, None]).loss_mask[0, 0].tolist()
    length = scores.index(0.0) + 1 if 0.0 in scores else len(scores)
    assert keep == [True] * length + [False] * (len(scores) - length)
