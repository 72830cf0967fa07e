"""A mkdocs hook: links from pages into the source tree, which the site lacks, become the file's name."""

import re

_SOURCE_LINK = re.compile(r"\[([^\]]+)\]\(\.\./([^)#\s]+)(?:#[^)]*)?\)")


def on_page_markdown(markdown, page, config, files):
    """`[name](../agents/flow.py)` as "name (agents/flow.py)"; links to other pages stay."""
    depth = page.file.src_uri.count("/")
    return markdown if depth else _SOURCE_LINK.sub(r"\1 (`\2`)", markdown)
