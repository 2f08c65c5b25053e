"""Inputs and results of BillSchedules: what contracts make due by themselves."""

from canonical.model import CanonicalModel


class BillSchedulesInput(CanonicalModel):
    """Bill what fell due; empty fields mean all."""

    engagement: str = ""


class ScheduledLines(CanonicalModel):
    """The contract lines that have a schedule, as `<psa>/<project>` to look at one by one."""

    projects: tuple[str, ...] = ()


class BillProject(CanonicalModel):
    """Bill what fell due on the contract lines of one project."""

    project: str
    """`<psa>/<project>`."""


class BilledSchedules(CanonicalModel):
    """What was handed over to drafting."""

    fees: int = 0
    refused: tuple[str, ...] = ()
    """Lines whose facts contradict their terms or that exceed their contract, and why."""
