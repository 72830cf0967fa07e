"""Policies that need no training: what the best and the worst agents reach, to measure others against."""

from __future__ import annotations

POLICIES = {
    "oracle": "editenv.agents.baselines.oracle:OraclePolicy",
    "reader": "editenv.agents.baselines.reader.policy:ReaderPolicy",
    "clumsy": "editenv.agents.baselines.clumsy:ClumsyPolicy",
    "noop": "editenv.agents.baselines.noop:NoopPolicy",
    "random": "editenv.agents.baselines.random:RandomPolicy",
}
"""Policy by name, as "module:class"; the class is called with the environments that it plays."""
