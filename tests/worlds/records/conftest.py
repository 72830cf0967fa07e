"""What tests of files begin with."""

from pathlib import Path

import pytest

from tests.worlds.records.handmade import draw_pictures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the pictures of the hand-made sessions."""
    draw_pictures(tmp_path)
    return tmp_path
