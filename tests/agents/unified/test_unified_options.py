"""Every option trains, means what it says, and survives saving."""

import pytest
import torch
from torch.testing import assert_close

from editenv.agents.unified.config import UnifiedConfig
from editenv.agents.unified.context import ImageBlock, TextBlock
from editenv.agents.unified.layers import position_table
from editenv.agents.unified.model import UnifiedModel

CHOICES = {
    "none": {},
    "source": {"source_channel": True},
    "residual": {"source_channel": True, "residual_prediction": True},
    "norm": {"adaptive_norm": True},
    "all": {"source_channel": True, "residual_prediction": True, "adaptive_norm": True},
}


def batch(model):
    generator = torch.Generator().manual_seed(0)
    source, noise = (torch.randn(8, 4, 6, generator=generator) for _ in range(2))
    ids = torch.randint(6, 40, (8, 5), generator=generator)
    image = source.roll(1, dims=1) * 0.5 + ids[:, :1, None] / 20
    t = torch.linspace(0.2, 1, 8)[:, None]
    x = (1 - t[..., None]) * image + t[..., None] * noise
    blocks = [ImageBlock(source), TextBlock(ids)]
    given = source if model.config.source_channel else None
    return {
        "text_context": [TextBlock(ids[:, :2])],
        "intent_ids": ids[:, 2:],
        "image_context": blocks,
        "x": x[:, None],
        "t": t,
        "source": given,
    }, noise - image


def losses(model, inputs, target):
    out = model(**inputs)
    text = torch.nn.functional.cross_entropy(out.logits.flatten(0, 1), inputs["intent_ids"].flatten())
    weight = inputs["t"][:, :, None, None] ** 2
    return text, (weight * (out.velocity[:, 0:1] - target[:, None]) ** 2).mean()


@pytest.mark.parametrize("name", ["none", "residual", "all"])
def test_both_losses_fall_and_every_parameter_moves(sizes, name):
    torch.manual_seed(0)
    model = UnifiedModel(UnifiedConfig(**sizes, **CHOICES[name]))
    start = {key: value.clone() for key, value in model.named_parameters() if value.requires_grad}
    inputs, target = batch(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    history = []
    for _ in range(40):
        text, flow = losses(model, inputs, target)
        (text + flow).backward()
        optimiser.step()
        optimiser.zero_grad()
        history.append((text.item(), flow.item()))
    assert history[-1][0] < 0.5 * history[0][0]
    assert history[-1][1] < 0.7 * history[0][1]
    parameters = dict(model.named_parameters())
    assert [key for key, value in start.items() if torch.equal(value, parameters[key])] == []


@torch.no_grad()
def test_the_residual_is_turned_into_a_velocity_by_hand(build):
    """With the head set to a constant r, velocity must be (x - source - r) / t."""
    model = build(**CHOICES["residual"])
    model.llm2vae.weight.zero_()
    model.llm2vae.bias.fill_(0.25)
    x, source, t = torch.full((2, 4, 6), 1.0), torch.full((2, 4, 6), 0.35), torch.tensor([0.5, 1.0])
    velocity = model.velocity(model.new_context(2), x, t, source=source)
    assert_close(velocity, torch.tensor([0.8, 0.4])[:, None, None].expand(2, 4, 6))


@torch.no_grad()
def test_without_the_option_the_head_is_the_velocity(build):
    model = build(**CHOICES["source"])
    model.llm2vae.weight.zero_()
    model.llm2vae.bias.fill_(0.25)
    x, t = torch.ones(2, 4, 6), torch.tensor([0.5, 1.0])
    assert_close(model.velocity(model.new_context(2), x, t, source=x), torch.full((2, 4, 6), 0.25))


@torch.no_grad()
def test_the_source_reaches_the_prediction(build):
    model, x, t = build(**CHOICES["source"]), torch.randn(1, 4, 6), torch.tensor([0.5])
    first, second = (model.velocity(model.new_context(1), x, t, source=x * k) for k in (1, 2))
    assert not torch.allclose(first, second, atol=1e-3)


@torch.no_grad()
def test_adaptive_norm_starts_as_the_plain_norm_and_then_depends_on_the_time(sizes):
    torch.manual_seed(0)
    adaptive = UnifiedModel(UnifiedConfig(**sizes, adaptive_norm=True)).eval()
    plain = UnifiedModel(UnifiedConfig(**sizes)).eval()
    adaptive.llm2vae.weight.normal_()
    plain.load_state_dict(adaptive.state_dict(), strict=False)
    x, t = torch.randn(2, 4, 6), torch.tensor([0.1, 0.9])
    before = adaptive.velocity(adaptive.new_context(2), x, t)
    assert_close(before, plain.velocity(plain.new_context(2), x, t))
    for module in adaptive.modules():
        if hasattr(module, "modulation_moe_gen"):
            module.modulation_moe_gen.weight.normal_(0, 0.5)
    after = adaptive.velocity(adaptive.new_context(2), x, t)
    assert not torch.allclose(after, before, atol=1e-3)


def test_a_new_model_predicts_zero_and_holds_the_position_table(sizes):
    model = UnifiedModel(UnifiedConfig(**sizes))
    velocity = model.velocity(model.new_context(1), torch.randn(1, 4, 6), torch.ones(1))
    assert torch.equal(velocity, torch.zeros(1, 4, 6))
    assert torch.equal(model.latent_pos_embed.pos_embed, position_table(32, 8))
    assert not model.latent_pos_embed.pos_embed.requires_grad


@torch.no_grad()
def test_saved_and_loaded_is_the_same_model(full_model, sizes, tmp_path):
    full_model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    loaded = UnifiedModel.from_pretrained(tmp_path)
    for name in (*sizes, *CHOICES["all"], "rope_parameters"):
        if name != "rope_theta":
            assert getattr(loaded.config, name) == getattr(full_model.config, name), name
    inputs, _ = batch(full_model)
    before, after = full_model(**inputs), loaded.eval()(**inputs)
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in full_model.state_dict().items())
    assert_close(after.logits, before.logits)
    assert_close(after.velocity, before.velocity)


def test_weights_of_the_vision_encoder_are_skipped_and_others_are_not(model, tmp_path):
    from safetensors.torch import save_file

    model.save_pretrained(tmp_path)
    extra = {"vit_model.x": torch.ones(1), "connector.fc1.weight": torch.ones(1), "stranger.y": torch.ones(1)}
    save_file({**model.state_dict(), **extra}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    _, info = UnifiedModel.from_pretrained(tmp_path, output_loading_info=True)
    assert set(info["unexpected_keys"]) == {"stranger.y"}
    assert not info["missing_keys"]


@torch.no_grad()
def test_bfloat16_weights_give_a_float32_velocity(full_model):
    exact = velocity_of(full_model)
    rounded = velocity_of(full_model.to(torch.bfloat16))
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).abs().max() < 0.1 * exact.abs().max()


def velocity_of(model):
    generator = torch.Generator().manual_seed(0)
    source, x = (torch.randn(2, 4, 6, generator=generator) for _ in range(2))
    context = model.build_context([ImageBlock(source), TextBlock(torch.full((2, 3), 7))], 2)
    return model.velocity(context, x, torch.tensor([0.5, 1.0]), source=source)
