"""What the fault matrix runs: each saga over seeded situations that together go through every step.

A further saga joins the matrix with its subjects here.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from temporalio.client import WorkflowHandle

from canonical.saga import SagaResult
from tests.support.billing import (
    AT_PROJECT,
    assert_billed,
    assert_unbilled,
    billed_account,
    start_run,
)
from tests.support.world import World
from workflows.billing_run import BillingRun
from workflows.engine import Saga
from workflows.opportunity_to_project import OpportunityToProject

Handle = WorkflowHandle[Any, SagaResult]


class Subject(ABC):
    """One saga over one situation."""

    saga: ClassVar[type[Saga[Any]]]
    own_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields of records that were there before and that the saga owns."""
    stop_at: ClassVar[str]
    """The last step with an undo: refused there, everything is there to be undone."""
    any_order: ClassVar[tuple[frozenset[str], ...]] = ()
    """Steps of one set do not depend on one another."""
    branches: ClassVar[tuple[frozenset[str], ...]] = ()
    """Steps of different branches do not depend on one another."""
    vendors: ClassVar[tuple[str, ...]]

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    async def account(self, world: World) -> str:
        """Return a fresh account in which the situation holds."""

    @abstractmethod
    async def start(self, world: World, account: str) -> Handle:
        """Start the saga there."""

    @abstractmethod
    async def assert_books(self, world: World, account: str, *, done: bool) -> None:
        """Assert that Dealthread's own store agrees with the systems."""

    def independent(self, one: str, other: str) -> bool:
        """Return whether two steps may be undone in any order."""
        if any({one, other} <= steps for steps in self.any_order):
            return True
        place = {step: i for i, branch in enumerate(self.branches) for step in branch}
        return one in place and other in place and place[one] != place[other]


class OpportunitySubject(Subject):
    """OpportunityToProject over a seeded deal."""

    saga = OpportunityToProject
    own_fields = frozenset(
        {
            "ERP_Customer_Id__c",
            "ERP_Project_Id__c",
            "PSA_Project_Id__c",
            "Integration_Status__c",
        }
    )
    stop_at = "write_back"
    any_order = (
        frozenset({"provision_tasks", "provision_milestones"}),
        frozenset({"link_psa_project", "link_erp_project"}),
    )
    branches = (
        frozenset({"provision_erp_project"}),
        frozenset(
            {
                "provision_psa_client",
                "provision_psa_project",
                "provision_tasks",
                "provision_milestones",
            }
        ),
    )
    vendors = ("salesforce", "kantata", "netsuite")

    async def account(self, world: World) -> str:
        """Seed the deals."""
        return await world.account()

    async def start(self, world: World, account: str) -> Handle:
        """Start the deal's saga."""
        return await world.start(account, self.name)

    async def assert_books(self, world: World, account: str, *, done: bool) -> None:
        """No money is counted yet."""


class BillingSubject(Subject):
    """BillingRun over a project with approved time and expenses."""

    saga = BillingRun
    own_fields = frozenset({"invoice_id", "is_invoiced", "user_can_edit"})
    stop_at = "post_costs"
    any_order = (frozenset({"post_charges", "post_costs"}),)
    vendors = ("kantata", "netsuite", "workday")

    async def account(self, world: World) -> str:
        """Seed a project whose time and expenses are approved, and its contract."""
        return await billed_account(world)

    async def start(self, world: World, account: str) -> Handle:
        """Start the project's first billing run."""
        return await start_run(world, account, AT_PROJECT)

    async def assert_books(self, world: World, account: str, *, done: bool) -> None:
        """Assert that PSA, subledger and ERP are equal to the cent, or nothing is there."""
        await (assert_billed if done else assert_unbilled)(world, account)


SUBJECTS: tuple[Subject, ...] = (
    OpportunitySubject("fixed-de"),
    OpportunitySubject("other-subsidiary"),
    BillingSubject("a month of a team"),
)
"""For a step, the first of them whose clean run has it is used."""
