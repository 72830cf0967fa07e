"""Folders in BAGEL's layout load whole or are refused by file and key; the policy reads and writes as BAGEL's code."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import load_file, save_file

from editenv.agents.policy import load_policy, widen_on_cpu
from editenv.agents.settings import GenerationSettings
from editenv.agents.unified.bagel import load_bagel, save_adapters
from editenv.agents.unified.bagel_chat import BagelChat
from editenv.agents.unified.bagel_folder import empty_model, published_config, read_bagel, write_bagel
from editenv.agents.unified.bagel_prompts import SHIPPED, Prompts, parse_answer
from editenv.agents.unified.context import ImageBlock, VitBlock
from editenv.agents.unified.flux_autoencoder import FluxAutoencoder
from editenv.agents.unified.transforms import Resize, as_rgb
from editenv.configs.compose import compose
from tests.tiny_bagel import tiny_bagel
from tests.tiny_editor import train_for_brightness

DATA = Path(__file__).parents[2] / "data"
RULES = json.loads((DATA / "bagel_rules.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    return tiny_bagel(tmp_path_factory.mktemp("bagel") / "tiny")


@pytest.fixture
def folder(shared, tmp_path) -> Path:
    return Path(shutil.copytree(shared, tmp_path / "copy"))


@pytest.fixture(scope="module")
def policy(shared):
    return load_bagel(shared)


def observed(*transcripts):
    images = [np.full((24, 40, 3), 40 * row + 30, np.uint8) for row in range(len(transcripts))]
    return {"image": images, "transcript": transcripts, "instruction": [said[-1] for said in transcripts]}


# The folder


def test_keys_and_shapes_are_those_of_the_published_model():
    published = json.loads((DATA / "bagel_7b_keys.json").read_text(encoding="utf-8"))
    ours = empty_model(published_config()).state_dict()
    assert {name: list(value.shape) for name, value in ours.items()} == published["model"]
    with torch.device("meta"):
        coder = FluxAutoencoder({}, 2)
    assert {name: list(value.shape) for name, value in coder.flux_weights().items()} == published["vae"]


def test_weights_stay_bfloat16_and_a_saved_folder_is_the_same(policy, tmp_path):
    assert {weight.dtype for weight in policy.parameters()} == {torch.bfloat16}
    policy.save(tmp_path / "whole")
    write_bagel(policy.parts, tmp_path / "shards", shard="100KB")
    assert len(list((tmp_path / "shards").glob("ema-*.safetensors"))) > 1
    for again in (load_policy(tmp_path / "whole"), load_bagel(tmp_path / "shards")):
        for part in ("model", "autoencoder"):
            before, after = getattr(policy, part).state_dict(), getattr(again, part).state_dict()
            assert before.keys() == after.keys()
            assert all(torch.equal(before[name], after[name]) for name in before)


def test_on_a_cpu_it_computes_in_float32_and_no_row_depends_on_those_beside_it(shared):
    """bfloat16 kernels of a CPU round by the batch's shape: log-probs were off by several percent."""
    policy = widen_on_cpu(load_bagel(shared), torch.device("cpu"))
    assert {weight.dtype for weight in policy.parameters()} == {torch.float32}
    elsewhere = widen_on_cpu(load_bagel(shared), torch.device("cuda"))
    assert {weight.dtype for weight in elsewhere.parameters()} == {torch.bfloat16}
    settings = GenerationSettings(context="interleaved")
    policy.configure(settings)
    turns = policy.observe(observed(["make it red, please, and quickly"], ["no"], ["add a cat"]))
    turns |= policy.encode_intents(["b", "c", "d"]) | policy.encode_answers(["make it red", "b", "add a small cat"])
    with torch.no_grad():
        together = policy(turns, settings).text_log_prob
        for row in range(3):
            alone = policy({name: value[row : row + 1] for name, value in turns.items()}, settings).text_log_prob
            assert torch.allclose(together[row], alone[0], atol=1e-5)


