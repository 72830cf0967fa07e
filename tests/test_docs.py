"""Every page below docs runs: its `editenv` commands and its Python, in the order of the page."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from editenv.cli import main
from tests.test_readme import command_lines, shortened

PAGES = sorted((Path(__file__).resolve().parents[1] / "docs").glob("*.md"))


def pieces(text):
    """The fenced blocks of a page in order, those in lists too: (language, content)."""
    found = re.findall(r"^( *)```(\w+)\n(.*?)^\1```", text, flags=re.DOTALL | re.MULTILINE)
    return [(language, re.sub(rf"^{indent}", "", code, flags=re.MULTILINE)) for indent, language, code in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for language, code in pieces(page.read_text(encoding="utf-8")):
        if language == "python":
            subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], cwd=tmp_path, check=True)
        for words in command_lines(f"```{language}\n{code}```\n"):
            assert main(shortened(words)) == 0, words


def test_pieces_come_in_order_and_without_their_indent():
    text = "```python\na\n```\n- x:\n\n  ```bash\n  editenv show\n    b\n  ```\n"
    assert pieces(text) == [("python", "a\n"), ("bash", "editenv show\n  b\n")]
