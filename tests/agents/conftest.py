"""What tests of agents begin with."""

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    """Folder of a checkpoint that trainings start from."""
    # Reports and the agents without weights are tested without torch.
    from tests.tiny_editor import tiny_policy

    folder = tmp_path_factory.mktemp("start")
    tiny_policy().save(folder)
    return folder
