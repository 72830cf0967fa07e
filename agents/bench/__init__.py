"""How fast sessions are played and learnt from: turns a second, an iteration's parts, arithmetic, memory."""

from __future__ import annotations

from editenv.agents.bench.rollout import bench_rollout
from editenv.agents.bench.table import rollout_table

__all__ = ["bench_rollout", "rollout_table"]
