"""Parity with the reference code: recompute a fixture's outputs from its weights and compare.

`python -m editenv.agents.unified.parity FIXTURE.safetensors [--only PREFIX ...]` prints a table and exits 0
only when every output holds. A fixture is NAME.safetensors (weights, inputs and outputs of the reference
code) with NAME.json beside it. `CHECKS` lists what can be recomputed; new outputs need one more function.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor

from editenv.agents.unified.autoencoder import patchify
from editenv.agents.unified.config import UnifiedConfig
from editenv.agents.unified.context import Block, Context, ImageBlock, TextBlock, VitBlock
from editenv.agents.unified.generate import generate_text, prompt_logits
from editenv.agents.unified.guidance import Renorm, published_guided_velocity
from editenv.agents.unified.layers import image_attention_mask, latent_position_ids, text_attention_mask, time_features
from editenv.agents.unified.model import SKIPPED_WEIGHTS, UnifiedModel

CONTEXTS = {
    "t2i": ("prompt0",),
    "text_vae": ("prompt0", "latent0"),
    "edit": ("latent0", "vit0", "prompt0"),
    "edit_novit": ("latent0", "prompt0"),
    "multiturn": ("latent0", "vit0", "prompt0", "latent1", "vit1", "prompt1"),
}
"""Names of contexts and the blocks they hold."""

_WEIGHTS = "weights."
_LLM_FIELDS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "rope_theta",
    "rms_norm_eps",
    "max_position_embeddings",
    "hidden_act",
)
_TEACHER_TEMPERATURE = 0.7
_SECOND_TIMES = slice(1, 3)
_CAUSAL, _NOISE = 0, 2  # the reference code's attention modes of a split; 1 is full attention
_GUIDED = re.compile(r"out\.cfg\.(?P<renorm>\w+)\.text(?P<text>[\d.]+)_img(?P<image>[\d.]+)_min(?P<least>[\d.]+)")
_KEY_SCALED = re.compile(r"out\.flow\.edit_text_key_scale(?P<scale>[\d.]+)\.v")


@dataclass(frozen=True)
class Fixture:
    """One fixture with its model.

    Attributes:
        tensors: everything in the safetensors file, by name (`in.*`, `out.*` and weights).
        outputs: the JSON's entry on each output, by name.
        config: the JSON's `config`: llm, vit, vae, bagel and special tokens.
        model: the model of that config with the fixture's weights, in evaluation mode.
    """

    tensors: Mapping[str, Tensor]
    outputs: Mapping[str, Mapping[str, Any]]
    config: Mapping[str, Any]
    model: UnifiedModel

    def tolerance(self, name: str) -> float:
        """Largest deviation allowed: 20 times the float32 noise, at least 2e-5 of the largest value.

        Integers and truth values must be equal.
        """
        entry = self.outputs[name]
        if "max_abs" not in entry:
            return 0.0
        return max(20 * entry["fp32_vs_fp64_max_abs_diff"], 2e-5 * entry["max_abs"])

    def prompt(self, number: int) -> TextBlock:
        """Prompt `number` between its begin and end tokens."""
        special = self.config["special_tokens"]
        ids = self.tensors[f"in.prompt{number}.ids"].tolist()
        return TextBlock(torch.tensor([[special["bos_token_id"], *ids, special["eos_token_id"]]]))

    def latent_block(self, number: int) -> ImageBlock:
        """Image `number` as latents, from the stored output of the reference autoencoder."""
        latent = self.tensors[f"out.img{number}.vae_latent"].movedim(1, -1)
        patch = self.model.config.latent_patch_size
        return ImageBlock(patchify(latent, patch), (latent.shape[1] // patch, latent.shape[2] // patch))

    def vit_block(self, number: int) -> VitBlock:
        """Image `number` as vision tokens, from the stored output of the reference vision encoder."""
        return VitBlock(self.tensors[f"out.img{number}.vit_tokens"][None])

    def grid(self, name: str) -> tuple[int, int]:
        """Rows and columns of latent tokens of the image whose height and width the input `name` holds."""
        height, width = self.tensors[name].tolist()
        side = self.config["vae"]["downsample"] * self.config["bagel"]["latent_patch_size"]
        return height // side, width // side

    def context(self, *names: str) -> Context:
        """A context of one row that has read the blocks of these names: `prompt0`, `latent0`, `vit0`, ..."""
        kinds: dict[str, Callable[[int], Block]] = {
            "prompt": self.prompt,
            "latent": self.latent_block,
            "vit": self.vit_block,
        }
        return self.model.build_context([kinds[name[:-1]](int(name[-1])) for name in names], 1)

    def velocities(self, context: Context, second: bool = False) -> Tensor:
        """Velocities of the fixture's noisy latents, [T, N, C]; `second` takes the other image size."""
        suffix = "2" if second else ""
        t = self.tensors["in.flow.t"][_SECOND_TIMES if second else slice(None)]
        x = self.tensors[f"in.flow.x{suffix}"].expand(len(t), -1, -1)
        return self.model.velocity(context.repeat(len(t)), x, t, self.grid(f"in.flow.image_hw{suffix}"))


