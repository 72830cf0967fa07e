"""It works anywhere: the tree names no machine's folders and no registry's hosts; modules have docstrings."""

import ast

from tests.invariant.tree import PACKAGES, ROOT, files_below, name, source_files

# Put together from parts, so that this file does not contain what it forbids.
MACHINE_PATHS = ["/" + part for part in ("work/", "root/", "opt/pypi", "opt/wheels")] + [".." + "/shared"]
REGISTRY_HOSTS = [
    ".".join(p) for p in (("pypi", "org"), ("files", "pythonhosted", "org"), ("registry", "npmjs", "org"))
]
BINARY = {".safetensors", ".png", ".gif", ".ttf", ".pyc", ".npz", ".npy"}


def text_files():
    top = [p for p in ROOT.iterdir() if p.is_file() and not p.is_symlink() and p.name not in (".coverage", ".git")]
    below = files_below(*PACKAGES, "tests", "tools", "docs", ".ci")
    return [p for p in top + below if p.suffix not in BINARY]


def test_no_file_names_a_machine_or_a_registry():
    found = [
        f"{name(path)}: {needle}"
        for path in text_files()
        for needle in MACHINE_PATHS + REGISTRY_HOSTS
        if needle in path.read_text(encoding="utf-8")
    ]
    assert not found


def test_every_public_module_says_what_it_is():
    public = [p for p in source_files() if p.name == "__init__.py" or not p.name.startswith("_")]
    docstrings = {name(p): ast.get_docstring(ast.parse(p.read_text(encoding="utf-8"))) for p in public}
    assert not [path for path, text in docstrings.items() if not text or text == "Placeholder."]
