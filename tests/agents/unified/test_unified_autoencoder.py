"""Shapes, orders and independence of the small autoencoder, and that its loss teaches it."""

import pytest
import torch
from torch.testing import assert_close

from editenv.agents.unified.autoencoder import (
    CellAutoencoder,
    CellAutoencoderConfig,
    patchify,
    reconstruction_loss,
    unpatchify,
)


def pictures(batch=4, height=64, width=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, height, width, 3), dtype=torch.uint8, generator=generator)


@pytest.fixture
def autoencoder():
    torch.manual_seed(0)
    model = CellAutoencoder(CellAutoencoderConfig(width=64))
    with torch.no_grad():
        for _ in range(3):
            model.train().encode(pictures(32))
    return model.eval()


@pytest.mark.parametrize(
    ("sizes", "dims"), [({}, 32), ({"stride": 8, "patch": 2, "code_channels": 8}, 32), ({"code_channels": 8}, 8)]
)
@torch.no_grad()
def test_shapes_and_types(sizes, dims):
    model = CellAutoencoder(CellAutoencoderConfig(**sizes)).eval()
    tokens = model.encode(pictures(2, 64, 32))
    assert (tokens.shape, tokens.dtype) == ((2, 8, dims), torch.float32)
    decoded = model.decode(tokens, (4, 2))
    assert (decoded.shape, decoded.dtype) == ((2, 64, 32, 3), torch.uint8)
    assert sum(p.numel() for p in model.parameters()) < 800_000


@torch.no_grad()
def test_a_picture_does_not_depend_on_the_batch_and_twice_is_the_same(autoencoder):
    batch = pictures(7)
    tokens = autoencoder.encode(batch)
    assert torch.equal(autoencoder.encode(batch), tokens)
    for row in range(7):
        assert_close(autoencoder.encode(batch[row : row + 1])[0], tokens[row], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_cell_changes_its_own_token_and_pixels_only(autoencoder):
    before, after = pictures(1), pictures(1)
    after[:, 16:32, 32:48] = 255 - after[:, 16:32, 32:48]
    tokens, changed = autoencoder.encode(before), autoencoder.encode(after)
    assert (tokens != changed).any(-1)[0].nonzero().flatten().tolist() == [1 * 4 + 2]
    difference = (autoencoder.decode_float(tokens) != autoencoder.decode_float(changed)).any(-1)[0]
    assert difference[16:32, 32:48].any() and not difference[:16].any() and not difference[:, :32].any()


@torch.no_grad()
def test_training_mode_gives_unit_variance(autoencoder):
    tokens = autoencoder.train().encode(pictures(32)).flatten(0, 1)
    assert_close(tokens.std(0, correction=0), torch.ones(32), atol=1e-2, rtol=0)
    assert_close(tokens.mean(0), torch.zeros(32), atol=1e-4, rtol=0)


def test_the_loss_by_hand_and_that_it_falls():
    torch.manual_seed(0)
    model = CellAutoencoder(CellAutoencoderConfig(width=32))
    with torch.no_grad():
        model.decoder[-1].weight.zero_()
        model.decoder[-1].bias.zero_()
    grey = torch.full((2, 16, 16, 3), 255, dtype=torch.uint8)
    assert_close(reconstruction_loss(model, grey, torch.Generator()).item(), 0.5 + 4 * 0.25)

    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    batch, generator, history = pictures(8, 32, 32), torch.Generator().manual_seed(0), []
    batch = batch[:, ::16, ::16].repeat_interleave(16, 1).repeat_interleave(16, 2)
    for _ in range(60):
        loss = reconstruction_loss(model, batch, generator)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        history.append(loss.item())
    assert history[-1] < 0.5 * history[0]


@torch.no_grad()
def test_saved_and_loaded_keeps_the_statistics(autoencoder, tmp_path):
    autoencoder.save_pretrained(tmp_path)
    loaded = CellAutoencoder.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded.encode(pictures()), autoencoder.encode(pictures()))
    assert not torch.equal(loaded.norm.running_mean, torch.zeros(32))


@torch.no_grad()
def test_patches_are_row_major_with_the_channel_fastest():
    maps = torch.arange(2 * 4 * 6 * 3).view(2, 4, 6, 3)
    patches = patchify(maps, 2)
    assert patches.shape == (2, 6, 12)
    assert torch.equal(patches[0, 4], maps[0, 2:4, 2:4].flatten())
    assert torch.equal(unpatchify(patches, 2, (2, 3)), maps)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.encode(pictures().float()), "pixels are torch.float32"),
        (lambda m: m.encode(pictures(1, 60, 64)), "pictures are 60 x 64, expected multiples of 16"),
        (lambda m: m.decode(torch.zeros(1, 6, 32)), "expected rows \\* columns = 6"),
        (lambda m: CellAutoencoderConfig(width=0), "width is 0, expected a positive integer"),
        (lambda m: patchify(torch.zeros(1, 3, 4, 1), 2), "maps are 3 x 4, expected multiples of the patch side 2"),
    ],
)
def test_wrong_calls_name_what_came(autoencoder, call, message):
    with pytest.raises(ValueError, match=message):
        call(autoencoder)
