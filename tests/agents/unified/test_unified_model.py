"""Cache, padding and batch change nothing; the packed sequence without a cache gives the same velocity."""

import pytest
import torch
from torch.testing import assert_close
from transformers.models.qwen2.modeling_qwen2 import apply_rotary_pos_emb

from editenv.agents.unified.context import ImageBlock, TextBlock, VitBlock
from editenv.agents.unified.layers import position_table, time_features

CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tokens(*shape, seed=0):
    return torch.randint(6, 40, shape, generator=torch.Generator().manual_seed(seed))


def packed_velocity(model, ids, latents, x, t):
    """Velocity of one row from one pass over [text, clean image, noisy image] without cache, by token."""
    stack, special = model.language_model.model, torch.tensor([4, 5])
    position = position_table(32, 8)[torch.tensor([0, 1, 8, 9])]
    clean = model.vae2llm(latents) + model.time_embedder(torch.zeros(1)) + position
    noisy = model.vae2llm(x) + model.time_embedder(t[None]) + position
    start, end = stack.embed_tokens(special).split(1)
    h = torch.cat([stack.embed_tokens(ids), start, clean, end, start, noisy, end])
    n, image = len(ids), 6
    generation = torch.zeros(len(h), dtype=torch.bool)
    generation[n + 1 : n + 5] = generation[n + 7 : n + 11] = True
    rope = torch.tensor([*range(n), *[n] * image, *[n + 1] * image])
    sees = torch.ones(len(h), len(h), dtype=torch.bool).tril()
    for begin in (n, n + image):
        sees[begin : begin + image, begin : begin + image] = True

    def route(name, states):
        module, twin = model.get_submodule(name), model.get_submodule(twin_of(name))
        return torch.stack([(twin if g else module)(s) for g, s in zip(generation, states, strict=True)])

    def twin_of(name):
        head, _, leaf = name.rpartition(".")
        return f"{head}.{leaf}_moe_gen"

    cos, sin = stack.rotary_emb(h[None], rope[None])
    for index in range(2):
        layer = f"language_model.model.layers.{index}"
        normed = route(f"{layer}.input_layernorm", h)
        q = route(f"{layer}.self_attn.q_norm", route(f"{layer}.self_attn.q_proj", normed).view(-1, 4, 8))
        k = route(f"{layer}.self_attn.k_norm", route(f"{layer}.self_attn.k_proj", normed).view(-1, 2, 8))
        v = route(f"{layer}.self_attn.v_proj", normed).view(-1, 2, 8)
        q, k = apply_rotary_pos_emb(q[None].transpose(1, 2), k[None].transpose(1, 2), cos, sin)
        k, v = k[0].repeat_interleave(2, 0), v.transpose(0, 1).repeat_interleave(2, 0)
        weights = (q[0] @ k.mT / 8**0.5).masked_fill(~sees, -torch.inf).softmax(-1)
        h = h + route(f"{layer}.self_attn.o_proj", (weights @ v).transpose(0, 1).flatten(1))
        h = h + route(f"{layer}.mlp", route(f"{layer}.post_attention_layernorm", h))
    return model.llm2vae(stack.norm_moe_gen(h[n + 7 : n + 11]))


@torch.no_grad()
def test_velocity_on_the_cache_equals_one_packed_pass_without_it(model):
    ids, latents, x, t = tokens(2, 5), draw(2, 4, 6), draw(2, 4, 6, seed=1), torch.tensor([0.3, 0.9])
    context = model.build_context([TextBlock(ids), ImageBlock(latents)], 2)
    velocity = model.velocity(context, x, t)
    for row in range(2):
        assert_close(velocity[row], packed_velocity(model, ids[row], latents[row], x[row], t[row]), **CLOSE)


@torch.no_grad()
def test_text_in_pieces_equals_text_in_one(model):
    ids = tokens(3, 9)
    whole = model.append_text(model.new_context(3), ids)
    context = model.new_context(3)
    pieces = [model.append_text(context, piece) for piece in ids.split([4, 1, 4], dim=1)]
    assert_close(torch.cat(pieces, dim=1), whole, **CLOSE)
    assert context.length == 9 and context.position.tolist() == [9, 9, 9]


@pytest.mark.parametrize("side", ["left", "right"])
@torch.no_grad()
def test_padding_on_either_side_changes_nothing(full_model, side):
    ids, latents, x, t = tokens(1, 5), draw(1, 4, 6), draw(1, 4, 6, seed=1), torch.tensor([0.4])
    pads = tokens(1, 3, seed=5)
    padded = torch.cat([pads, ids] if side == "left" else [ids, pads], dim=1)
    mask = torch.ones(1, 8, dtype=torch.bool)
    mask[:, slice(None, 3) if side == "left" else slice(5, None)] = False
    real = slice(3, None) if side == "left" else slice(None, 5)

    plain, wide = full_model.new_context(1), full_model.new_context(1)
    hidden = full_model.append_text(wide, padded, mask)
    assert_close(hidden[:, real], full_model.append_text(plain, ids), **CLOSE)
    results = []
    for context in (plain, wide):
        full_model.append(context, ImageBlock(latents))
        after = full_model.append_text(context, tokens(1, 4, seed=7))
        results.append((after, full_model.velocity(context, x, t, source=latents), context.position))
    for narrow, broad in zip(*results, strict=True):
        assert_close(broad, narrow, **CLOSE)


@torch.no_grad()
def test_a_row_that_is_all_padding_stays_finite(model):
    context = model.new_context(2)
    mask = torch.tensor([[True, True], [False, False]])
    assert model.append_text(context, tokens(2, 2), mask).isfinite().all()
    assert model.velocity(context, draw(2, 4, 6), torch.ones(2)).isfinite().all()
    assert context.position.tolist() == [2, 0]


