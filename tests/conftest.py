"""Settings that hold for every test, and the job that shows which tests live without torch.

With EDITENV_FORBID=torch,hydra,... those packages cannot be imported and only the environment's folders are
collected. EDITENV_PASSED names a file: such a run writes into it which tests passed, a run without EDITENV_FORBID
leaves these out.
"""

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
# A test that reaches for the network should fail here as it does on a machine without one.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

HERE = Path(__file__).parent
FORBIDDEN = frozenset(filter(None, os.environ.get("EDITENV_FORBID", "").split(",")))
PASSED = Path(os.environ["EDITENV_PASSED"]) if os.environ.get("EDITENV_PASSED") else None
TORCH_FREE_FOLDERS = ("editenv", "rewards", "sims", "worlds")

# Derandomised: a red run is red for everyone, and again the next time.
settings.register_profile("editenv", deadline=None, derandomize=True)
settings.load_profile("editenv")


class ForbiddenImports:
    """A finder that refuses the packages of EDITENV_FORBID, as if they were not installed."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        """Raise ModuleNotFoundError for a forbidden package, leave other names to the next finders."""
        if name.partition(".")[0] in FORBIDDEN:
            raise ModuleNotFoundError(f"{name} is forbidden in this run by EDITENV_FORBID", name=name)
        return None


if FORBIDDEN:
    loaded = sorted(FORBIDDEN & sys.modules.keys())
    if loaded:
        raise pytest.UsageError(f"EDITENV_FORBID names {loaded}, which pytest's plugins have already imported")
    sys.meta_path.insert(0, ForbiddenImports())


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Under EDITENV_FORBID collect the environment's folders only, less the command line's tests."""
    if not FORBIDDEN or collection_path == HERE or HERE not in collection_path.parents:
        return None
    inside = collection_path.relative_to(HERE)
    if inside.parts[0] not in TORCH_FREE_FOLDERS or inside.name.startswith("test_cli"):
        return True
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what EDITENV_PASSED lists, unless this is the run that writes it."""
    if PASSED is None or FORBIDDEN or not PASSED.exists():
        return
    passed = set(PASSED.read_text(encoding="utf-8").splitlines())
    left_out = [item for item in items if item.nodeid in passed]
    items[:] = [item for item in items if item.nodeid not in passed]
    config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write the tests that passed into EDITENV_PASSED; under xdist the controller alone comes here."""
    if PASSED is not None and FORBIDDEN:
        passed = sorted(report.nodeid for report in terminalreporter.stats.get("passed", []))
        PASSED.write_text("\n".join(passed), encoding="utf-8")
