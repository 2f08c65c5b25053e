"""OpportunityToProject: a won and signed deal becomes a client and a project in ERP and PSA.

Trigger: the CLI (or, later, an event) names an opportunity.
Workflow id: `opportunity-to-project/<crm>/<opportunity id>`.

    plan ── match client per ERP ── ERP client, its legal entities, its currency
                                         ├── ERP project per legal entity ──┐
                                         └── PSA client, project, tasks, ───┤
                                             then milestones (closed for    │
                                             time)                          │
    cross references both ways ── ids back to CRM ── finance gate ──────────┘
      ══ pivot: open the project for time ══ state to CRM

Everything before the pivot is undone on rollback, in reverse; from the pivot on the saga only goes
forward. Billing schedule and staffing request join the parallel part, and planning the end, when
their systems are connected.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from canonical import activities as ref
    from canonical.deal import DealLinks
    from canonical.ids import Role
    from canonical.model import CanonicalModel
    from canonical.opportunity import (
        OpportunityToProjectInput,
        OpportunityToProjectPlan,
        PlanOpportunity,
    )
    from canonical.provisioning import (
        ClientMatch,
        ErpClient,
        MatchClient,
        ProvisionMilestones,
        StepRequest,
    )
    from canonical.records import Receipt, RecordRef
    from canonical.saga import Begin, SagaResult

from collections.abc import Sequence
from typing import ClassVar, TypeVar

from workflows.engine import Saga
from workflows.step import Step, skipped

M = TypeVar("M", bound=CanonicalModel)
R = TypeVar("R", bound=StepRequest)

STATUS_OPEN = "Open for time"
"""What the CRM shows once delivery can start."""


def _as_new_client(request: MatchClient) -> ClientMatch:
    return ClientMatch(gate_reasons=(f"a person decided that {request.item} has no such client",))


PLAN = Step(ref.PLAN_OPPORTUNITY, "Read and plan the deal", Role.CRM)
MATCH_CLIENT = Step(
    ref.MATCH_CLIENT, "Match the client", Role.ERP, adoptable=True, on_skip=_as_new_client
)
PROVISION_CLIENT = Step(
    ref.PROVISION_CLIENT, "Provide the client", Role.ERP, ref.UNDO_PROVISION_CLIENT, adoptable=True
)
ADD_CLIENT_ENTITY = Step(
    ref.ADD_CLIENT_ENTITY, "Open the client to the entity", Role.ERP, ref.UNDO_ADD_CLIENT_ENTITY
)
ADD_CLIENT_CURRENCY = Step(
    ref.ADD_CLIENT_CURRENCY, "Add the currency", Role.ERP, ref.UNDO_ADD_CLIENT_CURRENCY
)
PROVISION_ERP_PROJECT = Step(
    ref.PROVISION_ERP_PROJECT, "Create the ERP project", Role.ERP, ref.UNDO_PROVISION_ERP_PROJECT
)
PROVISION_PSA_CLIENT = Step(
    ref.PROVISION_PSA_CLIENT, "Provide the client", Role.PSA, ref.UNDO_PROVISION_PSA_CLIENT
)
PROVISION_PSA_PROJECT = Step(
    ref.PROVISION_PSA_PROJECT, "Create the PSA project", Role.PSA, ref.UNDO_PROVISION_PSA_PROJECT
)
PROVISION_TASKS = Step(ref.PROVISION_TASKS, "Create the tasks", Role.PSA, ref.UNDO_PROVISION_TASKS)
PROVISION_MILESTONES = Step(
    ref.PROVISION_MILESTONES, "Create the milestones", Role.PSA, ref.UNDO_PROVISION_MILESTONES
)
LINK_PSA_PROJECT = Step(
    ref.LINK_PSA_PROJECT,
    "Note the ERP projects",
    Role.PSA,
    ref.UNDO_LINK_PSA_PROJECT,
    on_skip=skipped,
)
LINK_ERP_PROJECT = Step(
    ref.LINK_ERP_PROJECT,
    "Note the PSA project",
    Role.ERP,
    ref.UNDO_LINK_ERP_PROJECT,
    on_skip=skipped,
)
WRITE_BACK = Step(
    ref.WRITE_BACK, "Write the ids back", Role.CRM, ref.UNDO_WRITE_BACK, on_skip=skipped
)
OPEN_FOR_TIME = Step(
    ref.OPEN_FOR_TIME,
    "Open the project for time",
    Role.PSA,
    irreversible="people log time at once; close the project in the PSA and credit what was billed",
    pivot=True,
)
CONFIRM_IN_CRM = Step(
    ref.CONFIRM_IN_CRM,
    "Tell the CRM that delivery can start",
    Role.CRM,
    irreversible="it states a fact; a later business act states the next one",
    on_skip=skipped,
)


@workflow.defn
class OpportunityToProject(Saga[OpportunityToProjectPlan]):
    """Provisions one deal, whole or not at all."""

    PLAN: ClassVar = PLAN
    STEPS: ClassVar = (
        PLAN,
        MATCH_CLIENT,
        PROVISION_CLIENT,
        ADD_CLIENT_ENTITY,
        ADD_CLIENT_CURRENCY,
        PROVISION_ERP_PROJECT,
        PROVISION_PSA_CLIENT,
        PROVISION_PSA_PROJECT,
        PROVISION_TASKS,
        PROVISION_MILESTONES,
        LINK_PSA_PROJECT,
        LINK_ERP_PROJECT,
        WRITE_BACK,
        OPEN_FOR_TIME,
        CONFIRM_IN_CRM,
    )

    @workflow.init
    def __init__(self, deal: OpportunityToProjectInput) -> None:
        """Remember which deal; nothing is known of it yet."""
        super().__init__()
        self._deal = deal

    @workflow.run
    async def run(self, deal: OpportunityToProjectInput) -> SagaResult:
        """Provision the deal and return what was done, step by step."""
        info = workflow.info()
        begin = Begin(
            workflow_id=info.workflow_id,
            run_id=info.run_id,
            saga=info.workflow_type,
            business_key=deal.opportunity_id,
            correlation_id=deal.correlation_id or info.workflow_id,
            connection=deal.crm,
            input_json=deal.model_copy(update={"sweep": None}).model_dump_json(),
            sweep=deal.sweep,
        )
        return await self.run_saga(begin)

    def plan_request(self, corrections: dict[str, str]) -> PlanOpportunity:
        """Return what is read and planned; what is wrong with the deal parks there."""
        return PlanOpportunity(
            connection=self._deal.crm,
            opportunity_id=self._deal.opportunity_id,
            corrections=corrections,
        )

    @classmethod
    def read_plan(cls, plan_json: str) -> OpportunityToProjectPlan:
        """Return the plan as an earlier run stored it."""
        return OpportunityToProjectPlan.model_validate_json(plan_json)

    async def flow(self) -> None:
        """Carry the deal from the match of its client to the project open for time."""
        clients, reasons = await self._clients()
        erp_projects, psa_project = await self.both(
            self._erp_projects(clients), self._psa_project()
        )
        await self._cross_references(erp_projects, psa_project)
        await self._ids_back_to_crm(clients, erp_projects, psa_project)
        await self.gate("finance_gate", reasons, self.plan.gate_respond_seconds)
        await self.step(OPEN_FOR_TIME, lambda: fill(self.plan.open_for_time, project=psa_project))
        await self.step(
            CONFIRM_IN_CRM,
            lambda: fill(self.plan.write_back, links=DealLinks(integration_status=STATUS_OPEN)),
        )

    async def _clients(self) -> tuple[dict[str, RecordRef], tuple[str, ...]]:
        """Have the client in every ERP that sells this deal, by connection; and what to approve."""
        clients: dict[str, RecordRef] = {}
        reasons = self.plan.gate_reasons
        for wanted in self.plan.clients:
            match = await self._match(wanted.item)
            reasons += match.gate_reasons
            if match.client is None and self.plan.gate_new_client:
                reasons += ("new client",)
            clients[wanted.connection] = await self._client(wanted.item, match.client)
        return clients, reasons

    async def _match(self, item: str) -> ClientMatch:
        return await self.step(MATCH_CLIENT, lambda: pick(self.plan.matches, item))

    async def _client(self, item: str, known: ErpClient | None) -> RecordRef:
        """Have one client: create it, or extend the one that is there. Never overwrite (G1)."""
        existing = known.record if known else None
        receipt = await self.step(
            PROVISION_CLIENT, lambda: fill(pick(self.plan.clients, item), existing=existing)
        )
        wanted = pick(self.plan.clients, item)
        for entity in self.plan.client_entities:
            created_there = known is None and entity.subsidiary == wanted.subsidiary
            if entity.connection == wanted.connection and not created_there:
                await self._add_entity(entity.item, receipt.record)
        for currency in self.plan.client_currencies:
            if currency.connection == wanted.connection and known is not None:
                await self._add_currency(currency.item, receipt.record)
        return receipt.record

    async def _add_entity(self, item: str, client: RecordRef) -> None:
        await self.step(
            ADD_CLIENT_ENTITY, lambda: fill(pick(self.plan.client_entities, item), client=client)
        )

    async def _add_currency(self, item: str, client: RecordRef) -> None:
        await self.step(
            ADD_CLIENT_CURRENCY,
            lambda: fill(pick(self.plan.client_currencies, item), client=client),
        )

    async def _erp_projects(self, clients: dict[str, RecordRef]) -> tuple[RecordRef, ...]:
        receipts = await self.parallel(
            *(
                self._erp_project(wanted.item, clients[wanted.connection])
                for wanted in self.plan.erp_projects
            )
        )
        return tuple(receipt.record for receipt in receipts)

    async def _erp_project(self, item: str, client: RecordRef) -> Receipt:
        return await self.step(
            PROVISION_ERP_PROJECT, lambda: fill(pick(self.plan.erp_projects, item), client=client)
        )

    async def _psa_project(self) -> RecordRef:
        client = await self.step(PROVISION_PSA_CLIENT, lambda: self.plan.psa_client)
        project = await self.step(
            PROVISION_PSA_PROJECT, lambda: fill(self.plan.psa_project, client=client.record)
        )
        work = [self._tasks(project.record)]
        if self.plan.milestones is not None and not self.plan.tasks.milestones:
            # Planned before milestones had tasks: such sagas may still be in flight.
            work.append(self._milestones(self.plan.milestones, project.record, ()))
        await self.parallel(*work)
        return project.record

    async def _tasks(self, project: RecordRef) -> Receipt:
        """Create the tasks, then the milestones that fall due once their tasks are completed."""
        made = await self.step(PROVISION_TASKS, lambda: fill(self.plan.tasks, project=project))
        planned = self.plan.tasks
        if self.plan.milestones is not None and planned.milestones:
            # What people have added since comes after what was asked for.
            after = made.parts[len(planned.tasks) :][: len(planned.milestones)]
            await self._milestones(self.plan.milestones, project, after)
        return made

    async def _milestones(
        self, planned: ProvisionMilestones, project: RecordRef, tasks: tuple[RecordRef, ...]
    ) -> Receipt:
        return await self.step(
            PROVISION_MILESTONES,
            lambda: fill(self.plan.milestones or planned, project=project, tasks=tasks),
        )

    async def _cross_references(
        self, erp_projects: tuple[RecordRef, ...], psa_project: RecordRef
    ) -> None:
        await self.parallel(
            self.step(
                LINK_PSA_PROJECT,
                lambda: fill(
                    self.plan.link_psa_project, project=psa_project, erp_projects=erp_projects
                ),
            ),
            *(
                self._link_erp_project(wanted.item, project, psa_project)
                for wanted, project in zip(self.plan.erp_projects, erp_projects, strict=True)
            ),
        )

    async def _link_erp_project(
        self, item: str, project: RecordRef, psa_project: RecordRef
    ) -> Receipt:
        return await self.step(
            LINK_ERP_PROJECT,
            lambda: fill(
                pick(self.plan.link_erp_projects, item), project=project, psa_project=psa_project
            ),
        )

    async def _ids_back_to_crm(
        self,
        clients: dict[str, RecordRef],
        erp_projects: tuple[RecordRef, ...],
        psa_project: RecordRef,
    ) -> None:
        entities = [planned.item for planned in self.plan.erp_projects]
        links = DealLinks(
            erp_client_id=_joined([*clients.values()], [*clients]),
            erp_project_id=_joined([*erp_projects], entities),
            psa_project_id=psa_project.id,
            integration_status=self.plan.write_back.links.integration_status,
        )
        await self.step(WRITE_BACK, lambda: fill(self.plan.write_back, links=links))


def fill(request: M, **known: object) -> M:
    """Return a planned request with what earlier steps found out."""
    return request.model_copy(update=known)


def pick(requests: Sequence[R], item: str) -> R:
    """Return the request of one item: a connection, a legal entity, a currency."""
    return next(request for request in requests if request.item == item)


def _joined(records: list[RecordRef], names: list[str]) -> str:
    """Return one id as it is, several as `NAME:id` pairs."""
    if len(records) == 1:
        return records[0].id
    return ";".join(f"{name}:{record.id}" for name, record in zip(names, records, strict=True))
