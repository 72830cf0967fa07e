"""What parity recomputes of a fixture: NAME.safetensors with weights, inputs and outputs of the reference code.

NAME.json beside it has sizes, settings and tolerances. `OUTPUTS` says what can be recomputed, and how.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import cross_entropy

from editenv.agents.edit_r2 import ActionLogProbs, clipped_policy_loss
from editenv.agents.flow import (
    SamplingPlan,
    WindowSample,
    flow_sde_step,
    sample_ode,
    sample_window,
    shifted_times,
    window_log_prob,
)
from editenv.agents.unified.autoencoder import patchify
from editenv.agents.unified.config import UnifiedConfig
from editenv.agents.unified.context import Block, Context, ImageBlock, TextBlock, VitBlock
from editenv.agents.unified.flux_autoencoder import FluxAutoencoder
from editenv.agents.unified.guidance import Guidance, GuidanceContexts, predict_velocity, published_guided_velocity
from editenv.agents.unified.layers import latent_position_ids, time_features
from editenv.agents.unified.model import UnifiedModel, generate_text, prompt_logits
from editenv.agents.unified.vision import SIZES
from editenv.agents.variants import published_kl

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
        self.trajectory: Mapping[str, Any] = description["trajectory"]
        self.learn: Mapping[str, Any] = description["learn"]
        self.context, self.velocities = cache(self._context), cache(self._velocities)
        self.window, self.learnt, self.packed = cache(self._window), cache(self._learnt), cache(self._packed)

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
            vision={name: self.config["vit"][name] for name in SIZES}
            | {"max_patches_per_side": bagel["vit_max_num_patch_per_side"]},
            pad_token_id=min(set(range(llm["vocab_size"])) - set(special.values())),
        )
        model = UnifiedModel(config).eval()
        keys = model.load_state_dict(self.weights("weights."), strict=False)
        if keys.missing_keys or keys.unexpected_keys:
            raise ValueError(f"weights do not fit: missing {keys.missing_keys}, unexpected {keys.unexpected_keys}")
        return model

    @cached_property
    def autoencoder(self) -> FluxAutoencoder:
        """The autoencoder with the fixture's weights."""
        coder = FluxAutoencoder(self.config["vae"], self.config["bagel"]["latent_patch_size"])
        coder.load_flux(self.weights("vae_weights."))
        return coder

    def weights(self, prefix: str) -> dict[str, Tensor]:
        """Tensors whose names begin with a prefix, without it."""
        return {n.removeprefix(prefix): value for n, value in self.tensors.items() if n.startswith(prefix)}

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

    @torch.no_grad()
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

    # Trajectories

    @cached_property
    def times(self) -> Tensor:
        """The trajectories' grid."""
        return shifted_times(self.trajectory["num_timesteps"], self.trajectory["timestep_shift"])

    @cached_property
    def guided(self) -> Callable[..., tuple[Tensor, Tensor]]:
        """The guided velocity of trajectories and of the policy step, and the unguided one."""
        settings = self.trajectory
        guidance = Guidance(
            text=settings["cfg_text_scale"],
            image=settings["cfg_img_scale"],
            renorm=settings["cfg_renorm_type"],
            renorm_min=settings["cfg_renorm_min"],
            interval=tuple(settings["cfg_interval"]),
        )
        contexts = GuidanceContexts(*(self.context(name) for name in ("edit", "edit_text_dropped", "t2i")))
        grid = self.grid("in.flow.image_hw")
        return lambda x, t: predict_velocity(
            self.model, contexts.repeat(len(x)), x, t, grid, None, guidance, published_guided_velocity
        )

    def begin(self, process: str) -> int:
        """Where the reference's window starts: it seeds Python's generator with the process's number."""
        low, high = self.trajectory["window_range"]
        return random.Random(int(process)).randint(low, high - self.trajectory["window"])

    def _window(self, process: str) -> WindowSample:
        noise, settings = self.tensors["in.traj.sde_noise"][None], self.trajectory
        start = torch.tensor([self.begin(process)])
        plan = SamplingPlan(self.times, settings["window"], start, noise, noise_level=settings["noise_level"])
        return sample_window(lambda x, t: self.guided(x, t)[0], self.tensors["in.traj.init_noise"][None], plan)

    def _learnt(self, tag: str) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Loss of each stochastic step, what was logged, and gradients by name; contexts have no gradient."""
        settings, sign = self.learn, -1.0 if tag == "neg" else 1.0
        lower, upper, bound = settings["clip_range_lt"], settings["clip_range_gt"], settings["adv_clip_max"]
        if lower != upper:
            raise ValueError(f"learn has clip ranges {lower} and {upper}, expected one")
        changed = {f"language_model.{name}": value for name, value in self.weights("ref_weights.").items()}
        with torch.enable_grad():
            reference, policy = self._actions(changed), self._actions({})
            stored = self.tensors["out.traj.pi0.logps"][None] + self.tensors["in.learn.logp_offset"]
            log_ratio = policy.flow_log_prob_mean - stored
            advantage = sign * self.tensors["in.learn.advantage"].clamp(-bound, bound)
            loss = clipped_policy_loss(log_ratio, advantage[:, None], lower)
            kl = published_kl(policy, reference, {"times": self.window("0").times})
            total = (loss + settings["beta"] * kl) * (0.0 if tag == "masked" else 1.0)
            gradients = self.gradients(total.sum())
        above, below = (log_ratio.exp() - 1 > upper).float(), (1 - log_ratio.exp() > lower).float()
        told = torch.stack([part.mean() for part in (above + below, above, below, loss, kl, total)]).detach()
        return total[0].detach(), told, gradients

    def _actions(self, changed: dict[str, Tensor]) -> ActionLogProbs:
        """Log-probs of the stored steps with some weights changed, and without gradient then.

        As in the reference code, the contexts are those of the unchanged weights.
        """
        latents, times = self.tensors["out.traj.pi0.latents"][None], self.window("0").times
        guided, kept = self.guided, {n: v.clone() for n, v in self.model.state_dict().items() if n in changed}
        transition = flow_sde_step, self.trajectory["noise_level"], float(self.times[1])
        self.model.load_state_dict(changed, strict=False)
        try:
            with torch.set_grad_enabled(not changed):
                velocity = guided(latents[0, :-1], times[0, :-1])[0][None]
            return ActionLogProbs(None, *window_log_prob(velocity, latents, times, *transition))
        finally:
            self.model.load_state_dict(kept, strict=False)

    def gradients(self, loss: Tensor) -> dict[str, Tensor]:
        """Of all weights, by name; zero where the loss does not depend on one."""
        named = {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}
        found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        return {
            name: torch.zeros_like(weight) if gradient is None else gradient
            for (name, weight), gradient in zip(named.items(), found, strict=True)
        }

    # Packed training

    def _packed(self) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Unreduced squared errors and cross entropies of a packed document, velocities, gradients of both means.

        Its splits are read one after the other as blocks: text, clean and noisy latents, vision tokens.
        """
        given, model = self.weights("in.train."), self.model
        latents, vision, text = ({*given[f"{name}_indexes"].tolist()} for name in ("vae", "vit", "text"))
        patch, grid = model.config.latent_patch_size, tuple(given["latent_hw"].tolist())
        maps = given["padded_latent"][:, :, : grid[0] * patch, : grid[1] * patch]
        images = iter(zip(self.autoencoder.tokens(maps), *self._noising(given, len(maps)), strict=True))
        ids = dict(zip(given["text_indexes"].tolist(), given["text_ids"], strict=True))
        squared, entropies, velocities, labels = [], [], [], iter(given["labels"])
        with torch.enable_grad():
            context, start = model.new_context(1), 0
            for length in given["split_lens"].tolist():
                own = range(start, start + length)
                start += length
                if latents & {*own}:
                    clean, noise, t = next(images)
                    if t == 0:
                        model.append(context, ImageBlock(clean[None], grid))
                        continue
                    velocity = model.velocity(context, torch.lerp(clean, noise, t)[None], t[None], grid)[0]
                    velocities.append(velocity)
                    squared.append((velocity - (noise - clean)).square())
                elif vision & {*own}:
                    model.append(context, model.vision_block(self.tensors["in.img0.vit_pixels"][None]))
                elif text >= {*own}:
                    hidden = model.append_text(context, torch.stack([ids[place] for place in own])[None])
                    asked = given["ce_index"][own.start : own.stop].bool()
                    logits = model.text_logits(hidden)[0, asked]
                    wanted = [next(labels) for _ in logits]
                    entropies += [cross_entropy(logits, torch.stack(wanted), reduction="none")] if wanted else []
            mse, ce = torch.cat(squared), torch.cat(entropies)
            gradients = self.gradients(mse.mean() + ce.mean())
        return mse.detach(), ce.detach(), torch.cat(velocities).detach(), gradients

    def _noising(self, given: Mapping[str, Tensor], images: int) -> tuple[Tensor, Tensor]:
        """Noise of each image [I, N, C] and its time [I]; a raw time of -inf is a clean image's."""
        raw = torch.sigmoid(given["raw_timesteps"])
        t = given["timestep_shift"] * raw / (1 + (given["timestep_shift"] - 1) * raw)
        return given["noise"].unflatten(0, (images, -1)), t.unflatten(0, (images, -1))[:, 0]


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


