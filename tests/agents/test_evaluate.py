"""`editenv evaluate`, `show` and `export`: what they print and leave behind."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from editenv.agents.episodes import unscored_turns
from editenv.agents.evaluate import NO_JUDGE, evaluate, main, run_evaluation
from editenv.agents.export import export
from editenv.agents.show import show
from editenv.configs.compose import compose
from editenv.configs.schema import ScorerConfig, UserConfig
from editenv.types import Scores
from tests.chat_server import ChatServer, says
from tests.tiny_editor import tiny_policy

SCORES = {
    "instruction_following",
    "content_consistency",
    "global_awareness",
    "turn_consistency",
    "rule_kept",
    "reward",
}


def settings(tmp_path, **values):
    return compose("evaluate", out=str(tmp_path / "out"), num_envs=4, **values)


def test_an_evaluation_leaves_summary_lines_and_pictures(tmp_path, capsys):
    evaluate(settings(tmp_path, policy="oracle", sessions=6, filmstrip=2))
    out = tmp_path / "out"
    summary = json.loads((out / "summary.json").read_text())
    assert {name: summary[name] for name in SCORES} == {name: [1.0] * 3 for name in SCORES}
    assert {"versions", "intervals", "seconds", "seed", "suite", "split", "policy"} <= summary.keys()
    assert summary["sessions"] == 6 and "model" not in summary
    lines = [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == list(range(6))
    assert lines[0].keys() >= SCORES | {"session", "turn", "task", "family", "versions", "transcript", "intents"}
    assert Image.open(out / "filmstrip.png").size[0] > 800
    printed = capsys.readouterr().out
    assert "oracle on mixed, test (6 sessions)" in printed and "IF" in printed and NO_JUDGE not in printed


def test_noop_follows_nothing_and_breaks_nothing(tmp_path):
    summary = run_evaluation(settings(tmp_path, policy="noop", sessions=20)).summary
    assert summary["content_consistency"] == [1.0] * 3
    assert max(summary["instruction_following"]) <= 0.05


def test_equal_settings_give_equal_sessions(tmp_path):
    tiny_policy().save(tmp_path)
    same = {"model": str(tmp_path), "sessions": 3, "steps": 2, "temperature": 1.0, "max_intent_tokens": 5}
    first, again = (run_evaluation(settings(tmp_path / n, save_images=True, **same)) for n in "ab")
    for one, two in zip(first.records(), again.records(), strict=True):
        assert one.intents == two.intents and np.array_equal(one.pictures, two.pictures)
    assert first.lines == again.lines
    assert first.facts["model"] == str(tmp_path) and 0 <= first.facts["fallback_share"] <= 1


def test_exported_sessions_are_played_and_scored(tmp_path):
    path = export(compose("export", out=str(tmp_path / "files"), sessions=5, seed=2))
    evaluation = run_evaluation(settings(tmp_path, policy="oracle", sessions_file=str(path)))
    assert len(evaluation.lines) == 5 and evaluation.summary["global_awareness"] == [1.0] * 3
    drawn = run_evaluation(settings(tmp_path / "drawn", policy="oracle", seed=2, sessions=2))
    assert [one["session"] for one in drawn.lines] == [one["session"] for one in evaluation.lines[:2]]


@pytest.fixture
def any_pictures(tmp_path):
    """A file of two sessions made by hand, of two turns and of one, whose pictures are noise."""
    rng = np.random.default_rng(0)
    lines = []
    for name, said in (("a", ["Add a cat", "Remove it"]), ("b", ["Make it night"])):
        Image.fromarray(rng.integers(0, 256, (40, 56, 3), np.uint8)).save(tmp_path / f"{name}.png")
        count = len(said)
        lines.append(
            {
                "image": f"{name}.png",
                "instruction": said,
                "task_type": ["subject_add", "subject_remove"][:count],
                "formatted_instruction": said,
                "bg_consistency": [True] * count,
                "unchanged_objects": [[]] * count,
                "available_objects": [[]] * count,
                "all_objects": [[]] * count,
                "turns": count,
            }
        )
    path = tmp_path / "any.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_any_pictures_can_be_played_without_scores(tmp_path, any_pictures, capsys):
    tiny_policy().save(tmp_path)
    for place, chosen in (("a", {"policy": "noop"}), ("b", {"model": str(tmp_path), "size": 64, "steps": 1})):
        evaluation = evaluate(settings(tmp_path / place, sessions_file=str(any_pictures), **chosen))
        assert [one["turn"] for one in evaluation.lines] == [[1, 2], [1]]
        assert evaluation.summary["reward"] == [None, None]
        assert NO_JUDGE in " ".join(capsys.readouterr().out.split())
    line = json.loads((tmp_path / "b" / "out" / "scores.jsonl").read_text().splitlines()[0])
    assert line["task"] == ["subject_add", "subject_remove"] and line["family"] == ["plain", "reference"]
    assert line["instruction_following"] == line["reward"] == [None, None]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"policy": "orcale"}, "policy 'orcale' is not known, did you mean 'oracle'"),
        ({"policy": "noop", "sessions": 0}, "sessions is 0, expected 1 or more"),
        ({"policy": "noop", "num_envs": 0}, "num_envs is 0, expected 1 or more"),
        ({"policy": "noop", "suite": "mixd"}, "mixd"),
    ],
)
def test_wrong_settings_are_named(tmp_path, values, message):
    with pytest.raises(ValueError, match=message):
        run_evaluation(compose("evaluate", out=str(tmp_path), **values))


def test_baselines_need_no_torch(tmp_path):
    code = (
        "import sys; from editenv.configs.compose import compose;"
        "from editenv.agents.evaluate import evaluate;"
        f"evaluate(compose('evaluate', policy='oracle', sessions=2, out={str(tmp_path)!r})); "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_show_prints_the_turns_and_draws_them(tmp_path, capsys):
    session = show(compose("show", out=str(tmp_path), policy="oracle", session=3))
    printed = capsys.readouterr().out
    assert session.index == 3 and all(text in printed for text in (*session.transcript, *session.intents))
    assert "global_awareness 1.00" in printed
    assert (tmp_path / "filmstrip.png").is_file()
    with pytest.raises(ValueError, match="session is -1"):
        show(compose("show", out=str(tmp_path), policy="oracle", session=-1))


def test_show_says_what_a_worded_users_model_failed_at(tmp_path, capsys):
    """Fails where refused wordings, fall-backs or unscored turns are seen in `evaluate` alone."""
    with ChatServer(says("paint the whole picture black")) as server:
        endpoint = {"base_url": server.url, "model": "m", "retries": 0}
        user = UserConfig(kind="llm", settings={"endpoint": endpoint})
        show(replace(compose("show", out=str(tmp_path), policy="oracle", suite="persona"), user=user))
    printed = capsys.readouterr().out
    assert "turn 1, the template's words in place of the model's: " in printed
    assert "wording_fallbacks" in printed and "wording_failures 0" in printed


class Agent:
    """Returns the picture as it is; subclasses answer otherwise."""

    def __init__(self, envs, level: int = 0) -> None:
        self.level = level

    def start(self, observations, seeds):
        return [0] * len(seeds)

    def act(self, observations, memories):
        return {"image": observations["image"], "intent": ("",) * len(memories)}, memories


class Floats(Agent):
    def act(self, observations, memories):
        return {"image": observations["image"] / 255.0}, memories


class NoPictures(Agent):
    def act(self, observations, memories):
        return {"intent": ("",) * len(memories)}, memories


class PilPictures(Agent):
    def act(self, observations, memories):
        return {"image": [Image.fromarray(picture) for picture in observations["image"]]}, memories


class SmallPictures(Agent):
    def act(self, observations, memories):
        return {"image": observations["image"][:, ::2, ::2]}, memories


class NoMemories(Agent):
    def act(self, observations, memories):
        return {"image": observations["image"]}


class LostMemories(Agent):
    def act(self, observations, memories):
        return {"image": observations["image"]}, memories[:-1]


class NoIntents(Agent):
    def act(self, observations, memories):
        return {"image": observations["image"]}, memories


class NotAPolicy:
    def __init__(self, envs) -> None:
        pass


class NoArguments:
    def __init__(self) -> None:
        pass


def of_class(kind: type) -> str:
    return f"{kind.__module__}:{kind.__name__}"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"policy": "json:dumps"}, "policy 'json:dumps' cannot be made: TypeError"),
        ({"policy": f"{__name__}:SCORES"}, "which is a set, expected a class or function"),
        ({"model": "json:dumps"}, "which is a function, expected a class of JointPolicy"),
        ({"model": f"{__name__}:Agent"}, "expected a class of JointPolicy"),
    ],
)
def test_what_is_no_policy_and_no_model_is_said_to_be_none(tmp_path, changes, told):
    with pytest.raises(ValueError, match=told):
        run_evaluation(settings(tmp_path, sessions=2, **changes))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Floats, r"policy Floats: action\['image'\] has dtype float64, expected .* uint8 and shape \(2, 64"),
        (NoPictures, "policy NoPictures: action has no 'image'"),
        (PilPictures, r"policy PilPictures: action\['image'\] is a list, expected a numpy array"),
        (SmallPictures, r"has shape \(2, 32, 32, 3\), expected .* shape \(2, 64, 64, 3\)"),
        (NoMemories, r"act returned a dict, expected \(actions, memories\)"),
        (LostMemories, "memories are 1 of them, expected a list of 2"),
        (NotAPolicy, "has no 'start', expected start, act"),
        (NoArguments, "cannot be called with MICEEditVectorEnv: too many positional"),
    ],
)
def test_a_policy_is_held_to_the_action_space_and_told_what_is_wrong(tmp_path, kind, message):
    """Fails where float pictures are played as black ones, or a wrong class ends in a traceback."""
    with pytest.raises(ValueError, match=message):
        run_evaluation(settings(tmp_path, policy=of_class(kind), sessions=2))


def test_a_policy_from_outside_has_settings_by_name_and_need_not_write_intents(tmp_path):
    config = settings(tmp_path, policy=of_class(NoIntents), sessions=2)
    found = run_evaluation(replace(config, policy_settings={"level": 3}))
    assert found.facts["policy_settings"] == {"level": 3}
    assert [line["intents"] for line in found.lines] == [["", "", ""]] * 2
    with pytest.raises(ValueError, match="has no setting 'levle', did you mean 'level'"):
        run_evaluation(replace(config, policy_settings={"levle": 3}))
    with pytest.raises(ValueError, match="expected none with policy=model"):
        run_evaluation(replace(config, policy="model", policy_settings={"level": 3}))


class SilentJudge:
    """Answers in no session's second turn."""

    version = "silent 1"

    def __init__(self, world, weights) -> None:
        pass

    def score(self, turns):
        return [
            Scores(error="judge: 403 QUOTA") if turn.turn == 1 else Scores(1.0, 1.0, 1.0, reward=1.0) for turn in turns
        ]


