"""The `editenv` executable: help that works, settings that are checked, folders that stay apart."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import asdict, fields
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.resources import files
from inspect import signature, stack
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from editenv import __version__
from editenv.agents.resume import TrainingAborted
from editenv.benchmarks.env import bench_env
from editenv.benchmarks.rollout import bench_rollout
from editenv.cli import COMMANDS, default_out, job_name, main
from editenv.configs import schema
from editenv.configs.compose import compose
from editenv.configs.schema import TrainConfig
from editenv.manual import overview, page, settings_table, text_of

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
NEEDED = {
    "train_sb3": ["agent=ppo"],
    "train_trl": ["agent=trl", "model=m"],
    "judge": ["scorer.settings.endpoint.model=m"],
    "pretrain": ["recipe=base"],
    "score": ["records=x"],
}
"""Settings that have no default."""

EXAMPLES = [
    (name, line.strip()) for name in COMMANDS for line in text_of(name).splitlines() if line.startswith("  editenv ")
]


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """Every train command runs in an empty folder and only notes the settings it was given."""
    monkeypatch.chdir(tmp_path)
    noted = []
    monkeypatch.setitem(sys.modules, "editenv.agents.train", SimpleNamespace(train=noted.append))
    return noted


def error_of(capsys, *words):
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and "Traceback" not in printed.err
    return printed.err


def test_help_comes_without_heavy_imports():
    """Fails where the command line imports what a command needs before it is known which one."""
    code = (
        "import sys; from editenv.cli import main; main(['--help']); main(['train', '--help']);"
        "sys.exit(sum(name in sys.modules for name in ('torch', 'hydra', 'rich', 'editenv.agents.train')))"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert all(name in run.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_teaches_by_three_examples(name, capsys):
    assert main([name, "--help"]) == 0
    printed = capsys.readouterr().out
    typed = name.removesuffix("_sb3").removesuffix("_trl")  # `train agent=ppo` has settings of its own
    assert printed.count(f"\n  editenv {typed} ") == 3 and text_of(name) in printed


def test_version_and_suites_are_named(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"editenv {__version__}\n"
    assert all(suite in overview() for suite in ("mice-cm", "long-16", "unseen"))


@pytest.mark.parametrize(("name", "line"), EXAMPLES)
def test_examples_of_the_help_are_right(name, line):
    """Fails where an example names a setting, a group or a value that Hydra refuses."""
    _, command, *words = shlex.split(line)
    assert command == name.removesuffix("_sb3").removesuffix("_trl")
    settings = [word for word in words if "=" in word]
    if COMMANDS[name].first and "=" not in words[0]:
        settings.append(f"{COMMANDS[name].first}={words[0]}")
    if name == "bench":
        measured = {"env": bench_env, "rollout": bench_rollout}[words[0]]
        assert {word.partition("=")[0] for word in settings} <= signature(measured).parameters.keys()
    elif name == "records":
        assert words[0] == "check" and set(words[2:]) <= {"--json"}
    elif "-m" not in words:
        assert isinstance(compose(command, ["out=x", *settings]), schema.COMMANDS[name])


@pytest.mark.parametrize("name", schema.COMMANDS)
def test_every_setting_is_in_the_help_with_its_default(name):
    """Fails where a setting has no line of help, or where a YAML file gives another default."""
    needed = NEEDED.get(name, [])
    config = OmegaConf.create(asdict(compose(name, needed, out="x")))
    free = ("out", "experiment", "train.", *(word.partition("=")[0] for word in needed))
    for key, default, meaning in settings_table(name):
        assert meaning, key
        node = OmegaConf.select(config, key)
        if not key.startswith(free) and not OmegaConf.is_dict(node):
            said = str(node).replace("'", "") if not isinstance(node, bool) else str(node).lower()
            assert default == ("null" if node is None else said), key


@pytest.mark.parametrize("name", ["train", "evaluate", "pretrain"])
def test_the_help_names_every_choice_of_a_group(name):
    printed = " ".join(page(name).split())
    groups = {"train": ("experiment", "algorithm", "user", "scorer"), "evaluate": ("user", "scorer")}
    for group in groups.get(name, ("recipe",)):
        assert ", ".join(schema.options(group)) in printed


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_calls_a_function_that_is_there(name):
    module, _, function = COMMANDS[name].target.partition(":")
    assert callable(getattr(import_module(module), function))


def test_the_agent_decides_whose_settings_a_training_has(calls, capsys):
    assert main(["train", "agent=edit_r2", "seed=3", "out=there"]) == 0
    assert isinstance(calls[0], TrainConfig) and calls[0].seed == 3
    assert main(["train", "agent=ppo", "--help"]) == 0
    assert "clip_range" in capsys.readouterr().out
    assert main(["train", "--help"]) == 0
    assert "clip_range" not in capsys.readouterr().out
    config = compose("train", ["agent=a2c", "gamma=0.5"], out="x")
    assert isinstance(config, schema.TrainSB3Config) and (config.agent, config.gamma) == ("a2c", 0.5)


def test_training_gets_its_settings_and_a_folder(calls, tmp_path):
    assert main(["train", "experiment=demo", "seed=3", "groups=2", "algorithm.steps=4", "out=there"]) == 0
    (config,) = calls
    assert isinstance(config, TrainConfig)
    assert (config.seed, config.groups, config.algorithm.steps, config.out) == (3, 2, 4, "there")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there"]
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == [".hydra"]


def test_a_training_starts_two_own_frames_below_the_command_line(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    frames = []

    def train(config):
        frames.extend(
            Path(frame.filename).relative_to(ROOT) for frame in stack()[1:] if ROOT in Path(frame.filename).parents
        )

    monkeypatch.setitem(sys.modules, "editenv.agents.train", SimpleNamespace(train=train))
    assert main(["train", "out=x"]) == 0
    assert [str(path) for path in frames if path.parts[0] not in ("tests", ".venv")] == ["editenv/cli.py"] * 2


def test_a_sweep_gives_each_job_a_folder_of_its_own(calls, capsys):
    assert main(["train", "experiment=demo", "out=runs/x", "-m", "seed=0,1", "groups=2,4"]) == 0
    assert {(config.seed, config.groups, config.out) for config in calls} == {
        (seed, groups, f"runs/x/seed-{seed}_groups-{groups}") for seed in (0, 1) for groups in (2, 4)
    }
    assert "runs/x/seed-1_groups-4" in capsys.readouterr().out


def test_one_failed_job_of_a_sweep_leaves_the_others(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["evaluate", "-m", "policy=noop,nope,oracle", "sessions=2", "filmstrip=0", "out=x"]
    assert "policy 'nope' is not known" in error_of(capsys, *words)
    assert [p.parent.name for p in sorted(Path("x").glob("*/summary.json"))] == ["policy-noop", "policy-oracle"]


def test_the_same_words_give_the_same_folder(calls):
    for words in (["seed=1", "experiment=demo"], ["experiment=demo", "seed=1"], ["seed=2"]):
        main(["train", *words])
    assert [config.out for config in calls] == [
        "runs/train-experiment-demo-seed-1",
        "runs/train-experiment-demo-seed-1",
        "runs/train-seed-2",
    ]


def test_no_value_becomes_a_path():
    """Fails where a sweep over folders writes below or above the folder that it was given."""
    places = ("runs/a", "runs-a", "../../x", "/etc", "~", "..", "中")
    names = [job_name([f"model={place}"]) for place in places]
    assert len(set(names)) == len(names) and not any("/" in name or name.startswith(".") for name in names)
    assert job_name(["model=runs/a"]).startswith("model-runs-a-") and job_name(["seed=1"]) == "seed-1"


def test_many_settings_make_a_short_name():
    words = [f"algorithm.setting_{number}={number}" for number in range(60)]
    name = default_out("train", words)
    assert len(name) < 120 and name != default_out("train", words[1:])


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["evalute"], ["'evalute' is not known", "did you mean 'evaluate'?"]),
        (["train", "itertions=3"], ["no setting 'itertions'", "did you mean 'iterations'?"]),
        (["train", "algorithm.step=3"], ["no setting 'algorithm.step'", "'algorithm.steps'"]),
        (["train", "algorithm=foo"], ["algorithm 'foo' is not known", "edit_r2", "no_filter"]),
        (["train", "scorer=exat"], ["scorer 'exat' is not known, did you mean 'exact'?", "residual"]),
        (["train", "scorer@eval_scorer=exat"], ["scorer 'exat' is not known, did you mean 'exact'?"]),
        (["train", "eval_scorer=exact"], ["eval_scorer is 'exact'", "scorer@eval_scorer=exact,"]),
        (["train", "eval_scorer=exat"], ["eval_scorer is 'exat'", "scorer@eval_scorer=exact,"]),
        (["train", "eval_scorer={kind: exact}"], ["eval_scorer is", "expected scorer@eval_scorer="]),
        (["train", "eval_scorer.kind=exact"], ["eval_scorer.kind is set", "scorer@eval_scorer=exact"]),
        (["demo", "train.algorithm=nft"], ["train.algorithm is 'nft'", "algorithm@train.algorithm=nft"]),
        (["train", "scorer@eval_scorer=imperfect", "eval_scorer.setings=1"], ["'eval_scorer.settings'"]),
        (["train", "+recrd_every=3"], ["no setting 'recrd_every', did you mean 'record_every'?"]),
        (["train", "groups=many"], ["groups is 'many', expected a whole number"]),
        (["train", "seed=0,1"], ["'seed=0,1' gives several values", "-m"]),
        (["train", "-m", "out=a,b"], ["out has several values, expected one folder"]),
        (["evaluate", "policy=noop", "reward_weights={beauty: 1}"], ["reward weight 'beauty' names no score"]),
        (["evaluate", "policy=sys:maxsize"], ["policy is 'sys:maxsize', which is a int, expected a class"]),
        (["train", "user=[terse,chatty]"], ["user is [terse,chatty], expected one name; -m user=terse,chatty"]),
        (["train", "-m", "user=[terse,chatty],goal"], ["user is [terse,chatty], expected one name"]),
        (["evaluate", "policy=noop", "user=nowhere:Class"], ["user is 'nowhere:Class'", "package.module:Name"]),
        (["evaluate", "policy=noop", "user=terse", "user.settings.pers=1"], ["no setting 'pers'", "persona"]),
        (["evaluate", "--config-dir", "nowhere"], ["--config-dir is 'nowhere', expected a folder"]),
        (["evaluate", "intent=orcle"], ["intent 'orcle' is not known, did you mean 'oracle'?"]),
        (["evaluate", "eval_scorer=1"], ["no setting 'eval_scorer'"]),
        (["train", "report_to=wandb"], ["report_to is 'wandb', expected a list"]),
        (["train", "algorithm.recompute=maybe"], ["algorithm.recompute is 'maybe', expected true or"]),
        (["train", "model=null"], ["model is null, expected a value"]),
        (["train", "seed=null"], ["seed is null, expected a value"]),
        (["train", "user=null"], ["user is null, expected one of chatty", "replay"]),
        (["train", "experiment=null"], ["experiment is null, expected one of", "demo", "leave it out"]),
        (["train", "user=llm"], ["user.settings.endpoint.model has no value"]),
        (["train", "--iterations=3"], ["'--iterations=3' is not known, did you mean 'iterations=3'?"]),
        (["train", "--resume"], ["'--resume' is not known", "KEY=VALUE", "-m"]),
        (["train", "out="], ["out is '', expected a folder"]),
        (["train", "out=file/run"], ["out is 'file/run', expected a folder"]),
        (["audit", "algorithm=null"], ["algorithm is null", "edit_r2"]),
        (["audit", "trainer=json:dump"], ["trainer 'json:dump' lacks the setting 'obj'"]),
        (["audit", "algorithm.text_weight=0", "algorithm.flow_weight=0"], ["are both 0"]),
        (["evaluate", "steps=0"], ["steps is 0, expected 1 or more"]),
        (["audit", "+sed=1"], ["no setting 'sed', did you mean 'seed'?"]),
        (["pretrain"], ["'recipe'", "practice"]),
        (["evaluate", "policy=noop", "scorer.settings={least: 1}"], ["has no setting 'least', expected none"]),
        (["evaluate", "seed=-1"], ["seed is -1, expected 0 or more"]),
        (["train", "report_to=[wandb"], ["report_to is '[wandb', expected a list"]),
        (["evaluate", "oracle"], ["'oracle' cannot be read", "KEY=VALUE"]),
        (["evaluate", "policy=orcle"], ["policy 'orcle'", "'oracle'"]),
        (["evaluate", "model=nowhere"], ["'nowhere'", "expected"]),
        (["evaluate", "policy=noop", "sessions_file=none.jsonl"], ["none.jsonl"]),
        (["bench", "speed"], ["'speed'", "'env'", "'rollout'"]),
        (["bench", "rollout", "groups=x"], ["groups is 'x', expected int"]),
        (["bench", "env", "turns=x"], ["turns is 'x', expected int"]),
        (["bench", "env", "turn=3"], ["'turn=3'", "turns"]),
    ],
)
def test_mistakes_are_named_in_one_line(words, parts, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("kept")
    error = error_of(capsys, *words)
    assert error.startswith("editenv: ") and all(part in error for part in parts), error
    assert "_schema" not in error
    assert [path.name for path in tmp_path.rglob("*") if path.name != "runs"] == ["file"]


def test_a_refused_command_leaves_an_earlier_run_as_it_was(calls, monkeypatch, capsys):
    """Fails where what was typed last stands in a run's folder, though it was refused."""
    assert main(["train", "seed=1", "out=run"]) == 0

    def refuses(config):
        raise ValueError("seed is 2, expected 1")

    monkeypatch.setitem(sys.modules, "editenv.agents.train", SimpleNamespace(train=refuses))
    assert error_of(capsys, "train", "seed=2", "out=run") == "editenv: seed is 2, expected 1\n"
    assert Path("run/.hydra/overrides.yaml").read_text() == "- seed=1\n- out=run\n"
    assert "seed: 1\n" in Path("run/.hydra/config.yaml").read_text()


