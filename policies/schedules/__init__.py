"""What falls due under a contract line's schedule: pure, one module per kind, `due` for all."""

from policies.schedules.due import due
from policies.schedules.known import FactsRefused, known

__all__ = ["FactsRefused", "due", "known"]
