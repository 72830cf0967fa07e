"""Run mypy or import-linter on the package as a user installs it.

An editable install maps the top-level folders at run time, which static tools cannot see. So the wheel is
built and unpacked into a temporary folder, where the folders lie under one name, and the tool runs there.

    python tools/installed.py mypy
    python tools/installed.py lint-imports
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("editenv", "agents", "rewards", "sims", "configs")
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
# Tools of the interpreter that runs this file, whatever PATH holds.
COMMANDS = {
    "mypy": [sys.executable, "-m", "mypy", "-p", "editenv", "--cache-dir", str(ROOT / ".mypy_cache")],
    "lint-imports": [str(Path(sys.executable).parent / "lint-imports"), "--no-logo", "--no-cache"],
}
CONFIG_OPTION = {"mypy": "--config-file", "lint-imports": "--config"}


def copy_sources(target: Path) -> None:
    """Copy what the build reads: a `build` folder left in the tree would leak old files into the wheel."""
    for folder in SOURCES:
        shutil.copytree(ROOT / folder, target / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, target / name)


def install(source: Path, target: Path) -> None:
    """Build the wheel of `source` and unpack it into `target`; CalledProcessError when that fails."""
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--no-build-isolation", "--no-compile"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True)


def main(tool: str) -> int:
    """Install the package into a temporary folder and run `tool` there; returns its exit status."""
    if tool not in COMMANDS:
        raise SystemExit(f"tool is {tool!r}, expected one of {', '.join(COMMANDS)}")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source"), Path(folder, "installed")
        source.mkdir()
        copy_sources(source)
        install(source, target)
        command = [*COMMANDS[tool], CONFIG_OPTION[tool], str(ROOT / "pyproject.toml")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(target), str(ROOT / "tools")])}
        return subprocess.run(command, cwd=target, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2] or [""]))
