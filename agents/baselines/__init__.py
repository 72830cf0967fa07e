"""Policies by name, without training: what the best and worst agents reach, and models of others, in `external`."""

from __future__ import annotations

POLICIES = {
    "oracle": "editenv.agents.baselines.oracle:OraclePolicy",
    "clumsy": "editenv.agents.baselines.oracle:NoisyOracle",
    "reader": "editenv.agents.baselines.reader:ReaderPolicy",
    "noop": "editenv.agents.baselines.trivial:NoopPolicy",
    "folder": "editenv.agents.external.folder:FolderPolicy",
    "endpoint": "editenv.agents.external.endpoint:EndpointPolicy",
    "diffusers": "editenv.agents.external.pipeline:DiffusersPolicy",
    "random": "editenv.agents.baselines.trivial:RandomPolicy",
}
"""Policy by name, as "module:class"; the class is called with the environments that it plays."""
