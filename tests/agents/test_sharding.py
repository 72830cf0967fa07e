"""A policy sharded by FSDP2 over two processes plays and learns as a whole one does."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from editenv.agents.distributed import check_sharding, full_copy, full_tensor, full_weights, is_sharded
from editenv.agents.edit_r2 import policy_gradient
from editenv.agents.objective import clip_gradients, parameter_groups
from editenv.agents.policy import Policies
from tests.tiny_editor import TINY, brightness_envs, tensors_of, tiny_policy
from tests.tiny_editor import played as play
from tests.two_processes import in_processes, join_others

LIMIT = 900.0
"""Seconds a process may take; it is there to end a hung test."""
SESSIONS, STEPS = 6, 2
PAST = replace(
    TINY, context="interleaved", text_guidance=2.0, image_guidance=1.5, text_kl=0.5, flow_kl=0.5, max_grad_norm=0.05
)


def shard(model: torch.nn.Module, processes: int) -> None:
    """As accelerate's FSDP2 does: embeddings, each layer, the head and the rest are gathered apart."""
    mesh = init_device_mesh("cpu", (processes,))
    inner = model.model
    stack = inner.language_model.model
    for part in (stack.embed_tokens, *stack.layers):
        fully_shard(part, mesh=mesh, reshard_after_forward=True)
    fully_shard([inner.language_model.lm_head], mesh=mesh, reshard_after_forward=False)
    fully_shard(model, mesh=mesh)
    for part in (model, stack.embed_tokens, *stack.layers, inner.language_model.lm_head):
        # gloo adds up and does not average; FSDP2 then divides by itself.
        part.set_force_sum_reduction_for_comms(True)


def play_and_learn(out: Path, rank: int, processes: int, port: int) -> None:
    """Two updates of a process's share of six sessions; a single process has all of them and all weights."""
    model, reference = tiny_policy().requires_grad_(True), tiny_policy(1).requires_grad_(False)
    if processes > 1:
        join_others(rank, processes, port)
        dist.init_process_group("gloo", timeout=timedelta(seconds=LIMIT))
        shard(model, processes)
        assert is_sharded(model)
    groups = parameter_groups(model, PAST)
    optimizer = torch.optim.AdamW(groups)
    share = SESSIONS // processes
    rows = slice(rank * share, (rank + 1) * share)
    found: dict[str, Any] = {"steps": []}
    for step in range(STEPS):
        with full_weights(model):
            # Processes write intents of other lengths, and so ask the model more often or less.
            assert processes == 1 or not isinstance(model.model.vae2llm.weight, DTensor)
            played = tensors_of(play(model, PAST, envs=brightness_envs(share), iteration=step, rows=rows))
        assert processes == 1 or isinstance(model.model.vae2llm.weight, DTensor), "nobody keeps what is not his"
        advantage = torch.linspace(-2, 2, SESSIONS * 3).reshape(SESSIONS, 3)[rows]
        # Of the first sessions only first turns train, which read no past: fewer calls of the model.
        keep = torch.ones(SESSIONS, 3).bool()
        keep[: SESSIONS // 2, 1:] = False
        batch = played | {"advantage": advantage, "loss_mask": keep[rows]}
        policies = Policies(model, model, lambda: nullcontext(reference))
        optimizer.zero_grad()
        with full_weights(model):
            loss, _ = policy_gradient(policies, batch, PAST, False)
            loss.backward()
        known = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        gradients = {name: full_tensor(gradient).clone() for name, gradient in known.items()}
        norms = clip_gradients(optimizer.param_groups, PAST.max_grad_norm)
        optimizer.step()
        found["steps"].append(
            {"image": played["image"], "loss": loss.detach(), "gradients": gradients, "norms": norms}
        )
    plain = full_copy(model, tiny_policy()) if processes > 1 else model
    found["weights"] = {name: value.detach().clone() for name, value in plain.state_dict().items()}
    torch.save(found, out / f"{rank}.pt")
    if processes > 1:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What each of two processes with half of the weights had, and what a single one had."""
    found = {
        count: in_processes(play_and_learn, tmp_path_factory.mktemp(f"of{count}"), count, LIMIT) for count in (1, 2)
    }
    return found[2], found[1][0]


def test_sharded_rollouts_are_those_of_a_whole_model(trained):
    """Fails where a rollout meets a piece of a weight."""
    pair, alone = trained
    images = torch.cat([one["steps"][0]["image"] for one in pair])
    torch.testing.assert_close(images, alone["steps"][0]["image"], atol=1e-3, rtol=1e-3)


def test_gradients_and_their_norms_are_those_of_one_process(trained):
    """Fails where gradients are added up and not averaged, or a norm is that of a piece."""
    pair, alone = trained
    one, true = pair[0]["steps"][0], alone["steps"][0]
    assert one["gradients"].keys() == true["gradients"].keys()
    largest = max(float(value.abs().max()) for value in true["gradients"].values())
    for name, value in true["gradients"].items():
        found = one["gradients"][name]
        torch.testing.assert_close(found, pair[1]["steps"][0]["gradients"][name], atol=0, rtol=0)
        torch.testing.assert_close(found / largest, value / largest, atol=1e-4, rtol=1e-3, msg=name)
    for name, norm in true["norms"].items():
        assert one["norms"][name] == pytest.approx(norm, rel=1e-3) and norm > PAST.max_grad_norm
    assert sum(float(p["steps"][0]["loss"]) for p in pair) / 2 == pytest.approx(float(true["loss"]), rel=1e-3)


def test_weights_after_two_updates_are_those_of_one_process(trained):
    pair, alone = trained
    start, moved = tiny_policy().state_dict(), 0
    for name, value in alone["weights"].items():
        assert torch.equal(pair[0]["weights"][name], pair[1]["weights"][name]), name
        torch.testing.assert_close(pair[0]["weights"][name], value, atol=5e-4, rtol=0, msg=name)
        moved += not torch.equal(value, start[name])
    assert moved > len(start) / 2


def test_what_cannot_be_sharded_is_refused():
    check_sharding(False)
    with pytest.raises(ValueError, match=r"context_gradient is true .* expected false"):
        check_sharding(True)


def test_a_whole_model_is_left_as_it_is():
    model = tiny_policy()
    before = set(vars(model))
    with full_weights(model):
        assert not is_sharded(model) and set(vars(model)) == before
    assert full_tensor(model.model.vae2llm.weight) is model.model.vae2llm.weight
