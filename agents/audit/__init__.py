"""The audit: a policy known in closed form runs through a trainer's own code, and every number is checked."""

from editenv.agents.audit.known import KnownPolicy
from editenv.agents.audit.protocol import Auditable, Facts, Loss, NotOffered, Turns
from editenv.agents.audit.run import run_audit
from editenv.agents.audit.subject import CheckResult, table

__all__ = ["Auditable", "CheckResult", "Facts", "KnownPolicy", "Loss", "NotOffered", "Turns", "run_audit", "table"]
