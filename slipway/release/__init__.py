"""Going back to the version that served before."""

from slipway.release.errors import ReleaseError, RollbackRefused, RollbackTimeout
from slipway.release.plan import RollbackPlan, plan_rollback
from slipway.release.rollback import RolledBack, roll_back

__all__ = [
    "ReleaseError",
    "RollbackPlan",
    "RollbackRefused",
    "RollbackTimeout",
    "RolledBack",
    "plan_rollback",
    "roll_back",
]
