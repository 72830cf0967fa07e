"""Every scorer of the Hydra group composes, names all of its settings, and reaches the environment."""

from __future__ import annotations

from importlib import import_module
from inspect import signature

import pytest

pytest.importorskip("hydra")

from editenv.build import make_env
from editenv.configs.compose import PACKAGE, compose
from editenv.endpoint import endpoint_settings
from editenv.rewards import SCORERS

GROUP = [*SCORERS, "none"]
NEEDED = {
    "judge": ["scorer.settings.endpoint.model=m"],
    "mice": ["scorer.settings.endpoint.model=m", "scorer.settings.features=f", "scorer.settings.detector=d"],
    "similarity": ["scorer.settings.features=f", "scorer.settings.detector=d"],
}


@pytest.mark.parametrize("command", ["evaluate", "train", "show"])
@pytest.mark.parametrize("name", GROUP)
def test_every_scorer_composes_under_every_command_that_plays(command, name):
    config = compose(command, ["out=x", f"scorer={name}", *NEEDED.get(name, [])])
    assert config.scorer.kind == (None if name == "none" else name)
    assert config.env()["scorer"] == config.scorer.kind and config.env()["scoring"] == "immediate"
    assert config.env()["scorer_settings"] == config.scorer.settings


@pytest.mark.parametrize("name", SCORERS)
def test_the_yaml_holds_only_what_differs_from_the_classes_defaults(name):
    module, _, attribute = SCORERS[name].partition(":")
    taken = signature(getattr(import_module(module), attribute)).parameters
    own = {key: value.default for key, value in taken.items() if value.kind is value.KEYWORD_ONLY}
    set_here = compose("evaluate", ["out=x", f"scorer={name}", *NEEDED.get(name, [])]).scorer.settings
    assert set(set_here) <= set(own) and all(own[key] != value for key, value in set_here.items())


def test_a_judge_needs_no_more_than_a_model_and_takes_every_setting_of_the_endpoint():
    endpoint = compose("evaluate", ["out=x", "scorer=judge", *NEEDED["judge"]]).scorer.settings["endpoint"]
    assert endpoint == {"base_url": "http://127.0.0.1:8000/v1", "model": "m"}
    change = ["scorer.settings.endpoint.max_tokens=null", "scorer.settings.endpoint.retries=7"]
    config = compose("evaluate", ["out=x", "scorer=judge", *NEEDED["judge"], *change])
    settings = endpoint_settings(config.scorer.settings["endpoint"])
    assert (settings.max_tokens, settings.retries) == (None, 7)


def test_settings_of_the_command_line_reach_the_scorer():
    config = compose("evaluate", ["out=x", "scorer=imperfect", "scorer.settings.errors=yes"])
    env = make_env(**config.env())
    assert "imperfect 1 yes:" in env.engine.versions()["scorer"]
    assert make_env(**compose("evaluate", ["out=x", "scorer.scoring=deferred"]).env()).engine.queue


def test_a_scorer_per_yaml_and_a_yaml_per_scorer():
    folder = import_module(PACKAGE).__path__[0]
    from pathlib import Path

    assert {path.stem for path in (Path(folder) / "scorer").glob("*.yaml")} == set(GROUP)


def test_settings_by_name_may_be_given_as_values():
    config = compose("evaluate", out="x", policy_settings={"level": 3}, user={"settings": {"persona": "terse"}})
    assert config.policy_settings == {"level": 3} and config.user.settings == {"persona": "terse"}
    assert compose("evaluate", out="x", reward_weights={"rule_kept": 1}).reward_weights == {"rule_kept": 1.0}
    with pytest.raises(ValueError, match="sesions"):
        compose("evaluate", out="x", sesions=3)
