"""What runs that are killed and started again begin with."""

import multiprocessing
from pathlib import Path

import pytest

from editenv.agents.editor.checkpoint import save_checkpoint
from tests.tiny_editor import tiny_checkpoint


@pytest.fixture(scope="module")
def processes():
    """Processes of their own that start with everything imported, and nothing drawn."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.tiny_editor"])
    return context


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    """A checkpoint that trainings start from."""
    folder = tmp_path_factory.mktemp("start")
    save_checkpoint(tiny_checkpoint(), folder)
    return folder
