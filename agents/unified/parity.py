"""Parity with the reference code: recompute a fixture's outputs from its weights and compare.

`python -m editenv.agents.unified.parity FIXTURE.safetensors [--only PREFIX ...]` prints a table and exits 0
only when every output holds. A fixture is NAME.safetensors (weights, inputs and outputs of the reference
code) with NAME.json beside it. `OUTPUTS` says what can be recomputed, and how.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from safetensors.torch import load_file
from torch import Tensor

from editenv.agents.unified.autoencoder import patchify
from editenv.agents.unified.config import UnifiedConfig
from editenv.agents.unified.context import Block, Context, ImageBlock, TextBlock, VitBlock
from editenv.agents.unified.guidance import Guidance, published_guided_velocity
from editenv.agents.unified.layers import latent_position_ids, time_features
from editenv.agents.unified.model import SKIPPED_WEIGHTS, UnifiedModel, generate_text, prompt_logits

CONTEXTS = {
    "text": ("text",),
    "t2i": ("prompt0",),
    "text_vae": ("prompt0", "latent0"),
    "edit": ("latent0", "vit0", "prompt0"),
    "edit_novit": ("latent0", "prompt0"),
    "edit_text_dropped": ("latent0", "vit0"),
    "multiturn": ("latent0", "vit0", "prompt0", "latent1", "vit1", "prompt1"),
}
"""Names of contexts and the blocks they hold."""

_LLM_FIELDS = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "rope_theta", "rms_norm_eps", "max_position_embeddings", "hidden_act",
)  # fmt: skip
_TEACHER_TEMPERATURE = 0.7
_SECOND_TIMES = slice(1, 3)
_CAUSAL, _NOISE = 0, 2  # the reference code's attention modes of a split; 1 is full attention


class Fixture:
    """One fixture with its model, whose weights must be exactly the fixture's.

    Attributes:
        tensors: everything in the safetensors file, by name (`in.*`, `out.*` and `weights.*`).
        outputs: the JSON's entry on each output, by name.
        config: the JSON's `config`: llm, vit, vae, bagel and special tokens.
    """

    def __init__(self, path: Path) -> None:
        for file in (path, path.with_suffix(".json")):
            if not file.is_file():
                raise FileNotFoundError(f"{file} does not exist, expected NAME.safetensors with NAME.json beside it")
        description = json.loads(path.with_suffix(".json").read_text())
        self.tensors: Mapping[str, Tensor] = load_file(path)
        self.outputs: Mapping[str, Mapping[str, Any]] = description["outputs"]
        self.config: Mapping[str, Any] = description["config"]
        self.context, self.velocities = cache(self._context), cache(self._velocities)

    @cached_property
    def text(self) -> Tensor:
        """States [1, L, H] of the whole text, read in one call."""
        return self.model.append_text(self.model.new_context(1), self.tensors["in.text.ids"][None])

    @cached_property
    def model(self) -> UnifiedModel:
        """The model of the fixture's config with its weights, in evaluation mode."""
        llm, special, bagel = (self.config[name] for name in ("llm", "special_tokens", "bagel"))
        if not llm["qk_norm"] or llm["tie_word_embeddings"] or "Mo" not in llm["layer_module"]:
            raise ValueError(f"llm is {llm}, expected qk_norm, untied embeddings and two experts")
        config = UnifiedConfig(
            **{name: llm[name] for name in _LLM_FIELDS},
            latent_patch_size=bagel["latent_patch_size"],
            latent_channels=self.config["vae"]["z_channels"],
            max_latent_size=bagel["max_latent_size"],
            bos_token_id=special["bos_token_id"],
            eos_token_id=special["eos_token_id"],
            start_of_image_id=special["start_of_image"],
            end_of_image_id=special["end_of_image"],
            pad_token_id=min(set(range(llm["vocab_size"])) - set(special.values())),
        )
        model = UnifiedModel(config).eval()
        named = {name.removeprefix("weights."): name for name in self.tensors if name.startswith("weights.")}
        wanted = (name for name in named if not any(re.match(skipped, name) for skipped in SKIPPED_WEIGHTS))
        keys = model.load_state_dict({name: self.tensors[named[name]] for name in wanted}, strict=False)
        if keys.missing_keys or keys.unexpected_keys:
            raise ValueError(f"weights do not fit: missing {keys.missing_keys}, unexpected {keys.unexpected_keys}")
        return model

    def tolerance(self, name: str) -> float:
        """Largest deviation allowed: 20 times the float32 noise, at least 2e-5 of the largest value.

        Integers and truth values must be equal.
        """
        entry = self.outputs[name]
        if "max_abs" not in entry:
            return 0.0
        return max(20 * entry["fp32_vs_fp64_max_abs_diff"], 2e-5 * entry["max_abs"])

    def block(self, name: str) -> Block:
        """`text`, `prompt0` (between its begin and end tokens), `latent0`, `vit0`, ...

        Images come as the stored outputs of the reference autoencoder and vision encoder.
        """
        kind, number, patch = name[:-1], name[-1], self.model.config.latent_patch_size
        if kind == "latent":
            latent = self.tensors[f"out.img{number}.vae_latent"].movedim(1, -1)
            return ImageBlock(patchify(latent, patch), (latent.shape[1] // patch, latent.shape[2] // patch))
        if kind == "vit":
            return VitBlock(self.tensors[f"out.img{number}.vit_tokens"][None])
        if name == "text":
            return TextBlock(self.tensors["in.text.ids"][None])
        special = self.config["special_tokens"]
        ids = self.tensors[f"in.prompt{number}.ids"].tolist()
        return TextBlock(torch.tensor([[special["bos_token_id"], *ids, special["eos_token_id"]]]))

    def _context(self, name: str) -> Context:
        """A context of one row that has read the blocks of `CONTEXTS[name]`; not to be grown."""
        return self.model.build_context([self.block(block) for block in CONTEXTS[name]], 1)

    def grid(self, name: str) -> tuple[int, int]:
        """Rows and columns of latent tokens of the image whose height and width the input `name` holds."""
        height, width = self.tensors[name].tolist()
        side = self.config["vae"]["downsample"] * self.config["bagel"]["latent_patch_size"]
        return height // side, width // side

    def _velocities(self, name: str, suffix: str = "") -> Tensor:
        """Velocities of the noisy latents in a context, [T, N, C]; suffix "2" takes the other image size."""
        t = self.tensors["in.flow.t"][_SECOND_TIMES if suffix else slice(None)]
        x = self.tensors[f"in.flow.x{suffix}"].expand(len(t), -1, -1)
        return self.model.velocity(self.context(name).repeat(len(t)), x, t, self.grid(f"in.flow.image_hw{suffix}"))


# What can be recomputed


def second_part(fixture: Fixture) -> Tensor:
    """Logits of the text's second part on the cache of its first."""
    model, ids = fixture.model, fixture.tensors["in.text.ids"][None]
    split, context = int(fixture.tensors["in.text.split"]), fixture.model.new_context(1)
    model.append_text(context, ids[:, :split])
    return model.text_logits(model.append_text(context, ids[:, split:]))[0]


def cached(fixture: Fixture, name: str, which: str, layer: str) -> Tensor:
    """Keys or values of one layer, [S, key-value heads, head width]."""
    keys, values = fixture.context(name).layers[int(layer)]
    return (keys if which == "k" else values)[0].transpose(0, 1)


def greedy(fixture: Fixture) -> Tensor:
    """The first token and what is written after it, without the stop token, as the reference returns them."""
    model, first = fixture.model, torch.tensor([[fixture.model.config.bos_token_id]])
    longest, context = fixture.outputs["out.gen_text.greedy"]["shape"][0] - 1, fixture.context("t2i").copy()
    ids = generate_text(model, context, prompt_logits(model, context, TextBlock(first)), longest).ids[0]
    return torch.cat([first[0], ids[ids != model.config.eos_token_id]])


def teacher_log_probs(fixture: Fixture) -> Tensor:
    """Log-probs of given tokens after the first prompt."""
    teacher = fixture.tensors["in.gen_text.teacher_ids"][None]
    read = [fixture.block("prompt0"), TextBlock(teacher[:, :1])]
    logits = cast(Tensor, fixture.model(text_context=read, intent_ids=teacher[:, 1:]).logits)
    return (logits / _TEACHER_TEMPERATURE).log_softmax(-1).gather(-1, teacher[:, 1:, None])[0, :, 0]


def visible(fixture: Fixture, pattern: str) -> Tensor:
    """Where a token (row) of packed splits sees another (column), [S, S]; both reference variants agree.

    A noisy block stays out of the context.
    """
    lengths, modes = (fixture.tensors[f"in.mask.{pattern}.{name}"].tolist() for name in ("split_lens", "modes"))
    found = torch.zeros(sum(lengths), sum(lengths), dtype=torch.bool)
    context, columns, start = Context.empty(1), torch.zeros(0, dtype=torch.long), 0
    for length, mode in zip(lengths, modes, strict=True):
        own = torch.arange(start, start + length)
        seen = torch.cat([columns, own])
        mask = context.text_mask(None, length) if mode == _CAUSAL else context.image_mask(length)
        found[own[:, None], seen] = True if mask is None else mask[0, 0]
        if mode != _NOISE:
            context.record(None, 1, torch.zeros(length, dtype=torch.bool))
            columns = seen
        start += length
    return found


def key_scaled(fixture: Fixture, name: str, scale: str) -> Tensor:
    """Velocities with scaled text keys."""
    config = fixture.model.config
    unscaled, config.text_key_scale = config.text_key_scale, float(scale)
    try:
        return fixture.velocities.__wrapped__(name)
    finally:
        config.text_key_scale = unscaled


def guided(fixture: Fixture, renorm: Any, text: str, image: str, least: str) -> Tensor:
    """Velocities guided under the published rule."""
    full, text_dropped, image_dropped = (fixture.velocities(name) for name in ("edit", "edit_text_dropped", "t2i"))
    guidance = Guidance(float(text), float(image), renorm, float(least))
    return published_guided_velocity(full, text_dropped, image_dropped, guidance)


OUTPUTS: dict[str, Callable[..., Tensor]] = {
    r"text\.hidden": lambda fixture: fixture.text[0],
    r"text\.logits": lambda fixture: fixture.model.text_logits(fixture.text)[0],
    r"text\.logits_chunk2": second_part,
    r"(text)\.cache_(k|v)\.(\d+)": cached,
    r"ctx\.(\w+)\.(k|v)\.(\d+)": cached,
    r"ctx\.(\w+)\.kv_len": lambda fixture, name: torch.tensor([fixture.context(name).length]),
    r"ctx\.(\w+)\.rope": lambda fixture, name: fixture.context(name).position,
    r"gen_text\.greedy": greedy,
    r"gen_text\.teacher_logprobs": teacher_log_probs,
    r"time\.sincos": lambda fixture: time_features(fixture.tensors["in.flow.t"]),
    r"time\.embed": lambda fixture: fixture.model.time_embedder(fixture.tensors["in.flow.t"]),
    r"pos\.latent_ids": lambda fixture: latent_position_ids(
        fixture.grid("in.flow.image_hw"), fixture.model.config.max_latent_size
    ),
    r"mask\.(\w+)\.\w+": visible,
    r"flow\.(\w+)\.v(2?)": lambda fixture, name, suffix: fixture.velocities(name, suffix),
    r"flow\.(\w+)_text_key_scale([\d.]+)\.v": key_scaled,
    r"cfg\.v_text": lambda fixture: fixture.velocities("edit_text_dropped"),
    r"cfg\.v_img": lambda fixture: fixture.velocities("t2i"),
    r"cfg\.(\w+)\.text([\d.]+)_img([\d.]+)_min([\d.]+)": guided,
}
"""By pattern of whole names without `out.`: what recomputes them, of the fixture and the pattern's groups."""


# Comparison and command


class Row(NamedTuple):
    """One output: its largest deviation (infinite for another shape) and the largest allowed."""

    name: str
    error: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the deviation is allowed; one that is not a number never is."""
        return self.error <= self.tolerance


@torch.no_grad()
def check_fixture(path: Path, only: Sequence[str] = ()) -> tuple[list[Row], list[str]]:
    """Recomputes and compares a fixture's outputs.

    Args:
        path: the safetensors file, with its JSON beside it.
        only: prefixes of output names, with or without `out.`; empty for everything that can be recomputed.

    Returns:
        A row for each output, and the names of the outputs that nothing recomputes; none of these with `only`.

    Raises:
        ValueError: if a prefix matches nothing that can be recomputed; the message names the known ones.
    """
    fixture = Fixture(path)
    prefixes = tuple(prefix if prefix.startswith("out") else f"out.{prefix}" for prefix in only)
    found = {
        name: (recompute, match.groups())
        for name in fixture.outputs
        for pattern, recompute in OUTPUTS.items()
        if (match := re.fullmatch(rf"out\.{pattern}", name))
    }
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in found):
            known = ", ".join(sorted({".".join(name.split(".")[:2]) for name in found}))
            raise ValueError(f"--only {prefix} matches no output that can be recomputed; known prefixes: {known}")
    rows = [
        Row(name, deviation(recompute(fixture, *groups), fixture.tensors[name]), fixture.tolerance(name))
        for name, (recompute, groups) in found.items()
        if not prefixes or name.startswith(prefixes)
    ]
    return rows, [] if prefixes else [name for name in fixture.outputs if name not in found]


def deviation(value: Tensor, expected: Tensor) -> float:
    """Largest absolute difference in float64; infinite for another shape, not a number if one is none."""
    return float((value.double() - expected.double()).abs().max()) if value.shape == expected.shape else math.inf


def table(rows: Sequence[Row], uncovered: Sequence[str]) -> str:
    """A line an output, the count, and what was not covered."""
    width = max(len(row.name) for row in rows)
    lines = [f"{'output':<{width}}  {'error':>9}  {'tolerance':>9}"]
    for row in rows:
        verdict = "" if row.holds else "  FAILS"
        lines.append(f"{row.name:<{width}}  {row.error:9.2e}  {row.tolerance:9.2e}{verdict}")
    lines.append(f"{sum(row.holds for row in rows)} of {len(rows)} outputs hold")
    if uncovered:
        kinds = Counter(".".join(name.split(".")[:2]) for name in uncovered)
        listed = ", ".join(f"{kind}.* ({count})" for kind, count in kinds.items())
        lines.append(f"not covered ({len(uncovered)}): {listed}")
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
        rows, uncovered = check_fixture(options.fixture, options.only)
    except (FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(table(rows, uncovered))
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
