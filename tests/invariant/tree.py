"""The files that the rules of this folder hold for."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("editenv", "agents", "rewards", "sims", "configs", "benchmarks")
# What git ignores (products and other people's environments), so that a rule never depends on it.
IGNORED = {"build", "runs", "outputs", "multirun", "__pycache__", "shared"}


def files_below(*folders):
    """Every file below the folders, sorted, without hidden and generated folders (.ci is kept)."""
    found = []
    for folder in folders:
        # rglob follows no symbolic links, so that editenv/agents and agents are visited once.
        for path in (ROOT / folder).rglob("*"):
            parts = path.relative_to(ROOT).parts
            hidden = any(p.startswith(".") and p != ".ci" for p in parts[:-1])
            generated = any(p in IGNORED or p.endswith(".egg-info") for p in parts[:-1])
            if path.is_file() and not path.is_symlink() and not hidden and not generated:
                found.append(path)
    return sorted(found)


def source_files():
    """Python files of the package itself."""
    return [p for p in files_below(*PACKAGES) if p.suffix == ".py"]


def python_files():
    """Python files of the package, its tests and its tools."""
    return [p for p in files_below(*PACKAGES, "tests", "tools") if p.suffix == ".py"]


def name(path):
    """The path as seen from the root, for messages."""
    return path.relative_to(ROOT).as_posix()
