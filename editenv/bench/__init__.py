"""How fast the environment is, and how that grows with turns, pixels and sessions."""

from __future__ import annotations

from editenv.bench.figures import bench_env, table

__all__ = ["bench_env", "table"]
