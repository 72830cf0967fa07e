"""`import editenv` registers the environments and costs little more than `import gymnasium`."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, sys
import gymnasium
before = {name.partition(".")[0] for name in sys.modules}
import editenv
after = {name.partition(".")[0] for name in sys.modules}
ids = [i for i, spec in gymnasium.registry.items() if str(spec.entry_point).startswith("editenv")]
print(json.dumps({"packages": sorted(after - before - set(sys.stdlib_module_names)), "ids": ids}))
"""


def fresh_import(folder):
    """What a new process, started away from the repository, sees after the import."""
    run = subprocess.run([sys.executable, "-c", PROGRAM], cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def test_import_loads_no_package_but_itself(tmp_path):
    assert fresh_import(tmp_path)["packages"] == ["editenv"]


def test_import_registers_the_environment(tmp_path):
    assert "MICEEdit-v0" in fresh_import(tmp_path)["ids"]


def test_public_names_come_from_the_package(tmp_path):
    code = (
        "import editenv; from editenv import MICEEditEnv, Policy, Scorer, Scores, Stop, User, UserMessage;"
        "all(getattr(editenv, name) for name in editenv.__all__);"
        "assert set(editenv.__all__) <= set(dir(editenv)); print(MICEEditEnv.__name__)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.startswith("MICEEditEnv")


def test_a_name_that_is_not_there_is_named():
    import editenv

    with pytest.raises(AttributeError, match="no attribute 'MICEEdit'"):
        editenv.MICEEdit  # noqa: B018