def load_fixture(path: Path) -> Fixture:
    """Read `path` and the JSON of the same stem beside it, and build the model.

    Raises:
        FileNotFoundError: if one of the two files is missing.
        ValueError: if the weights are not exactly the model's.
    """
    description_path = path.with_suffix(".json")
    for file in (path, description_path):
        if not file.is_file():
            raise FileNotFoundError(f"{file} does not exist; a fixture is NAME.safetensors and NAME.json beside it")
    description = json.loads(description_path.read_text())
    tensors = load_file(path)
    model = UnifiedModel(_model_config(description["config"])).eval()
    skipped = [re.compile(pattern) for pattern in SKIPPED_WEIGHTS]
    named = {name.removeprefix(_WEIGHTS): tensor for name, tensor in tensors.items() if name.startswith(_WEIGHTS)}
    weights = {name: tensor for name, tensor in named.items() if not any(p.match(name) for p in skipped)}
    keys = model.load_state_dict(weights, strict=False)
    if keys.missing_keys or keys.unexpected_keys:
        raise ValueError(f"weights do not fit: missing {keys.missing_keys}, unexpected {keys.unexpected_keys}")
    return Fixture(tensors, description["outputs"], description["config"], model)


def _model_config(config: Mapping[str, Any]) -> UnifiedConfig:
    llm, special = config["llm"], config["special_tokens"]
    if not llm["qk_norm"] or llm["tie_word_embeddings"] or "Mo" not in llm["layer_module"]:
        raise ValueError(f"llm is {llm}, expected qk_norm, untied embeddings and two experts")
    taken = set(special.values())
    return UnifiedConfig(
        **{name: llm[name] for name in _LLM_FIELDS},
        latent_patch_size=config["bagel"]["latent_patch_size"],
        latent_channels=config["vae"]["z_channels"],
        max_latent_size=config["bagel"]["max_latent_size"],
        bos_token_id=special["bos_token_id"],
        eos_token_id=special["eos_token_id"],
        start_of_image_id=special["start_of_image"],
        end_of_image_id=special["end_of_image"],
        pad_token_id=next(index for index in range(llm["vocab_size"]) if index not in taken),
    )


# Checks: each recomputes the outputs of one prefix, by name


def text_outputs(fixture: Fixture) -> dict[str, Tensor]:
    """`out.text.*`: the whole text in one call, and its second part on the cache of its first."""
    model, ids = fixture.model, fixture.tensors["in.text.ids"][None]
    split = int(fixture.tensors["in.text.split"])
    context = model.new_context(1)
    hidden = model.append_text(context, ids)
    found = {"out.text.hidden": hidden[0], "out.text.logits": model.text_logits(hidden)[0]}
    for layer in range(model.config.num_hidden_layers):
        keys, values = _cache_rows(context, layer)
        found |= {f"out.text.cache_k.{layer}": keys, f"out.text.cache_v.{layer}": values}
    chunked = model.new_context(1)
    model.append_text(chunked, ids[:, :split])
    found["out.text.logits_chunk2"] = model.text_logits(model.append_text(chunked, ids[:, split:]))[0]
    return found


def generated_outputs(fixture: Fixture) -> dict[str, Tensor]:
    """`out.gen_text.*`: tokens sampled greedily after the first prompt, and log-probs of given ones."""
    model, teacher = fixture.model, fixture.tensors["in.gen_text.teacher_ids"][None]
    start = TextBlock(teacher[:, :1])
    logits = cast(Tensor, model(text_context=[fixture.prompt(0), start], intent_ids=teacher[:, 1:]).logits)
    log_probs = (logits / _TEACHER_TEMPERATURE).log_softmax(-1).gather(-1, teacher[:, 1:, None])[0, :, 0]
    # Greedy: the first token and what follows it, without the stop token, as the reference returns them.
    first = torch.tensor([[model.config.bos_token_id]])
    longest = fixture.outputs["out.gen_text.greedy"]["shape"][0] - 1
    context = fixture.context("prompt0")
    ids = generate_text(model, context, prompt_logits(model, context, TextBlock(first)), longest).ids[0]
    greedy = torch.cat([first[0], ids[ids != model.config.eos_token_id]])
    return {"out.gen_text.greedy": greedy, "out.gen_text.teacher_logprobs": log_probs}


