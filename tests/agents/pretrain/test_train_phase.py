"""A few steps of supervised training teach both things."""

from itertools import islice

import pytest
import torch

from editenv.agents.pretrain.data import LatentTable, edit_samples, text_samples
from editenv.agents.pretrain.run import flow_loss, shifted_logit_normal, text_loss, train_phase
from editenv.agents.unified.policy import SHIPPED, load_autoencoder
from editenv.configs.schema import DataMixture, TrainingPhase
from tests.tiny_editor import tiny_policy, weights

PHASE = TrainingPhase(data=DataMixture(suites=["mixed"]), image_steps=24, rate=3e-3, image_batch=16, text_batch=8)


@pytest.fixture(scope="module")
def table() -> LatentTable:
    return LatentTable(load_autoencoder(SHIPPED / "autoencoder"), 16)


@torch.no_grad()
def losses(model, tokenizer, table) -> tuple[float, float]:
    """On samples that training does not see."""
    texts = list(islice(text_samples(PHASE.data, 7, 4), 60))
    images = list(islice(edit_samples(PHASE.data, 7, 4), 60))
    generator = torch.Generator().manual_seed(0)
    return (
        float(text_loss(model, tokenizer, texts)),
        float(flow_loss(model, tokenizer, table, images, generator, 4.0)),
    )


def test_a_few_steps_lower_both_losses_of_model_and_average(table):
    checkpoint = tiny_policy()
    before = losses(checkpoint.model, checkpoint.tokenizer, table)
    average = train_phase(checkpoint.model, checkpoint.tokenizer, table, PHASE, 0, 4, ema=0.8)
    for model in (checkpoint.model, average):
        after = losses(model, checkpoint.tokenizer, table)
        assert after[0] < before[0] - 0.3 and after[1] < before[1] * 0.9


def test_text_steps_come_first_and_teach_no_picture(table):
    checkpoint = tiny_policy()
    before = losses(checkpoint.model, checkpoint.tokenizer, table)
    phase = TrainingPhase(data=PHASE.data, image_steps=0, text_steps=12, rate=3e-3, text_batch=8)
    held = weights(checkpoint.model)
    train_phase(checkpoint.model, checkpoint.tokenizer, table, phase, 0, 4)
    assert losses(checkpoint.model, checkpoint.tokenizer, table)[0] < before[0]
    now = checkpoint.model.state_dict()
    assert all(torch.equal(held[name], now[name]) for name in held if "_moe_gen" in name)


def test_seeds_reproduce(table):
    phase = TrainingPhase(data=PHASE.data, image_steps=2, image_batch=4, text_batch=4)

    def trained(seed: int) -> dict[str, torch.Tensor]:
        checkpoint = tiny_policy()
        torch.manual_seed(torch.seed())
        return weights(train_phase(checkpoint.model, checkpoint.tokenizer, table, phase, seed, 4))

    one, two, other = trained(0), trained(0), trained(1)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_times_are_logistic_normal_and_shifted():
    """The median of the logistic of a normal is 1/2; shifted by 2 that is 2/3."""
    t = shifted_logit_normal(20001, torch.Generator().manual_seed(0))
    assert 0 < t.min() and t.max() < 1
    assert float(t.median()) == pytest.approx(2 / 3, abs=0.02)
