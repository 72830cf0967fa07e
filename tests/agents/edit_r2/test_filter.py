from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from editenv.agents.edit_r2.filter import FILTERS, first_failure, none

DATA = dict(np.load(Path(__file__).parents[2] / "data" / "advantage.npz"))
NAN = float("nan")


def test_first_failure_reproduces_the_published_mask():
    keep = first_failure(torch.from_numpy(DATA["if"]))
    assert keep.dtype == torch.bool
    assert torch.equal(keep, torch.from_numpy(DATA["mask"]).bool())
    assert not keep.all()


def test_the_failed_turn_trains_and_what_follows_does_not():
    scores = torch.tensor([[[1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0], [1.0, 1.0, 1.0, 0.0]]])
    assert first_failure(scores).tolist() == [
        [[True, True, False, False], [True, False, False, False], [True, True, True, True]]
    ]


def test_a_low_vote_is_no_failure():
    assert first_failure(torch.tensor([[[0.25, 1.0]]])).all()


def test_a_turn_without_a_score_is_no_failure():
    assert first_failure(torch.tensor([[[NAN, 1.0, 1.0]]])).all()
    scores = torch.tensor([[[0.0, 1.0]]])
    assert first_failure(scores, torch.tensor([[[False, True]]])).all()
    assert not first_failure(scores, torch.tensor([[[True, True]]])).all()


def test_none_keeps_everything():
    keep = none(torch.zeros(2, 3, 4))
    assert keep.dtype == torch.bool and keep.shape == (2, 3, 4) and keep.all()


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, NAN]), min_size=1, max_size=6))
def test_kept_turns_are_a_beginning_that_ends_with_the_first_zero(scores):
    keep = first_failure(torch.tensor(scores)[None, None])[0, 0].tolist()
    length = scores.index(0.0) + 1 if 0.0 in scores else len(scores)
    assert keep == [True] * length + [False] * (len(scores) - length)


def test_registry_holds_both():
    assert FILTERS == {"first_failure": first_failure, "none": none}
