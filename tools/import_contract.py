"""A contract for import-linter: what a group of modules may import, by name, with everything else refused.

Its own contracts name the modules that must stay apart, so a new module is free until someone lists it. Here
a group is a package less its exceptions and the list says what is allowed: a new module is bound at once.
"""

import sys

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


def longest_match(module: str, entries: list[str]) -> str:
    """The entry that names `module` or the nearest package above it, "" if there is none."""
    return max((e for e in entries if module == e or module.startswith(e + ".")), key=len, default="")


class OnlyImports(Contract):
    """Modules of `importers` may directly import only what `allowed` names.

    Attributes:
        importers: packages or modules that are bound, with all below them; a leading "!" takes one out.
        allowed: packages or modules that they may import; a leading "!" takes one out, "stdlib" stands for
            the standard library, "*" for everything outside the package. The longest matching entry decides.
    """

    type_name = "only_imports"

    importers = fields.ListField(subfield=fields.StringField())
    allowed = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Collect each direct import that `allowed` does not cover: (importer, imported, line numbers)."""
        illegal = [
            (
                importer,
                imported,
                [d["line_number"] for d in graph.get_import_details(importer=importer, imported=imported)],
            )
            for importer in sorted(graph.modules)
            if self._selects(importer, self._names("importers"))
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if not self._may_be_imported(imported, graph)
        ]
        return ContractCheck(kept=not illegal, metadata={"illegal": illegal}, warnings=self._absent(graph))

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print one line for each import that is not allowed."""
        for importer, imported, lines in check.metadata["illegal"]:
            output.print_error(f"{importer} imports {imported} (line {', '.join(map(str, lines))})", bold=False)

    def _names(self, field: str) -> list[str]:
        return list(getattr(self, field))

    @staticmethod
    def _selects(module: str, entries: list[str]) -> bool:
        positive = longest_match(module, [e for e in entries if not e.startswith("!")])
        negative = longest_match(module, [e[1:] for e in entries if e.startswith("!")])
        return len(positive) > len(negative)

    def _may_be_imported(self, module: str, graph: ImportGraph) -> bool:
        allowed = self._names("allowed")
        named = longest_match(module, [e.removeprefix("!") for e in allowed])
        if named:
            return self._selects(module, allowed)
        root = module.partition(".")[0]
        if root in sys.stdlib_module_names:
            return "stdlib" in allowed
        return "*" in allowed and graph.is_module_squashed(module)

    def _absent(self, graph: ImportGraph) -> list[str]:
        roots = {m.partition(".")[0] for m in graph.modules if not graph.is_module_squashed(m)}
        names = {e.removeprefix("!") for e in self._names("importers") + self._names("allowed")}
        inside = sorted(n for n in names if n.partition(".")[0] in roots and n not in graph.modules)
        return [f"{name} does not exist" for name in inside]
