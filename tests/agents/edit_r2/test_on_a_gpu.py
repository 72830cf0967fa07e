"""What runs on a GPU, on one that is pretended: no tensor meets one of the CPU, and autocast casts.

Numbers are those of the CPU. What cannot be seen here is kernels, streams and going backward.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
from accelerate import Accelerator

from tests.pretend_gpu import GPU, OnGpu, attention, pretended, put
from tests.tiny_editor import tiny_trainer

LATE = {"context": "interleaved", "intent_from_turn": 2}
PUBLISHED = LATE | {"text_guidance": 2.0, "image_guidance": 1.5}
CASES = {
    "published": PUBLISHED | {"recompute": True, "text_kl": 0.1, "flow_kl": 0.1},
    "adapters": LATE | {"lora_rank": 2},
    "memory": LATE
    | {"chunk_sessions": 2, "recompute": True, "gradient_checkpointing": True, "context_gradient": True},
    "branches": LATE | {"branch_from_sibling": True, "filter": "exclude"},
    "nft": LATE | {"objective": "nft"},
    "rejection": {"objective": "rft"},
    "supervised": {"objective": "supervised", "behaviour": "oracle"},
    "oracle_intents": {"behaviour": "oracle_intents", "text_weight": 0.0},
    "oracle_images": {"behaviour": "oracle_images", "flow_weight": 0.0, "window": 0} | LATE,
}


def an_iteration(trainer):
    """Batch, loss and log of an iteration's first minibatch, without going backward."""
    trainer.model.requires_grad_(False)
    batch = trainer._generate_and_score_completions([])
    trainer._step, trainer._buffered_inputs = 0, None
    with patch.object(trainer.accelerator, "backward", lambda loss: None):
        loss = trainer._compute_loss(trainer.model, batch)
    return batch, loss, {name: values[-1] for name, values in trainer._metrics["train"].items()}


@contextmanager
def on_gpu(trainer):
    """The trainer with all that it computes on the pretended GPU."""
    with pretended(), patch.object(Accelerator, "device", GPU):
        put(trainer.policy.autoencoder)
        put(trainer.model)
        if hasattr(trainer, "reference"):
            put(trainer.reference)
        yield trainer


@pytest.mark.parametrize("name", CASES)
def test_an_iteration_computes_there_what_it_does_on_the_cpu(name, tmp_path):
    """Fails with the operation's name where a tensor was left on the CPU."""
    with patch("editenv.agents.unified.layers.scaled_dot_product_attention", attention):
        expected, loss, log = an_iteration(tiny_trainer(tmp_path, **CASES[name]))
    with on_gpu(tiny_trainer(tmp_path, **CASES[name])) as trainer:
        found, there, logged = an_iteration(trainer)
    assert {type(value) for value in found.values()} == {OnGpu} and isinstance(there, OnGpu)
    assert found.keys() == expected.keys() and logged.keys() == log.keys()
    for key, value in found.items():
        torch.testing.assert_close(value.plain, expected[key], atol=0, rtol=0, equal_nan=True)
    assert float(there) == float(loss)


def test_bfloat16_is_of_matrix_products_alone(tmp_path):
    """Fails where autocast reaches latents, pictures or log-probs, or types meet that may not."""
    with on_gpu(tiny_trainer(tmp_path, **CASES["published"])) as trainer:
        trainer.algorithm = replace(trainer.algorithm, precision="bfloat16")
        kinds = set()
        trainer.policy.model.register_forward_hook(lambda model, args, output: kinds.add(output.logits.dtype))
        batch, loss, log = an_iteration(trainer)
    assert kinds == {torch.bfloat16}
    floats = {key: value.dtype for key, value in batch.items() if value.dtype.is_floating_point}
    advantages = {floats.pop("advantage"), floats.pop("text_advantage")}
    assert advantages == {torch.float64} and set(floats.values()) == {torch.float32}
    assert loss.dtype == torch.float32 and log["text_ratio_error"] == log["flow_ratio_error"] == 0
