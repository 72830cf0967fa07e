"""One turn of the unified model: when the user's words serve, and what a picture is made from."""

import numpy as np
import pytest
import torch

from editenv.agents.editor.turns import TurnSettings, decode, encode, generate, spoken, write_intents
from editenv.agents.unified import GeneratedText
from editenv.worlds.studio.world import StudioWorld
from tests.tiny_editor import TURN, tiny_checkpoint

PAD, BOS, EOS = 0, 2, 3


@pytest.fixture(scope="module")
def checkpoint():
    return tiny_checkpoint()


def written(checkpoint, *rows: list[int]) -> GeneratedText:
    length = max(len(row) for row in rows)
    ids = torch.tensor([row + [PAD] * (length - len(row)) for row in rows])
    mask = torch.tensor([[True] * len(row) + [False] * (length - len(row)) for row in rows])
    return GeneratedText(ids, mask, torch.zeros(mask.shape))


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


def test_what_several_rollouts_hear_is_read_once_and_written_for_each(checkpoint, monkeypatch):
    said, other = ("add a star", "move it"), ("add a circle",)
    heard = [said, other, said, said]
    uniforms = torch.rand(4, TURN.intent_tokens, generator=torch.Generator().manual_seed(0))
    read: list[int] = []
    append = type(checkpoint.model).append_text

    def counted(model, context, ids, mask=None):
        read.append(len(ids))
        return append(model, context, ids, mask)

    monkeypatch.setattr(type(checkpoint.model), "append_text", counted)
    together = write_intents(checkpoint, heard, TURN, uniforms)
    assert read[0] == 2
    for row, transcript in enumerate(heard):
        alone = write_intents(checkpoint, [transcript], TURN, uniforms[row : row + 1])
        count = int(together.mask[row].sum())
        assert together.ids[row, :count].tolist() == alone.ids[0].tolist()
        torch.testing.assert_close(together.log_prob[row, :count], alone.log_prob[0], atol=1e-5, rtol=0)


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
