"""Worlds: where sessions come from. Each is named here and imported only when asked for."""

from __future__ import annotations

WORLDS = {"studio": "editenv.worlds.studio.world:StudioWorld"}
"""World by name, as "module:class"; the class is called with suite, size and grid."""
