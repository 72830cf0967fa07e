"""Turns of different lengths side by side, what came before them, and random numbers by key."""

import torch

from editenv.agents.policy import gather_history, normals, stack_history, stack_turns, uniforms


def test_turns_are_padded_on_the_right_in_every_dimension():
    short = {"ids": torch.tensor([[7]]), "latents": torch.ones(1, 2, 3), "reward": torch.ones(1)}
    long = {"ids": torch.tensor([[1, 2, 3]]), "latents": torch.ones(1, 4, 3), "reward": torch.zeros(1)}
    stacked = stack_turns([short, long])
    assert stacked["ids"].tolist() == [[[7, 0, 0], [1, 2, 3]]]
    assert stacked["latents"][0, 0].sum(-1).tolist() == [3.0, 3.0, 0.0, 0.0]
    assert stacked["reward"].tolist() == [[1.0, 0.0]]


def test_latents_are_stacked_along_the_turns():
    turns = [{"latents": torch.full((2, 3, 4, 5), float(turn))} for turn in range(3)]
    stacked = stack_turns(turns)["latents"]
    assert stacked.shape == (2, 3, 3, 4, 5)
    assert stacked[0, :, 0, 0, 0].tolist() == [0.0, 1.0, 2.0]


SESSIONS = {
    "source": torch.tensor([10.0, 11.0, 12.0]).reshape(1, 3, 1, 1),
    "ids": torch.tensor([[[1, 2], [3, 0], [5, 6]]]),
    "mask": torch.tensor([[[True, True], [True, False], [True, True]]]),
}


def test_the_past_of_each_turn_ends_with_the_turn_before():
    index = torch.tensor([[[-1, -1], [-1, 0], [0, 1]]])
    past = gather_history(SESSIONS, index, tuple(SESSIONS))
    assert past["past_there"].tolist() == [[[False, False], [False, True], [True, True]]]
    assert past["past_source"][0, 2].flatten().tolist() == [10.0, 11.0]
    assert past["past_source"][0, 1].flatten().tolist() == [0.0, 10.0]
    assert past["past_ids"][0, 2].tolist() == [[1, 2], [3, 0]]
    assert past["past_mask"][0, 1].tolist() == [[False, False], [True, True]]


def test_pasts_that_are_kept_turn_by_turn_are_laid_out_the_same():
    """Of sessions with two and one earlier turns, whose texts have different lengths."""
    first = {"source": torch.ones(1, 1), "ids": torch.tensor([1, 2, 3])}
    second = {"source": torch.full((1, 1), 2.0), "ids": torch.tensor([4])}
    past = stack_history([[first, second], [second]])
    assert past["past_there"].tolist() == [[True, True], [False, True]]
    assert past["past_ids"].tolist() == [[[1, 2, 3], [4, 0, 0]], [[0, 0, 0], [4, 0, 0]]]
    assert stack_history([[], []]) == {}


def test_a_rows_numbers_hang_on_its_own_name_alone():
    together = normals([(0, 1), (0, 2), (3, 4, 5)], (4, 2))
    assert torch.equal(normals([(3, 4, 5)], (4, 2))[0], together[2])
    assert torch.equal(normals([(0, 2), (0, 1)], (4, 2)), together[:2].flip(0))
    assert len({row.numpy().tobytes() for row in together}) == 3


def test_torchs_own_generator_is_neither_used_nor_moved():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = uniforms([(1,)], 3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(uniforms([(1,)], 3), first)


def test_longer_draws_begin_like_shorter_ones():
    """So that a larger limit of tokens leaves the texts as they were."""
    assert torch.equal(uniforms([(1, 2)], 9)[:, :4], uniforms([(1, 2)], 4))


def test_distributions_are_as_named():
    many = [(number,) for number in range(500)]
    flat, bell = uniforms(many, 8), normals(many, (8,))
    assert 0 <= flat.min() and flat.max() < 1 and flat.dtype == torch.float64
    assert abs(float(flat.mean()) - 0.5) < 0.02 and bell.dtype == torch.float32
    assert abs(float(bell.mean())) < 0.08 and abs(float(bell.std()) - 1) < 0.05
