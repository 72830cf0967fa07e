"""One turn of the unified model: when the user's words serve, and what a picture is made from."""

import numpy as np
import pytest
import torch

from editenv.agents.editor.turns import TurnSettings, decode, encode, generate, spoken, write_intents
from editenv.agents.unified import Written
from editenv.worlds.studio.world import StudioWorld
from tests.tiny_editor import TURN, tiny_checkpoint

PAD, BOS, EOS = 0, 2, 3


@pytest.fixture(scope="module")
def checkpoint():
    return tiny_checkpoint()


def written(checkpoint, *rows: list[int]) -> Written:
    length = max(len(row) for row in rows)
    ids = torch.tensor([row + [PAD] * (length - len(row)) for row in rows])
    mask = torch.tensor([[True] * len(row) + [False] * (length - len(row)) for row in rows])
    return Written(ids, mask, torch.zeros(mask.shape))


def test_the_users_words_serve_where_an_intent_is_empty_or_never_ends(checkpoint):
    add, the = checkpoint.tokenizer.convert_tokens_to_ids(["add", "the"])
    rows = written(checkpoint, [add, the, EOS], [EOS], [add, the, add], [BOS, EOS], [add, EOS])
    texts, fell = spoken(checkpoint, rows, ["a", "b", "c", "d", "e"])
    assert texts == ["add the", "b", "c", "d", "add"]
    assert fell == [False, True, True, True, False]


def test_a_greedy_intent_needs_no_numbers_and_a_sampled_one_does(checkpoint):
    greedy = write_intents(checkpoint, [("add a star",)], TurnSettings(max_intent_tokens=4))
    assert greedy.ids.shape[1] <= 4
    with pytest.raises(ValueError, match="uniforms are missing"):
        write_intents(checkpoint, [("add a star",)], TURN)


def test_scenes_survive_the_autoencoder(checkpoint):
    world = StudioWorld("mixed")
    pictures = [world.picture(world.session("train", 0, number)) for number in range(4)]
    back = decode(checkpoint, encode(checkpoint, pictures))
    assert back[0].dtype == np.uint8 and back[0].shape == (64, 64, 3)
    assert np.abs(np.stack(back).astype(int) - np.stack(pictures)).mean() < 4


def test_a_picture_hangs_on_its_noise_its_source_and_its_intent(checkpoint):
    generator = torch.Generator().manual_seed(0)
    shape = (1, 16, checkpoint.model.config.latent_dim)
    source, noise = (torch.randn(shape, generator=generator) for _ in range(2))

    def made(source=source, intent="add a star", noise=noise):
        return generate(checkpoint, source, [intent], noise, TURN)

    assert torch.equal(made(), made())
    for other in (made(source=source + 1), made(intent="remove the star"), made(noise=noise + 1)):
        assert not torch.allclose(made(), other)


def test_the_time_grid_has_one_time_more_than_steps():
    times = TurnSettings(steps=4, shift=2.0).times()
    assert times.tolist() == pytest.approx([1, 6 / 7, 2 / 3, 2 / 5, 0])
