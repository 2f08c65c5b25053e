"""The first half of a thread: clients, deals, contracts and their lines, projects, client POs."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from canonical.opportunity import OpportunityToProjectPlan
from operations.trace.graph import NodeKind, TraceAmount, TraceSaga, Web, amount
from store.thread_models import ThreadContract, ThreadContractLine, ThreadRecord, ThreadSaga
from store.threads import DEAL_SAGA, Facts

PROJECT_STEP = "provision_psa_project"
ERP_STEP = "provision_erp_project"


def add_contracts(web: Web, facts: Facts, engagements: Iterable[str]) -> None:
    """Add what was sold, to whom, and where it is delivered."""
    latest: dict[str, ThreadContract] = {version.id: version for version in facts.contracts}
    by_deal: dict[str, list[ThreadRecord]] = {}
    for record in facts.records:
        by_deal.setdefault(record.workflow_id, []).append(record)
    for engagement in engagements:
        workflow_id = f"{DEAL_SAGA}{engagement}"
        saga, version = facts.sagas.get(workflow_id), latest.get(engagement)
        if saga is None and version is None:
            continue
        plan = plan_of(saga)
        deal = web.add(
            NodeKind.DEAL,
            engagement,
            title=(version.title if version else "") or (plan.title if plan else ""),
            state=standing(saga) if saga else "imported",
            sagas=sagas_of(facts.sagas, workflow_id),
        )
        _client(web, deal, version, plan)
        if plan is not None:
            _planned(web, deal, engagement, plan, by_deal.get(workflow_id, ()), version is None)
    for version in facts.contracts:
        _contract(web, version, latest[version.id])
    _client_pos(web, facts)


def plan_of(saga: ThreadSaga | None) -> OpportunityToProjectPlan | None:
    """Return the plan that a deal's saga made, if it came so far."""
    if saga is None or not saga.plan_json:
        return None
    return OpportunityToProjectPlan.model_validate_json(saga.plan_json)


def standing(saga: ThreadSaga) -> str:
    """Return where a saga stands, in a word: its outcome, or that it has none."""
    return saga.outcome or {"open": "running", "closed": "rolling_back"}.get(saga.state, saga.state)


def sagas_of(sagas: Mapping[str, ThreadSaga], *ids: str) -> tuple[TraceSaga, ...]:
    """Return those of these workflows that are known as sagas."""
    return tuple(
        TraceSaga(
            workflow_id=each.workflow_id,
            saga=each.saga,
            generation=each.generation,
            state=standing(each),
            correlation_id=each.correlation_id,
        )
        for each in (sagas[id_] for id_ in ids if id_ in sagas)
    )


def _client(
    web: Web, deal: str, version: ThreadContract | None, plan: OpportunityToProjectPlan | None
) -> None:
    client_id = version.client_id if version else plan.client_id if plan else ""
    if not client_id:
        return
    name = plan.clients[0].name if plan and plan.clients else ""
    client = web.add(NodeKind.CLIENT, client_id, title=name)
    if version is not None:
        known = {(line.erp, line.erp_client_id) for line in version.lines if line.erp_client_id}
        web.tell(client, **{f"in {erp}": id_ for erp, id_ in sorted(known)})
    web.link(client, deal, "bought")


def _contract(web: Web, version: ThreadContract, latest: ThreadContract) -> None:
    deal = f"{NodeKind.DEAL}:{version.id}"
    engagement = web.add(NodeKind.ENGAGEMENT, version.id, title=latest.title)
    web.link(deal, engagement, "became")
    project = web.add(NodeKind.PROJECT, version.psa, version.project_id)
    for line in version.lines:
        node = web.add(
            NodeKind.LINE,
            version.id,
            line.ref,
            title=line.title or line.type.replace("_", " "),
            state="",
            amounts=_value(line),
            facts=_terms(line),
        )
        web.link(engagement, node, "has")
        web.link(node, project, "is delivered in")
        if line.erp_project_id:
            erp = web.add(NodeKind.ERP_PROJECT, line.erp, line.erp_project_id)
            web.link(project, erp, "is kept in the ERP as")


def _value(line: ThreadContractLine) -> tuple[TraceAmount, ...]:
    value = line.value
    return () if value is None else (amount("value", value.amount, value.currency),)


def _terms(line: ThreadContractLine) -> dict[str, str]:
    terms = {
        "type": line.type,
        "legal entity": line.legal_entity,
        "currency": line.currency,
        "billed by": line.billing_method,
    }
    return {name: value for name, value in terms.items() if value}


def _planned(
    web: Web,
    deal: str,
    engagement: str,
    plan: OpportunityToProjectPlan,
    records: Iterable[ThreadRecord],
    alone: bool,
) -> None:
    """Add what a deal's saga made; `alone`: no contract tells of lines and projects yet."""
    project = ""
    erps: list[str] = []
    for record in records:
        if record.step == PROJECT_STEP and record.record_type == "project":
            project = web.add(NodeKind.PROJECT, record.system, record.record_id)
            _undone(web, project, record)
        elif record.step == ERP_STEP and record.record_type == "project":
            erps.append(web.add(NodeKind.ERP_PROJECT, record.system, record.record_id))
            _undone(web, erps[-1], record)
    if alone:
        for task in plan.tasks.tasks:
            node = web.add(
                NodeKind.LINE,
                engagement,
                task.ref,
                title=task.title,
                amounts=(amount("budget", task.budget.amount, task.budget.currency),),
                facts={"type": task.type.value},
            )
            web.link(deal, node, "has")
            if project:
                web.link(node, project, "is delivered in")
    for erp in erps:
        web.link(project or deal, erp, "is kept in the ERP as")
    if project and not plan.tasks.tasks:
        web.link(deal, project, "is delivered in")
    _milestones(web, plan, project, records)


def _milestones(
    web: Web, plan: OpportunityToProjectPlan, project: str, records: Iterable[ThreadRecord]
) -> None:
    """Add the milestones as planned; once one is handed over, its fee tells more."""
    planned = plan.milestones.milestones if plan.milestones else ()
    made = [record for record in records if record.record_type == "milestone"]
    for milestone, record in zip(planned, made, strict=False):
        node = web.add(
            NodeKind.MILESTONE,
            record.system,
            record.record_id,
            title=milestone.title,
            state="undone" if record.undone else "planned",
            on=milestone.due,
            amounts=(amount("amount", milestone.amount.amount, milestone.amount.currency),),
        )
        web.link(project, node, "has")


def _undone(web: Web, node: str, record: ThreadRecord) -> None:
    if record.undone:
        web.nodes[node] = web.nodes[node].model_copy(update={"state": "undone"})


def _client_pos(web: Web, facts: Facts) -> None:
    for po in facts.client_pos:
        node = web.add(
            NodeKind.CLIENT_PO,
            po.client_id,
            po.number,
            amounts=(
                amount("amount", po.amount, po.currency),
                amount("taken", Decimal(po.taken), po.currency),
            ),
            facts={"basis": po.basis},
        )
        web.link(f"{NodeKind.CLIENT}:{po.client_id}", node, "ordered by")
        for version in facts.contracts:
            for line in version.lines:
                if (version.client_id, line.client_po) == (po.client_id, po.number):
                    web.link(f"{NodeKind.LINE}:{version.id}/{line.ref}", node, "is billed under")