def interpolated_ids(fixture: Fixture) -> Tensor:
    """Places of latents in the table, spread over all of it; BAGEL has that as an option and does not use it."""
    side, rows, columns = fixture.model.config.max_latent_size, *fixture.grid("in.flow.image_hw")
    bounds = torch.arange(1 / side, 1.0, 1 / side)
    row, column = (
        torch.bucketize(torch.arange(0, 1 - 1e-6, 1 / count), bounds, right=True) for count in (rows, columns)
    )
    return (row[:, None] * side + column).flatten()


def pixels(fixture: Fixture, number: str, kind: str) -> Tensor:
    """One image as the autoencoder or the vision encoder gets it, [1, 3, H, W]."""
    return fixture.tensors[f"in.img{number}.{kind}_pixels"][None]


def decoded(fixture: Fixture) -> Tensor:
    """The image of the first trajectory, [3, H, W] in [0, 1]."""
    maps = fixture.autoencoder.maps(fixture.window("0").final, fixture.grid("in.flow.image_hw"))
    return (fixture.autoencoder.decode_maps(maps)[0] * 0.5 + 0.5).clamp(0, 1)


def vision_patches(fixture: Fixture, number: str) -> Tensor:
    """Patches of an image, [N, P]."""
    return patchify(pixels(fixture, number, "vit").movedim(1, -1), fixture.config["vit"]["patch_size"])[0]


