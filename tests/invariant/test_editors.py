"""Editors see what Python sees: in an editable install pyright resolves a user's imports and knows their types."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
PYRIGHT = shutil.which("pyright", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))

SCRIPT = """
import gymnasium as gym

from editenv import MICEEditEnv, MICEEditVectorEnv, Policy, Scorer, Scores, TurnResult, User
from editenv.agents.settings import AlgorithmSettings


class Mine:
    version = "mine 1"

    def score(self, turns: list[TurnResult]) -> list[Scores]:
        return [Scores(instruction_following=float(turn.turn == 0)) for turn in turns]


env = gym.make("editenv:MICEEdit-v0", suite="mixed").unwrapped
assert isinstance(env, MICEEditEnv)
reveal_type(env.session.scores)
reveal_type(env.step({"image": env.session.pictures[0], "intent": ""}))
reveal_type(Mine().score([])[0].reward)
reveal_type(MICEEditVectorEnv.get_state)
reveal_type(Policy[int].act)
reveal_type(User.begin)
reveal_type(Scorer.score)
reveal_type(AlgorithmSettings().steps)
"""


@pytest.mark.skipif(PYRIGHT is None, reason="pyright is not installed")
def test_a_users_script_is_understood_in_an_editable_install(tmp_path):
    """Fails where the install is a hook of the import system, or where a public name has no type."""
    pytest.importorskip("setuptools")
    project, script = tmp_path / "project", tmp_path / "script.py"
    project.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, project)
    (project / "editenv").symlink_to(ROOT / "editenv")
    build = "from setuptools.build_meta import build_editable; build_editable('.')"
    subprocess.run([sys.executable, "-c", build], cwd=project, check=True, capture_output=True)
    (wheel,) = project.glob("*.whl")
    with ZipFile(wheel) as packed:
        paths = [packed.read(name).decode() for name in packed.namelist() if name.endswith(".pth")]
    assert [Path(text.strip()).resolve() for text in paths] == [project.resolve()]
    venv.create(tmp_path / "venv", symlinks=True)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "editenv.pth").write_text(paths[0])
    (site / "others.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    script.write_text(SCRIPT)
    words = ["--outputjson", "--pythonpath", str(tmp_path / "venv" / "bin" / "python"), str(script)]
    told = json.loads(subprocess.run([str(PYRIGHT), *words], cwd=tmp_path, capture_output=True, text=True).stdout)
    assert told["summary"]["errorCount"] == 0, told["generalDiagnostics"]
    types = [re.sub(r'.* is "(.*)"', r"\1", one["message"]) for one in told["generalDiagnostics"]]
    assert len(types) == 8 and types[0] == "list[Scores]" and types[2] == "float" and types[7] == "int"
    assert not any("Unknown" in kind for kind in types), types
