"""`import editenv` registers the environments and costs little more than `import gymnasium`."""

import json
import subprocess
import sys

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
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=folder, capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout)


def test_import_loads_no_package_but_itself(tmp_path):
    assert fresh_import(tmp_path)["packages"] == ["editenv"]


def test_import_registers_the_environment(tmp_path):
    assert "MICEEdit-v0" in fresh_import(tmp_path)["ids"]
