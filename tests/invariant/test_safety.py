"""Nothing in the source runs code that came in a file: no pickles, no eval, no unsafe YAML."""

import ast

import pytest

from tests.invariant.tree import ROOT, name, source_files

UNSAFE_MODULES = {
    "pickle",
    "_pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "shelve",
    "marshal",
    "joblib",
    "jsonpickle",
    # Packages whose own files hold pickles.
    "diskcache",
    "sqlitedict",
    "klepto",
    "ZODB",
}
SAFE_YAML_LOADERS = {"SafeLoader", "CSafeLoader"}


def keyword(call, key):
    return next((k.value for k in call.keywords if k.arg == key), None)


def is_true(node):
    return isinstance(node, ast.Constant) and node.value is True


def imported_roots(node):
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        return {(node.module or "").partition(".")[0]}
    return set()


def unsafe_call(call):
    called = ast.unparse(call.func)
    if called in {"eval", "exec"}:
        return True
    if called == "torch.load":
        return not is_true(keyword(call, "weights_only"))
    if called in {"np.load", "numpy.load"}:
        return is_true(keyword(call, "allow_pickle"))
    if called in {"yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "yaml.unsafe_load_all"}:
        return True
    if called == "yaml.load":
        loader = keyword(call, "Loader") or (call.args[1] if len(call.args) > 1 else ast.Constant(None))
        return ast.unparse(loader).rpartition(".")[2] not in SAFE_YAML_LOADERS
    return False


def unsafe_lines(source):
    """Line numbers where the source imports a pickling module or makes a call that can run foreign code."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if UNSAFE_MODULES & imported_roots(node) or (isinstance(node, ast.Call) and unsafe_call(node)):
            lines.append(node.lineno)
    return sorted(lines)


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from diskcache import Cache",
        "from pickle import loads",
        "eval(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.Loader)",
        "np.load(path, allow_pickle=True)",
    ],
)
def test_the_search_finds_each_unsafe_way(line):
    assert unsafe_lines(line) == [1]


@pytest.mark.parametrize(
    "line",
    [
        "model.eval()",
        "torch.load(path, weights_only=True)",
        "yaml.safe_load(text)",
        "np.load(path)",
        "json.load(file)",
    ],
)
def test_the_search_leaves_safe_ways_alone(line):
    assert unsafe_lines(line) == []


def test_the_source_never_runs_what_it_reads():
    found = {name(p): unsafe_lines(p.read_text(encoding="utf-8")) for p in source_files()}
    assert not {path: lines for path, lines in found.items() if lines}


def test_no_dependency_is_a_package_whose_files_hold_pickles():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8").lower()
    named = {line.partition("==")[0].replace("-", "_") for line in lock.splitlines() if "==" in line}
    assert {"numpy", "gymnasium"} <= named
    # gymnasium and TRL bring these for what processes hand each other; nothing here opens files with them.
    assert not named & {module.lower() for module in UNSAFE_MODULES - {"dill", "cloudpickle"}}
