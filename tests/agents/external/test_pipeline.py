"""`policy=diffusers`: pipelines of diffusers' own classes, tiny and random, as folders."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import Flux2KleinPipeline
from PIL import Image

from editenv.agents.episodes import policy_seed
from editenv.agents.evaluate import run_evaluation
from editenv.agents.external.pipeline import pipeline_class
from editenv.configs.compose import compose
from tests.agents.external.tiny_pipeline import KLEIN, KONTEXT, flux2_klein, flux_kontext


@pytest.fixture(scope="module")
def klein(tmp_path_factory):
    return flux2_klein(tmp_path_factory.mktemp("klein"))


@pytest.fixture
def broken(klein, tmp_path):
    return shutil.copytree(klein, tmp_path / "broken")


def played(model, out, sessions=2, num_envs=4, policy=KLEIN, **more):
    return run_evaluation(
        compose("evaluate", out=str(out), policy="diffusers", model=str(model), policy_settings={**policy, **more},
                sessions=sessions, num_envs=num_envs, threads=1, filmstrip=0, save_images=True)
    )  # fmt: skip


def test_pictures_are_the_pipelines_own_and_do_not_depend_on_the_sessions_beside_them(klein, tmp_path):
    found = played(klein, tmp_path / "a")
    first, second = found.records()
    assert found.facts["model"] == str(klein) and found.facts["failed_turns"] == found.facts["fitted_turns"] == 0
    assert first.intents == first.transcript and not np.array_equal(first.pictures[0], first.pictures[1])
    alone = list(played(klein, tmp_path / "b", num_envs=1).records())
    for one, other in zip((first, second), alone, strict=True):
        assert all(map(np.array_equal, one.pictures, other.pictures))
    # The pipeline called by hand makes the same picture from the same noise.
    pipeline = Flux2KleinPipeline.from_pretrained(klein)
    pipeline.set_progress_bar_config(disable=True)
    shown = Image.fromarray(first.pictures[0])
    seed = int(np.random.SeedSequence((policy_seed(0, 0), 0)).generate_state(1, np.uint64)[0]) % 2**63
    noise = torch.Generator("cpu").manual_seed(seed)
    made = pipeline(image=shown, prompt=first.transcript[0], generator=noise, **KLEIN).images[0]
    assert np.array_equal(np.array(made), first.pictures[1])


def test_all_pictures_are_shown_where_the_pipeline_takes_several(klein, tmp_path):
    [last], [every] = (list(played(klein, tmp_path / h, 1, history=h).records()) for h in ("last", "all"))
    same = [np.array_equal(one, other) for one, other in zip(last.pictures, every.pictures, strict=True)]
    assert same == [True, True, False, False]


def test_prompts_are_the_intents(klein, tmp_path):
    [words], [right] = (list(played(klein, tmp_path / i, 1, intents=i).records()) for i in ("instructions", "oracle"))
    differ = [one != other for one, other in zip(words.intents, right.intents, strict=True)]
    assert not np.array_equal(words.pictures[differ.index(True) + 1], right.pictures[differ.index(True) + 1])


def test_pictures_of_another_size_are_fitted(klein, tmp_path):
    found = played(klein, tmp_path, 1, height=32, width=32)
    assert found.facts["fitted_turns"] == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_inference_step": 2}, "takes no argument 'num_inference_step', did you mean 'num_inference_steps'"),
        ({"prompt": "x"}, "takes no argument 'prompt'"),
        ({"dtype": "float8"}, "dtype is 'float8', expected one of float32, bfloat16, float16"),
        ({"history": "al"}, "history 'al' is not known, did you mean 'all'"),
    ],
)
def test_wrong_settings_are_named(klein, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        played(klein, tmp_path, **settings)


def change_index(folder, **changes):
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_damaged_folders_are_refused_by_the_files_name(broken, tmp_path):
    weights = broken / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"transformer/diffusion_pytorch_model.safetensors is damaged"):
        played(broken, tmp_path / "out")
    weights.unlink()
    with pytest.raises(ValueError, match=r"cannot be loaded as Flux2KleinPipeline: .*diffusion_pytorch_model"):
        played(broken, tmp_path / "out")
    (weights.parent / "d.safetensors.index.json").write_text('{"weight_map": {"a": "d-00001-of-00002.safetensors"}}')
    with pytest.raises(ValueError, match=r"transformer/d-00001-of-00002.safetensors is missing"):
        played(broken, tmp_path / "out")
    shutil.rmtree(broken / "vae")
    with pytest.raises(ValueError, match="broken/vae is missing, expected the folder of AutoencoderKLFlux2"):
        played(broken, tmp_path / "out")
    (broken / "model_index.json").unlink()
    with pytest.raises(ValueError, match=r"broken/model_index.json is no pipeline's index"):
        played(broken, tmp_path / "out")


def test_no_code_of_the_folder_runs(broken, tmp_path):
    """Neither a part of the folder's own module, nor its own pipeline, nor pickled weights."""
    code = f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Mine:\n    pass\n"
    (broken / "mine.py").write_text(code)
    (broken / "transformer" / "mine.py").write_text(code)
    change_index(broken, transformer=["mine", "Mine"])
    with pytest.raises(ValueError, match=r"transformer is \['mine', 'Mine'\], expected a class of diffusers or trans"):
        played(broken, tmp_path / "out")
    change_index(broken, transformer=["diffusers", "Flux2Transformer2DModel"], _class_name=["mine", "Mine"])
    with pytest.raises(ValueError, match=r"_class_name is \['mine', 'Mine'\], expected a pipeline of diffusers"):
        played(broken, tmp_path / "out")
    change_index(broken, _class_name="Flux2KleinPipeline")
    weights = broken / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    torch.save({}, weights.with_suffix(".bin"))
    with pytest.raises(ValueError, match="cannot be loaded as Flux2KleinPipeline"):
        played(broken, tmp_path / "out")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Flux2KleinPipeline", "Flux2KleinPipeline"),
        ("Flux2Pipeline", "Flux2Pipeline"),
        ("FluxKontextPipeline", "FluxKontextPipeline"),
        ("QwenImageEditPipeline", "QwenImageEditPipeline"),
        ("QwenImageEditPlusPipeline", "QwenImageEditPlusPipeline"),
        ("LongCatImageEditPipeline", "LongCatImageEditPipeline"),
        ("StableDiffusionInstructPix2PixPipeline", "StableDiffusionInstructPix2PixPipeline"),
        ("FluxPipeline", "FluxImg2ImgPipeline"),
        ("QwenImagePipeline", "QwenImageImg2ImgPipeline"),
        ("JoyImageEditPlusPipeline", "JoyImageEditPlusPipeline"),
        ("StableDiffusionControlNetPipeline", None),
        ("FluxKontextInpaintPipeline", None),
        ("SanaImageToVideoPipeline", None),
        ("DiTPipeline", None),
        ("WanImageToVideoPipeline", None),
        ("NoPipeline", None),
    ],
)
def test_which_pipelines_can_edit(tmp_path, name, expected):
    """Their own class where that takes a picture and a prompt, else the one AutoPipelineForImage2Image would take."""
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": name}))
    if expected is None:
        with pytest.raises(ValueError, match=f"{name}.*(cannot edit|expected a pipeline of diffusers)"):
            pipeline_class(tmp_path)
    else:
        assert pipeline_class(tmp_path).__name__ == expected


