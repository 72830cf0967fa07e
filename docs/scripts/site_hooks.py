"""A mkdocs hook: links into the source tree become the file's name, tables of settings are filled in."""

import re

from editenv.manual import settings_table

_SOURCE_LINK = re.compile(r"\[([^\]]+)\]\(\.\./([^)#\s]+)(?:#[^)]*)?\)")
_TABLE = re.compile(r"^`editenv (\w+) --help`$", re.MULTILINE)


def on_page_markdown(markdown, page, config, files):
    """`[name](../agents/flow.py)` as "name (agents/flow.py)"; in settings.md a line of help as its table."""
    if page.file.src_uri == "settings.md":
        return _TABLE.sub(lambda found: table_of(found[1]), markdown)
    depth = page.file.src_uri.count("/")
    return markdown if depth else _SOURCE_LINK.sub(r"\1 (`\2`)", markdown)


def table_of(command):
    """A command's settings as a Markdown table, from their declarations in editenv.configs.schema."""
    rows = [
        f"| `{name}` | {f'`{default}`' if default else ''} | {meaning} |"
        for name, default, meaning in settings_table(command)
    ]
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *rows])
