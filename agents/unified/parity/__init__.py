"""Parity with the reference code: recompute a fixture's outputs from its weights and compare.

`python -m editenv.agents.unified.parity FIXTURE.safetensors [--only PREFIX ...]` prints a table and exits 0
only when every output holds. What can be recomputed is listed in `registry.CHECKS`; a new kind of output is
one more function there.
"""

from editenv.agents.unified.parity.compare import Report, Row, check_fixture
from editenv.agents.unified.parity.fixture import Fixture, load_fixture

__all__ = ["Fixture", "Report", "Row", "check_fixture", "load_fixture"]
