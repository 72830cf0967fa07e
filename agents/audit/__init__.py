"""The audit: a policy known in closed form goes through a trainer's own code, and every number is checked."""

from editenv.agents.audit.finding import Finding, table
from editenv.agents.audit.known import KnownPolicy
from editenv.agents.audit.protocol import Auditable, Facts, Loss, NotOffered, Turns
from editenv.agents.audit.run import run_audit

__all__ = [
    "Auditable",
    "Facts",
    "Finding",
    "KnownPolicy",
    "Loss",
    "NotOffered",
    "Turns",
    "run_audit",
    "table",
]