def test_reasons_that_differ_in_a_requests_id_are_one_and_status_codes_are_not():
    errors = [
        "429 slow down (request 7f3a91)",
        "429 slow down (request 8b0021)",
        None,
        "503 slow down (request 8b0022)",
    ]
    assert unscored_turns([{"errors": errors}]) == {
        "turns": 3, "of": 4, "share": 0.75, "reasons": {errors[0]: 2, errors[3]: 1},
    }  # fmt: skip


def test_turns_that_no_judge_scored_are_counted_with_the_reason_and_can_fail_the_command(tmp_path, capsys):
    scorer = ScorerConfig(kind=of_class(SilentJudge))
    config = replace(settings(tmp_path, policy="noop", sessions=4), scorer=scorer)
    assert main(config) == 1
    printed = capsys.readouterr().out
    assert "4 of 8 turns are unscored (50.0%):" in printed and "4 x judge: 403 QUOTA" in printed
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    reasons = {"judge: 403 QUOTA": 4}
    assert summary["unscored"] == {"turns": 4, "of": 8, "share": 0.5, "reasons": reasons}
    line = json.loads((tmp_path / "out" / "scores.jsonl").read_text().splitlines()[0])
    assert line["errors"] == [None, "judge: 403 QUOTA"] and line["reward"] == [1.0, None]
    assert main(replace(config, max_unscored=0.5)) == 0