def test_a_traceback_on_demand(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDITENV_TRACEBACK", "1")
    with pytest.raises(ValueError, match="orcle"):
        main(["evaluate", "policy=orcle"])


def test_what_is_not_the_users_fault_is_not_hidden(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def broken(config):
        raise RuntimeError("a bug")

    monkeypatch.setitem(sys.modules, "editenv.agents.train", SimpleNamespace(train=broken))
    with pytest.raises(RuntimeError, match="a bug"):
        main(["train"])


def test_a_missing_package_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "hydra", None)
    assert "hydra is not installed, which `editenv train` needs" in error_of(capsys, "train")


def test_parts_are_chosen_by_their_group(calls):
    """What the errors above tell people to write is taken."""
    words = ["scorer@eval_scorer=imperfect", "eval_scorer.settings.seed=1"]
    assert main(["train", *words]) == 0 and main(["train", "eval_scorer=null"]) == 0
    assert calls[0].eval_scorer.settings["seed"] == 1 and calls[1].eval_scorer is None


def test_a_run_that_stopped_says_why_in_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)

    def stops(config):
        raise TrainingAborted("iteration 3 stopped: the user is gone; checkpoint-6 holds everything before it")

    monkeypatch.setitem(sys.modules, "editenv.agents.train", SimpleNamespace(train=stops))
    error = error_of(capsys, "train")
    assert "checkpoint-6 holds everything" in error and "EDITENV_TRACEBACK=1" in error