def time_outputs(fixture: Fixture) -> dict[str, Tensor]:
    """`out.time.*`: features and embedding of the fixture's times."""
    t = fixture.tensors["in.flow.t"]
    return {"out.time.sincos": time_features(t), "out.time.embed": fixture.model.time_embedder(t)}


def position_outputs(fixture: Fixture) -> dict[str, Tensor]:
    """`out.pos.latent_ids`: rows of the position table that the generated image uses."""
    side = fixture.model.config.max_latent_size
    return {"out.pos.latent_ids": latent_position_ids(fixture.grid("in.flow.image_hw"), side)}


def mask_outputs(fixture: Fixture) -> dict[str, Tensor]:
    """`out.mask.*`: attention masks of packed splits, on which both reference variants agree.

    True where a token (row) sees another (column), [S, S]; a noisy block stays out of the context.
    """
    found = {}
    for name in (name for name in fixture.outputs if name.startswith("out.mask.")):
        pattern = f"in.mask.{name.split('.')[2]}"
        lengths = fixture.tensors[f"{pattern}.split_lens"].tolist()
        modes = fixture.tensors[f"{pattern}.modes"].tolist()
        visible = torch.zeros(sum(lengths), sum(lengths), dtype=torch.bool)
        context, columns, start = Context.empty(1), torch.zeros(0, dtype=torch.long), 0
        for length, mode in zip(lengths, modes, strict=True):
            own = torch.arange(start, start + length)
            seen = torch.cat([columns, own])
            if mode == _CAUSAL:
                mask = text_attention_mask(context, None, length)
            else:
                mask = image_attention_mask(context, length)
            visible[own[:, None], seen] = True if mask is None else mask[0, 0]
            if mode != _NOISE:
                context.record(None, length, 1, torch.zeros(length, dtype=torch.bool))
                columns = seen
            start += length
        found[name] = visible.to(fixture.tensors[name].dtype)
    return found


def context_outputs(fixture: Fixture) -> dict[str, Tensor]:
    """`out.ctx.*`: length, next rope id and caches of each context."""
    found = {}
    for name, context in _named_contexts(fixture).items():
        found[f"out.ctx.{name}.kv_len"] = torch.tensor([context.length])
        found[f"out.ctx.{name}.rope"] = context.position
        for layer in range(fixture.model.config.num_hidden_layers):
            keys, values = _cache_rows(context, layer)
            found |= {f"out.ctx.{name}.k.{layer}": keys, f"out.ctx.{name}.v.{layer}": values}
    return found


def flow_outputs(fixture: Fixture) -> dict[str, Tensor]:
    """`out.flow.*`: velocities in each context for two image sizes, and with scaled text keys."""
    found = {}
    contexts = _named_contexts(fixture)
    for name, context in contexts.items():
        found[f"out.flow.{name}.v"] = fixture.velocities(context)
        found[f"out.flow.{name}.v2"] = fixture.velocities(context, second=True)
    config = fixture.model.config
    for name in fixture.outputs:
        if match := _KEY_SCALED.fullmatch(name):
            unscaled = config.text_key_scale
            config.text_key_scale = float(match["scale"])
            try:
                found[name] = fixture.velocities(contexts["edit"])
            finally:
                config.text_key_scale = unscaled
    return found


def guidance_outputs(fixture: Fixture) -> dict[str, Tensor]:
    """`out.cfg.*`: velocities of the two contexts that lack something, and all guided combinations."""
    full = fixture.velocities(fixture.context(*CONTEXTS["edit"]))
    text_dropped = fixture.velocities(fixture.context("latent0", "vit0"))
    image_dropped = fixture.velocities(fixture.context("prompt0"))
    found = {"out.cfg.v_text": text_dropped, "out.cfg.v_img": image_dropped}
    for name in fixture.outputs:
        if match := _GUIDED.fullmatch(name):
            scales = float(match["text"]), float(match["image"])
            renorm, least = cast(Renorm, match["renorm"]), float(match["least"])
            found[name] = published_guided_velocity(full, text_dropped, image_dropped, *scales, renorm, least)
    return found


