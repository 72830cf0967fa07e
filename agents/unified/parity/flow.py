"""Recomputes contexts, velocities and guidance of the generation expert."""

from __future__ import annotations

import re
from typing import cast

import torch
from torch import Tensor

from editenv.agents.unified.context import Context
from editenv.agents.unified.embeddings import latent_position_ids, time_features
from editenv.agents.unified.guidance import Renorm, published_guided_velocity
from editenv.agents.unified.parity.fixture import Fixture
from editenv.agents.unified.parity.text import cache_rows

_GUIDED = re.compile(
    r"out\.cfg\.(?P<renorm>\w+)\.text(?P<text>[\d.]+)_img(?P<image>[\d.]+)_min(?P<least>[\d.]+)"
)
_KEY_SCALED = re.compile(r"out\.flow\.edit_text_key_scale(?P<scale>[\d.]+)\.v")
_SECOND_TIMES = slice(1, 3)
CONTEXTS = {
    "t2i": ("prompt0",),
    "text_vae": ("prompt0", "latent0"),
    "edit": ("latent0", "vit0", "prompt0"),
    "edit_novit": ("latent0", "prompt0"),
    "multiturn": ("latent0", "vit0", "prompt0", "latent1", "vit1", "prompt1"),
}
"""Names of contexts and the blocks they read."""


def named_contexts(fixture: Fixture) -> dict[str, Context]:
    """The contexts of `CONTEXTS` that the fixture has outputs for."""
    return {
        name: fixture.read(*blocks)
        for name, blocks in CONTEXTS.items()
        if f"out.ctx.{name}.kv_len" in fixture.outputs
    }


def velocities(fixture: Fixture, context: Context, second: bool = False) -> Tensor:
    """Velocities of the fixture's noisy latents, [T, N, C]; `second` takes the other picture size."""
    suffix = "2" if second else ""
    t = fixture.tensors["in.flow.t"][_SECOND_TIMES if second else slice(None)]
    x = fixture.tensors[f"in.flow.x{suffix}"].expand(len(t), -1, -1)
    return fixture.model.velocity(context.repeat(len(t)), x, t, fixture.grid(f"in.flow.image_hw{suffix}"))


def context_outputs(fixture: Fixture) -> dict[str, Tensor]:
    """`out.ctx.*`: length, next rope id and caches of each context."""
    found = {}
    for name, context in named_contexts(fixture).items():
        found[f"out.ctx.{name}.kv_len"] = torch.tensor([context.length])
        found[f"out.ctx.{name}.rope"] = context.position
        for layer in range(fixture.model.config.num_hidden_layers):
            keys, values = cache_rows(context, layer)
            found |= {f"out.ctx.{name}.k.{layer}": keys, f"out.ctx.{name}.v.{layer}": values}
    return found


def flow_outputs(fixture: Fixture) -> dict[str, Tensor]:
    """`out.flow.*`: velocities in each context for two picture sizes, and with scaled text keys."""
    found = {}
    contexts = named_contexts(fixture)
    for name, context in contexts.items():
        found[f"out.flow.{name}.v"] = velocities(fixture, context)
        found[f"out.flow.{name}.v2"] = velocities(fixture, context, second=True)
    config = fixture.model.config
    for name in fixture.outputs:
        if match := _KEY_SCALED.fullmatch(name):
            unscaled = config.text_key_scale
            config.text_key_scale = float(match["scale"])
            try:
                found[name] = velocities(fixture, contexts["edit"])
            finally:
                config.text_key_scale = unscaled
    return found


def guidance_outputs(fixture: Fixture) -> dict[str, Tensor]:
    """`out.cfg.*`: velocities of the two contexts that lack something, and all guided combinations."""
    full = velocities(fixture, fixture.read(*CONTEXTS["edit"]))
    text_dropped = velocities(fixture, fixture.read("latent0", "vit0"))
    image_dropped = velocities(fixture, fixture.read("prompt0"))
    found = {"out.cfg.v_text": text_dropped, "out.cfg.v_img": image_dropped}
    for name in fixture.outputs:
        if match := _GUIDED.fullmatch(name):
            found[name] = published_guided_velocity(
                full,
                text_dropped,
                image_dropped,
                float(match["text"]),
                float(match["image"]),
                cast(Renorm, match["renorm"]),
                float(match["least"]),
            )
    return found


def time_outputs(fixture: Fixture) -> dict[str, Tensor]:
    """`out.time.*`: features and embedding of the fixture's times."""
    t = fixture.tensors["in.flow.t"]
    return {"out.time.sincos": time_features(t), "out.time.embed": fixture.model.time_embedder(t)}


def position_outputs(fixture: Fixture) -> dict[str, Tensor]:
    """`out.pos.latent_ids`: rows of the position table that the generated picture uses."""
    side = fixture.model.config.max_latent_size
    return {"out.pos.latent_ids": latent_position_ids(fixture.grid("in.flow.image_hw"), side)}
