"""Scorers: who judges a turn. Each is named here and imported only when asked for."""

from __future__ import annotations

SCORERS = {"exact": "editenv.rewards.exact:ExactScorer"}
"""Scorer by name, as "module:class"; the class is called with (world, weights)."""
