"""Every form of intents reaches all that writes, paints, teaches and trains."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from editenv.agents.editor import editor_policy, teacher_of, with_form
from editenv.agents.episodes import run_episodes, shares, turn_scores
from editenv.agents.evaluate import agent_name, run_evaluation
from editenv.agents.pretrain import run as pretraining
from editenv.agents.pretrain.data import edit_samples, noisy_intent, text_samples
from editenv.agents.settings import GenerationSettings
from editenv.build import make_vector_env
from editenv.configs.compose import compose
from editenv.configs.schema import DataMixture
from editenv.worlds.studio.intents import FORMS
from editenv.worlds.studio.suites import suite_names
from editenv.worlds.studio.world import StudioWorld
from tests.tiny_editor import TINY, brightness_envs, played, tiny_policy


@pytest.mark.parametrize("suite", suite_names())
def test_right_intents_carried_out_exactly_score_one_in_every_form(suite: str) -> None:
    """Fails where a form loses anything of a turn, by the exact scorer's judgement."""
    envs = make_vector_env(num_envs=6, suite=suite, autoreset_mode="Disabled", split="test")
    for form in FORMS:
        policy = editor_policy(envs, "none", "oracle", "exact", GenerationSettings(), form)
        scores = turn_scores(run_episodes(envs, policy, range(6), seed=1))
        assert {v for session in scores["global_awareness"] for v in session} == {1.0}, form
        assert shares(policy.counts()) == {"left_alone_share": 0.0}, form


def test_the_command_line_chooses_a_form_beside_who_writes(tmp_path: Path) -> None:
    """Fails where `intent=oracle` and `intent_form=rules` get into each other's way."""
    words = ["intent=oracle", "image=exact", "intent_form=rules", "suite=protect", "sessions=4"]
    config = compose("evaluate", words, out=str(tmp_path))
    evaluation = run_evaluation(config)
    assert agent_name(config) == "model=practice, intent=oracle, image=exact, intent_form=rules"
    assert evaluation.facts["intent_form"] == "rules"
    assert evaluation.summary["global_awareness"] == [1.0] * len(evaluation.summary["global_awareness"])
    assert any("rule : " in text for line in evaluation.lines for text in line["intents"])
    assert compose("evaluate", out="none").intent_form == "free"


@pytest.mark.parametrize(("intent", "told"), [("instructions", "b"), ("concatenated", "a\nb")])
def test_intents_may_be_what_was_said(intent: str, told: str) -> None:
    """Fails where a model is given anything but the user's last words, or all of them."""
    envs = make_vector_env(num_envs=2, suite="mixed", autoreset_mode="Disabled", split="test")
    policy = editor_policy(envs, "practice", intent, "model", GenerationSettings(), "free")
    observations = envs.reset(seed=0)[0]
    memories, words = (
        policy.start(observations, [0, 1]),
        [[instruction] for instruction in observations["instruction"]],
    )
    for turn in range(2):
        actions, memories = policy.act(observations, memories)
        shown = {"a": [said[0] for said in words], "b": [said[-1] for said in words]}
        lines = ["b"] if turn == 0 else told.split("\n")
        assert actions["intent"] == tuple(map("\n".join, zip(*(shown[name] for name in lines), strict=True)))
        observations = envs.step(actions)[0]
        for said, instruction in zip(words, observations["instruction"], strict=True):
            said.append(instruction)
    assert policy.counts() == {}


def test_training_gives_a_form_the_tokens_that_it_needs() -> None:
    """Fails where listed rules are cut off after as many tokens as one sentence takes."""
    for name, tokens in (("free", 20), ("structured", 32), ("rules", 64)):
        assert with_form(GenerationSettings(), name).max_intent_tokens == tokens
    assert compose("demo", out="none").train.intent_form == "free"
    with pytest.raises(ValueError, match="intent_form 'ruled' is not known, did you mean 'rules'"):
        with_form(TINY, "ruled")


@pytest.mark.parametrize("form", FORMS)
def test_imitation_teaches_the_form(form: str) -> None:
    """Fails where the teacher's tokens are those of another form."""
    checkpoint, envs = tiny_policy(), brightness_envs(2)
    rollout = played(checkpoint, envs=envs, group_size=1, teacher=teacher_of("oracle", envs, form))
    for row, session in enumerate(rollout.sessions):
        for number, turn in enumerate(session.spec.turns):
            ids = rollout.turns["intent_ids"][row, number][rollout.turns["intent_mask"][row, number]]
            wanted = FORMS[form].write(turn, 4)
            assert ids[:-1].tolist() == checkpoint.tokenizer(wanted, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("form", FORMS)
def test_samples_are_written_in_the_form(form: str) -> None:
    """Fails where texts and pictures are taught in different forms, or the right result is another."""
    mixture = DataMixture(suites=["scoped"])
    spec = StudioWorld("scoped").session("train", 0, 0)
    wanted = [FORMS[form].write(turn, 4) for turn in spec.turns]
    assert [sample.intent for sample in islice(text_samples(mixture, 0, 4, form), len(wanted))] == wanted
    for sample in islice(edit_samples(mixture, 0, 4, form), 12):
        assert FORMS[form].read(sample.intent, sample.before, 4) == sample.after


def test_what_is_forgotten_is_missing_in_every_form() -> None:
    """Fails where an intent that shall forget rules or references keeps them in another form."""
    world = StudioWorld("mixed")
    turns = [turn for index in range(40) for turn in world.session("train", 0, index).turns]
    ruled = next(turn for turn in turns if turn.rules and turn.edit.task == "color_alter")
    texts = {form: noisy_intent(ruled, 4, rules=False, reference=True, form=form) for form in FORMS}
    assert texts["rules"].startswith("edit : ") and not any("rule :" in text for text in texts.values())
    pointed = next(turn for turn in turns if turn.reference == "it")
    for form in FORMS:
        assert " it" in noisy_intent(pointed, 4, rules=True, reference=False, form=form), form
        assert noisy_intent(pointed, 4, rules=True, reference=True, form=form) == FORMS[form].write(pointed, 4)


def test_a_recipe_makes_a_checkpoint_of_another_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where `recipe.intent_form` does not reach the samples or the card's sessions."""
    measured: list[str] = []
    monkeypatch.setattr(pretraining, "mixed_scores", lambda *given: measured.append(given[-1]))
    monkeypatch.setattr(pretraining, "suite_scores", lambda *given: measured.append(given[-1]))
    monkeypatch.setattr(pretraining, "write_card", lambda card, folder: None)
    small = {"hidden_size": 32, "intermediate_size": 48, "layers": 1, "heads": 2}
    data = "{suites:[mixed],whole_session_share:1.0,whole_sessions:null,keep_rule:1.0,"
    data += "resolve_reference:1.0,wrong_images:0.0}"
    phase = "{image_steps:2,text_steps:0,rate:1e-3,image_batch:4,text_batch:4,changed_weight:4.0,"
    words = ["recipe=base", "recipe.intent_form=rules", f"recipe.phases=[{phase}data:{data}}}]"]
    words += [f"recipe.{name}={value}" for name, value in small.items()]
    card = pretraining.pretrain(compose("pretrain", [*words, f"out={tmp_path}", "threads=1"]))
    assert card["intent_form"] == "rules" and measured == ["rules", "rules"]
    assert (tmp_path / "model.safetensors").is_file()