def test_settings_can_be_looked_at(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--cfg", "job", "algorithm=text_only"]) == 0
    assert "flow_weight: 0.0" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_bench_answers_in_json(capsys):
    off = ["scaling_sessions=0", "memory_sessions=0", "minigrid_steps=0"]
    assert main(["bench", "env", "--json", "num_envs=4", "turns=12", "repeats=1", *off]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["turns"] == 12


def test_every_group_and_recipe_composes():
    algorithms = {
        name: compose("train", [f"algorithm={name}"], out="x").algorithm
        for name in ("edit_r2", "text_only", "flow_only", "no_filter")
    }
    assert algorithms["text_only"].flow_weight == algorithms["flow_only"].text_weight == 0
    assert algorithms["no_filter"].filter == "none"
    assert {
        compose("pretrain", [f"recipe={n}"], out="x").recipe.name for n in ("autoencoder", "practice", "base")
    } == {"autoencoder", "practice", "base"}
    demo, text = (compose("train", [f"experiment={name}"], out="x") for name in ("demo", "base_text"))
    pictures = compose("train", ["experiment=base_pictures"], out="x")
    assert [demo.model, text.model, pictures.model] == ["practice", "base", "runs/base_text"]
    assert [text.algorithm.behaviour, text.algorithm.objective] == ["oracle_images", "policy"]
    assert [pictures.algorithm.behaviour, pictures.algorithm.objective] == ["oracle_intents", "nft"]


def test_no_schema_field_lacks_a_value():
    """Fails where a YAML file leaves a setting out; `recipe` has to be chosen and `out` is filled in."""
    for name, kind in schema.COMMANDS.items():
        config = compose(name, NEEDED.get(name, []), out="x")
        assert {field.name for field in fields(kind)} == vars(config).keys()


@pytest.fixture
def own_code(monkeypatch, tmp_path):
    """A folder with a world, a user, a scorer, a persona, a suite and settings, where the command is run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("mine.py").write_text(
        "from editenv.rewards.exact import ExactScorer as Judge\n"
        "from editenv.sims.replay import ReplayUser\n"
        "from editenv.worlds.studio.world import StudioWorld\n"
        "class Asker(ReplayUser):\n"
        "    version = 'asker'\n"
        "class World(StudioWorld):\n"
        "    name = 'mine'\n"
    )
    package = files("editenv")
    persona, suite = package / "sims/personas/terse.yaml", package / "worlds/studio/suites/mice-cm.yaml"
    Path("curt.yaml").write_text(persona.read_text())
    Path("own.yaml").write_text(suite.read_text())
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/short.yaml").write_text("# @package _global_\nseed: 7\nalgorithm:\n  steps: 3\n")
    yield
    sys.modules.pop("mine", None)


def test_classes_and_files_of_the_current_folder_are_chosen_by_name(own_code):
    few = ["policy=noop", "sessions=2", "filmstrip=0"]
    assert main(["evaluate", *few, "world=mine:World", "user=mine:Asker", "scorer=mine:Judge", "out=a"]) == 0
    assert main(["evaluate", *few, "user=./curt.yaml", "suite=own.yaml", "out=b"]) == 0
    versions = [json.loads(Path(out, "summary.json").read_text())["versions"] for out in "ab"]
    assert versions[0]["user"] == "asker" and versions[0]["world"].startswith("mine ")
    assert "curt" in versions[1]["user"]


@pytest.mark.parametrize("words", ["reward_weights={rule_kept: 1}", "reward_weights.rule_kept=1"])
def test_weights_of_the_reward_are_settings_too(calls, words):
    assert main(["train", words, "out=x"]) == 0
    assert calls[0].env()["reward_weights"] == {"rule_kept": 1.0}


def test_a_pattern_stands_for_the_files_that_it_fits(calls):
    assert main(["train", "-m", "user=glob(t*)", "out=x"]) == 0
    assert [config.user.settings["persona"] for config in calls] == ["terse"]


def test_no_password_stands_in_a_folder_its_name_or_a_message(calls, tmp_path, capsys):
    url = "base_url='http://me:p@sswrd@localhost:1/v1?key=sswrd'"
    words = ["scorer=judge", "scorer.settings.endpoint.model=m", f"scorer.settings.endpoint.{url}"]
    assert main(["train", *words]) == 0 and main(["train", "-m", "seed=0,1", *words]) == 0
    assert main(["evaluate", "policy=noop", "sessions=1", "user=llm", f"user.settings.endpoint.{url}"]) == 2
    printed = capsys.readouterr()
    assert calls[0].scorer.settings["endpoint"]["base_url"].startswith("http://me:p@sswrd@")
    written = [str(path) for path in tmp_path.rglob("*")]
    texts = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert sum("http://localhost:1/v1" in text for text in texts) >= 2
    assert not any("sswrd" in text for text in [*written, *texts, printed.out, printed.err])


def test_experiments_of_ones_own_folder(own_code, calls):
    for words in (["--config-dir", "conf"], ["hydra.searchpath=[file://conf]"]):
        assert main(["train", *words, "experiment=short", "out=x"]) == 0
    assert [(config.seed, config.algorithm.steps) for config in calls] == [(7, 3), (7, 3)]


def test_hydra_says_where_settings_come_from(own_code, capsys):
    assert main(["train", "--config-dir", "conf", "--info", "searchpath"]) == 0
    assert "conf" in capsys.readouterr().out
    assert main(["train", "--cfg", "job", "--package", "algorithm", "--resolve"]) == 0
    assert "# @package algorithm\n" in capsys.readouterr().out


def test_folders_may_have_any_letters(calls, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for out in ("运行/一", "~/runs", "it's, with=x"):
        assert main(["train", f"out={out}"]) == 0
    home = str(tmp_path / "home" / "runs")
    assert [config.out for config in calls] == ["运行/一", home, "it's, with=x"]


def test_a_sweep_of_paths_stays_below_its_folder(calls, tmp_path):
    assert main(["train", "-m", "model=../a,/etc/b", "out=there"]) == 0
    folders = [Path(config.out).resolve() for config in calls]
    assert len(set(folders)) == 2 and all(folder.parent == tmp_path / "there" for folder in folders)
    assert [config.model for config in calls] == ["../a", "/etc/b"]


def test_the_page_of_settings_has_a_table_for_every_command():
    """Fails where a command has no table, or where a bar in a text breaks it."""
    hooks = SourceFileLoader("site_hooks", str(DOCS / "scripts" / "site_hooks.py")).load_module()
    page = SimpleNamespace(file=SimpleNamespace(src_uri="settings.md"))
    text = hooks.on_page_markdown((DOCS / "settings.md").read_text(encoding="utf-8"), page, None, None)
    assert "--help`\n\n" not in text
    for name in schema.COMMANDS:
        table = text.partition(f"## {name}\n")[2].partition("\n## ")[0]
        assert "| `seed` | `0` |" in table
        assert {line.count("|") for line in table.splitlines() if line.startswith("|")} == {4}