def vision_ids(fixture: Fixture, number: str) -> Tensor:
    """Places of an image's patches in the table of positions."""
    encoder = fixture.model.vit_model
    height, width = pixels(fixture, number, "vit").shape[2:]
    grid = height // encoder.patch_size, width // encoder.patch_size
    return latent_position_ids(grid, encoder.vision_model.embeddings.side)


def window_part(fixture: Fixture, process: str, part: str) -> Tensor:
    """One part of a process's trajectory."""
    sample = fixture.window(process)
    return {
        "begin": torch.tensor(fixture.begin(process)),
        "final": sample.final[0],
        "latents": sample.latents[0],
        "logps": sample.log_prob_mean[0],
        "t": sample.times[0, :-1],
    }[part]


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
    r"pos\.latent_ids_interp": interpolated_ids,
    r"img(\d)\.vae_latent": lambda fixture, number: fixture.autoencoder.encode_maps(pixels(fixture, number, "vae")),
    r"img(\d)\.vae_decode": lambda fixture, number: fixture.autoencoder.decode_maps(
        fixture.tensors[f"out.img{number}.vae_latent"]
    ),
    r"img(\d)\.vit_patches": vision_patches,
    r"img(\d)\.vit_pos_ids": vision_ids,
    r"img(\d)\.vit_features": lambda fixture, number: fixture.model.vit_model(pixels(fixture, number, "vit"))[0][0],
    r"img(\d)\.vit_tokens": lambda fixture, number: fixture.model.vision_block(pixels(fixture, number, "vit")).tokens[
        0
    ],
    r"traj\.pi(\d+)\.(begin|final|latents|logps|t)": window_part,
    r"traj\.image": decoded,
    r"traj\.ode_final": lambda fixture: sample_ode(
        lambda x, t: fixture.guided(x, t)[0], fixture.tensors["in.traj.init_noise"][None], fixture.times
    )[0],
    r"learn\.(pos|neg|masked)\.losses": lambda fixture, tag: fixture.learnt(tag)[0],
    r"learn\.(pos|neg|masked)\.stats": lambda fixture, tag: fixture.learnt(tag)[1],
    r"learn\.(pos|neg|masked)\.grad\.(.+)": lambda fixture, tag, name: fixture.learnt(tag)[2][name],
    r"train\.mse": lambda fixture: fixture.packed()[0],
    r"train\.ce": lambda fixture: fixture.packed()[1],
    r"train\.infer_v": lambda fixture: fixture.packed()[2],
    r"train\.grad\.(.+)": lambda fixture, name: fixture.packed()[3][name],
    r"mask\.(\w+)\.\w+": visible,
    r"flow\.(\w+)\.v(2?)": lambda fixture, name, suffix: fixture.velocities(name, suffix),
    r"flow\.(\w+)_text_key_scale([\d.]+)\.v": key_scaled,
    r"cfg\.v_text": lambda fixture: fixture.velocities("edit_text_dropped"),
    r"cfg\.v_img": lambda fixture: fixture.velocities("t2i"),
    r"cfg\.(\w+)\.text([\d.]+)_img([\d.]+)_min([\d.]+)": guided,
}
"""By pattern of whole names without `out.`: what recomputes them, of the fixture and the pattern's groups."""
