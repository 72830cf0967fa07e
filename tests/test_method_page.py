"""docs/method.md: every function it links to exists, and its table of defaults says what the configs say."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from editenv.agents.settings import AlgorithmSettings
from editenv.configs.compose import compose

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = (DOCS / "method.md").read_text(encoding="utf-8")
LINKS = re.findall(r"\[`(\w+)`\]\((\S+?)\)", PAGE)
ROWS = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (.*?) \| (.*?) \| (.*?) \|", PAGE.split("## 7.")[1], flags=re.M)
COLUMNS = ("algorithm=edit_r2_published", "algorithm=edit_r2", "experiment=demo")
WORDS = {"the same in all": [], "whole sessions": [], "true": True, "false": False, "none": None, "`none`": "none"}


def defined(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


@pytest.mark.parametrize(("name", "target"), LINKS, ids=[name for name, _ in LINKS])
def test_linked_functions_exist(name, target):
    path = (DOCS / target).resolve()
    assert path.is_file() and name in defined(path)


def test_links_are_found_and_pictures_are_there():
    assert len(LINKS) > 40
    assert PAGE.count("](../") == len(LINKS), "a link without the function's name in it"
    pictures = re.findall(r"!\[.*?\]\((\S+?)\)", PAGE)
    assert pictures and all((DOCS / picture).is_file() for picture in pictures)


def given_values(cell, count):
    """A cell's values, as many as there are names; what follows them is for readers."""
    parts = [part.strip() for part in cell.split(",")][:count]
    return [WORDS[part] if part in WORDS else number(part) for part in parts]


def number(text):
    try:
        return float(text)
    except ValueError:
        return text


@cache
def algorithm(setting):
    return compose("train", [setting, "out=x"]).algorithm


@pytest.mark.parametrize(("names", "theirs", "ours", "demo"), ROWS, ids=[row[0] for row in ROWS])
def test_the_table_of_defaults_is_that_of_the_configs(names, theirs, ours, demo):
    before = ""
    for setting, cell in zip(COLUMNS, (theirs, ours, demo), strict=True):
        cell = before if cell == "the same" else cell
        config = algorithm(setting)
        values = [getattr(config, name) for name in re.findall(r"\w+", names)]
        if cell == "0":  # no adapters, whose alpha then says nothing
            values = values[:1]
        if cell != "configured, never applied":
            assert values == given_values(cell, len(values)), setting
        before = cell


def test_the_table_has_every_setting_of_an_algorithm():
    rows = [name for row in ROWS for name in re.findall(r"\w+", row[0])]
    assert sorted(rows) == sorted(AlgorithmSettings.__dataclass_fields__)
