"""`train`: what a run leaves behind, and what it refuses before anything heavy."""

import json
import warnings
from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import TrainerCallback

from editenv.agents import callbacks
from editenv.agents import train as training
from editenv.agents.callbacks import ProgressReport
from editenv.agents.editor import EditorPolicy
from editenv.agents.episodes import run_episodes
from editenv.agents.flow import SamplingPlan, shifted_times
from editenv.agents.heldout import read_best, read_evaluations
from editenv.agents.policy import load_policy
from editenv.agents.train import train
from editenv.agents.training_records import read_rollout, recorded_iterations
from editenv.agents.unified.policy import UnifiedPolicy
from editenv.configs.schema import ScorerConfig
from editenv.records import EXTRA
from editenv.worlds.records.export import export_sessions
from editenv.worlds.studio.world import StudioWorld
from tests.tiny_editor import TINY, brightness_envs, tiny_config, train_for_brightness


class Tracker(TrainerCallback):
    """A tracker that takes pictures, as TensorBoard's does."""

    made: ClassVar[list] = []

    def __init__(self):
        self.tb_writer, self.numbers, self.pictures = self, [], []
        Tracker.made.append(self)

    def on_train_begin(self, args, state, control, **kwargs):
        self.told = args.to_dict()

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.numbers.append((state.global_step, dict(logs)))

    def add_image(self, name, picture, step, dataformats):
        assert dataformats == "HWC" and picture.dtype == np.uint8
        self.pictures.append((name, step))


@pytest.fixture(scope="module")
def run(tmp_path_factory, start):
    """Three iterations, of which every second one looks at itself; its result and what it had in memory."""
    out = tmp_path_factory.mktemp("run")
    watched = {"eval_every": 2, "eval_sessions": 5, "image_every": 2, "record_every": 2}
    config = tiny_config(out, start, iterations=3, report_to=["stub"], **watched)
    kept = []
    true = UnifiedPolicy.save

    def keep(checkpoint, folder):
        if folder.name == "model":
            kept.append(checkpoint)
        true(checkpoint, folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UnifiedPolicy, "save", keep)
        patch.setitem(callbacks.INTEGRATION_TO_CALLBACK, "stub", Tracker)
        patch.setattr(callbacks, "get_available_reporting_integrations", lambda: ["stub"])
        result = train_for_brightness(config)
    return out, config, result, kept[0]


def test_logs_hold_an_entry_an_iteration_with_held_out_scores_where_asked(run):
    out, _, result, _ = run
    logs = [json.loads(line) for line in (out / "logs.jsonl").read_text().splitlines()]
    assert logs == result.logs and [log["iteration"] for log in logs] == [0, 1, 2]
    assert [("held_out" in log) for log in logs] == [True, False, True]
    for log in logs:
        assert len(log["reward"]) == 3 and log["text_ratio_error"] < 1e-4
        for number in (log["flow_kl"], log["text_clip_fraction"], log["seconds/update"], log["peak_memory_mib"]):
            assert np.isfinite(number)
    assert len(logs[0]["held_out"]["reward"]) == 3


def test_pictures_show_the_curves_and_some_rollouts(run):
    out, *_ = run
    assert sorted(path.name for path in (out / "images").iterdir()) == ["iteration_00000.png", "iteration_00002.png"]
    for path in [out / "curves.png", *(out / "images").iterdir()]:
        assert np.asarray(Image.open(path).convert("RGB")).std() > 5


def test_the_summary_says_how_the_run_was_made(run, start):
    out, config, result, _ = run
    summary = json.loads((out / "summary.json").read_text())
    assert summary["seed"] == config.seed and summary["iterations"] == 3 == result.iterations
    assert summary["config"]["model"] == str(start) and summary["config"]["algorithm.steps"] == 4
    assert summary["last"] == result.logs[-1] and summary["model"] == str(result.model_folder)


def test_the_loaded_model_does_what_the_trained_one_did(run, start):
    out, _, _, trained = run
    by_run = load_policy(out)
    latents = torch.linspace(-1, 1, 16 * trained.model.config.latent_dim).reshape(1, 16, -1)
    settings = replace(TINY, steps=3, max_intent_tokens=4, temperature=0.0)

    def behaviour(policy):
        said = {"transcript": [("add a star",)], "image": np.zeros((1, 64, 64, 3), np.uint8)}
        turn = policy.observe(said) | policy.encode_intents(["add a star"]) | {"source": latents}
        words = policy.generate_intents(policy.intent_context(turn, settings, None), settings, None)
        context = policy.image_context(turn, settings, None)
        return words.log_prob, policy.sample_images(context, -latents, SamplingPlan(shifted_times(4, 2.0))).final

    for mine, theirs in zip(behaviour(by_run), behaviour(trained), strict=True):
        assert torch.equal(mine, theirs)
    assert not torch.equal(behaviour(load_policy(start))[1], behaviour(by_run)[1])


