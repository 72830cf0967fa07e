"""The moving average that plays for DiffusionNFT: weights by hand, when it plays, what a checkpoint keeps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from editenv.agents import trainer as training
from editenv.agents.distributed import check_sharding
from editenv.agents.nft import EMA
from editenv.agents.objective import check_algorithm
from editenv.settings import check_settings
from tests.tiny_editor import tiny_settings, tiny_trainer, weights

SLOW = {"objective": "nft", "window": 0, "nft_decay": 0.5, "nft_decay_rise": 0.25}


def one_weight(value: float = 0.0) -> nn.Linear:
    model = nn.Linear(1, 1, bias=False)
    put(model, value)
    return model


def put(model: nn.Linear, value: float) -> None:
    with torch.no_grad():
        model.weight.fill_(value)


def test_the_average_by_hand():
    """0, then 0.25 * 0 + 0.75 * 1 = 0.75, then 0.5 * 0.75 + 0.5 * 2 = 1.375; asked twice, it follows once."""
    model = one_weight()
    slow, played = EMA(model, 0.25, 0.5), []
    for iteration, value in enumerate((0.0, 1.0, 2.0)):
        put(model, value)
        slow.update(iteration)
        slow.update(iteration)
        with slow.swapped_in():
            played.append(model.weight.item())
        assert model.weight.item() == value
    assert played == [0.0, 0.75, 1.375]


def test_what_learns_comes_back_where_playing_fails():
    model = one_weight(3.0)
    slow = EMA(model, 1.0, 0.5)
    put(model, 5.0)
    with pytest.raises(KeyError), slow.swapped_in():
        assert model.weight.item() == 3.0
        raise KeyError
    assert model.weight.item() == 5.0


def test_a_checkpoint_keeps_it_and_the_iteration_it_is_of(tmp_path):
    """Iteration 1 is begun once more after a resume, and may not follow once more."""
    model = one_weight(1.0)
    slow = EMA(model, 0.5, 0.5)
    put(model, 2.0)
    slow.update(1)
    slow.save(tmp_path)
    again = EMA(one_weight(9.0), 0.5, 0.5)
    again.load(tmp_path)
    again.update(1)
    assert again.average["weight"].item() == 1.5
    again.update(2)
    assert again.average["weight"].item() == 0.5 * 1.5 + 0.5 * 9.0


def test_it_plays_the_rollouts_and_what_learns_is_trained(tmp_path, monkeypatch):
    """Decays are 0, 1/4, 1/2 in iterations 0, 1, 2; old velocities are the player's."""
    trainer = tiny_trainer(tmp_path, iterations=3, **SLOW)
    learnt, played, prepared = [], [], []
    model, collect = trainer.policy, training.collect_rollout

    def spied(*args, **kwargs):
        played.append(weights(model))
        return collect(*args, **kwargs)

    def begins(*args, **kwargs):
        learnt.append(weights(model))
        return score(*args, **kwargs)

    def prepares(*args, **kwargs):
        prepared.append(weights(model))
        return made(*args, **kwargs)

    score, made = trainer._generate_and_score_completions, trainer.objective.prepare
    monkeypatch.setattr(training, "collect_rollout", spied)
    trainer.objective = replace(trainer.objective, prepare=prepares)
    monkeypatch.setattr(trainer, "_generate_and_score_completions", begins)
    trainer.train()
    assert len(played) == 3
    for name, first in learnt[0].items():
        second = 0.25 * first + 0.75 * learnt[1][name]
        for found, expected in zip(played, (first, second, 0.5 * second + 0.5 * learnt[2][name]), strict=True):
            torch.testing.assert_close(found[name], expected, rtol=0, atol=1e-6)
    assert all(torch.equal(a[name], b[name]) for a, b in zip(played, prepared, strict=True) for name in a)
    assert any(not torch.equal(learnt[2][name], played[2][name]) for name in played[2])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nft_decay": 1.0}, "nft_decay is 1.0, expected 0 or more and below 1"),
        ({"nft_decay_rise": 0.0}, "nft_decay_rise is 0.0, expected above 0"),
        ({"nft_decay": 0.5}, "nft_decay is 0.5, expected 0 for objective 'policy'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        settings = tiny_settings(tmp_path, **changes).algorithm
        check_settings(settings)
        check_algorithm(settings)


def test_weights_that_are_split_have_none():
    with pytest.raises(ValueError, match="nft_decay is above 0 with weights split by FSDP2, expected 0"):
        check_sharding(False, ema=True)