@torch.no_grad()
def test_a_row_does_not_depend_on_the_rows_beside_it(full_model):
    ids, latents, x, t = tokens(5, 6), draw(5, 4, 6), draw(5, 4, 6, seed=1), torch.linspace(0.1, 1, 5)
    mask = torch.arange(6) >= torch.tensor([0, 1, 2, 3, 4])[:, None]
    context = full_model.build_context([ImageBlock(latents), TextBlock(ids, mask)], 5)
    together = full_model.velocity(context, x, t, source=latents)
    for row in range(5):
        only = slice(row, row + 1)
        alone = full_model.build_context([ImageBlock(latents[only]), TextBlock(ids[only], mask[only])], 1)
        velocity = full_model.velocity(alone, x[only], t[only], source=latents[only])
        assert_close(velocity, together[only], **CLOSE)


@torch.no_grad()
def test_denoising_leaves_the_context_alone(model):
    context = model.build_context([TextBlock(tokens(1, 3))], 1)
    first = model.velocity(context, draw(1, 4, 6), torch.ones(1))
    assert (context.length, context.position.tolist()) == (3, [3])
    assert torch.equal(model.velocity(context, draw(1, 4, 6), torch.ones(1)), first)


@torch.no_grad()
def test_forward_equals_its_parts(full_model):
    ids, intent, latents = tokens(2, 5), tokens(2, 4, seed=3), draw(2, 4, 6)
    mask = torch.tensor([[False, True, True, True, True], [True, True, True, False, False]])
    intent_mask = torch.tensor([[True] * 4, [True, True, False, False]])
    x, t = draw(2, 3, 4, 6, seed=1), torch.tensor([[0.9, 0.6, 0.3], [1.0, 0.5, 0.2]])
    blocks = [ImageBlock(latents), TextBlock(ids, mask)]
    out = full_model([TextBlock(ids, mask)], intent, intent_mask, blocks, x, t, latents)

    context = full_model.new_context(2)
    hidden = full_model.append_text(context, ids, mask)
    expected = [full_model.text_logits(torch.stack([hidden[0, 4], hidden[1, 2]])[:, None])]
    expected.append(full_model.text_logits(full_model.append_text(context, intent, intent_mask))[:, :-1])
    wanted = torch.cat(expected, dim=1)
    assert_close(out.logits[intent_mask], wanted[intent_mask], **CLOSE)
    context = full_model.build_context(blocks, 2)
    for step in range(3):
        velocity = full_model.velocity(context, x[:, step], t[:, step], source=latents)
        assert_close(out.velocity[:, step], velocity, **CLOSE)
    assert full_model(image_context=blocks, x=x, t=t, source=latents).logits is None
    assert full_model([TextBlock(ids)], intent).velocity is None


def test_the_context_carries_gradient_only_when_asked(full_model):
    latents, x, t = draw(2, 4, 6).requires_grad_(), draw(2, 1, 4, 6), torch.full((2, 1), 0.5)
    for wanted in (True, False):
        blocks = [ImageBlock(latents), TextBlock(tokens(2, 3))]
        latents.grad = None
        out = full_model(image_context=blocks, x=x, t=t, source=x[:, 0], context_gradient=wanted)
        out.velocity.square().sum().backward()
        assert (latents.grad is not None) == wanted


def test_vision_tokens_are_read_without_causality(model):
    with torch.no_grad():
        seen = [model.build_context([VitBlock(draw(1, 3, 32, seed=seed))], 1) for seed in (0, 1)]
    assert [context.position.tolist() for context in seen] == [[1], [1]]
    first_keys = [context.layers[1][0][:, :, 0] for context in seen]
    assert not torch.allclose(*first_keys), "the start marker must see the tokens behind it"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, c: m.velocity(c, draw(2, 5, 6), torch.ones(2)), "expected rows \\* columns = 5"),
        (lambda m, c: m.velocity(c, draw(2, 4, 7), torch.ones(2)), r"x has shape \(2, 4, 7\)"),
        (lambda m, c: m.velocity(c, draw(2, 4, 6), torch.ones(3)), r"t has shape \(3,\)"),
        (lambda m, c: m.velocity(c, draw(2, 4, 6), torch.ones(2), source=draw(2, 4, 6)), "source is given"),
        (lambda m, c: m.velocity(c, draw(2, 9, 6), torch.ones(2), grid=(1, 9)), "max_latent_size = 8"),
        (lambda m, c: m(intent_ids=tokens(2, 3)), "without text_context"),
        (lambda m, c: m([VitBlock(draw(2, 3, 32))], tokens(2, 3)), "ends with a VitBlock"),
        (lambda m, c: m(x=draw(2, 1, 4, 6)), "x needs t and image_context"),
    ],
)
def test_wrong_calls_name_what_came(model, call, message):
    with pytest.raises(ValueError, match=message):
        call(model, model.new_context(2))


def test_time_features_and_positions_by_hand():
    half, small = torch.tensor(0.5), torch.tensor(0.005)
    expected = torch.stack([half.cos(), small.cos(), half.sin(), small.sin()])
    assert_close(time_features(torch.tensor([0.5]), count=4)[0], expected)
    table = position_table(8, 3)
    row_2_column_1 = table[2 * 3 + 1]
    expected = torch.tensor([1.0, 0.01, 1.0, 0.01, 2.0, 0.02, 2.0, 0.02])
    halves = torch.tensor([True, True, False, False] * 2)
    assert_close(row_2_column_1, torch.where(halves, expected.sin(), expected.cos()))
