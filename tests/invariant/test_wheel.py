"""The wheel holds the whole package: every module and every data file of the mapped folders, nothing else."""

import re
import shutil
import subprocess
import sys
import zipfile

import pytest

from tests.invariant.tree import PACKAGES, ROOT, files_below, name


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    # A copy, since a `build` folder left in the tree would leak old files into the wheel.
    for folder in PACKAGES:
        shutil.copytree(ROOT / folder, source / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source / file)
    options = ["-qq", "--no-deps", "--no-build-isolation", "-w", str(target), str(source)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options], check=True)
    (path,) = target.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_every_file_of_the_folders_is_in_the_wheel(wheel):
    tree = {name(p) for p in files_below(*PACKAGES) if p.suffix != ".pyc"}
    expected = {path if path.startswith("editenv/") else f"editenv/{path}" for path in tree}
    assert {n for n in wheel.namelist() if ".dist-info/" not in n} == expected


def test_checkpoints_stay_under_20_megabytes():
    weights = [p for p in files_below(*PACKAGES) if p.suffix == ".safetensors"]
    assert sum(p.stat().st_size for p in weights) < 20e6


def test_the_environment_needs_five_packages_only(wheel):
    (metadata,) = [n for n in wheel.namelist() if n.endswith("METADATA")]
    lines = wheel.read(metadata).decode().splitlines()
    needed = [line for line in lines if line.startswith("Requires-Dist:") and "extra ==" not in line]
    names = {re.match(r"[\w-]+", line.split()[1])[0] for line in needed}
    assert names == {"gymnasium", "numpy", "pillow", "pydantic", "pyyaml"}


def test_every_folder_with_modules_is_a_package():
    folders = {p.parent for p in files_below(*PACKAGES) if p.suffix == ".py"}
    assert not sorted(name(f) for f in folders if not (ROOT / f / "__init__.py").exists())