def test_the_best_weights_and_the_last_ones_are_those_that_were_evaluated(run):
    """Played again, from their folders, they score what the run wrote down about them."""
    out, config, result, _ = run
    looks = {look.iteration: look for look in read_evaluations(out)}
    assert sorted(looks) == [0, 2, 3]
    best = read_best(out)
    assert looks[best["iteration"]].rank == max(look.rank for look in looks.values())
    assert json.loads((out / "summary.json").read_text())["best"] == best
    greedy = replace(config.algorithm, temperature=0.0)
    for folder, iteration in ((out / "best", best["iteration"]), (result.model_folder, 3)):
        envs = brightness_envs(5)
        played = run_episodes(envs, EditorPolicy(load_policy(folder), greedy), range(5), config.seed)
        for name in ("reward", "global_awareness", "instruction_following"):
            scores = [np.mean([getattr(s.scores[k], name) for s in played]) for k in range(3)]
            assert scores == pytest.approx(looks[iteration].scores[name], abs=1e-12), (folder, name)
    last = result.logs[-1]["last_held_out"]
    assert last["reward"] == pytest.approx(looks[3].scores["reward"], abs=1e-12)


def test_rollouts_are_recorded_with_what_the_log_says_of_them(run):
    out, _, result, _ = run
    assert recorded_iterations(out) == [0, 2]
    records = [read_rollout(out, 2, spec, number) for spec in range(2) for number in range(3)]
    assert [record.index for record in records] == [4, 4, 4, 5, 5, 5]
    for turn in range(3):
        paid = [record.scores[turn].reward for record in records]
        assert np.mean(paid) == pytest.approx(result.logs[2]["reward"][turn])
    filtered = [fate == "filtered" for record in records for fate in record.training.turns]
    assert np.mean(filtered) == pytest.approx(result.logs[2]["filtered_share"])
    assert any(advantage for record in records for advantage in record.training.advantages)


def test_trackers_know_the_settings_by_name_and_the_run_has_one(run):
    (tracker,), (out, config, *_) = Tracker.made, run
    told = {name: tracker.told[name] for name in ("suite", "algorithm.text_rate", "scorer.kind", "seed")}
    assert told == {"suite": "mixed", "algorithm.text_rate": 1e-3, "scorer.kind": "exact", "seed": config.seed}
    assert tracker.told["run_name"] == "/".join(out.parts[-2:])


def test_trackers_get_all_numbers_and_the_pictures(run):
    (tracker,) = Tracker.made
    steps = {step: logs for step, logs in tracker.numbers if "reward/1" in logs}
    assert sorted(steps) == [2, 4, 6]
    assert all({"flow_kl", "text_loss", "filtered_share", "seconds/update"} <= logs.keys() for logs in steps.values())
    assert ["held_out/global_awareness/3" in logs for _, logs in sorted(steps.items())] == [True, False, True]
    assert "last_held_out/global_awareness/3" in steps[6]
    assert tracker.pictures == [("sessions", 0), ("sessions", 4)]


def test_a_run_with_adapters_leaves_whole_weights(start, tmp_path):
    train_for_brightness(tiny_config(tmp_path, start, iterations=1, lora_rank=2))
    trained, before = load_policy(tmp_path).model.state_dict(), load_policy(start).model.state_dict()
    assert trained.keys() == before.keys()
    assert not torch.equal(*(w["language_model.model.layers.0.mlp.up_proj.weight"] for w in (trained, before)))


def test_sessions_come_from_a_file(start, tmp_path):
    """Exported sessions are scored exactly; more specs than the file has sessions play them again."""
    file = export_sessions(StudioWorld("mice-cm"), "train", 0, 3, tmp_path / "sessions")
    config = tiny_config(tmp_path / "run", start, iterations=1, groups=4, group_size=2, eval_every=1, eval_sessions=3)
    result = train(replace(config, sessions_file=str(file)))
    assert result.logs[0]["unscored_share"] == 0.0 and len(result.logs[0]["held_out"]["reward"]) == 3


