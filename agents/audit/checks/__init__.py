"""The checks: what must hold of a trainer that runs the known policy, a file each."""

from collections.abc import Callable

from editenv.agents.audit.bench import Bench
from editenv.agents.audit.checks.advantage import check_advantage
from editenv.agents.audit.checks.density import check_density
from editenv.agents.audit.checks.filter import check_filter
from editenv.agents.audit.checks.gradient import check_gradient
from editenv.agents.audit.checks.kl import check_kl
from editenv.agents.audit.checks.marginals import check_marginals
from editenv.agents.audit.checks.ratio import check_ratio
from editenv.agents.audit.checks.resume import check_resume
from editenv.agents.audit.checks.seeds import check_seeds
from editenv.agents.audit.checks.spending import check_spending
from editenv.agents.audit.checks.window import check_window
from editenv.agents.audit.finding import Finding

CHECKS: dict[str, Callable[[Bench], list[Finding]]] = {
    "ratio": check_ratio,
    "density": check_density,
    "marginals": check_marginals,
    "window": check_window,
    "gradient": check_gradient,
    "kl": check_kl,
    "advantage": check_advantage,
    "filter": check_filter,
    "spending": check_spending,
    "seeds": check_seeds,
    "resume": check_resume,
}
