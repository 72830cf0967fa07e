"""The audit passes this package's trainer, and no check passes a trainer that is broken where it looks."""

from __future__ import annotations

import json

import pytest
import torch

from editenv.agents.audit import CheckResult, NotOffered, run_audit, table
from editenv.agents.audit.edit_r2 import EditR2Audit
from editenv.agents.audit.run import CHECKS
from editenv.agents.settings import AlgorithmSettings, TrainingSettings
from editenv.agents.train import training_settings
from editenv.cli import main
from editenv.configs.compose import compose
from tests.broken_trainers import MUTATIONS, window_never_at_the_first_step


@pytest.fixture
def trainer(tmp_path) -> EditR2Audit:
    torch.set_num_threads(1)
    return EditR2Audit(
        TrainingSettings(
            out=tmp_path, algorithm=AlgorithmSettings(), iterations=1, groups=1, group_size=2, save_every=1
        )
    )


def failures(trainer, check) -> list[str]:
    return [result.what for result in run_audit(trainer, [check]) if not result.passed]


def test_this_packages_trainer_passes_every_check(trainer):
    results = run_audit(trainer)
    assert {r.check for r in results} == set(CHECKS)
    assert not [r for r in results if not r.passed or r.skipped], table(results)


def test_the_published_algorithm_passes_everything(tmp_path):
    """Fourteen steps, windows at six of them, a distance to the reference in the loss."""
    config = compose("train", ["algorithm=edit_r2_published"], out=str(tmp_path))
    results = run_audit(EditR2Audit(training_settings(config)))
    assert len(results) > 80 and all(r.passed for r in results), table(results)


@pytest.mark.parametrize(
    ("words", "checks"),
    [
        (["text_only"], [check for check in CHECKS if check != "resume"]),
        (["flow_only", "filter=exclude", "advantage=broadcast"], ["advantage", "filter", "gradient", "seeds"]),
        (["edit_r2", "advantage=turn", "advantage_std=group"], ["advantage", "gradient"]),
        (["edit_r2", "advantage=return_to_go", "advantage_std=group"], ["advantage", "gradient"]),
        (["edit_r2", "ratio=guard", "kl=velocity", "window_placement=fixed"], ["ratio", "gradient", "kl", "window"]),
        (["edit_r2", "kl=published", "window_placement=sliding", "window_every=2"], ["kl", "window"]),
        (
            ["edit_r2", "sampler=cps", "sigma_t_max=null", "filter=threshold"],
            ["ratio", "density", "gradient", "kl", "filter"],
        ),
    ],
    ids=str,
)
def test_variants_pass(tmp_path, words, checks):
    """The checks that a setting has a part in; `marginals` runs every sampler under the default settings."""
    name, *settings = words
    overrides = [f"algorithm={name}", *(f"algorithm.{setting}" for setting in settings)]
    config = compose("train", overrides, out=str(tmp_path))
    results = run_audit(EditR2Audit(training_settings(config)), checks)
    assert all(r.passed for r in results), table(results)


@pytest.mark.parametrize("words", [["algorithm=nft"], ["algorithm=text_only", "algorithm.window=0"]], ids=" ".join)
def test_what_can_be_trained_can_be_audited(tmp_path, words):
    """Pictures without stochastic steps leave the text."""
    config = compose("train", words, out=str(tmp_path))
    results = run_audit(EditR2Audit(training_settings(config)), [c for c in CHECKS if c != "resume"])
    assert all(r.passed for r in results), table(results)
    without_window = training_settings(config).algorithm.window == 0
    assert [r.check for r in results if r.skipped] == ["window"] * without_window


def test_an_objective_without_ratios_is_refused_by_name(tmp_path):
    config = compose("train", ["algorithm=rft"], out=str(tmp_path))
    with pytest.raises(ValueError, match="objective is 'rft', expected 'policy' or 'nft'"):
        EditR2Audit(training_settings(config))


@pytest.mark.parametrize(("check", "mutation"), MUTATIONS, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_trainer_fails(trainer, monkeypatch, check, mutation):
    mutation(monkeypatch)
    failed = failures(trainer, check)
    assert failed and failed != ["an error"], f"{check} passes {mutation.__name__}"


def test_every_check_is_shown_to_fail():
    assert {check for check, _ in MUTATIONS} == set(CHECKS)


def test_a_trainer_that_raises_fails_and_one_that_has_no_such_part_does_not(trainer, monkeypatch):
    def raises(*_: object) -> None:
        raise KeyError("logits")

    def lacks(*_: object) -> None:
        raise NotOffered("no training loop")

    monkeypatch.setattr(trainer, "advantages", raises, raising=False)
    monkeypatch.setattr(trainer, "train", lacks, raising=False)
    failed, skipped = run_audit(trainer, ["advantage", "resume"])
    assert not failed.passed and "KeyError: 'logits'" in failed.note
    assert skipped.passed and skipped.skipped and skipped.what == "no training loop"


def test_a_value_that_is_no_number_never_passes():
    assert not CheckResult("y", float("nan"), 0.0, 1.0).passed
    assert CheckResult("y", 1.0, 2.0, 1.0).passed and not CheckResult("y", 3.1, 2.0, 1.0).passed


def test_the_command_prints_a_table_or_json_and_says_by_its_status_whether_all_is_well(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["audit", "checks=[advantage,window]"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "share of windows that start at step 2" in printed and "0 failed" in printed
    window_never_at_the_first_step(monkeypatch)
    assert main([*words, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["passed"] and report == json.loads((tmp_path / "runs/audit/audit.json").read_text())
    failed = [result["what"] for result in report["results"] if not result["passed"]]
    assert failed[0] == "share of windows that start at step 0"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["checks=[windw]"], "check 'windw' is not known, did you mean 'window'?"),
        (["trainer=nowhere:it"], "trainer is 'nowhere:it', expected package.module:Name"),
        (["--jsn"], "'--jsn' is not known"),
        (["algorithm.filtre=none"], "did you mean 'algorithm.filter'"),
    ],
)
def test_what_is_not_known_is_named(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert main(["audit", *words]) == 2
    assert message in capsys.readouterr().err