def test_a_summary_of_a_file_names_no_suite(tmp_path, any_pictures):
    found = evaluate(settings(tmp_path, policy="noop", sessions_file=str(any_pictures)))
    assert found.facts["suite"] is None and found.facts["sessions_file"] == str(any_pictures)


def test_reward_weights_decide_the_reward(tmp_path):
    config = settings(tmp_path, policy="noop", sessions=4)
    found = run_evaluation(replace(config, reward_weights={"content_consistency": 1.0}))
    assert found.summary["reward"] == found.summary["content_consistency"] == [1.0] * 3
    assert found.facts["reward_weights"] == {"content_consistency": 1.0}


def test_the_noisy_oracle_copes_with_pictures_that_left_the_script(tmp_path):
    """Fails where its oracle raises because an earlier turn that failed left an object out."""
    found = run_evaluation(settings(tmp_path, policy="clumsy", suite="long", sessions=16))
    assert 0.3 < found.summary["instruction_following"][-1] < 1.0


def test_a_folder_that_is_no_training_is_said(tmp_path):
    with pytest.raises(ValueError, match="run is 'runs/nope', which is no folder"):
        show(compose("show", out=str(tmp_path), run="runs/nope"))


def test_into_a_pipe_progress_is_printed_as_lines(tmp_path, capsys):
    evaluate(settings(tmp_path, policy="noop", sessions=2))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "evaluating noop: 2 sessions" and lines[1].startswith("evaluating noop: done in ")
