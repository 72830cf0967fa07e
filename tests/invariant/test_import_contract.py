"""The import contract refuses what its lists leave out, for modules nobody has listed too."""

from grimp import ImportGraph

from tools.import_contract import OnlyImports


def check(imports, importers, allowed):
    """The (importer, imported) pairs that the contract refuses in a graph of these imports."""
    graph = ImportGraph()
    for module in {m for pair in imports for m in pair}:
        graph.add_module(module, is_squashed=not module.startswith("app"))
    for line, (importer, imported) in enumerate(imports, start=1):
        graph.add_import(importer=importer, imported=imported, line_number=line, line_contents="")
    options = {"importers": importers, "allowed": allowed}
    contract = OnlyImports("rule", {"root_packages": ["app"]}, options)
    return [(importer, imported) for importer, imported, _ in contract.check(graph, verbose=False).metadata["illegal"]]


def test_a_new_module_is_bound_and_an_exception_is_free():
    imports = [("app.new", "torch"), ("app.agents.flow", "torch"), ("app.new", "json")]
    assert check(imports, ["app", "!app.agents"], ["stdlib", "app"]) == [("app.new", "torch")]


def test_the_longest_entry_decides():
    imports = [("app.core", "app.agents.model"), ("app.core", "app.types")]
    assert check(imports, ["app"], ["app", "!app.agents"]) == [("app.core", "app.agents.model")]
    assert check(imports, ["app"], ["app", "!app.agents", "app.agents.model"]) == []


def test_a_star_lets_other_packages_in_but_for_those_taken_out():
    imports = [("app.a", "torch"), ("app.a", "trl"), ("app.a", "json")]
    assert check(imports, ["app"], ["*", "!trl", "stdlib"]) == [("app.a", "trl")]


def test_a_name_that_only_begins_alike_is_another_package():
    assert check([("app.core", "app.agents_old")], ["app.core"], ["app.agents"]) == [("app.core", "app.agents_old")]
