"""The model computes what the reference code computes, and the check would notice if it did not."""

import json
import math
import runpy
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from editenv.agents.unified import parity
from editenv.agents.unified.parity import Row, check_fixture, deviation, main


@pytest.fixture
def changed_copy(fixture_path, tmp_path):
    """Writes the fixture with one tensor changed and returns its path."""

    def write(name, change):
        tensors = load_file(fixture_path)
        tensors[name] = change(tensors[name])
        path = tmp_path / "changed.safetensors"
        save_file(tensors, path)
        path.with_suffix(".json").write_text(fixture_path.with_suffix(".json").read_text())
        return path

    return write


def test_every_output_is_covered_and_holds(fixture_path):
    rows, uncovered = check_fixture(fixture_path)
    assert [row.name for row in rows if not row.holds] == [] == uncovered
    outputs = json.loads(fixture_path.with_suffix(".json").read_text())["outputs"]
    assert {row.name for row in rows} == set(outputs) and len(rows) == 141


def test_gradients_do_not_depend_on_what_was_checked_before(fixture_path):
    rows, _ = check_fixture(fixture_path, ["learn.neg.grad"])
    assert rows and all(row.holds for row in rows)


def test_an_output_that_nothing_recomputes_is_listed_and_fails(changed_copy, capsys):
    path = changed_copy("in.traj.init_noise", lambda noise: noise)
    described = json.loads(path.with_suffix(".json").read_text())
    described["outputs"] = {name: described["outputs"][name] for name in ("out.time.sincos",)}
    described["outputs"]["out.sound.wave"] = described["outputs"]["out.time.sincos"]
    path.with_suffix(".json").write_text(json.dumps(described))
    assert main([str(path)]) == 1
    printed = capsys.readouterr().out
    assert "1 of 1 outputs hold" in printed and "not covered (1): out.sound.*" in printed


def test_the_command_exits_with_0_and_prints_error_and_tolerance(fixture_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["parity", str(fixture_path), "--only", "out.time"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(parity.__file__, run_name="__main__")
    printed = capsys.readouterr().out
    assert "out.time.embed" in printed and "2 of 2 outputs hold" in printed


@pytest.mark.parametrize(
    ("weight", "output"),
    [
        ("weights.language_model.model.layers.1.mlp_moe_gen.down_proj.weight", "flow"),
        ("weights.language_model.model.layers.0.self_attn.q_norm.weight", "flow"),
        ("weights.language_model.model.norm_moe_gen.weight", "flow"),
        ("weights.latent_pos_embed.pos_embed", "flow"),
        ("weights.llm2vae.bias", "flow"),
        ("weights.vit_model.vision_model.encoder.layers.0.mlp.fc1.weight", "img0"),
        ("vae_weights.decoder.up.0.block.1.conv2.weight", "img0"),
        ("ref_weights.model.layers.0.mlp_moe_gen.down_proj.weight", "learn.pos.losses"),
    ],
)
def test_a_changed_weight_fails_with_exit_code_1(changed_copy, capsys, weight, output):
    path = changed_copy(weight, lambda tensor: tensor + 0.01)
    assert main([str(path), "--only", output]) == 1
    assert "FAILS" in capsys.readouterr().out


def test_a_missing_weight_is_named(fixture_path, tmp_path, capsys):
    tensors = load_file(fixture_path)
    del tensors["weights.vae2llm.bias"]
    save_file(tensors, tmp_path / "less.safetensors")
    (tmp_path / "less.json").write_text(fixture_path.with_suffix(".json").read_text())
    assert main([str(tmp_path / "less.safetensors")]) == 2
    assert "vae2llm.bias" in capsys.readouterr().err


def test_an_unknown_prefix_is_an_error_that_names_the_known_ones(fixture_path, capsys):
    assert main([str(fixture_path), "--only", "out.text", "out.sound"]) == 2
    error = capsys.readouterr().err
    assert "out.sound" in error
    assert all(f"out.{kind}" in error for kind in ("text", "gen_text", "ctx", "flow", "cfg"))


def test_only_keeps_exactly_the_prefix(fixture_path):
    rows, _ = check_fixture(fixture_path, ["out.text.cache_k", "pos.latent_ids_i"])
    assert [row.name for row in rows] == ["out.text.cache_k.0", "out.text.cache_k.1", "out.pos.latent_ids_interp"]


def test_a_missing_fixture_is_named(tmp_path, capsys):
    assert main([str(tmp_path / "none.safetensors")]) == 2
    assert "none.safetensors does not exist" in capsys.readouterr().err


def test_nan_and_other_shapes_never_hold():
    assert not Row("x", deviation(torch.tensor([math.nan]), torch.zeros(1)), 1.0).holds
    assert not Row("x", deviation(torch.zeros(2), torch.zeros(1)), 1e9).holds
    assert Row("x", deviation(torch.tensor([1.5]), torch.ones(1)), 0.5).holds
