"""The two exact scorers share data and the renderer, and no judgement: imports and attributes are read."""

from __future__ import annotations

import ast
from pathlib import Path

import editenv.rewards as rewards
from editenv.worlds.studio import scene
from editenv.worlds.studio.edit import MultiEdit
from editenv.worlds.studio.noun_phrases import Beside, Target
from editenv.worlds.studio.rules import RULES
from editenv.worlds.studio.tasks import EDITS

SHARED = {
    "editenv.types": {"Image", "Scores", "TurnResult"},
    "editenv.rewards": {"require_meanings", "studio_grid"},
    "editenv.rewards.weights": {"RewardWeights", "with_reward"},
    "editenv.worlds.studio.rule": {"Rule"},
    "editenv.worlds.studio.edit": {"Edit", "MultiEdit"},
    "editenv.worlds.studio.noun_phrases": {"Beside", "Target"},
    "editenv.worlds.studio.tasks": {kind.__name__ for kind in EDITS.values()},
    "editenv.worlds.studio.render": {"GROUND", "cell_pictures"},
    "editenv.worlds.studio.scene": {"BACKGROUNDS", "COLORS", "MATERIALS", "SIGN", "Scene", "all_objects"},
}
"""All that may come from elsewhere in editenv: data classes, words, renderer, reward, checks of what comes in."""

KINDS = (*EDITS.values(), *RULES.values(), Beside, MultiEdit, Target)
FIELDS = {field for kind in KINDS for field in kind.__dataclass_fields__} | {"family"}
OWN = {"cells"}
"""A field of this package's own classes that some edits have as a method."""
JUDGING = {name for kind in KINDS for name in dir(kind) if not name.startswith("_")} - FIELDS - OWN

FILES = [Path(rewards.__file__).with_name(name) for name in ("residual.py", "residual_parse.py")]


def trees() -> list[tuple[Path, ast.Module]]:
    found = [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in FILES]
    return found


def test_only_data_and_the_renderer_are_imported() -> None:
    """Fails where the package imports the parser, a verdict, or anything else that `exact` judges with."""
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert not any(name.name.startswith("editenv") for name in node.names), path
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("editenv"):
                assert node.level == 0
                if node.module != "editenv.rewards.residual_parse":
                    assert {name.name for name in node.names} <= SHARED.get(node.module, set()), (path, node.module)
            assert not (isinstance(node, ast.ImportFrom) and node.level), path
            # No way around it.
            assert not (isinstance(node, ast.Name) and node.id in ("__import__", "import_module", "eval", "exec"))


def test_no_method_of_an_edit_a_target_or_a_rule_is_used() -> None:
    """Fails where an attribute that is a method or property of one of them is read off any value."""
    assert {"accepts", "touched", "edited_cell", "breaks", "covers", "looks", "find", "fits"} <= JUDGING
    for path, tree in trees():
        used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not used & JUDGING, (path, used & JUDGING)


def test_scenes_are_numbers_here() -> None:
    """Fails where a method of Scene or SceneObject other than `codes` decides anything."""
    methods = {
        name
        for kind in (scene.Scene, scene.SceneObject)
        for name, member in vars(kind).items()
        if callable(member) and not name.startswith("__")
    }
    assert {"put", "empty", "occupied"} <= methods
    for path, tree in trees():
        used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not used & (methods - {"codes"}), path
