"""The unified model as a policy: prompts, intents, images, parameters, checkpoints and lengths."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from editenv.agents.editor import with_form
from editenv.agents.flow import SamplingPlan, shifted_times
from editenv.agents.objective import clip_gradients, freeze, parameter_groups
from editenv.agents.policy import load_policy, stack_history
from editenv.agents.settings import GenerationSettings
from editenv.agents.unified.context import ImageBlock, TextBlock, right_aligned
from editenv.agents.unified.model import GeneratedText, UnifiedModel
from editenv.agents.unified.policy import (
    SHIPPED,
    ContextLength,
    _trimmed,
    answer_block,
    checkpoint_folder,
    context_length,
    intent_block,
    load_autoencoder,
    shipped_names,
    transcript_block,
)
from editenv.agents.unified.tokenizer import build_tokenizer
from editenv.build import make_vector_env
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.studio.world import StudioWorld
from tests.tiny_editor import TINY, tiny_policy, weights

PAD, UNK, BOS, EOS = range(4)


@pytest.fixture(scope="module")
def policy():
    return tiny_policy()


# Prompts


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(["round", "add", "a", "star"])


def ids_of(tokenizer, *words: str) -> list[int]:
    return tokenizer.convert_tokens_to_ids(list(words))


def test_a_transcript_opens_each_instruction_and_ends_where_the_answer_starts(tokenizer):
    block = transcript_block(tokenizer, [("add a star", "add a"), ("a",)])
    said = ids_of(tokenizer, "round", "add", "a", "star", "round", "add", "a")
    assert block.ids.tolist() == [
        [BOS, *said, EOS, BOS],
        [PAD] * 5 + [BOS, *ids_of(tokenizer, "round", "a"), EOS, BOS],
    ]
    assert block.mask.tolist() == [[True] * 10, [False] * 5 + [True] * 5]


def test_an_intent_stands_between_marks_and_is_padded_on_the_right(tokenizer):
    block = intent_block(tokenizer, ["add a star", "add"])
    add, a, star = ids_of(tokenizer, "add", "a", "star")
    assert block.ids.tolist() == [[BOS, add, a, star, EOS], [BOS, add, EOS, PAD, PAD]]
    assert block.mask.tolist() == [[True] * 5, [True, True, True, False, False]]


def test_an_answer_holds_its_stop_token_and_no_start(tokenizer):
    block = answer_block(tokenizer, ["add a", "a add"])
    add, a = ids_of(tokenizer, "add", "a")
    assert block.ids.tolist() == [[add, a, EOS], [a, add, EOS]]
    assert block.mask is None, "rows of one length need no mask"


def test_nobody_ends_a_turn_by_typing_the_stop_tokens_name(tokenizer):
    inside = transcript_block(tokenizer, [("add <eos> a",)]).ids[0, 1:-2]
    assert EOS not in inside.tolist() and UNK in inside.tolist()


@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=4), extra=st.integers(0, 3), left=st.booleans())
def test_trimming_removes_padding_and_nothing_else(lengths, extra, left):
    width = max(lengths) + extra + 1
    ids, mask = torch.zeros(len(lengths), width).long(), torch.zeros(len(lengths), width).bool()
    for row, length in enumerate(lengths):
        place = slice(width - length, width) if left else slice(0, length)
        ids[row, place], mask[row, place] = torch.arange(1, length + 1), True
    block = _trimmed(ids, mask, left)
    assert block.ids.shape[1] == max(1, max(lengths))
    real = torch.ones_like(block.ids).bool() if block.mask is None else block.mask
    for row, length in enumerate(lengths):
        assert block.ids[row][real[row]].tolist() == list(range(1, length + 1))
    moved = right_aligned(*right_aligned(ids, mask))
    assert moved[0].sum() == ids.sum() and (moved[1].long().diff(dim=1) >= 0).all()


def test_a_block_without_padding_says_so():
    assert _trimmed(torch.ones(2, 3).long(), torch.ones(2, 3).bool()).mask is None


def test_blocks_of_the_past_skip_places_where_no_turn_has_one():
    turn = {
        "past_there": torch.tensor([[False, False], [False, True], [True, True]]),
        "past_source": torch.rand(3, 2, 4, 5),
        "past_condition_ids": torch.ones(3, 2, 2).long(),
        "past_condition_mask": torch.ones(3, 2, 2).bool(),
    }

    def rows(*wanted):
        return tiny_policy().past_blocks({name: value[list(wanted)] for name, value in turn.items()})

    assert [len(rows(*wanted)) for wanted in ([0], [1], [0, 1], [0, 1, 2])] == [0, 2, 2, 4]
    first, _, second, _ = rows(1, 2)
    assert first.present.tolist() == [False, True] and second.present is None
    assert torch.equal(second.latents, turn["past_source"][1:, 1])


# Turns


GREEDY = GenerationSettings(max_intent_tokens=4, temperature=0.0)


def said(policy, *transcripts):
    """Turns of sessions on black pictures."""
    black = np.zeros((len(transcripts), 64, 64, 3), np.uint8)
    turn = policy.observe({"transcript": transcripts, "image": black})
    return policy.intent_context(turn, GREEDY, None)


def test_intents_that_are_empty_or_never_end_cannot_be_used(policy, monkeypatch):
    add, the = policy.tokenizer.convert_tokens_to_ids(["add", "the"])
    rows = [[add, the, EOS], [EOS], [add, the, add], [BOS, EOS], [add, EOS]]
    ids = torch.tensor([row + [PAD] * (3 - len(row)) for row in rows])
    mask = torch.tensor([[True] * len(row) + [False] * (3 - len(row)) for row in rows])
    written = GeneratedText(ids, mask, torch.zeros(mask.shape))
    monkeypatch.setattr("editenv.agents.unified.policy.generate_text", lambda *_, **__: written)
    context = said(policy, *[("add a star",)] * 5)
    assert policy.generate_intents(context, GREEDY, None).texts == ["add the", None, None, None, "add"]


def test_a_greedy_intent_needs_no_numbers_and_a_sampled_one_does(policy):
    context = said(policy, ("add a star",))
    assert policy.generate_intents(context, GREEDY, None).ids.shape[1] <= 4
    with pytest.raises(ValueError, match="uniforms are missing"):
        policy.generate_intents(context, TINY, None)


def test_a_transcript_that_several_rollouts_share_is_read_once_and_written_from_by_each(policy, monkeypatch):
    one, other = ("add a star", "move it"), ("add a circle",)
    heard = [one, other, one, one]
    uniforms = torch.rand(4, 5, generator=torch.Generator().manual_seed(0))
    read: list[int] = []
    append = UnifiedModel.append_text

    def counted(model, context, ids, mask=None):
        read.append(len(ids))
        return append(model, context, ids, mask)

    monkeypatch.setattr(UnifiedModel, "append_text", counted)
    together = policy.generate_intents(said(policy, *heard), TINY, uniforms)
    assert read[0] == 2
    for row, transcript in enumerate(heard):
        alone = policy.generate_intents(said(policy, transcript), TINY, uniforms[row : row + 1])
        count = int(together.mask[row].sum())
        assert together.ids[row, :count].tolist() == alone.ids[0].tolist()
        torch.testing.assert_close(together.log_prob[row, :count], alone.log_prob[0], atol=1e-5, rtol=0)


def test_scenes_survive_the_autoencoder(policy):
    world = StudioWorld("mixed")
    pictures = [world.picture(world.session("train", 0, number)) for number in range(4)]
    back = policy.decode_images(policy.encode_images(pictures))
    assert back[0].dtype == np.uint8 and back[0].shape == (64, 64, 3)
    assert np.abs(np.stack(back).astype(int) - np.stack(pictures)).mean() < 4


def test_a_picture_hangs_on_its_noise_its_source_and_its_intent(policy):
    generator = torch.Generator().manual_seed(0)
    shape = (1, 16, policy.model.config.latent_dim)
    source, noise = (torch.randn(shape, generator=generator) for _ in range(2))

    def made(source=source, intent="add a star", noise=noise):
        context = policy.image_context(policy.encode_intents([intent]) | {"source": source}, TINY, None)
        return policy.sample_images(context, noise, SamplingPlan(shifted_times(5, 2.0))).final

    assert torch.equal(made(), made())
    for other in (made(source=source + 1), made(intent="remove the star"), made(noise=noise + 1)):
        assert not torch.allclose(made(), other)


# Parameters


def of_the_text(policy):
    return {name for name, _ in policy.named_parameters() if policy.parameter_space(name) == "text"}


def text_only(policy):
    reached = policy.text_parameters("text_only")
    return {name for name, _ in policy.named_parameters() if reached(name)}


@pytest.fixture
def fresh():
    """Weights that a test may freeze."""
    return tiny_policy()


def test_text_alone_never_uses_the_generation_expert(policy):
    """Found by asking autograd, not by names."""
    ids = torch.arange(5, 10)[None]
    context = [TextBlock(ids)]
    policy.zero_grad()
    policy.model(text_context=context, intent_ids=ids).logits.sum().backward()
    reached = {name for name, parameter in policy.named_parameters() if parameter.grad is not None}
    assert reached == {name for name, _ in policy.named_parameters() if policy.parameter_space(name) == "text"}


def test_unread_weights_are_those_of_the_text_that_no_picture_reaches(policy):
    """Found by asking autograd, with the gradient let through the context."""
    config = policy.model.config
    latents = torch.randn(1, 4, config.latent_channels)
    policy.zero_grad()
    output = policy.model(
        image_context=[ImageBlock(latents), TextBlock(torch.arange(5, 10)[None])],
        x=latents[:, None] + 1,
        t=torch.full((1, 1), 0.5),
        source=latents if config.source_channel else None,
        context_gradient=True,
    )
    output.velocity.square().sum().backward()
    text = {
        name: parameter.grad for name, parameter in policy.named_parameters() if policy.parameter_space(name) == "text"
    }
    assert text_only(policy) == {name for name, grad in text.items() if grad is None or not grad.any()}
    assert len(text_only(policy)) == 10


def test_text_updates_can_be_kept_to_what_no_picture_reads(fresh):
    policy = fresh
    free = {name for name, parameter in policy.named_parameters() if parameter.requires_grad}
    freeze(policy, replace(TINY, text_scope="text_only"))
    still = free - {name for name, parameter in policy.named_parameters() if parameter.requires_grad}
    assert still == of_the_text(policy) - text_only(policy)
    with pytest.raises(ValueError, match="text_scope is 'text_onl', expected 'expert'"):
        freeze(policy, replace(TINY, text_scope="text_onl"))


def test_freezing_stops_one_expert_and_leaves_what_was_frozen(fresh):
    policy = fresh
    policy.model.language_model.lm_head.requires_grad_(False)
    freeze(policy, replace(TINY, flow_weight=0.0))
    trains = {name for name, parameter in policy.named_parameters() if parameter.requires_grad}
    assert trains == of_the_text(policy) - {"model.language_model.lm_head.weight"}


def test_groups_share_the_trainable_weights_out_by_expert(fresh):
    policy = fresh
    freeze(policy, TINY)
    text, flow = parameter_groups(policy, replace(TINY, flow_rate=1e-5))
    assert (text["name"], text["lr"], flow["name"], flow["lr"]) == ("text", 1e-3, "flow", 1e-5)
    sizes = {"text": 0, "flow": 0}
    for name, parameter in policy.named_parameters():
        sizes[policy.parameter_space(name)] += parameter.requires_grad
    assert (len(flow["params"]), len(text["params"])) == (sizes["flow"], sizes["text"])


def test_a_frozen_expert_has_no_group(fresh):
    policy = fresh
    freeze(policy, replace(TINY, text_weight=0.0))
    assert [group["name"] for group in parameter_groups(policy, TINY)] == ["flow"]


def test_each_group_is_bounded_by_itself():
    small, large = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    small.grad, large.grad = torch.tensor([0.3, 0.4]), torch.tensor([30.0, 40.0])
    groups = [{"name": "text", "params": [small]}, {"name": "flow", "params": [large]}]
    assert clip_gradients(groups, 1.0) == pytest.approx({"text": 0.5, "flow": 50.0})
    assert small.grad.tolist() == pytest.approx([0.3, 0.4])
    assert large.grad.tolist() == pytest.approx([0.6, 0.8], rel=1e-4)


# Checkpoints


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    checkpoint = tiny_policy()
    checkpoint.save(folder)
    return checkpoint, folder


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    mine, theirs = weights(one), weights(other)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_what_is_loaded_is_what_was_saved(saved):
    checkpoint, folder = saved
    loaded = load_policy(folder)
    assert same(loaded.model, checkpoint.model) and same(loaded.autoencoder, checkpoint.autoencoder)
    assert loaded.tokenizer.get_vocab() == checkpoint.tokenizer.get_vocab()
    assert loaded.tokenizer("add <eos> star")["input_ids"] == checkpoint.tokenizer("add <eos> star")["input_ids"]
    assert not loaded.model.training and loaded.name == str(folder)
    assert not any(parameter.requires_grad for parameter in loaded.autoencoder.parameters())


def test_a_folder_holds_safetensors_and_json_alone(saved):
    assert {path.suffix for path in saved[1].rglob("*")} == {".safetensors", ".json"}


def test_the_shipped_autoencoder_is_not_copied_and_another_one_is(saved, tmp_path):
    checkpoint, folder = saved
    assert not (folder / "autoencoder").exists()
    other = tiny_policy()
    with torch.no_grad():
        next(other.autoencoder.parameters()).add_(1.0)
    other.save(tmp_path)
    assert same(load_policy(tmp_path).autoencoder, other.autoencoder)
    assert not same(load_policy(tmp_path).autoencoder, checkpoint.autoencoder)


def test_half_precision_is_loaded_in_full(saved, tmp_path):
    checkpoint, _ = saved
    checkpoint.save(tmp_path, torch.float16)
    loaded = load_policy(tmp_path).model
    for name, value in checkpoint.model.state_dict().items():
        assert loaded.state_dict()[name].dtype == torch.float32
        assert torch.equal(loaded.state_dict()[name], value.half().float())
    assert all(p.dtype == torch.float32 for p in checkpoint.model.parameters()), "saving changes nothing"


def test_a_run_is_found_by_its_folder(saved, tmp_path):
    saved[0].save(tmp_path / "model")
    assert checkpoint_folder(tmp_path) == tmp_path / "model"
    assert checkpoint_folder(tmp_path / "model") == tmp_path / "model"


def test_an_unknown_name_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(ValueError, match=r"model is 'nowhere', expected .*, a run or folder with model.safetensors"):
        checkpoint_folder("nowhere")
    with pytest.raises(ValueError, match=r"model is .*, a run or folder"):
        checkpoint_folder(tmp_path)


def test_shipped_names_are_models_with_cards():
    for name in shipped_names():
        assert json.loads((SHIPPED / name / "card.json").read_text())["name"]
    assert not load_autoencoder(SHIPPED / "autoencoder").training


# Lengths


INTENT = "add a red star in row"
"""Six tokens."""


def envs_of(suite: str) -> MICEEditVectorEnv:
    return make_vector_env(num_envs=1, suite=suite, autoreset_mode="Disabled")


def transcripts(envs: MICEEditVectorEnv) -> list[tuple[str, ...]]:
    world = envs.engine.world
    return [tuple(turn.text for turn in world.session("train", 0, index).turns) for index in range(32)]


def test_a_turns_positions_are_those_that_the_model_counts() -> None:
    """Fails where a picture or the tokens around an intent take another number of positions than is said."""
    checkpoint, envs = tiny_policy(), envs_of("mixed")
    settings = GenerationSettings(context="interleaved", max_intent_tokens=6)
    taken = context_length(checkpoint, envs, settings)
    observations, _ = envs.reset(seed=0)
    picture, past = observations["image"][0], []
    for _ in range(2):
        turn = checkpoint.encode_intents([INTENT]) | {"source": checkpoint.encode_images([picture])}
        past.append({name: turn[name][0] for name in checkpoint.history})
    source = checkpoint.encode_images([picture])
    blocks = [*checkpoint.past_blocks(stack_history([past])), ImageBlock(source)]

    def positions(read) -> int:
        return int(checkpoint.model.build_context(read, 1).position)

    assert taken.past == positions(blocks)
    longest = max(transcripts(envs), key=lambda words: transcript_block(checkpoint.tokenizer, [words]).ids.shape[1])
    whole = [*blocks, transcript_block(checkpoint.tokenizer, [longest])]
    assert taken.needed == positions(whole) + 6


def test_room_by_hand() -> None:
    """Fails where one half of a turn is forgotten: drawing may take more than writing."""
    assert ContextLength(turns=3, past=17, transcript=40, intent=5).needed == 17 + 40 + 5
    assert ContextLength(turns=1, past=0, transcript=1, intent=5).needed == 1 + 5 + 2 + 1


def test_current_context_keeps_nothing_but_the_transcript() -> None:
    """Fails where earlier pictures are counted that nobody reads."""
    taken = context_length(tiny_policy(), envs_of("long"), GenerationSettings())
    assert (taken.turns, taken.past, taken.intent) == (8, 0, 20)


@pytest.mark.parametrize("suite", ["long", "long-16"])
def test_the_shipped_models_positions_hold_long_sessions(suite: str) -> None:
    """1,024 positions, in both contexts; fails where sessions grow and nobody notices."""
    checkpoint = tiny_policy()
    checkpoint.model.config.max_position_embeddings = 1024
    for context in ("current", "interleaved"):
        checkpoint.check_context_length(envs_of(suite), GenerationSettings(context=context))


def test_sessions_that_outgrow_the_model_are_refused_with_all_numbers() -> None:
    """Fails where a long session is played past the positions that the model was made for."""
    settings = with_form(GenerationSettings(context="interleaved"), "rules")
    taken = context_length(tiny_policy(), envs_of("long-16"), settings)
    assert taken.past == 15 * (1 + 64 + 2) + 1
    with pytest.raises(ValueError, match="16 turns in context 'interleaved' take up to") as error:
        tiny_policy().check_context_length(envs_of("long-16"), settings)
    for number in (taken.needed, taken.transcript, taken.past, 64, 512):
        assert str(number) in str(error.value)


def test_pictures_that_the_autoencoder_cannot_code_are_refused_by_their_key() -> None:
    """Fails where a size is found wrong only when the first picture is coded."""
    envs = make_vector_env(num_envs=1, size=61, autoreset_mode="Disabled")
    with pytest.raises(ValueError, match=r"size is 61, expected a multiple of \d+"):
        tiny_policy().check_context_length(envs, GenerationSettings())
