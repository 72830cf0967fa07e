"""Temperatures of turns, beside a bigram table whose log-probs are known in closed form."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from editenv.agents.audit import run_audit, table
from editenv.agents.audit.closed import text_log_prob
from editenv.agents.audit.edit_r2 import EditR2Audit
from editenv.agents.audit.known import BOS, KnownPolicy
from editenv.agents.audit.model import CHANNELS, known_checkpoint
from editenv.agents.audit.world import BrightnessJudge, FlatWorld, Reader
from editenv.agents.edit_r2.exploration import heat_of, token_entropy, turn_heats
from editenv.agents.edit_r2.metrics import nested
from editenv.agents.edit_r2.padding import single_turns
from editenv.agents.edit_r2.rollout import RolloutSettings, collect
from editenv.agents.edit_r2.settings import TrainingSettings
from editenv.agents.edit_r2.spending import SpendSettings
from editenv.agents.edit_r2.stopwatch import Stopwatch
from editenv.agents.edit_r2.update import UpdateSettings, judge, ratio_errors
from editenv.agents.editor.turns import TurnSettings
from editenv.agents.train import training_settings
from editenv.configs.compose import compose
from editenv.types import Scores
from editenv.vector import MICEEditVectorEnv
from tests.tiny_editor import ROLLOUT, tiny_trainer

SPECS, ROLLOUTS = 8, 4
HEATS = (0.5, 1.0, 3.0)
TURN = TurnSettings(max_intent_tokens=4, temperature=0.8, steps=4)
SETTINGS = RolloutSettings(turn=TURN, rollouts=ROLLOUTS, turn_temperatures=HEATS)
WAYS = {
    "plain": SpendSettings(),
    "stop": SpendSettings(stop_failed=True),
    "resample": SpendSettings(filter="resample"),
    "stages": SpendSettings(first_rollouts=2),
}


class HalfFail(BrightnessJudge):
    """Half of all turns fail, so that rows stand at different turns."""

    def score(self, turns):
        return [
            Scores(float(int(turn.after.sum()) % 2), None, 0.0, reward=score.reward)
            for turn, score in zip(turns, super().score(turns), strict=True)
        ]


def played(settings):
    envs = MICEEditVectorEnv(
        SPECS * ROLLOUTS, FlatWorld(), Reader(), HalfFail(), autoreset_mode=AutoresetMode.DISABLED
    )
    return collect(known_checkpoint(policy()), envs, settings, 0, 0, SPECS, Stopwatch())


def policy():
    return KnownPolicy(CHANNELS)


@pytest.fixture(scope="module")
def rollouts():
    return {way: played(replace(SETTINGS, spending=spending)) for way, spending in WAYS.items()}


def turn_of(rollout, row, column):
    return column if rollout.places is None else rollout.places[row, column].turn


@pytest.mark.parametrize("way", WAYS)
def test_log_probs_are_those_of_the_turns_own_temperature(rollouts, way):
    """Turns, not columns: restarts and tries stand at others than their column."""
    tensors = rollouts[way].tensors
    elsewhere = 0
    for row in range(SPECS * ROLLOUTS):
        for column in range(3):
            turn = turn_of(rollouts[way], row, column)
            elsewhere += turn != column
            tokens, mask = (tensors[name][row, column].numpy() for name in ("intent_ids", "intent_mask"))
            before = np.concatenate([[BOS], tokens[:-1]])
            known = text_log_prob(policy(), HEATS[turn], tokens, before)
            stored = tensors["text_log_prob"][row, column].numpy()
            np.testing.assert_allclose(stored[mask], known[mask], atol=2e-5)
    assert (elsewhere > 5) is (way in ("stop", "resample"))


@pytest.mark.parametrize("way", WAYS)
def test_before_an_update_every_ratio_is_one_and_not_with_one_temperature(rollouts, way):
    settings, turns = replace(SETTINGS, spending=WAYS[way]), single_turns(rollouts[way].tensors)
    model = known_checkpoint(policy()).model

    def error(turns):
        with torch.no_grad():
            now = judge(model, turns, settings, UpdateSettings(flow_weight=0.0))
        return ratio_errors(now, turns)["text"]

    assert error(turns) < 1e-5
    del turns["temperature"]
    assert error(turns) > 0.1, "a training that forgets the turns' temperatures"


def test_words_of_hotter_turns_vary_more(rollouts):
    tensors = rollouts["plain"].tensors
    first = [tensors["intent_ids"][:, turn, 0].unique(return_counts=True)[1].max() for turn in range(3)]
    assert first[0] > first[2], "the likeliest first word is the more frequent the colder the turn"
    mean = [
        float(tensors["text_log_prob"][:, turn][tensors["intent_mask"][:, turn]].mean()) for turn in range(3)
    ]
    assert mean[0] > mean[1] > mean[2]


def test_equal_temperatures_of_turns_are_one_temperature(rollouts):
    """The same words from the same numbers, and the same log-probs up to rounding."""
    one = played(replace(SETTINGS, turn=replace(TURN, temperature=1.5), turn_temperatures=())).tensors
    each = played(replace(SETTINGS, turn_temperatures=(1.5,))).tensors
    assert torch.equal(one["intent_ids"], each["intent_ids"])
    torch.testing.assert_close(one["text_log_prob"], each["text_log_prob"])
    assert "temperature" not in one and (each["temperature"] == 1.5).all()


def test_the_last_one_holds_for_all_further_turns():
    assert turn_heats(SETTINGS, [0, 1, 2, 3, 9]).tolist() == [0.5, 1.0, 3.0, 3.0, 3.0]
    assert turn_heats(replace(SETTINGS, turn_temperatures=()), [0, 1]) is None
    assert heat_of({}, SETTINGS) == 0.8
    assert heat_of({"temperature": torch.tensor([0.0, 2.0])}, SETTINGS).flatten().tolist() == [1.0, 2.0]


def test_the_entropy_is_that_of_each_turns_distribution():
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 3).bool()
    both = token_entropy(logits, mask, torch.tensor([0.5, 2.0])[:, None, None])
    for row, heat in enumerate((0.5, 2.0)):
        theirs = torch.distributions.Categorical(logits=logits[row] / heat).entropy()
        torch.testing.assert_close(both[row], theirs)


def test_training_runs_at_the_turns_temperatures(tmp_path):
    """It stops where rollout and update disagree about them."""
    trainer = tiny_trainer(
        tmp_path, turn_temperatures=(0.5, 1.0, 2.0), chunk_sessions=2, text_entropy=0.01, flow_weight=0.0
    )
    trainer.train()
    (log,) = nested(trainer.state.log_history, 2)
    assert 0 <= log["text_ratio_error"] < 2e-5 and log["text_entropy"] > 0


def test_they_come_from_the_run_and_are_none_by_default(tmp_path):
    words = ["algorithm.turn_temperatures=[0.9,1.0,1.2]"]
    settings = training_settings(compose("train", words, out=str(tmp_path)))
    assert list(settings.rollout.turn_temperatures) == [0.9, 1.0, 1.2]
    assert not training_settings(compose("train", out=str(tmp_path))).rollout.turn_temperatures


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"turn_temperatures": (1.0, 0.0)}, r"turn_temperatures is \[1.0, 0.0\], expected numbers above 0"),
        (
            {"turn_temperatures": (1.0,), "temperature_end": 2.0},
            r"turn_temperatures is \[1.0\] with temperature_end 2.0, expected one of the two",
        ),
    ],
)
def test_what_cannot_be_sampled_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(ROLLOUT, **changes)


@pytest.mark.parametrize("way", ["plain", "stop"])
def test_the_audit_knows_each_turns_temperature(tmp_path, way):
    """Words, densities, ratios and the gradient by theory; and one temperature for all is found out."""
    rollout = replace(SETTINGS, spending=WAYS[way])
    trainer = EditR2Audit(TrainingSettings(tmp_path, rollout=rollout))
    checks = ["ratio", "density", "marginals", "gradient", "kl"]
    findings = run_audit(trainer, checks)
    assert len(findings) > 15 and all(f.passed and not f.skipped for f in findings), table(findings)
    trainer.facts = replace(trainer.facts, temperature=0.5)
    monotone = trainer.rollout
    trainer.rollout = lambda *args: replace(monotone(*args), heat=None)
    failed = {finding.check for finding in run_audit(trainer, checks) if not finding.passed}
    assert failed == set(checks)
