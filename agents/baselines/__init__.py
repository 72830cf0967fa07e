"""Policies that need no training: what the best and the worst agents reach, to measure others against."""

from __future__ import annotations

POLICIES = {
    "oracle": "editenv.agents.baselines.oracle:OraclePolicy",
    "clumsy": "editenv.agents.baselines.oracle:NoisyOracle",
    "reader": "editenv.agents.baselines.reader:ReaderPolicy",
    "noop": "editenv.agents.baselines.trivial:NoopPolicy",
    "random": "editenv.agents.baselines.trivial:RandomPolicy",
}
"""Policy by name, as "module:class"; the class is called with the environments that it plays."""
