"""Every scorer of the Hydra group composes, names all of its settings, and reaches the environment."""

from __future__ import annotations

from importlib import import_module
from inspect import signature

import pytest

pytest.importorskip("hydra")

from editenv.build import make_env
from editenv.configs.compose import PACKAGE, compose
from editenv.endpoint import EndpointSettings
from editenv.rewards import SCORERS

GROUP = [*SCORERS, "none"]
NEEDED = {
    "judge": ["scorer.settings.endpoint.model=m"],
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
def test_the_yaml_names_all_settings_with_the_classes_own_defaults(name):
    """Fails where a new setting cannot be set from the command line, or where a default drifts."""
    module, _, attribute = SCORERS[name].partition(":")
    taken = signature(getattr(import_module(module), attribute)).parameters
    own = {key: value.default for key, value in taken.items() if value.kind is value.KEYWORD_ONLY}
    set_here = compose("evaluate", ["out=x", f"scorer={name}", *NEEDED.get(name, [])]).scorer.settings
    assert set(set_here) == set(own)
    for key in own.keys() - {"endpoint", "features", "detector", "base_settings"}:
        assert set_here[key] == own[key], key


def test_the_judges_yaml_names_the_whole_endpoint():
    endpoint = compose("evaluate", ["out=x", "scorer=judge", *NEEDED["judge"]]).scorer.settings["endpoint"]
    assert EndpointSettings(**endpoint) == EndpointSettings("http://127.0.0.1:8000/v1", "m", temperature=0.6)


def test_settings_of_the_command_line_reach_the_scorer():
    config = compose("evaluate", ["out=x", "scorer=imperfect", "scorer.settings.errors=yes"])
    env = make_env(**config.env())
    assert "imperfect 1 yes:" in env.engine.versions()["scorer"]
    assert make_env(**compose("evaluate", ["out=x", "scorer.scoring=deferred"]).env()).engine.queue


def test_a_scorer_per_yaml_and_a_yaml_per_scorer():
    folder = import_module(PACKAGE).__path__[0]
    from pathlib import Path

    assert {path.stem for path in (Path(folder) / "scorer").glob("*.yaml")} == set(GROUP)