def test_files_that_nobody_can_score_are_refused_before_anything_heavy(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "load_policy", heavy)
    file = export_sessions(StudioWorld("mixed"), "train", 0, 1, tmp_path / "sessions")
    for picture in file.parent.rglob("*.png"):
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(picture)
    record = json.loads(file.read_text())
    del record[EXTRA]
    file.write_text(json.dumps(record) + "\n")
    config = replace(tiny_config(tmp_path / "run", tmp_path), sessions_file=str(file))
    with warnings.catch_warnings(), pytest.raises(ValueError, match="no scorer to train on"):
        warnings.simplefilter("ignore")
        train(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"advantage": "pool"}, "advantage 'pool' is not known, did you mean 'pooled'"),
        ({"filter": "first"}, "filter 'first' is not known"),
        ({"sampler": "cpps"}, "sampler 'cpps' is not known, did you mean 'cps'"),
        ({"suite": "mixd"}, "mixd.*mixed"),
        ({"report_to": ["wandbb"]}, "report_to 'wandbb' is not known, did you mean 'wandb'"),
        ({"window_high": 9}, "window is 2 with starts 0 to 9"),
        ({"text_scope": "exprt"}, "text_scope 'exprt' is not known, did you mean 'expert'"),
        ({"report_to": ["tensorbord"]}, "report_to 'tensorbord' is not known, did you mean 'tensorboard'"),
        ({"eval_every": -1}, "eval_every is -1, expected 0 or more"),
        ({"eval_every": 1, "eval_sessions": 0}, "eval_sessions is 0, expected 1 or more"),
        ({"record_mib": -1}, "record_mib is -1, expected 0 or more"),
        ({"group_size": 1}, "group_size is 1, expected 2 or more"),
        ({"flow_rate": -1e-5}, "algorithm.flow_rate is -1e-05, expected 0 or more"),
        ({"text_rate": float("nan")}, "algorithm.text_rate is nan, expected 0 or more"),
        ({"max_grad_norm": 0.0}, "algorithm.max_grad_norm is 0.0, expected above 0"),
        ({"filter_threshold": 2.0}, "algorithm.filter_threshold is 2.0, expected 0 or more and 1 or less"),
        ({"sigma_t_max": 2.0}, "algorithm.sigma_t_max is 2.0, expected above 0 and 1 or less"),
        ({"noise_level": 0.0}, "algorithm.noise_level is 0 with algorithm.window 2, expected above 0"),
        ({"text_weight": 0.0, "flow_weight": 0.0}, "both 0, expected one above 0: nothing would train"),
        ({"text_rate": 0.0, "flow_rate": 0.0}, "algorithm.text_rate and algorithm.flow_rate are both 0"),
        ({"nft_range": 0.0}, "algorithm.nft_range is 0.0, expected above 0"),
        ({"lora_rank": 4, "text_scope": "text_only"}, "text_scope is 'text_only' with algorithm.lora_rank 4"),
        ({"intent_from_turn": 4}, "algorithm.intent_from_turn is 4, but sessions have no more than 3 turns"),
        ({"scorer": ScorerConfig(kind=None, settings={}, scoring="immediate")}, "scorer is none, expected"),
        ({"sampler": "cps"}, "sigma_t_max of cps: got 0.96, expected None"),
        ({"sampler": "cps", "sigma_t_max": None}, "t_next of cps: got 0, expected above 0"),
        ({"sampler": "cps", "sigma_t_max": None, "noise_level": 1.3}, "noise_level of cps: got 1.3"),
        ({"sampler": "cps", "sigma_t_max": None, "window_high": 1, "kl": "published"}, "kl is 'published' with"),
    ],
)
def test_what_is_not_known_is_refused_before_the_model_is_loaded(tmp_path, monkeypatch, changes, message):
    monkeypatch.setattr(training, "load_policy", heavy)
    with pytest.raises(ValueError, match=message):
        train(tiny_config(tmp_path / "run", tmp_path, **changes))
    assert not (tmp_path / "run").exists()


def test_the_bar_keeps_the_last_rewards_and_shows_zeros():
    """Fails where a turn that earned nothing is left out, or the closing log of the speed clears the line."""
    bar = ProgressReport(iterations=2, updates=1)
    state = SimpleNamespace(global_step=2)
    bar.on_log(None, state, None, {"reward/1": 0.5, "reward/2": 0.0})
    bar.on_log(None, state, None, {"train_runtime": 3.0})
    assert bar.bar.tasks[0].description == "reward 0.50 0.00"


def test_into_a_pipe_iterations_are_printed_as_lines(capsys):
    """Fails where nothing is seen before a run ends, or a bar's control characters go into a log file."""
    report = ProgressReport(iterations=2, updates=3)
    report.on_train_begin(None, SimpleNamespace(global_step=0), None)
    for step in (3, 6):
        report.on_log(None, SimpleNamespace(global_step=step), None, {"reward/1": 0.5, "reward/2": 0.25})
    report.on_train_end(None, None, None)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(",")[0] for line in lines] == [
        "iteration 1/2: reward 0.50 0.25",
        "iteration 2/2: reward 0.50 0.25",
    ]


def test_an_unknown_model_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="model is 'practise', expected"):
        train(tiny_config(tmp_path / "run", "practise"))
    assert not (tmp_path / "run").exists()


def heavy(*_: object) -> None:
    raise AssertionError("the model was loaded before the settings were read")
