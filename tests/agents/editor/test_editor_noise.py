"""Numbers are functions of names."""

import torch

from editenv.agents.editor.noise import normals, uniforms


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