def test_kontext_edits_one_picture_by_itself(tmp_path):
    model = flux_kontext(tmp_path / "kontext")
    found = played(model, tmp_path / "a", policy=KONTEXT)
    alone = list(played(model, tmp_path / "b", num_envs=1, policy=KONTEXT).records())
    for one, other in zip(found.records(), alone, strict=True):
        assert all(map(np.array_equal, one.pictures, other.pictures))
        assert one.pictures[1].shape == (64, 64, 3) and not np.array_equal(one.pictures[1], one.pictures[2])
    assert found.facts["fitted_turns"] == 6 and found.facts["failed_turns"] == 0


def test_a_pipeline_of_one_picture_has_no_history(tmp_path):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "FluxKontextPipeline"}))
    with pytest.raises(ValueError, match="history is 'all', but FluxKontextPipeline takes one picture"):
        played(tmp_path, tmp_path / "out", policy={}, history="all")


@pytest.mark.parametrize(
    ("name", "part", "processor"),
    [
        ("QwenImageEditPipeline", "processor", "Qwen2VLProcessor"),
        ("QwenImageEditPlusPipeline", "processor", "Qwen2VLProcessor"),
        ("LongCatImageEditPipeline", "text_processor", "Qwen2_5_VLProcessor"),
    ],
)
def test_processors_that_need_torchvision_are_refused_where_it_is_missing(
    tmp_path, monkeypatch, name, part, processor
):
    from transformers.utils import import_utils

    index = {"_class_name": name, part: ["transformers", processor], "scheduler": ["diffusers", "X"]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    monkeypatch.setattr(import_utils, "is_torchvision_available", lambda: False)
    with pytest.raises(ValueError, match=f"{part} is {processor}, which needs torchvision, and that is not installed"):
        pipeline_class(tmp_path)
    monkeypatch.setattr(import_utils, "is_torchvision_available", lambda: True)
    assert pipeline_class(tmp_path).__name__ == name
