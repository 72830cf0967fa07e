"""Strict reading of YAML: what packages and users write about suites, sentences and personas."""

from __future__ import annotations

from typing import Any

import yaml

_Fast: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Reader(_Fast):
    """Plain values only, and no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose every key is a text that stands there once."""
        found = super().construct_mapping(node, deep=deep)
        for key in found:
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} is no text: put it in quotes", node.start_mark
                )
        if len(found) < len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key is given twice", node.start_mark)
        return dict(found)


def read_yaml(text: str) -> dict[str, Any]:
    """The mapping that a YAML text holds; nothing in it can make objects or run code.

    Raises:
        ValueError: it is no YAML, a key is given twice or is no text, or it holds something else; says where.
    """
    loader = _Reader(text)
    try:
        data = loader.get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"no valid YAML: {' '.join(str(error).split())}") from error
    finally:
        loader.dispose()
    if not isinstance(data, dict):
        raise ValueError(f"YAML holds {'nothing' if data is None else repr(data)}, expected keys and values")
    return data