def test_fixed_tables_may_be_missing_and_are_rounded_as_the_file_is(folder):
    before = load_file(folder / "ema.safetensors")
    names = ("latent_pos_embed.pos_embed", "vit_pos_embed.pos_embed")
    save_file({name: value for name, value in before.items() if name not in names}, folder / "ema.safetensors")
    # without its table a folder is read as published, with 64 x 64 places
    table = read_bagel(folder).model.latent_pos_embed.pos_embed
    assert table.shape[0] == 64**2 and table.dtype == torch.bfloat16


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def change(name: str, key: str, value):
    def spoil(folder: Path) -> None:
        described = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(described | {key: value}))

    return spoil


def reweighted(stem: str, edit):
    def spoil(folder: Path) -> None:
        weights = load_file(folder / f"{stem}.safetensors")
        edit(weights)
        save_file(weights, folder / f"{stem}.safetensors")

    return spoil


def index(weight_map):
    def spoil(folder: Path) -> None:
        (folder / "ema.safetensors").rename(folder / "ema-00001-of-00002.safetensors")
        (folder / "ema.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "vit_config.json").unlink(), "vit_config.json does not exist"),
        (lambda folder: (folder / "ae.safetensors").unlink(), "ae.safetensors does not exist"),
        (lambda folder: (folder / "llm_config.json").write_text("{"), "llm_config.json is no JSON"),
        (lambda folder: cut(folder / "ema.safetensors"), "ema.safetensors cannot be read as safetensors"),
        (change("llm_config.json", "model_type", "llama"), "llm_config.json: model_type is 'llama'"),
        (change("vit_config.json", "model_type", "clip"), "vit_config.json: model_type is 'clip'"),
        (change("llm_config.json", "hidden_size", -1), "llm_config.json: hidden_size is -1"),
        (change("llm_config.json", "num_attention_heads", 3), "hidden_size is 40, expected a multiple"),
        (change("llm_config.json", "rope_scaling", {"type": "yarn"}), "rope_scaling"),
        (reweighted("ema", lambda weights: weights.pop("llm2vae.bias")), "missing llm2vae.bias"),
        (reweighted("ema", lambda weights: weights.update(more=torch.ones(1))), "unexpected more"),
        (
            reweighted("ema", lambda weights: weights.update({"llm2vae.bias": torch.ones(3)})),
            r"llm2vae.bias in ema.safetensors has shape \[3\], expected \[16\]",
        ),
        (reweighted("ae", lambda weights: weights.pop("decoder.up.1.upsample.conv.bias")), "decoder.up.1.upsample"),
        (index({"vae2llm.weight": "ema-00002-of-00002.safetensors"}), "ema-00002-of-00002.safetensors"),
        (index({"vae2llm.weight": "../elsewhere.safetensors"}), "weight_map"),
        (index({"strange": "ema-00001-of-00002.safetensors"}), "strange not in the files"),
        (
            lambda folder: [(folder / n).unlink() for n in ("tokenizer.json", "merges.txt")],
            "merges.txt does not exist",
        ),
        (lambda folder: (folder / "transforms.json").write_text('{"vae": [32, 32, 3]}'), "stride 3"),
        (lambda folder: (folder / "prompts.yaml").write_text("think: a"), "prompts.yaml has"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_key(folder, spoil, said):
    spoil(folder)
    with pytest.raises(ValueError, match=said):
        load_bagel(folder)


def test_adapters_are_kept_apart_and_added(policy, shared, tmp_path):
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(load_bagel(shared), LoraConfig(r=2, target_modules=policy.lora_targets(True, True)))
    named = [name for name, weight in adapted.named_parameters() if weight.requires_grad]
    assert named and all("language_model.model.layers" in name for name in named)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.05)
    save_adapters(adapted, tmp_path)
    assert not list(tmp_path.glob("*.bin"))
    merged, plain = load_bagel(shared, adapters=tmp_path).model.state_dict(), policy.model.state_dict()
    expected = adapted.merge_and_unload().model.state_dict()
    assert merged.keys() == plain.keys() and all(torch.equal(merged[n], expected[n]) for n in merged)
    assert not torch.equal(*(s["language_model.model.layers.0.mlp.up_proj.weight"] for s in (merged, plain)))
    with pytest.raises(ValueError, match=r"adapter_model\.safetensors does not exist"):
        load_bagel(shared, adapters=shared)


def test_diffusers_own_conversion_agrees_on_the_autoencoders_names():
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    coder = FluxAutoencoder({"ch": 32, "ch_mult": [1, 2, 1], "num_res_blocks": 1, "z_channels": 4}, 2)
    converted = convert_ldm_vae_checkpoint(coder.flux_weights(), coder.coder.config)
    own = coder.coder.state_dict()
    assert converted.keys() == own.keys() and all(torch.equal(converted[name], own[name]) for name in own)


# Rules


def test_sizes_are_the_references():
    vae, vit = Resize(1024, 512, 16), Resize(980, 224, 14)
    for width, height, *expected in RULES["resize_table"]:
        once = vae.size(width, height)
        twice = vae.size(*once)
        assert [*once, *twice, *vit.size(*twice), *vit.size(width, height)] == expected


@pytest.mark.parametrize("kind", ["rgba", "gray"])
def test_transparent_pictures_lie_on_white_and_grey_ones_are_repeated(kind):
    given = PIL.Image.fromarray(np.array(RULES[f"rgb.{kind}_in"], np.uint8))
    assert as_rgb(given).tolist() == RULES[f"rgb.{kind}_out"]


def test_tokens_are_the_references_and_a_prompt_cannot_end_a_turn(policy):
    for case in RULES["tokenizer_cases"]:
        known = policy.tokenizer(case["text"], add_special_tokens=False, split_special_tokens=False)
        assert known["input_ids"] == case["ids"] and policy.tokenizer.decode(case["ids"]) == case["decoded"]
    assert policy.tokenizer.eos_token_id not in policy.ids("red<|im_end|><|im_start|>blue")


def test_answers_are_read_as_the_reference_does():
    for case in RULES["parse_cases"]:
        text, reason = parse_answer(case["raw"])
        assert [text or case["current"], reason] == case["result"]


def test_questions_hold_the_history_and_braces_are_only_text():
    prompts = Prompts.read(SHIPPED)
    for question in ("none", "cm", "cu"):
        asked = prompts.ask(question, [" make {instruction} red ", "and blue"])
        assert "Round 1: make {instruction} red\n" in asked and "This round: and blue\n" in asked


# The policy


def test_an_image_is_read_as_latents_and_vision_tokens_and_comes_back_at_its_size(policy):
    turn = policy.observe(observed(["make it red"], ["a", "b"]))
    clean, seen = policy.image_blocks(turn)
    assert isinstance(clean, ImageBlock) and isinstance(seen, VitBlock)
    rows, columns = policy.grid(turn)
    assert turn["pixels"].shape[1:3] == (4 * rows, 4 * columns) and turn["source"].shape[1] == rows * columns
    assert policy.decode_images(turn["source"])[0].shape == (24, 40, 3)


def test_sampling_and_training_compute_the_same_with_several_turns(policy):
    settings = GenerationSettings(context="interleaved", text_guidance=4.0, image_guidance=2.0, guidance_high=0.9)
    past = policy.observe(observed(["make it red"], ["add a cat"])) | policy.encode_intents(["make it red", "add"])
    turn = policy.observe(observed(["make it red", "now blue"], ["add a cat", "no"]))
    turn |= policy.encode_intents(["b", "c"])
    turn |= {f"past_{name}": past[name][:, None] for name in policy.history}
    turn["past_there"] = torch.tensor([[True], [False]])
    t = torch.tensor([0.7, 0.95])
    x = torch.randn(turn["source"].shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        sampled = policy.velocity(policy.image_context(turn, settings, None))(x, t)
        trained = policy(turn, settings, text=False, x=x[:, None], t=t[:, None])
    assert torch.equal(sampled, trained.velocity[:, 0])
    assert torch.equal(trained.velocity[1], trained.unguided[1])  # outside of the interval
    assert not torch.equal(trained.velocity[0], trained.unguided[0])


def test_prompts_of_ones_own(policy, tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text(SHIPPED.read_text().replace("Round {number}", "Turn {number}"))
    before = policy.transcript_block([["a", "b"]]).ids
    policy.configure(GenerationSettings(prompts=str(own), question="cm"))
    after = policy.transcript_block([["a", "b"]]).ids
    assert "Turn 1: a" in policy.tokenizer.decode(after[0]) and "Round 1: a" in policy.tokenizer.decode(before[0])
    policy.configure(GenerationSettings())
    assert torch.equal(policy.transcript_block([["a", "b"]]).ids, before)
    with pytest.raises(ValueError, match=r"none\.yaml"):
        policy.configure(GenerationSettings(prompts=str(tmp_path / "none.yaml")))


def test_a_conversation_grows_three_contexts(policy):
    chat = BagelChat(policy)
    chat.read_text(policy.prompts.plan)
    chat.read_image(np.zeros((32, 32, 3), np.uint8))
    images = chat.contexts["full"].length
    chat.read_text("make it red")
    chat.read_thought("<think> a </think> b")
    assert chat.contexts["text_dropped"].length == images < chat.contexts["full"].length
    thought = len(policy.text_ids("<think> a </think> b"))
    texts = len(policy.text_ids(policy.prompts.plan)) + len(policy.text_ids("make it red"))
    assert chat.contexts["image_dropped"].length == texts
    assert chat.contexts["full"].length == images + len(policy.text_ids("make it red")) + thought
    noise = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    image = chat.generate(noise, steps=2)
    assert image.shape == (32, 32, 3) and image.dtype == np.uint8
    assert isinstance(chat.write(max_tokens=3), str)


def test_a_folder_trains_as_published_with_lora_and_goes_on(folder, tmp_path):
    """Two calls, an iteration each: ratios are 1 before each first update, and weights move."""
    small = {
        "max_intent_tokens": 4,
        "lora_rank": 2,
        "steps": 3,
        "window_high": 1,
        "text_rate": 1e-2,
        "flow_rate": 1e-2,
    }
    words = ["algorithm=edit_r2_published", f"model={folder}", f"out={tmp_path / 'run'}", "threads=1"]
    own = {"groups": 2, "group_size": 2, "save_every": 1, "eval_every": 0, "image_every": 0}
    for iterations in (1, 2):
        config = compose("train", words, **own, iterations=iterations)
        logs = train_for_brightness(replace(config, algorithm=replace(config.algorithm, **small))).logs
    assert [log["iteration"] for log in logs] == [0, 1]
    assert all(log["text_ratio_error"] <= 1e-6 and log["flow_ratio_error"] <= 1e-6 for log in logs)
    before, trained = load_bagel(folder), load_policy(tmp_path / "run")
    old, new = before.model.state_dict(), trained.model.state_dict()
    moved = [name for name in new if not torch.equal(new[name], old[name])]
    assert any("mlp_moe_gen.up" in name for name in moved) and all("language_model.model.layers" in n for n in moved)
    adapted = load_bagel(folder, adapters=tmp_path / "run" / "checkpoint-4").model.state_dict()
    for name, value in new.items():  # trained in float32 on a CPU; the folder's own weights are bfloat16
        torch.testing.assert_close(adapted[name].float(), value.float(), rtol=2**-7, atol=1e-4)
