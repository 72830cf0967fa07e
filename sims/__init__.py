"""Simulated users: who gives the instructions. Each is named here and imported only when asked for."""

from __future__ import annotations

USERS = {"replay": "editenv.sims.replay:ReplayUser"}
"""User by name, as "module:class"; the class is called without arguments."""