CHECKS: dict[str, Callable[[Fixture], dict[str, Tensor]]] = {
    "out.text.": text_outputs,
    "out.gen_text.": generated_outputs,
    "out.time.": time_outputs,
    "out.pos.": position_outputs,
    "out.mask.": mask_outputs,
    "out.ctx.": context_outputs,
    "out.flow.": flow_outputs,
    "out.cfg.": guidance_outputs,
}
"""Prefix of the outputs' names -> function that recomputes them all, by name."""


def _named_contexts(fixture: Fixture) -> dict[str, Context]:
    """The contexts of `CONTEXTS` that the fixture has outputs for."""
    return {
        name: fixture.context(*blocks)
        for name, blocks in CONTEXTS.items()
        if f"out.ctx.{name}.kv_len" in fixture.outputs
    }


def _cache_rows(context: Context, layer: int) -> tuple[Tensor, Tensor]:
    """Keys and values of the first row of one layer, [S, key-value heads, head width] each."""
    keys, values = context.keys_values(layer)
    return keys[0].transpose(0, 1), values[0].transpose(0, 1)


# Comparison and command


@dataclass(frozen=True)
class Row:
    """One output: its largest deviation (infinite for another shape) and the largest allowed."""

    name: str
    error: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the deviation is allowed; one that is not a number never is."""
        return self.error <= self.tolerance


@dataclass(frozen=True)
class Report:
    """All rows that were asked for, and the fixture's outputs that no check recomputes."""

    rows: tuple[Row, ...]
    uncovered: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether every row holds."""
        return all(row.holds for row in self.rows)


@torch.no_grad()
def check_fixture(path: Path, only: Sequence[str] = ()) -> Report:
    """Recompute and compare a fixture's outputs.

    Args:
        path: the safetensors file, with its JSON beside it.
        only: prefixes of output names, with or without `out.`; empty for everything that can be recomputed.

    Raises:
        ValueError: if a prefix matches nothing that can be recomputed; the message names the known ones.
    """
    prefixes = tuple(prefix if prefix.startswith("out") else f"out.{prefix}" for prefix in only)

    fixture, rows, covered = load_fixture(path), list[Row](), set[str]()
    for known, check in CHECKS.items():
        wanted = not prefixes or known.startswith(prefixes) or any(p.startswith(known) for p in prefixes)
        if not wanted or not any(name.startswith(known) for name in fixture.outputs):
            continue
        for name, value in check(fixture).items():
            if name not in fixture.outputs:
                continue
            covered.add(name)
            if not prefixes or name.startswith(prefixes):
                rows.append(Row(name, deviation(value, fixture.tensors[name]), fixture.tolerance(name)))
    for prefix in prefixes:
        if not any(row.name.startswith(prefix) for row in rows):
            known = ", ".join(CHECKS)
            raise ValueError(f"--only {prefix} matches no output that can be recomputed; known prefixes: {known}")
    return Report(tuple(rows), () if prefixes else tuple(sorted(set(fixture.outputs) - covered)))


def deviation(value: Tensor, expected: Tensor) -> float:
    """Largest absolute difference in float64; infinite for another shape, not a number if one is none."""
    if value.shape != expected.shape:
        return math.inf
    return float((value.double() - expected.double()).abs().max())


def table(report: Report) -> str:
    """The report as text: a line an output, the count, and what was not covered."""
    width = max(len(row.name) for row in report.rows)
    lines = [f"{'output':<{width}}  {'error':>9}  {'tolerance':>9}"]
    for row in report.rows:
        verdict = "" if row.holds else "  FAILS"
        lines.append(f"{row.name:<{width}}  {row.error:9.2e}  {row.tolerance:9.2e}{verdict}")
    failed = sum(not row.holds for row in report.rows)
    lines.append(f"{len(report.rows) - failed} of {len(report.rows)} outputs hold")
    if report.uncovered:
        kinds = Counter(".".join(name.split(".")[:2]) for name in report.uncovered)
        listed = ", ".join(f"{kind}.* ({count})" for kind, count in kinds.items())
        lines.append(f"not covered ({len(report.uncovered)}): {listed}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a fixture, print the table; 0 when everything holds, 1 when not, 2 for a wrong call."""
    parser = argparse.ArgumentParser(
        prog="python -m editenv.agents.unified.parity",
        description="Recompute the outputs of a parity fixture and compare them with what it stores.",
    )
    parser.add_argument("fixture", type=Path, help="NAME.safetensors, with NAME.json beside it")
    parser.add_argument(
        "--only", nargs="+", action="extend", default=[], metavar="PREFIX", help="check these outputs only"
    )
    options = parser.parse_args(arguments)
    try:
        report = check_fixture(options.fixture, options.only)
    except (FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(table(report))
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main())
